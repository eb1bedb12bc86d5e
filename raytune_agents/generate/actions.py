"""What a tool does, in words: verbs, an object and its prepositional parts.

"Retrieves the weather for a given city using the X API." -> get, "the weather", ("for", "a city").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from raytune_agents.agents.phrasing import name_words
from raytune_agents.agents.signatures import docstring
from raytune_agents.generate.grammar import DETERMINERS, IDIOM, PREPOSITIONS, is_plural
from raytune_agents.generate.wordlists import pattern, phrases, regex, tidied

DROPPED = ("using", "based on", "matching", "given", "via", "through", "by", "according to")
_WHEN = pattern("called_when")
_PURPOSE, _HEADING = pattern("purpose_heading"), pattern("other_heading")
_SIGNS = re.compile("[\u2190-\u2bff\U0001f000-\U0001faff\ufe0f]")  # arrows, emoji


@cache
def verb_groups() -> dict[str, str]:
    """Verb -> its group."""
    return {v: name for name, g in phrases()["groups"].items() for v in g["verbs"]}


def group_of(verb: str) -> str:
    """The group of verbs that one belongs to, "" for none."""
    return verb_groups().get(verb, "")


@cache
def verb_words() -> frozenset[str]:
    """Every word that is known as a verb."""
    return frozenset([*verb_groups(), *phrases()["verbs"]])


@dataclass(frozen=True)
class Action:
    """What a tool does: verbs to choose from, the object's head, and its prepositional parts."""

    verbs: tuple[str, ...]
    head: str
    parts: tuple[tuple[str, str], ...] = ()  # (preposition, noun phrase)
    sure: bool = True  # False: made from a noun, so that only a thing is wanted

    @property
    def group(self) -> str:
        """The group of its first verb."""
        return group_of(self.verbs[0]) if self.verbs else ""

    @property
    def makes(self) -> bool:
        """Whether it makes a thing, which has no id yet and may get a name."""
        made = self.group in ("create", "add", "generate") or self.head.startswith("a new ")
        return made or any(verb in MAKING for verb in self.verbs[:1])


MAKING = ("take", "capture", "draft", "register", "post")


# --- the description ------------------------------------------------------------------------------


def base_verb(word: str) -> str:
    """The bare form of a verb that starts a description, "" where the word is none."""
    word = word.lower().strip(",")
    if (made := pattern("prefixed").match(word)) and (verb := base_verb(word[made.end() :])):
        return f"{made[0]}{verb}"  # "pre-order"
    tries = [word]
    if word.endswith("ies"):
        tries.append(word[:-3] + "y")
    if word.endswith("es"):
        tries += [word[:-2], word[:-1]]
    if word.endswith("s") and not word.endswith("ss"):
        tries.append(word[:-1])
    if word.endswith("ing"):
        tries += [word[:-3], word[:-3] + "e", word[:-4]]
    return next((t for t in tries if t in verb_words() or pattern("made_verb").match(t)), "")


TOLD_OF = re.compile(rf"(?:that|which) (?:{regex('told_of')})")  # "Blocks that were not treated"


def _are_things(words: Sequence[str]) -> bool:
    """Whether the words begin with many things, not with a verb: "Lifts in a building that are
    overdue", "Trips a van made"."""
    return words[0].endswith("s") and bool(pattern("in_place").match(" ".join(words[1:])))


def _is_verb(words: Sequence[str]) -> bool:
    """Whether the first word is used as a verb: "book a room", "books rooms", not "book list"."""
    verb = base_verb(words[0])
    listed = words[0].endswith(",") and len(words) > 1 and not base_verb(words[1])
    listed |= bool(words[0].endswith("s") and TOLD_OF.match(" ".join(words[1:])))
    if pattern("question").match(words[0]) or listed:  # "Requests, bandwidth and threats of a zone"
        return False  # "Whether a device is under warranty"
    after = words[1].lower() if len(words) > 1 else ""
    if after in ("when", "if", "whenever"):
        return words[0][:1].isupper()  # "Alert when a value leaves its range"
    if not verb and re.match(r"(up|off|out|down|back|in|over)$", after):
        return words[0][:1].isupper()  # "Top up a phone"
    begins = after in ("a", "an", "the", "your", "all", "several", "where", "whether")
    if begins and len(words) > 2 and not (verb or _are_things(words)):
        return words[0][:1].isupper() and not words[0].isupper()  # "Conduct an experiment"
    if not verb or len(words) < 2:
        return bool(verb)
    if verb not in phrases()["nouns_too"]:
        return True
    second = words[1].lower().strip(",")
    plural = words[0].lower().endswith("s") and second in ("of", "for", "and")
    plural |= _are_things(words)
    done = words[0].lower().endswith("s") and re.fullmatch(r"\w{3,}ed", second)
    plural |= bool(done and (len(words) < 3 or words[2] in PREPOSITIONS))  # "Ships expected at"
    told = second in ("that", "which") and words[2:] and not DETERMINERS.match(words[2].lower())
    plural = plural or bool(told and words[0].endswith("s"))  # "Tests that failed"
    if second == "of" or (plural and verb != "search"):
        return False
    if DETERMINERS.match(second) or second in ("for", "up", "new", "out"):
        return True
    if words[0].lower() != verb or words[0] == "Note":  # "Note that nobody was at home"
        return True
    return not pattern("thing_looked_up").search(" ".join(words[:4]).lower())


