"""In which order the clauses of a wish stand, and what a form calls a value: "(beds: 2)".

A value that no clause of its own joins (`clauses`) is given with its noun, as questions ask for it;
lists and records stand on their own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from raytune_agents.agents.word_banks import shown
from raytune_agents.generate.clauses import (
    ATTRIBUTE,
    GENERAL_SETTERS,
    LAST,
    UNIT_WORDS,
    WHO,
    capitals,
)
from raytune_agents.generate.grammar import PREPOSITIONS, is_plural
from raytune_agents.generate.named_clauses import DATES
from raytune_agents.generate.nouns import has_range, mentions, names_deed
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import pattern, phrases, tidied, word_data

ENDS = {"to": "destination", "from": "origin"}
PARTIES = {"to": "recipient", "from": "sender"}
DATED: dict[str, str] = word_data("names")["dated"]


def field_noun(p: Parameter) -> str:
    """What a form or a question calls a parameter: "due date" for due_by, "check-in date"."""
    whole = has_range(p) or p.words == "per page" or re.search(ATTRIBUTE, p.words)
    noun = p.said or (p.words if whole else p.noun)
    if p.words in ("name", "title") and p.said not in ("", p.words):
        noun = f"{p.said} {p.words}"  # "animal name"
    if p.kind in DATES:
        noun = re.sub(r"(?<!ed|en)\s+(by|at|on)$", "", noun).replace("check ", "check-")
        noun = DATED.get(noun, noun)
        noun = re.sub(" date$", " time", noun) if p.kind == "time" else noun
        return noun if pattern("tells_date").search(noun) else f"{noun} {p.kind[:4]}"
    noun = tidied(noun, "field")
    ends = PARTIES if p.sense in WHO else ENDS
    return capitals(ends.get(noun, noun), p)


def request_noun(p: Parameter) -> str:
    """What a question calls a parameter: "number of beds", "order ID"."""
    noun = field_noun(p)
    if has_range(p) and not p.items and is_plural(noun) and not noun.startswith("number"):
        return f"number of {noun}"
    numbered = (
        p.sense in ("id", "id_number", "uuid") and noun[-2:] != "ID" and p.words.endswith(" id")
    )
    return f"{noun} ID" if numbered else noun


def unit_words(p: Parameter) -> str:
    """The unit after a number; of money it is part of what is said."""
    if p.sense in ("money", "loan", "salary", "limit", "page", "offset"):
        return ""
    if p.items is not None or not has_range(p):
        return ""
    unit = UNIT_WORDS.get(p.unit, p.unit) or ("degrees" if p.sense == "temperature" else "")
    return "" if unit in field_noun(p).split() else unit  # "weekly hours"


def form_clause(params: Sequence[Parameter], verb: str, brackets: bool, rng: random.Random) -> str:
    """Several values with their nouns: "with the SKU A-1 and the quantity 3", "(SKU: A-1,
    quantity: 3)"; of what is changed "and set the bin to A-1"."""
    slots = {p.name: f"{p.slot} {unit_words(p)}".strip() for p in params}
    slots |= {p.name: in_quotes(p, p.slot) for p in params if p.sense in QUOTED}
    article = rng.choice(("the ", "")) if len(params) < 3 else ""
    brackets |= not all(map(_joins_sentence, params))
    if verb in GENERAL_SETTERS:
        return f"and set {shown([f'the {field_noun(p)} to {slots[p.name]}' for p in params])}"
    if brackets or rng.random() < BRACKETS:
        return f"({', '.join(f'{field_noun(p)}: {slots[p.name]}' for p in params)})"
    said = [
        f"{sized_noun(p)} of {slots[p.name]}"
        if is_sized(p)
        else f"{article}{field_noun(p)} {slots[p.name]}"
        for p in params
    ]
    return f"with {shown(said)}"


def _joins_sentence(p: Parameter) -> bool:
    """Whether a value reads well behind its noun in a sentence: a size, a code, a quoted text; not
    "hours 3" and no word, "language Spanish"."""
    if has_range(p):
        return is_sized(p) and not is_plural(field_noun(p))
    if names_deed(p):
        return False
    return p.sense in (*QUOTED, *CODED) or p.is_measure or bool(re.search(ATTRIBUTE, p.words))


CODED = ("id", "id_number", "uuid", "barcode", "iban", "card", "version")


def is_sized(p: Parameter) -> bool:
    """Whether a number says how much: "a concentration of 22", but "priority level 3"."""
    which = re.search(r"\b(number|no|level|zone|floor|class|grade|version|code|priority)$", p.noun)
    described = p.sense in SIZES and (p.about or p.sense == "money")  # else of what is unknown
    told = unit_words(p) or (described and not which)
    return has_range(p) and not p.items and bool(told)


