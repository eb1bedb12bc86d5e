"""In which order the clauses of a wish stand, and what becomes a form, a list or a last text."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from raytune_agents.generate.forms import capital, field_noun, form_clause, unit_words
from raytune_agents.generate.grammar import PREPOSITIONS
from raytune_agents.generate.named_clauses import DATES
from raytune_agents.generate.nouns import is_measure, mentions, slot_of
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import regex

COUNTED = re.compile(r"for \{[\w.]+\} (?:\w+s|people|children)")
LINES = 0.05  # share of orders with many values that give them line by line
CARRIER = regex("carrier")
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
    records = [p for p in said if (p.items or p).fields and not is_measure(p)]
    texts = [p for p, c in said.items() if c.startswith(":") and p not in records]
    ends = [p for p in records if p.role in ("from", "to") and not p.items]
    if [p.role for p in ends] == ["from", "to"]:
        del said[ends[1]]
        said[ends[0]] = f"from {slot_of(ends[0])} to {slot_of(ends[1])}"
        records = [p for p in records if p not in ends]
    for p in records[:1]:  # "add stops to load L-1: ..."
        named = mentions(head, p) or re.fullmatch(CARRIER, p.words)
        if order and named and len(records) == 1 and not texts:
            said[p], texts, records = f": {slot_of(p)}", [p], []
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
    rest = "".join(f" {capital(field_noun(p))}: {slot_of(p)}." for p in records).strip()
    form: list[str] = []
    if len(noted) > 2 and order and not records and not texts and rng.random() < LINES:
        rest = "".join(f"\n- {field_noun(p)}: {slot_of(p)} {unit_words(p)}".rstrip() for p in noted)
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