def _stemmed(word: str) -> str:
    """An unknown verb without the ending of the third person."""
    return re.sub(r"(?<=[^s])s$", "", re.sub(r"ies$", "y", word.lower()))


def _purpose(text: str) -> str:
    """A description under headings from its purpose to the next of them: "Purpose:\\n 1. Lists
    contacts.\\nReturns: ..." -> "Lists contacts."."""
    if found := _PURPOSE.search(text):
        text = text[found.end() :]
    text = _HEADING.split(_SIGNS.sub("", text).strip(), maxsplit=1)[0]
    service = pattern("service").match(text)  # "Notion | Retrieve a user"
    return text[service.end() :] if service and base_verb(service[1]) else text


def _first_sentence(text: str) -> str:
    text = _purpose(text) or text
    paragraph = docstring(text)[0]
    text = pattern("belongs_to").sub("", text if _WHEN.match(paragraph) else paragraph)
    first, _, more = text.partition(". ")
    # When it is called says nothing of what it does.
    text = more if more and _WHEN.match(first) else text
    text = tidied(text, "first_sentence")
    before, *after = re.split(r"\s[—–-]\s", text)
    text = before if not after or len(before.split()) > 2 else after[0]
    text = pattern("sentence_end").split(text, maxsplit=1)[0].strip()
    for _ in range(2):
        text = pattern("boilerplate").sub("", text, count=1).strip()
    return text


def _cleaned(text: str) -> str:
    """The object without asides and words that only a manual has."""
    text = tidied(text, "object")
    if re.match(r"who (?:can|may) \w+ (?:and|or) ", text):  # "who can view or edit a page"
        return text
    again = r"(?:\w+ly\s+)?(\w+)\s+(?:an?|the|its|their|which|how|it|them|when|why|what|who)\b.*"
    if (more := re.search(rf"\s+(?:and|or)\s+{again}", text)) and base_verb(more[1]):
        whole = not re.fullmatch(r"an? (new|single)|new", text[: more.start()])
        text = text[: more.start()] if whole else text[more.end(1) :]  # "a new or update an issue"
    more = re.search(r" (?:and|or) (\w+) \w", text)  # "a context or resume current playback"
    if more and more[1] in verb_words() and more[1] not in phrases()["nouns_too"]:
        text = text[: more.start()]
    return " ".join(text.split()).strip(" ,.")


