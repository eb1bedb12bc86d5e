"""Verified synthetic rows that are kept back: a test set and val rows of the user's own agents.

They stand beside few real rows and are never mixed with them or with training: another writer (the
templates, no model rewords them), other draws, and by check no request that shows a training row
and no call whose values training has all seen. Left out: agents that come with the package.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from raytune_agents import agents
from raytune_agents.calls.schema import find, schema_of
from raytune_agents.config import GenerateConfig
from raytune_agents.dedup.text import calls_key
from raytune_agents.generate import sampling, validate_rows
from raytune_agents.records import Trajectory, finish
from raytune_agents.situations import request_values

SYNTHETIC = "synthetic"  # the split of the test rows
AUTO_TEST, AUTO_VAL = 120, 32  # rows where the config says none
REAL_TEST, REAL_VAL = 60, 20  # real rows from which none are made unless the config asks
HELD_SEED = 1_000_003  # added to the run's seed: what is kept back is drawn apart
TRIED = 8  # rows drawn for each that is wanted
CHANGED = ("masked", "noisy", "reordered", "distracted")  # pools of changed rows: perturbations


def own_agents(config: GenerateConfig) -> list[str]:
    """The user's own specs among those that are generated for."""
    return [name for name in config.agents if name not in agents.shipped()]


def held_counts(config: GenerateConfig, real: Mapping[str, int]) -> dict[str, int]:
    """Split -> rows to keep back, {} where there is no own agent. `real`: the sources' rows by
    split."""
    if not own_agents(config):
        return {}
    test, val = config.held_rows, config.held_rows
    if test is None or val is None:
        test = AUTO_TEST if real.get("test_seen", 0) < REAL_TEST else 0
        val = max(0, AUTO_VAL - real.get("val", 0)) if real.get("val", 0) < REAL_VAL else 0
    else:
        val = -(-test // 4)
    return {name: count for name, count in ((SYNTHETIC, test), ("val", val)) if count}


def enum_values(row: Trajectory) -> frozenset[str]:
    """Values of enumerations in the tools that a row calls: there are no others to draw."""
    found: set[str] = set()
    for call in row.calls:
        for detail in schema_of(find(call.name, row.tools)).get("properties", {}).values():
            found |= {str(v).casefold() for v in detail.get("enum", ())}
    return frozenset(found)


class Novelty:
    """Why a row would tell nothing that training has not shown: `seen_values`, `seen_call`."""

    def __init__(self, rows: Sequence[Trajectory], trained: Iterable[Trajectory]) -> None:
        self.values: set[str] = set()
        self.calls: set[str] = set()
        # Of training only what could be in one of the rows: it may have any number of others.
        values, calls = set().union(*map(request_values, rows)), set(map(calls_key, rows))
        for row in trained:
            self.values |= request_values(row) & values
            self.calls |= {calls_key(row)} & calls

    def fault(self, row: Trajectory) -> str:
        if not row.calls:
            return ""
        free = request_values(row) - enum_values(row)
        if free and free <= self.values:
            return "seen_values"
        return "seen_call" if calls_key(row) in self.calls else ""


def held_back(
    config: GenerateConfig,
    real: Sequence[Trajectory],
    trained: Iterable[Trajectory],
    marked: Callable[[Sequence[Trajectory]], list[Trajectory]],
    wanted: Mapping[str, int],
    seed: int,
    execution_fault: Callable[[Trajectory], str],
) -> tuple[list[Trajectory], Counter[str]]:
    """Rows with the splits of `wanted`, verified and unlike every row of `trained`; and how many
    were left out by reason. Fewer rows, in the same ratio, where the specs give no more. `real`:
    the user's training rows, whose habits the rows have; `marked` gives rows back, those that show
    one of `trained` with a reason."""
    total = sum(wanted.values())
    if not total:
        return [], Counter()
    pools = {name: share for name, share in config.pools.items() if name not in CHANGED}
    sources = config.sources.model_copy(update={"own": 0.0})  # no training row with other values
    tried = {"agents": own_agents(config), "rows": TRIED * total, "pools": pools}
    held_config = config.model_copy(update=tried | {"sources": sources})
    # Far more than are wanted: many of the requests and values that specs give stand in training.
    sampled = sampling.sample_rows(held_config, seed + HELD_SEED, real)
    rows = marked(sampled.rows)
    novelty, refused = Novelty(rows, trained), Counter()
    out: list[Trajectory] = []
    for row in rows:
        if len(out) == total:
            break
        why = "seen_request" if row.reject_reason else novelty.fault(row)
        why = why or validate_rows.format_fault(row) or execution_fault(row)
        if why:
            refused[why.partition(":")[0][:40]] += 1
            continue
        out.append(row)
    counts = sampling.apportion(len(out), wanted)
    names = [name for name in wanted for _ in range(counts[name])]
    return [finish(replace(row, split=name)) for row, name in zip(out, names)], refused
