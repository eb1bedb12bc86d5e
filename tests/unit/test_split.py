"""The split: no gold tool of test_unseen is trained on, whatever the rows and the seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_agents.config import ConfigError, SplitConfig
from raytune_agents.records import Message, ToolCall, Trajectory, finish
from raytune_agents.split import MIXED, assign, check, gold_tools, settle, unit

SECTION = SplitConfig(train=0.6, val=0.2, test_seen=0.2, unseen_tools=0.3)


def row(query: str, tools: list[str]) -> Trajectory:
    calls = tuple(ToolCall.of(name) for name in tools)
    return finish(Trajectory((Message("user", query), Message("assistant", tool_calls=calls))))


@given(
    st.lists(st.tuples(st.text(max_size=8), st.lists(st.sampled_from("abcdefghij"), max_size=3)),
             max_size=60),
    st.integers(0, 9),
)  # fmt: skip
def test_unseen_tools_are_never_trained_on(rows: list, seed: int) -> None:
    found = [assign(row(q, tools), SECTION, seed) for q, tools in rows]
    train = {t for r in found if r.split == "train" for t in gold_tools(r)}
    found = [replace(r, split=settle(r.split, gold_tools(r), train)) for r in found]
    by_split = {
        s: [r for r in found if r.split == s] for s in ("train", "test_seen", "test_unseen")
    }
    trained = {t for r in by_split["train"] for t in gold_tools(r)}
    assert not trained & {t for r in by_split["test_unseen"] for t in gold_tools(r)}
    assert all(gold_tools(r) <= trained for r in by_split["test_seen"])
    assert all(r.split or r.reject_reason == MIXED for r in found)


def test_equal_questions_fall_together_and_shares_hold() -> None:
    rows = [assign(row(f"q{i}", []), SECTION, 1) for i in range(4000)]
    share = {s: sum(r.split == s for r in rows) / 4000 for s in ("train", "val", "test_seen")}
    assert share["train"] == pytest.approx(0.6, abs=0.03)
    assert share["val"] == pytest.approx(0.2, abs=0.03)
    assert (
        assign(row("Same", ["a"]), SECTION, 1).split == assign(row("same", ["a"]), SECTION, 1).split
    )
    assert 0.0 <= unit(1, "tool", "x") < 1.0


def test_an_empty_split_stops() -> None:
    with pytest.raises(ConfigError, match="split val is empty"):
        check({"train": 3, "test_seen": 1, "test_unseen": 1}, SECTION)