@lru_cache(maxsize=8192)
def action(name: str, description: str) -> Action:
    """What a tool does, read from its description, else from its name."""
    text = _first_sentence(description)
    words = text.split()
    if len(words) > 1 and words[0].endswith("ly") and not base_verb(words[0]):
        words, text = words[1:], text.split(maxsplit=1)[1]  # "Recursively search for files"
    unsaid = not words or not re.search(r"[A-Za-z]{2}", text) or len(words) < 2
    named = name_words(name).split()
    states = pattern("statement").match(text) and not (_is_verb(words) and words[0][-3:] != "ing")
    if unsaid or (len(named) > 1 and states and not _are_things(words)):
        words = named
        text = " ".join(words)
    if not words:
        return Action((), "", (), False)
    if re.match(r"(is|are|does|do|can|has|have) (there|an?|the|my|your|any|all)\b", text, re.I):
        return Action((), "", (), False)  # a question, of which no order can be made
    words, text = _verb_of_name(name, words, text)
    if pattern("question").match(words[0]):
        verb = "check" if words[0].lower() in ("whether", "if") else "tell"
        return Action((verb,), *_cut(_lowered(_cleaned(text))))
    # "Update planning information" of update_plan is an order
    first = words[0].lower()
    changes = named[:1] == [first] and group_of(first) == "update"
    changes |= first in named and first == "search"
    if not (_is_verb(words) or changes):
        return Action(("get",), *_cut(_lowered(_untitled(_cleaned(text)))), False)
    verbs, rest = [base_verb(words[0]) or _stemmed(words[0])], words[1:]
    while rest:  # "create, update or delete a ticket"
        joined = rest[0].lower() in ("or", "and", "/", "and/or") and len(rest) > 1
        after = rest[1] if joined else rest[0]
        if not base_verb(after) or not (joined or words[len(words) - len(rest) - 1].endswith(",")):
            break
        verbs.append(base_verb(after))
        rest = rest[2:] if joined else rest[1:]
    looks = verbs[-1] in ("search", "look", "query", "browse", "ask")
    if looks and rest and rest[0].lower() in ("for", "up", "through"):
        rest = rest[1:]
    particle = r"out|up|off|down|back|on|in" + ("|over" if verbs == ["carry"] else "")
    while rest and re.fullmatch(
        particle if len(rest) < 2 else rf"to|for|{particle}", rest[0].lower()
    ):
        verbs[-1] += f" {rest[0].lower()}"  # "subscribe to weather alerts"
        rest = rest[1:]
    ordered = len(rest) > 1 and (base_verb(rest[0]) == rest[0] or DETERMINERS.match(rest[1]))
    if verbs[-1].endswith(" to") and ordered:
        verbs[-1] += f" {rest[0]}"  # "arrange to pay a debt"
        rest = rest[1:]
    if len(rest) > 1 and rest[0].lower() in ("and", "or") and base_verb(rest[1]):
        rest = rest[2:]  # "take off and hover"
    if verbs == ["log"] and pattern("user_in").match(" ".join(rest)):
        verbs = ["log in"]  # "logs a user into the system"
    told = rest and rest[0].lower() in ("when", "if", "whenever") and rest[1:2] != ["to"]
    if told and verbs[-1] in NOTIFYING:
        verbs[-1] += " me"
    return _with_object(verbs, " ".join(rest))


def _with_object(verbs: list[str], rest: str) -> Action:
    """The action of these verbs whose object and complements the rest tells."""
    informs = verbs[-1] in ("let", *NOTIFYING)
    informed = pattern("informed").fullmatch(rest) if informs else None
    if informed:
        told = verbs[-1] in ("let", "tell")  # "tell the office that", whose tell asks for nothing
        verbs = ["let"] if told else verbs
        whom = f"{informed[1]} know" if told else informed[1]
        rest = f"{whom} {informed[2]} {_cleaned(informed[3])}"
    head, parts = _cut(_untitled(rest if informed else _cleaned(rest)))
    apart = re.fullmatch(r"(an? \w+(?: \w+)?|\w+s) (over|back|up|off|on|out|away)", head)
    if apart and len(verbs) == 1:  # "hand a ticket over"
        verbs, head = [f"{verbs[0]} {apart[2]}"], apart[1]
    receiver = re.fullmatch(r"((?:an?|the) \w+) ((?:an?|the) .+)", head)
    if receiver and verbs[0] in GIVING:  # "charge a member a fee"
        head, parts = receiver[2], (("to", receiver[1]), *parts)
    if any(re.fullmatch("an?|the", phrase) for phrase in (head, *dict(parts).values())):
        return Action((), "", (), False)  # "of the by its barcode given product" is no English
    return Action(tuple(verbs), head, parts)


RETURNED = re.compile(rf"\b({regex('goods')})s?\b")
NOTIFYING: list[str] = phrases()["notifying"]


def _verb_of_name(name: str, words: list[str], text: str) -> tuple[list[str], str]:
    """The words with a verb at their start, where the name has one and the description has none:
    "Ticket close." -> close ticket, "Fast search in all code" of search_code -> search code."""
    named = name_words(name).split()
    if named[:1] == ["return"] and RETURNED.search(name_words(name)):
        words = ["send", "back", *words[1:]]  # of goods, not of an answer
        return words, " ".join(words)
    if words[0] == "Request" and group_of(named[0]) in READING:
        words = [named[0], *words[1:]]  # "Request wifi status" of get_wifi_status
        return words, " ".join(words)
    spelled = [w.strip(".").lower() for w in words] == named
    nouns = phrases()["nouns_too"]
    at_end = len(named) > 1 and named[-1] in verb_words() and named[-1] not in nouns
    if spelled and at_end and base_verb(named[0]) in ("", *nouns):
        words = [named[-1], "a", *named[:-1]]  # "Issue create."
        return words, " ".join(words)
    said = text.lower().split()
    if len(named) < 2:
        return words, text
    looks_up = group_of(named[0]) in (*READING, "search")
    noun = looks_up and (said[0] in nouns or said[0] == f"{named[-1].rstrip('s')}s")
    counted = re.match(r"\w+s(?:, \w+s)*,? and \w+s of ", text)  # "Opens and clicks of a campaign"
    if counted and group_of(named[0]) in READING:
        text = f"{named[0]} the {_lowered(text)}"
        return text.split(), text
    # "List the parts" of get_parts, "List storage policies" of get_policies
    listed = words[0] == "List" and is_plural(_cut(text)[0].split()[-1])
    noun = noun and not (DETERMINERS.match(said[1]) or listed)
    if noun and named[0] not in said and named[-1] in said[:3]:
        text = f"{named[0]} {_lowered(text)}"  # "Group classes on a day" of list_classes
        return text.split(), text
    if pattern("question").match(words[0]) or _is_verb(words):
        return words, text
    if group_of(named[0]) == "search" and named[-1] in said and named[0] not in said:
        text = f"{named[0]} {_lowered(text)}"  # "Free slots of a dentist"
        return text.split(), text
    at = next((i for i, w in enumerate(named) if w in verb_words()), -1)
    if at < 0:
        return words, text
    sure = base_verb(named[at]) not in nouns
    if 0 < at < 3 and spelled:
        words = named[at:]
    elif at == 0 and (sure or named[0] == "search") and group_of(named[0]) not in READING:
        words = named
    return words, " ".join(words)