def sized_noun(p: Parameter) -> str:
    """What a number measures, with its article: "a revenue" for the revenue generated."""
    noun = re.sub(r"(?<=\w) \w{3,}ed$", "", field_noun(p))
    return noun if noun == "revenue" else f"a {noun}"


SIZES = ("money", "amount", "rating", "score", "unit_share", "percent", "extent", "population")
BRACKETS = 0.1  # share of requests with several values in brackets, as few people write


def in_quotes(p: Parameter, text: str) -> str:
    """A text in quotation marks where it is no value beside others, but somebody's words."""
    return f'"{text}"' if p.sense in QUOTED and p.kind != "choice" else text


QUOTED: list[str] = [*LAST, *phrases()["kinds_as_words"]]


def capital(text: str) -> str:
    """The text with a large first letter."""
    return text[:1].upper() + text[1:]


COUNTED = re.compile(r"for \{[\w.]+\} (?:\w+s|people|children)")
LINES = 0.05  # share of orders with many values that give them line by line
CALENDAR = ("month", "year", "year_number")
MOST_CLAUSES = 3  # more of them make a sentence that nobody says


def begun_in(body: str) -> set[str]:
    """The prepositions that join values in a text."""
    return set(re.findall(rf"\b({PREPOSITIONS})(?: [\w-]+)? \{{", body))


def sentence_of(
    params: Sequence[Parameter],
    clauses: list[str],
    verb: str,
    body: str,
    head: str,
    order: bool,
    rng: random.Random,
) -> tuple[list[str], str]:
    """Clauses that stand in the first sentence, and what follows it: clauses of which no two begin
    alike, the other values with their nouns, a text to the end, and lists on their own."""
    said = dict(zip(params, clauses))
    records = [p for p in said if (p.items or p).fields and not p.is_measure]
    texts = [p for p, c in said.items() if c.startswith(":") and p not in records]
    ends = [p for p in records if p.role in ("from", "to") and not p.items]
    if [p.role for p in ends] == ["from", "to"]:
        del said[ends[1]]
        said[ends[0]] = f"from {ends[0].slot} to {ends[1].slot}"
        records = [p for p in records if p not in ends]
    for p in records[:1]:  # "add stops to load L-1: ..."
        named = mentions(head, p) or pattern("carrier").fullmatch(p.words)
        if order and named and len(records) == 1 and not texts:
            said[p], texts, records = f": {p.slot}", [p], []
    flags = [c for p, c in said.items() if p.kind == "flag"]
    dated = [p for p in said if p.kind in DATES or p.sense in CALENDAR]
    begun = begun_in(body)
    spoken: list[str] = []
    noted = texts[1:]
    for p, clause in said.items():
        if p in records or p in texts or p.kind == "flag":
            continue
        first, bare = clause.partition(" ")[0], re.fullmatch(r"\w+ [^{:]*\{\S+\}", clause)
        again = (bare or first == "to") and first in begun - {"with"}
        again = again and dated != [p]  # "on train 5 on May 6"
        if spoken and COUNTED.fullmatch(clause) and COUNTED.match(spoken[-1]):
            spoken[-1] += f" and {clause[4:]}"  # "for two hours and 30 minutes"
        elif not clause or len(spoken) >= MOST_CLAUSES or again:
            noted.append(p)
        else:
            spoken.append(clause)
            begun.add(first)
    rest = "".join(f" {capital(field_noun(p))}: {p.slot}." for p in records).strip()
    form: list[str] = []
    if len(noted) > 2 and order and not records and not texts and rng.random() < LINES:
        rest = "".join(f"\n- {field_noun(p)}: {p.slot} {unit_words(p)}".rstrip() for p in noted)
    elif noted:
        brackets = "(" in " ".join([body, *spoken])
        form = [form_clause(noted, verb, brackets, rng)]
    return [*_with_all([*spoken, *form]), *flags, *(said[p] for p in texts[:1])], rest


def _with_all(clauses: Sequence[str]) -> list[str]:
    """The clauses, of which those with "with" are one list where the first of them stands."""
    things = [c.removeprefix("with ") for c in clauses if c.startswith("with ")]
    if len(things) < 2:
        return list(clauses)
    *before, last = things
    listed = ", ".join(things) if " and " in last else f"{', '.join(before)} and {last}"
    at = next(i for i, c in enumerate(clauses) if c.startswith("with "))
    rest = [c for c in clauses[at:] if not c.startswith("with ")]
    return [*clauses[:at], f"with {listed}", *rest]
