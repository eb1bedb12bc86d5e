"""Rows and roll-outs that the page shows whole: examples of every pool, and of the best arm."""

from __future__ import annotations

import json
from typing import NamedTuple

from raytune_agents.records import FlatRow, Trajectory, from_row
from raytune_agents.report import findings, lineage
from raytune_agents.report.folder import RunContents


def example_rows(run: RunContents, each: int = 3) -> dict[str, list[Trajectory]]:
    """Up to `each` rows of every pool family, of negatives one of every pool and fault at least:
    accepted ones and different kinds first."""
    chosen: dict[str, list[str]] = {}
    for family in findings.by_family(findings.pool_family(g.pool) for g in run.groups):
        groups = [g for g in run.groups if findings.pool_family(g.pool) == family]
        groups.sort(key=lambda g: (bool(g.reject_reason), -g.n, g.first))
        kinds: dict[tuple[str, str], str] = {}
        for g in groups:
            kinds.setdefault((g.pool, g.fault), g.first)
        most = max(each, len(kinds)) if family == "negative" else each
        rest = (i for g in groups for i in (g.first, g.last))
        chosen[family] = list(dict.fromkeys((*kinds.values(), *rest)))[:most]
    whole = lineage.rows_of(run.path, [i for ids in chosen.values() for i in ids])
    return {family: [whole[i] for i in ids if i in whole] for family, ids in chosen.items()}


class ShownRollout(NamedTuple):
    """A line of rollouts.parquet, whether it reached its goal, and its conversation."""

    line: FlatRow
    done: bool
    row: Trajectory


def shown_rollouts(run: RunContents, best: str) -> list[ShownRollout]:
    """Roll-outs to read: of base and of the best arm one that reached its goal and one that did
    not, of different tasks where there are some."""
    found, seen = [], set()
    for arm in dict.fromkeys(("base", best or next(iter(run.scores), ""))):
        for done in (True, False):
            mine = [
                p for p in run.rollouts if p["arm"] == arm and (p["task_completion"] >= 1) == done
            ]
            line = next((p for p in mine if p["task"] not in seen), next(iter(mine), None))
            if line is not None:
                seen.add(line["task"])
                found.append(ShownRollout(line, done, from_row(json.loads(line["row"]))))
    return found
