"""How people join a value that only its noun tells about: "in seconds", "on Yahoo", "using RSA".

Read from `data/idioms.yaml`, for values that a description or a choice gives and whose kind says
nothing of them. Left out on purpose: kinds with words of their own (`clauses`).
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from raytune_agents.generate.actions import base_verb
from raytune_agents.generate.grammar import with_article
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import pattern, regex, word_data

# a value that is an adjective of its noun: "environmental consequences"
ADJECTIVE = re.compile(
    r"(?!music|fabric|topic|plastic)[a-z-]+(?:[bcdgimnrstu]al|[bdghlmnrst]ic|[st]ive|ous|vate)"
)
NO_NOUNS = ("type", "kind", "mode", "status", "goal", "option", "level", "state", "topic", "action")
MONTHS = frozenset(calendar.month_name[1:])
WEEKDAY = pattern("weekday")
RELATIVE_DAY = pattern("relative_day")
STRETCH = regex("stretch")


@dataclass(frozen=True)
class Idiom:
    """One line of `data/idioms.yaml`."""

    noun: re.Pattern[str]  # what the parameter's words end with
    value: re.Pattern[str]  # the whole value
    say: tuple[str, ...]
    asks: bool  # where something is asked for alone


@cache
def _idioms() -> tuple[Idiom, ...]:
    lines: Any = word_data("idioms")
    return tuple(
        Idiom(
            re.compile(rf"(?:^|\b)(?:{line['noun']})$"),
            re.compile(line.get("value", ".+")),
            tuple(line["say"]),
            line.get("asks", False),
        )
        for line in lines
    )


def idiom_clauses(p: Parameter, value: Any, asks: bool) -> Sequence[str]:
    """The clauses of a value by the parameter's noun, () where no idiom is known; `asks`: the
    sentence asks for something, so that "in dollars" says how it is wanted."""
    if not isinstance(value, str) or p.items is not None or p.role:
        return ()
    text = value.replace("_", " ")
    whole = re.fullmatch(r"(\w+) (?:type|kind|category|class)", p.words)
    if whole and re.search(rf"\w\W{whole[1]}$", text):
        return ("for a {x}", "in a {x}")  # the cell type "liver cell"
    for idiom in _idioms():
        usable = asks or not idiom.asks
        if usable and idiom.noun.search(p.words) and idiom.value.fullmatch(text):
            return idiom.say
    adjectives = sum(ADJECTIVE.fullmatch(str(v)) is not None for v in p.values)
    told = ADJECTIVE.fullmatch(text) and 2 * adjectives >= len(p.values)
    if told and p.noun.split()[-1:] and p.noun.split()[-1] not in NO_NOUNS:
        article = "" if with_article(p.noun, False) == p.noun else "a "
        return (f"with {article}{{x}} {p.noun}",)  # "with local coverage"
    return ()


def chosen_clause(p: Parameter, value: Any) -> str:
    """The clause of a choice that is a time or a room, as its values say; "" for any other."""
    values = [str(v) for v in (p.items or p).values]
    if values and all(WEEKDAY.fullmatch(v) for v in values):
        return "on {x}"
    if values and set(values) <= MONTHS:
        return "in {x}"
    if values and all(
        re.fullmatch("morning|afternoon|evening|midday|noon|night", v) for v in values
    ):
        return "at {x}" if value in ("midday", "noon", "night") else "in the {x}"
    if isinstance(value, str) and RELATIVE_DAY.match(value):
        return "for {x}" if re.search(STRETCH, p.words) else "{x}"  # "for this month"
    if values and {v.lower() for v in values} <= {"am", "pm"}:
        return "({x})"
    if value in ("metric", "imperial") and re.search(r"\b(units?|system)\b", p.words):
        return "in {x} units"
    if re.search(r"\b(reason|cause)( code)?$", p.words):
        return "({noun}: {x})"
    end = re.search(r"\b(?:destination|(origin))$", p.words)
    if end and isinstance(value, str):  # "to the crematorium"
        return f"{'from' if end[1] else 'to'} {'the ' if value.islower() else ''}{{x}}"
    aim = re.search(r"\b(goal|aim|objective|intent)$", p.words)
    if aim and isinstance(value, str) and base_verb(value) == value:
        return "with the {noun} to {x}"  # "lose", "maintain"
    if re.search(r"\brooms?$", p.words) and any(v.endswith("room") for v in values):
        return "in the {x}"
    return ""
