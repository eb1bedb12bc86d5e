"""The split: no gold tool of test_unseen is trained on, whatever the rows and the seed; few rows
are kept back by situations."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytune_agents import readers
from raytune_agents.config import SourceConfig, SplitConfig
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.situations import situations
from raytune_agents.split import (
    FEW,
    few_counts,
    gold_tools,
    row_facts,
    split_at,
    split_rows,
    tool_key,
    unit,
)

SECTION = SplitConfig(train=0.6, val=0.2, test_seen=0.2, unseen_tools=0.3)
PREPARED = Path(__file__).parents[2].parent / "shared/data/prepared"
SHOP = Path(__file__).parents[2] / "jobs/examples/handful/rows.jsonl"


def row(query: str, tools: list[str], said: str = "", **fields: object) -> Trajectory:
    calls = tuple(ToolCall.of(name) for name in tools)
    specs = tuple(ToolSpec(name, said) for name in tools)
    turns = (Message("user", query), Message("assistant", tool_calls=calls))
    return finish(Trajectory(turns, specs, **fields))


def many(rows: list[Trajectory]) -> list[Trajectory]:
    """The rows and enough others to be split by hash."""
    return [*rows, *(row(f"no tool {i}", []) for i in range(FEW))]


def by_split(rows: list[Trajectory]) -> dict[str, set[str]]:
    out: dict[str, set[str]] = {}
    for r in rows:
        out.setdefault(r.split, set()).update(gold_tools(r))
    return out


CALLED = st.lists(st.sampled_from([f"t{i}" for i in range(40)]), max_size=2)


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=8), CALLED), max_size=80), st.integers(0, 9))
def test_unseen_tools_are_never_trained_on_and_no_row_is_lost(rows: list, seed: int) -> None:
    found = split_rows(many([row(q, tools) for q, tools in rows]), SECTION, seed)
    tools = by_split(found)
    trained = tools.get("train", set())
    assert not trained & tools.get("test_unseen", set())
    assert tools.get("test_seen", set()) <= trained
    assert all(r.split for r in found)


def test_tools_that_are_called_together_are_on_one_side() -> None:
    pairs = [row(f"q{i}", [f"a{i}", f"b{i}"]) for i in range(60)]
    found = split_rows(many(pairs), SECTION, 1)
    unseen = [r for r in found if r.split == "test_unseen"]
    assert 10 <= len(unseen) <= 18  # 0.3 of 120 tools are 36: at most 18 pairs
    assert not any(r.reject_reason for r in found)


def test_tools_of_earlier_turns_are_not_kept_back() -> None:
    plain = [row(f"q{i}", [f"t{i % 40}"]) for i in range(400)]
    runs = [
        replace(r, messages=(*r.messages, Message("tool", "x"), Message("assistant", "Done.")))
        for r in (row(f"run{i}", [f"t{i}"]) for i in range(20))
    ]
    found = split_rows([*plain, *runs], SECTION, 1)
    unseen = {c.name for r in found if r.split == "test_unseen" for c in r.calls}
    assert unseen
    assert not unseen & {f"t{i}" for i in range(20)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("get_user", "GetUser"), ("math.area", "area"), ("calculate_area", "Area"),
        ("crm__find_lead", "find-lead"), ("geo/distance", "computeDistance"),
    ],
)  # fmt: skip
def test_spellings_of_one_tool(one: str, other: str) -> None:
    assert tool_key(one) == tool_key(other)


def test_other_tools_stay_others() -> None:
    names = [
        "get_user",
        "get_users",
        "delete_user",
        "calculate",
        "area",
        "calculate_area_of_circle",
    ]
    assert len({tool_key(n) for n in names}) == len(names)


def test_tools_of_one_description_are_on_one_side() -> None:
    rows = [
        row(f"q{i}{x}", [f"{x}{i}"], f"Say what number {i} is") for i in range(60) for x in "ab"
    ]
    for seed in range(5):
        tools = by_split(split_rows(many(rows), SECTION, seed))
        assert tools["test_unseen"]
        for name in tools["test_unseen"]:
            twin = ("b" if name[0] == "a" else "a") + name[1:]
            assert twin in tools["test_unseen"]


def test_a_whole_category_is_kept_back() -> None:
    rows = [row(f"q{i}", [f"t{i}"], meta={"domain": f"d{i % 20}"}) for i in range(200)]
    config = SplitConfig(unseen_category="domain")
    found = split_rows(many(rows), config, 3)
    unseen = {r.meta["domain"] for r in found if r.split == "test_unseen"}
    others = {r.meta.get("domain") for r in found if r.split != "test_unseen"}
    assert unseen
    assert not unseen & others


def test_a_tool_fills_no_test_suite() -> None:
    rows = [row(f"common {i}", [f"common{i % 2}"]) for i in range(1000)]
    rows += [row(f"rare {i}", [f"rare{i}"]) for i in range(200)]
    found = split_rows(rows, SplitConfig(), 1)
    for name in ("val", "test_seen", "test_unseen"):
        of_tool = Counter(t for r in found if r.split == name for t in gold_tools(r))
        assert of_tool.most_common(1)[0][1] <= 10
    assert "common0" not in by_split(found)["test_unseen"]  # its rows would be lost
    assert all(r.split for r in found)


def test_where_all_tools_are_frequent_one_is_kept_back_and_its_rows_are_counted() -> None:
    rows = [row(f"q{i}", [f"t{i % 20}"]) for i in range(2000)]
    found = split_rows(rows, SplitConfig(), 1)
    unseen = [r for r in found if r.split == "test_unseen"]
    assert len({t for r in unseen for t in gold_tools(r)}) == 3  # 0.15 of 20
    assert len(unseen) == 300  # 100 rows each, at most 200: twice the even share


def test_a_split_that_the_source_gave_stays_and_its_tools_are_not_kept_back() -> None:
    rows = [row(f"q{i}", [f"t{i % 40}"], split="train") for i in range(400)]
    found = split_rows([*rows, *many([])], SECTION, 1)
    assert [r.split for r in found[:400]] == ["train"] * 400
    assert "test_unseen" not in by_split(found)


def test_equal_questions_fall_together_and_shares_hold() -> None:
    rows = split_rows([row(f"q{i}", []) for i in range(4000)], SECTION, 1)
    share = {s: sum(r.split == s for r in rows) / 4000 for s in ("train", "val", "test_seen")}
    assert share["train"] == pytest.approx(0.6, abs=0.03)
    assert share["val"] == pytest.approx(0.2, abs=0.03)
    places = {row_facts(row(q, ["a"]), SECTION, 1).position for q in ("Same", "same")}
    assert len(places) == 1
    assert 0.0 <= unit(1, "tool", "x") < 1.0


# --- few rows ---


@pytest.mark.parametrize(
    ("rows", "test", "val"),
    [(1, 0, 0), (2, 1, 0), (5, 2, 1), (14, 4, 2), (50, 15, 8), (299, 30, 30)],
)
def test_few_rows_keep_back_a_larger_share(rows: int, test: int, val: int) -> None:
    assert few_counts(rows, SplitConfig()) == (test, val)


def test_a_share_that_is_written_stays() -> None:
    config = SplitConfig(train=0.5, val=0.1, test_seen=0.4)
    assert few_counts(20, config) == (8, 2)


def shop_rows() -> list[Trajectory]:
    found = readers.list_raw(SourceConfig(path=str(SHOP)))
    return [r for where, raw in found for r in readers.read_row(raw, where, "auto")]


@pytest.mark.parametrize("count", [5, 8, 14, 20])
@pytest.mark.parametrize("seed", [1, 17])
def test_a_handful_trains_and_tests_on_every_tool_it_can(count: int, seed: int) -> None:
    found = split_rows(shop_rows()[:count], SplitConfig(), seed)
    sizes = Counter(r.split for r in found)
    assert "test_unseen" not in sizes
    assert (sizes["test_seen"], sizes["val"]) == few_counts(count, SplitConfig())
    tools = by_split(found)
    assert tools["test_seen"] <= tools["train"]


def test_the_folds_of_a_cross_fitting_ask_every_row_once() -> None:
    asked: Counter[str] = Counter()
    sizes = []
    for fold in range(4):
        found = split_rows(shop_rows(), SplitConfig(folds=4, fold=fold), 17)
        tested = [r for r in found if r.split == "test_seen"]
        asked.update(r.id for r in tested)
        sizes.append(len(tested))
        tools = by_split(found)
        assert tools["test_seen"] <= tools["train"]
        assert Counter(r.split for r in found)["val"] == 3  # 15 % of 20, as in one run
    assert sizes == [5, 5, 5, 5]
    assert set(asked.values()) == {1}
    assert len(asked) == 20


def test_folds_of_many_rows_move_on_through_them() -> None:
    config = [SplitConfig(folds=10, fold=k) for k in range(10)]
    assert [split_at(0.35, c) for c in config].count("test_seen") == 1
    assert [split_at(0.35, c) for c in config][3] == "test_seen"
    assert [split_at(0.35, c) for c in config].count("val") == 1


def test_a_fold_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="fold=4 is none of folds=4; write 0 to 3"):
        SplitConfig(folds=4, fold=4)


def test_what_is_asked_alike_or_of_the_same_things_is_one_situation() -> None:
    def asked(query: str, **args: object) -> Trajectory:
        call = ToolCall("f", json.dumps(args))
        return finish(
            Trajectory((Message("user", query), Message("assistant", tool_calls=(call,))))
        )

    rows = [
        asked("book a table for two at Luigi's", place="Luigi's", guests=2),
        asked("book a table for five at Luigi's", place="Luigi's", guests=5),
        asked("we need somewhere to eat, four of us, Chez Rose", place="Chez Rose", guests=44),
        asked("dinner! Chez Rose! the usual group", place="Chez Rose", guests=44),
        asked("what is the weather like", day="Monday"),
        asked("play some jazz", genre="jazz"),
        asked("tell me about Bern", city="Bern"),
    ]
    found = situations(rows)
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert len(set(found)) == 5
    sides = split_rows(rows, SplitConfig(), 1)
    assert sides[0].split == sides[1].split
    assert sides[2].split == sides[3].split


def test_rows_that_cannot_be_told_apart_still_train() -> None:
    rows = [finish(Trajectory((Message("user", "same"), Message("assistant", f"a{i}"))))
            for i in range(6)]  # fmt: skip
    assert {r.split for r in split_rows(rows, SplitConfig(), 1)} == {"train"}
    assert split_rows([], SplitConfig(), 1) == []


@pytest.mark.skipif(not PREPARED.is_dir(), reason="shared/data/prepared is not here")
def test_real_rows_lose_none_and_no_tool_fills_a_suite() -> None:
    rows = []
    with gzip.open(PREPARED / "train.jsonl.gz", "rt") as lines:
        for i, line in enumerate(lines):
            rows += readers.read_row(json.loads(line), str(i), "auto")
    found = split_rows(rows, SplitConfig(), 17)
    assert not any(r.reject_reason for r in found)
    tools = by_split(found)
    assert not tools["test_unseen"] & tools["train"]
    unseen = Counter(t for r in found if r.split == "test_unseen" for t in gold_tools(r))
    assert unseen.most_common(1)[0][1] <= 10
    assert len(unseen) > 300
