"""Rows on which no call is right, out of rows on which one is: the right tool is taken away.

Training on calls alone teaches a model to call always. So train and val hold a share of such rows
beside the requests that they are made of; what the sources and pools bring counts towards it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

from raytune_agents.calls.gold import needs_no_call
from raytune_agents.calls.schema import find
from raytune_agents.generate.augment import irrelevant
from raytune_agents.records import ToolSpec, Trajectory

ALIKE = 0.4  # share of words from which another tool might do the same
WORD = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{3,}")


def no_call_rows_lacking(rows: Iterable[Trajectory], share: float) -> int:
    """Rows to add so that `share` of all need no call: n = (share * all - such) / (1 - share)."""
    kinds = [needs_no_call(row) for row in rows]
    return max(0, round((share * len(kinds) - sum(kinds)) / (1 - share)))


def _words(tool: ToolSpec) -> frozenset[str]:
    return frozenset(w.lower() for w in WORD.findall(f"{tool.name} {tool.description}"))


def could_serve(row: Trajectory, tool: ToolSpec) -> bool:
    """Whether a tool says much the same as one that the row calls."""
    right = [found for call in row.calls if (found := find(call.name, row.tools))]
    own = _words(tool)
    return any(len(own & _words(r)) > ALIKE * max(1, min(len(own), len(_words(r)))) for r in right)


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
        strangers = [t for t in catalogue if t.name not in called and not could_serve(row, t)]
        made = irrelevant(row, random.Random(f"{seed}/{row.id}"), strangers)
        out += [made] if made else []
    return out
