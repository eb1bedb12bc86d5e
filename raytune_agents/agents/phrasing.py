"""How people word requests, counted: the frame of a wish, its verb, joins, quotation marks.

A frame is a request with its wish cut out: "Could you {wish}?", "I need {thing}.", "{question}". It
holds words of a closed list alone, so that it fits any other tool. Left out on purpose: what is
wished (`generate`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from raytune_agents.records import Trajectory

_GREETING = re.compile(
    r"(?:(?:hi|hello|hey|good morning|morning|ok|okay|so)(?: there)?[,!.]?\s+)?", re.I
)
_QUESTION = re.compile(
    r"(?:what|which|who|whose|when|where|why|how)(?:'s)?\b"
    r"|(?:is|are|was|were|does|do|did|has|have|will|can|could|should|may)\s(?!you\b|i\b|we\b)",
    re.I,
)
# What stands before a wish: where a thing, a reported question or an order follows.
_OPENINGS = {
    "reported": r"(?:(?:can|could|would) you )?(?:please )?tell me|do you (?:happen to )?know"
    r"|let me know|(?:i|we)(?:'d| would)? (?:want|need|like) to know|i(?:'m| was)? wonder(?:ing)?",
    "thing": r"(?:i|we)(?:'d| would)? (?:need|want|like)(?: to (?:see|get|have))?"
    r"|(?:can|could|may) (?:i|we) (?:please )?(?:see|get|have)|do you have"
    r"|(?:i|we)(?:'m| am|'re| are) (?:looking for|after|interested in)",
    "wish": r"(?:(?:can|could|will|would) (?:you|i|we)(?: please| kindly)?"
    r"|(?:i|we)(?:'d| would)? (?:need|want|like|have|love)(?: you)? to"
    r"|i(?:'d| would) be (?:grateful|glad) if you could|let's|please|kindly)?"
    r"(?: ?(?:mind )?help(?:ing)? (?:me|us)(?: to)?)?",
}
_OPENING = {  # a wish may stand alone, but no opening ends within a word
    form: re.compile(rf"({pattern})[,:]?\s*(?<!\w)", re.I) for form, pattern in _OPENINGS.items()
}
_REPORTED = re.compile(r"(?:what|which|who|when|where|why|how|if|whether|the|about)\b", re.I)
_STATEMENT = re.compile(r"(?:an?|the|my|our|th[ei]se?|that|in|at|on|for|i|we|it|there)\b", re.I)
_NOUNS = re.compile(r"(?:\d+|any|some|another|more|no) ", re.I)  # "3 bags of clay, please"
_CLOSING = re.compile(
    r"[,.]? (?:can|could|would) you (?:please )?(?:help|assist|do|get|show)(?: me)?"
    r"(?: with)?(?: that| this| it)?\?$"
    r"|(?:[,.?!]? (?:please|for me|thanks(?: a lot)?|thank you))*[.?!]*$",
    re.I,
)
_SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")
_NEXT = re.compile(
    r"([.?!;]) ((?:also|additionally|in addition|then|next|finally|lastly|afterwards?|after that"
    r"|furthermore|moreover|besides|plus|and|second(?:ly)?)\b,?)(?= )",
    re.I,
)
_AND = re.compile(r",? (?:and(?: also| then)?|as well as|along with|followed by|then)(?= )")
_LEAD = re.compile(r"[a-z]+(?: me(?: with)?)?(?= )", re.I)
LONGEST_NAME = 200  # characters that are looked at
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-z])(?=\d)")
STRAIGHT = {"'": "'", "‘": "'", "’": "'", "`": "'", '"': '"', "“": '"', "”": '"'}
MARKS = "".join(STRAIGHT)


@dataclass(frozen=True)
class Phrasing:
    """A request taken apart: its frame, the form of its wish (order, thing, question), the wish,
    and, of an order, the words that lead it ("retrieve", "show me"). Of a request with several
    sentences the wish is that of the first."""

    frame: str = ""
    form: str = ""
    wish: str = ""
    lead: str = ""


def taken_apart(text: str) -> Phrasing:
    """A request taken apart, empty where it has no known frame."""
    text = re.sub(rf"([.?!])[{MARKS}]$", r"\1", " ".join(text.split()))
    closing = _CLOSING.search(text)
    end = closing[0] if closing else ""
    greeted = _GREETING.match(text)
    opening = greeted[0] if greeted else ""
    body = text[len(opening) : len(text) - len(end)]
    first = _SENTENCE.split(body)[0]
    if first != body:  # a stop of its own, and what follows the last sentence
        first, end = first[:-1], first[-1] + (end[1:] if " " in end else "")
    if _QUESTION.match(first):
        return Phrasing(_slot(opening, "question", first) + end, "question", first)
    for slot, pattern in _OPENING.items():
        found = pattern.match(first)
        rest = first[found.end() :] if found else ""
        frame = _slot(opening + found[1], slot, first) + end if found else ""
        if slot == "wish" and found and not found[1] and _NOUNS.match(rest):
            return Phrasing(_slot(opening, "thing", rest) + end, "thing", rest)
        if slot == "wish" and rest and not _STATEMENT.match(rest):
            lead = _LEAD.match(rest)
            return Phrasing(frame, "order", rest, lead[0].lower() if lead else "")
        if slot == "thing" and rest and not re.match(r"(you|to)\b", rest):
            return Phrasing(frame, "thing", rest)
        if slot == "reported" and _REPORTED.match(rest):
            return Phrasing(frame, "question", rest)
    return Phrasing()


def _slot(opening: str, form: str, text: str) -> str:
    """The opening and the place after it, which has a large letter where it begins with one."""
    name = form if opening or not text[:1].isupper() else form.capitalize()
    return f"{opening.strip()} {{{name}}}".strip()


def join_of(text: str) -> str:
    """What joins the wishes of a request with several, "" for nothing known: ". Also, " before a
    sentence of its own, else the longest such words, " and also "."""
    text = " ".join(text.split())
    if found := _NEXT.search(text):
        return f"{found[1]} {found[2]} "
    return max((f"{m[0]} " for m in _AND.finditer(text)), key=len, default="")


def value_marks(row: Trajectory) -> Iterator[str]:
    """The quotation mark before each text that the row's calls and its request have in common, ""
    for none. Choices of an enumeration, numbers and dates do not count: they are said bare."""
    text = row.query
    schemas = {t.name: t.schema.get("properties", {}) for t in row.tools}
    for call in row.calls:
        for name, value in call.known_args.items():
            chosen = "enum" in schemas.get(call.name, {}).get(name, {})
            if not isinstance(value, str) or chosen or not re.search(r"[A-Za-z]", value):
                continue
            if (at := text.find(value)) >= 0:
                before = text[at - 1 : at]
                yield STRAIGHT.get(before, "")


# Where a value stands after a preposition, and where such a clause ends.
_BEFORE = r"in|on|at|from|for|by|with|to|about|called|named|titled|under|near|within|into"
_CLAUSE_END = rf"(?=[.?!,]?$|, | (?:{_BEFORE}|and|or|that|which|who)\b)"


def name_words(name: str) -> str:
    """A name as lower-case words: "checkInDate", "check_in_date" -> "check in date"."""
    text = _CAMEL.sub(" ", name[:LONGEST_NAME])
    return " ".join(re.split(r"[\W_]+", text)).strip().lower()


def clause_in(
    text: str, value: object, names: str = "", count: bool = False
) -> re.Match[str] | None:
    """Where a text says a value after a preposition, with words of the `names` of its parameter and
    tool and articles between them at most: "for 3 people", "with the user ID 'A1'". A noun may
    follow, any behind a number, else one of the names: "for chilly weather"."""
    spoken = [re.escape(w) for w in name_words(names).split() if len(w) > 1]
    words = "|".join(["the", "an?", "my", *spoken])
    noun = f"(?P<noun> (?:{'[a-z]+' if count else '|'.join(spoken) or '(?!)'}))?"
    pattern = (
        rf" (?P<before>(?:{_BEFORE})(?: (?:{words}))*) (?P<mark>[{MARKS}]?){re.escape(str(value))}"
        rf"(?P=mark){noun}{_CLAUSE_END}"
    )
    return re.search(pattern, text, re.I)


def clauses_of(row: Trajectory) -> Iterator[tuple[str, str, str]]:
    """(tool, argument, clause with {x} for its value) of the row's calls, as the request says
    them."""
    for call in row.calls:
        for name, value in call.known_args.items():
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                continue
            number = re.fullmatch(r"[\d.]+", str(value)) is not None
            if found := clause_in(row.query, value, f"{call.name} {name}", number):
                before = " ".join(w if w.isupper() else w.lower() for w in found["before"].split())
                yield call.name, name, f"{before} {{x}}{(found['noun'] or '').lower()}"
