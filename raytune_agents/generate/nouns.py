"""The nouns by which descriptions speak of their parameters: what `placing` looks for."""

from __future__ import annotations

import re

from raytune_agents.generate import descriptions
from raytune_agents.generate.actions import base_verb
from raytune_agents.generate.grammar import DETERMINERS
from raytune_agents.generate.kind_table import KIND_WORDS, kind_named
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import compiled, pattern, phrases, regex

ITSELF: list[str] = phrases()["kinds_as_said"]
TITLED = pattern("titled")
DURATIONS = ("minutes", "hours", "seconds", "days", "weeks")
KINDLY = regex("kindly")
CLAUSE = regex("clause")
PREDICATE = regex("predicate")
# "a running mission": one that is known
IN_STATE = r"(new|newly|open|active|pending|existing|current|draft|\w{3,}ed|\w{3,}ing) \w"
TOLD = "(?:belonging|associated|linked|attached|connected|related)"
PERSONAL = ("email", "phone", "username", "person")
NAMES = ("name", "document_title", "event_title")


def has_range(p: Parameter) -> bool:
    """Whether a value is a number of a usual size: a count or a measure."""
    return bool(kind_named(p.sense).range)


def named_slot(noun: str, p: Parameter) -> str:
    """The place of a value, behind its noun where it says which one: "member 7", but "ana"."""
    return f"{noun} {p.slot}" if p.is_numbered else p.slot


def numbered_slot(noun: str, p: Parameter) -> str:
    """A noun and its value, with an article where an adjective says in which state it is, before a
    participle: "actuator 5 connected" to a device."""
    told = re.fullmatch(rf"(.+) ({TOLD})", noun)
    if told:
        return f"{numbered_slot(told[1], p)} {told[2]}"
    return f"the {noun} {p.slot}" if re.match(IN_STATE, noun) else f"{noun} {p.slot}"


def names_deed(p: Parameter) -> bool:
    """Whether a name says what is done with the thing, not what it is: "keep", "drop"."""
    return base_verb(p.words) == p.words and p.words not in phrases()["nouns_too"]


def is_handle(value: object) -> bool:
    """Whether a value is what machines call a thing, no word: "linux-small", "mail_out"."""
    return re.fullmatch(r"[a-z0-9]+(?:[-_.][a-z0-9]+)+", str(value)) is not None


def is_subject(phrase: str, p: Parameter) -> bool:
    """Whether a noun phrase has the words of what a description speaks of: "The type of
    measurement" is a measurement type."""
    words = set(re.findall(r"[a-z]+", phrase.lower())) - {"a", "an", "the"}
    subject = re.findall(r"[a-z]+", descriptions.subject_of(p.about).replace(" of ", " "))
    return len(subject) > 1 and sorted(subject) == sorted(words)


def mentions(phrase: str, p: Parameter) -> bool:
    """Whether a noun phrase speaks of a parameter."""
    words = set(re.findall(r"[a-z]+", phrase.lower()))
    general = "id|name|title|number|code|no"
    ending = rf"(?<!first|.last|.full)(?<=\w)\s+(km|kg|cm|mm|m|miles|usd|eur|gb|mb|{general})$"
    measured = re.sub(ending, "", p.noun)
    own = {*measured.split()[-1:], *re.sub(" of$", "", p.words).split()[-1:]}
    if p.sense in PERSONAL:  # "an interviewer" + interviewer email
        own |= set(
            re.sub(r"\b(e ?mail|phone|user|name|address|number)s?\b", "", p.words).split()[-1:]
        )
    if p.sense == "username":
        own.add("user")
    own -= {"name", "number", "code", "type", "new", "title", "text", "id", "ids", "no", "key"}
    singular = {re.sub(r"(?<=\w\w)s$", "", w) for w in words}
    if is_subject(phrase, p):
        return True
    speaks = kind_named(p.sense).nouns or p.sense.replace("_", " ")
    return bool((words | singular) & own) or bool(
        speaks and compiled(rf"\b({speaks})s?$").search(phrase.lower())
    )


def speaks_of(phrase: str, p: Parameter) -> bool:
    """Whether a phrase that mentions a parameter means one: "user authentication" is no user."""
    words = phrase.split()
    if DETERMINERS.match(words[0]) or len(words) < 2:
        return True
    heads = [one.split()[-1] for one in re.split(r",? (?:and|or) |, ", phrase) if one]
    return any(mentions(head, p) for head in heads)


def whose_kind(words: str, about: str) -> str:
    """ "firing kind" for a kind that its description calls "firing type" or "type of firing"."""
    if not re.fullmatch(KIND_WORDS, words):
        return words
    told = re.match(
        rf"(?:the )?(?:(?!an? |the |its |your )([a-z]+) {KIND_WORDS}"
        rf"|{KIND_WORDS} of (?:the |an? )?([a-z]+))(?:$|[.,:;(])",
        about.lower().strip(),
    )
    thing = (told[1] or told[2]) if told else ""
    return words if not thing or thing in descriptions.NAMES["anything"] else f"{thing} {words}"
