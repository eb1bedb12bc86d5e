"""Rows on which no call is right, out of rows on which one is: the right tool is taken away.

Training on calls alone teaches a model to call always. So train and val hold a share of such rows
beside the requests that they are made of; what the sources and pools bring counts towards it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from raytune_agents.calls.gold import needs_no_call
from raytune_agents.calls.schema import find
from raytune_agents.generate.augment import irrelevant
from raytune_agents.records import ToolSpec, Trajectory

ALIKE = 0.4  # share of words from which another tool might do the same
NEAR = 0.5  # share of rows that a near miss stands in
DRAWN = 32  # tools of the catalogue among which one row finds others
WORD = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{3,}")


def no_call_rows_lacking(rows: Iterable[Trajectory], share: float) -> int:
    """Rows to add so that `share` of all need no call: n = (share * all - such) / (1 - share)."""
    kinds = [needs_no_call(row) for row in rows]
    return max(0, round((share * len(kinds) - sum(kinds)) / (1 - share)))


@cache
def _words(name: str, description: str) -> frozenset[str]:
    return frozenset(w.lower() for w in WORD.findall(f"{name} {description}"))


def word_overlap(row: Trajectory) -> Callable[[ToolSpec], float]:
    """The largest share of words, in [0, 1], that a tool has in common with one the row calls."""
    right = [t for call in row.calls if (t := find(call.name, row.tools))]
    called = [_words(t.name, t.description) for t in right]

    def overlap(tool: ToolSpec) -> float:
        own = _words(tool.name, tool.description)
        shares = (len(own & words) / max(1, min(len(own), len(words))) for words in called)
        return max(shares, default=0.0)

    return overlap


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
        called, overlap = {call.name for call in row.calls}, word_overlap(row)
        if any(overlap(t) > ALIKE for t in row.tools if t.name not in called):
            continue
        rng = random.Random(f"{seed}/{row.id}")
        others = rng.sample(catalogue, min(DRAWN, len(catalogue)))
        if rng.random() < NEAR:  # those that are most like the right one come first
            others.sort(key=overlap, reverse=True)
        made = irrelevant(row, rng, (t for t in others if overlap(t) <= ALIKE))
        out += [made] if made else []
    return out