GIVING = ("charge", "send", "give", "offer", "grant", "assign", "issue", "pay", "show", "award")
READING = ("show", "give", "list", "compute", "check")  # what is read is wanted all the same


def _untitled(text: str) -> str:
    """An object in Title Case in small letters; names keep their capitals."""
    long = [w for w in re.findall(r"[A-Za-z]+", text) if len(w) > 3]
    titled = bool(long) and all(re.fullmatch(r"[A-Z][a-z]+", w) for w in long)
    return text.lower() if titled else pattern("title_case").sub(_common, text)


def _common(m: re.Match[str]) -> str:
    """Words in small letters where they are no name: names have no article and no plural."""
    one = m[1].strip().lower() in ("a", "an", "new", "another", "each")
    return m[1] + (m[2].lower() if one or (m[2].endswith("s") and m[1]) else m[2])


def _lowered(text: str) -> str:
    """A small first letter, unless the word is written in capitals or as a name."""
    small = re.match(r"[A-Z][a-z]*(-[a-z]+)*(,?\s[a-z]|$)", text)
    return text[:1].lower() + text[1:] if small else text


_INFINITIVES = verb_words() - {*phrases()["nouns_too"]}


def _cut(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """An object as its head and (preposition, noun phrase) pairs."""
    if text.startswith("that "):
        return text, ()  # "record that a payment was made"
    # "the lights on": a particle at the end is the verb's.
    text = f" {text}" if re.search(r"\s(on|in|over)$", text) else f" {text} "
    text = re.sub(rf",(?= (?:{PREPOSITIONS}) )", "", text)
    text = NAME_WITH_OF.sub(lambda m: m[0].replace(" ", "_"), text)
    text = FIXED_OF.sub(lambda m: m[0].replace(" of ", "_of_"), text)  # "terms of service"
    pieces = re.split(rf"(?<!\bnumber)\s({PREPOSITIONS})\s(?!\d|{IDIOM}\b)", text)
    head = pieces[0].strip()
    if not head and len(pieces) > 2:  # starts with a preposition
        head, pieces = pieces[2].strip(), [pieces[0], *pieces[3:]]
    parts: list[tuple[str, str]] = []
    either = ""
    for preposition, phrase in zip(pieces[1::2], map(str.strip, pieces[2::2])):
        if preposition == either:  # "to the customer or to a third party"
            either = ""
            continue
        either = preposition if phrase.endswith(" or") else ""
        phrase = re.sub(r" (?:or|and)$", "", phrase)  # "of a vehicle or of the whole fleet"
        done = phrase.split(" ")[0] in _INFINITIVES or head in ("when", "how", "where")
        if preposition == "to" and done and not parts:
            head += f" to {phrase}"  # "what one needs to enter a country"
        elif not parts and (inner := re.match(rf"({PREPOSITIONS}) (.+)", phrase)):
            if preposition not in DROPPED:  # "torrents based on given keywords"
                head += f" {preposition}"  # "let a member in at a gate"
            parts.append((inner[1], inner[2]))
        elif phrase:
            parts.append((preposition, phrase))
        elif pieces[-1] == "" and parts:  # "how far a claim has got to"
            parts[-1] = (parts[-1][0], f"{parts[-1][1]} {preposition}")
    whole = tuple((p, phrase.replace("_of_", " of ")) for p, phrase in parts)
    return head.replace("_of_", " of "), whole


FIXED_OF = pattern("fixed_of")
NAME_WITH_OF = re.compile(r"\b[A-Z][a-z]+ of [A-Z][a-z]+(?= [a-z])")  # "League of Legends champion"
