"""200 rows of every pool and fault against `gate`: all positives valid, grounded and executable,
all negatives wrong for the reason given."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice, zip_longest

import gate
import pytest

from raytune_agents import agents
from raytune_agents.generate import POOLS
from raytune_agents.negatives import FAULTS, TRAJECTORY_FAULTS, edit, suits
from raytune_agents.records import Trajectory

ROWS = 200
SOURCES = {"missing_call": "parallel", "should_ask_violated": "followup",
           "should_refuse_violated": "irrelevant", "unneeded_call": "notool"}  # fmt: skip


@cache
def drawn(pool: str, seed: int) -> list[Trajectory]:
    """Some more than ROWS rows, the agents in turn."""
    each = -(-ROWS // len(agents.shipped())) + 4
    made = [POOLS[pool](agents.load_spec(name), each, seed) for name in agents.shipped()]
    return [r for part in zip_longest(*made) for r in part if r is not None]


def rows_of(pool: str) -> Iterator[Trajectory]:
    """Different rows; a pool may run out of new requests, and few rows may admit a fault."""
    seen = set()
    for seed in range(31, 61):
        for row in drawn(pool, seed):
            if row.id not in seen:
                seen.add(row.id)
                yield row


@pytest.mark.parametrize("pool", POOLS)
def test_positives(pool: str) -> None:
    rows = list(islice(rows_of(pool), ROWS))
    assert len(rows) == ROWS
    for row in rows:
        assert gate.valid_and_grounded(row) == "", row
        assert gate.executed(row) == "", row
        assert gate.shape(row, pool), row


@pytest.mark.parametrize("fault", FAULTS)
def test_negatives(fault: str) -> None:
    whole = fault in TRAJECTORY_FAULTS
    pool = "react" if whole else SOURCES.get(fault, "tflan")
    pairs = ((row, edit(row, fault, 31)[0]) for row in rows_of(pool) if suits(row, fault))
    made = list(islice(((row, bad) for row, bad in pairs if bad), ROWS))
    assert len(made) == ROWS
    for row, bad in made:
        assert (bad.fault, bad.pool, bad.parents) == (fault, f"negative.{fault}", (row.id,))
        assert (bad.split, bad.tools, bad.outcome) == (row.split, row.tools, 0.0)
        if whole:
            assert gate.run_is(row, bad, fault), bad
            assert gate.executed(bad) in ("", "the state is not the goal's") or (
                gate.executed(bad).startswith("the answer lacks"))  # fmt: skip
        else:
            assert bad.prompt == row.prompt
            assert gate.answer_is(row, bad, fault), bad
