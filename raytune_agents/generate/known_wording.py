"""What known requests say before a value: a clause of their own, "the patient with ID P-1"."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from raytune_agents.agents.analyse import Profile
from raytune_agents.generate.forms import QUOTED
from raytune_agents.generate.frames import drawn
from raytune_agents.generate.grammar import PREPOSITIONS
from raytune_agents.generate.parameter import Parameter


def id_habits(habits: Profile) -> Counter[str]:
    """How often the known requests say "ID" before an id, and how often they do not ("")."""
    out: Counter[str] = Counter()
    named = (item for of_tool in habits.clauses.values() for item in of_tool.items())
    for name, clauses in named:
        if re.search(r"id$", name, re.I):
            for clause, n in clauses.items():
                out["ID" if re.search(r"\bID \{x\}", clause) else ""] += n
    return out


def with_ids(text: str, params: Sequence[Parameter]) -> str:
    """The text with "ID" before each id that stands behind its noun alone."""
    for p in params:
        if p.words != f"{p.noun} id" or p.items is not None:
            continue
        pattern = rf"((?:[\w-]+ )?){re.escape(p.noun)} ({re.escape(p.slot)})"
        if found := re.search(pattern, text):
            the = "the " if re.fullmatch(PREPOSITIONS, found[1].strip()) else ""
            said = f"{found[1]}{the}{p.noun} with ID {found[2]}"
            text = f"{text[: found.start()]}{said}{text[found.end() :]}"
    return text


ADVERB = re.compile(rf"(?:{PREPOSITIONS}|now|today|tonight|tomorrow|this|next|last)\b")


# what suits any tool: "about {x}" and "to {x}" belong to what is done
ANYWHERE = re.compile(r"(?:in|on|at|from|by|under|near|within)\b|for \{x\} \w")


def known_clause(tool: str, p: Parameter, value: Any, rng: random.Random, habits: Profile) -> str:
    """How the known requests say the tool's argument, or of another tool one of that name; "" for
    unknown."""
    if isinstance(value, bool | list | dict):
        return ""
    counted = Counter(habits.clauses.get(tool, {}).get(p.name, {}))
    for named in habits.clauses.values() if not counted else ():
        others = named.get(p.name, {})
        counted.update({c: n for c, n in others.items() if ANYWHERE.match(c)})
    adverb = ADVERB.match(str(value)) if len(str(value).split()) < 6 else None
    joined = adverb and re.fullmatch(PREPOSITIONS, adverb[0]) and p.sense not in QUOTED
    if joined or (adverb and counted):
        return p.slot  # "in two days", "tonight"
    if not counted:
        return ""
    clause = drawn(counted, rng)
    if re.fullmatch(r"with (the )?ID \{x\}", clause):
        clause = f"for {p.noun} with ID {{x}}"  # whose it is stood before it
    if p.sense in ("city", "country", "state") and str(value)[:1].isupper():
        clause = clause.replace("the {x}", "{x}")  # "in the city" makes no "in the Phoenix"
    if str(value)[:1].islower() and len(clause.split()) == 2:
        return ""  # "on Monday", but not "on week"
    return clause.replace("{x}", p.slot)
