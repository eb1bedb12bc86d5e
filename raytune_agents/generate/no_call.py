"""Rows on which no call is right, out of rows on which one is: the right tool is taken away.

Training on calls alone teaches a model to call always. So train and val hold a share of such rows
beside the requests that they are made of; what the sources and pools bring counts towards it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from functools import cache

from raytune_agents.calls.gold import needs_no_call
from raytune_agents.calls.schema import find
from raytune_agents.generate.augment import irrelevant
from raytune_agents.records import ToolSpec, Trajectory

ALIKE = 0.4  # share of words from which another tool might do the same
NEAR = 0.5  # share of rows that a near miss stands in
DRAWN = 64  # tools of the catalogue that are looked at for one row
WORD = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{3,}")


def no_call_rows_lacking(rows: Iterable[Trajectory], share: float) -> int:
    """Rows to add so that `share` of all need no call: n = (share * all - such) / (1 - share)."""
    kinds = [needs_no_call(row) for row in rows]
    return max(0, round((share * len(kinds) - sum(kinds)) / (1 - share)))


@cache
def _words(name: str, description: str) -> frozenset[str]:
    return frozenset(w.lower() for w in WORD.findall(f"{name} {description}"))


def word_overlap(row: Trajectory, tool: ToolSpec) -> float:
    """The largest share of words, in [0, 1], that a tool has in common with one the row calls."""
    own, most = _words(tool.name, tool.description), 0.0
    for call in row.calls:
        if right := find(call.name, row.tools):
            words = _words(right.name, right.description)
            most = max(most, len(own & words) / max(1, min(len(own), len(words))))
    return most


def could_serve(row: Trajectory, tool: ToolSpec) -> bool:
    """Whether a tool says much the same as one that the row calls."""
    return word_overlap(row, tool) > ALIKE


def strangers(row: Trajectory, catalogue: Sequence[ToolSpec], rng: random.Random) -> list[ToolSpec]:
    """Tools of other rows that could not serve this one, in the order in which they stand in: for
    half of the rows those that are most like the right one come first."""
    drawn = rng.sample(catalogue, min(DRAWN, len(catalogue)))
    alike = {t.name: word_overlap(row, t) for t in drawn}
    out = [t for t in drawn if alike[t.name] <= ALIKE]
    return sorted(out, key=lambda t: -alike[t.name]) if rng.random() < NEAR else out


def tool_taken_away(rows: Sequence[Trajectory], count: int, seed: int) -> list[Trajectory]:
    """At most `count` rows made of `rows`, each of another one; none where a tool that is left
    might do the same."""
    able = [r for r in rows if r.calls and not r.failed and "goal" not in r.meta]
    catalogue = list({t.name: t for r in able for t in r.tools}.values())
    order = random.Random(f"{seed}/no_call").sample(sorted(able, key=lambda r: r.id), len(able))
    out: list[Trajectory] = []
    for row in order:
        if len(out) == count:
            break
        called = {call.name for call in row.calls}
        if any(could_serve(row, t) for t in row.tools if t.name not in called):
            continue
        rng = random.Random(f"{seed}/{row.id}")
        made = irrelevant(row, rng, strangers(row, catalogue, rng))
        out += [made] if made else []
    return out
