"""What known requests say before a value: a clause of their own, "the patient with ID P-1"."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from raytune_agents.agents.analyse import Profile
from raytune_agents.generate.frames import drawn
from raytune_agents.generate.grammar import PREPOSITIONS
from raytune_agents.generate.nouns import slot_of
from raytune_agents.generate.parameter import Parameter


def id_habits(habits: Profile) -> Counter[str]:
    """How often the known requests say "ID" before an id, and how often they do not ("")."""
    out: Counter[str] = Counter()
    for name, clauses in habits.clauses.items():
        if re.search(r"id$", name, re.I):
            for clause, n in clauses.items():
                out["ID" if re.search(r"\bID \{x\}", clause) else ""] += n
    return out


def with_ids(text: str, params: Sequence[Parameter]) -> str:
    """The text with "ID" before each id that stands behind its noun alone."""
    for p in params:
        if p.words != f"{p.noun} id" or p.items is not None:
            continue
        pattern = rf"((?:[\w-]+ )?){re.escape(p.noun)} ({re.escape(slot_of(p))})"
        if found := re.search(pattern, text):
            the = "the " if re.fullmatch(PREPOSITIONS, found[1].strip()) else ""
            said = f"{found[1]}{the}{p.noun} with ID {found[2]}"
            text = f"{text[: found.start()]}{said}{text[found.end() :]}"
    return text


ADVERB = re.compile(rf"(?:{PREPOSITIONS}|now|today|tonight|tomorrow|this|next|last)\b")


def known_clause(p: Parameter, value: Any, rng: random.Random, habits: Profile) -> str:
    """How the known requests say an argument of this name, "" for unknown."""
    counted = habits.clauses.get(p.name)
    if not counted or isinstance(value, bool | list | dict):
        return ""
    if ADVERB.match(str(value)):
        return slot_of(p)  # "tonight", "in two days"
    clause = drawn(counted, rng)
    if re.fullmatch(r"with (the )?ID \{x\}", clause):
        clause = f"for {p.noun} with ID {{x}}"  # whose it is stood before it
    if p.sense in ("city", "country", "state") and str(value)[:1].isupper():
        clause = clause.replace("the {x}", "{x}")  # "in the city" makes no "in the Phoenix"
    if str(value)[:1].islower() and len(clause.split()) == 2:
        return ""  # "on Monday", but not "on week"
    return clause.replace("{x}", slot_of(p))
