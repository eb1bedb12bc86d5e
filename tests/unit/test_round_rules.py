"""Rules of learning from failure: every number worked out by hand."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from raytune_agents import agents, rounds
from raytune_agents.config import ConfigError, load_config
from raytune_agents.mix import NO_CALL, RowKind
from raytune_agents.negatives import mined
from raytune_agents.pipeline import round_tasks
from raytune_agents.pipeline.rounds import CALLS, lost_metrics, rows_by_pool, validate_rounds
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.rounds import BandTasks, Cluster, RoundRecord

CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"]}  # fmt: skip
TOOLS = (ToolSpec("weather", "the weather", json.dumps(CITY)),
         ToolSpec("news", "the news", json.dumps(CITY)))  # fmt: skip


def task(request: str, *calls: ToolCall) -> Trajectory:
    answer = Message("assistant", "" if calls else "Hello.", tool_calls=calls)
    return finish(Trajectory((Message("user", request), answer), TOOLS, split="train"))


def failure(of: Trajectory, text: str) -> Trajectory:
    bad = mined(of, text)
    assert bad is not None
    return bad


ROME = task("What is the weather in Rome?", ToolCall.of("weather", city="Rome", days=2))
OSLO = task("Weather in Oslo please", ToolCall.of("weather", city="Oslo"))
BOTH = task("Tell me the weather and then also the news of the city of Oslo",
            ToolCall.of("weather", city="Oslo"), ToolCall.of("news", city="Oslo"))  # fmt: skip
HELLO = task("Hello there")


@pytest.mark.parametrize(
    ("request_text", "phrasing"),
    [
        ("Is it cold?", "question"),
        ("Weather in Oslo", "terse"),
        ("Weather in Oslo and in Rome, please do", "order"),
        (" ".join(["word"] * 30), "long"),
    ],
)
def test_phrasing(request_text: str, phrasing: str) -> None:
    assert rounds.phrasing_of(request_text) == phrasing


@pytest.mark.parametrize(
    ("of", "text", "cluster"),
    [
        (ROME, '[{"name": "weather", "arguments": {"city": "Rome", "days": 3}}]',
         Cluster("wrong_value", "weather", "days", 1, "question")),
        (ROME, '[{"name": "weather", "arguments": {"days": 2}}]',
         Cluster("missing_required", "weather", "city", 1, "question")),
        (OSLO, '[{"name": "weather", "arguments": {"city": "Oslo", "town": "x"}}]',
         Cluster("extra_argument", "weather", "town", 1, "terse")),
        (BOTH, '[{"name": "weather", "arguments": {"city": "Oslo"}}]',
         Cluster("missing_call", "news", "", 2, "order")),
        (OSLO, "It is cold.", Cluster("answered_directly", "weather", "", 1, "terse")),
        (HELLO, '[{"name": "news", "arguments": {"city": "Oslo"}}]',
         Cluster("unneeded_call", "", "", 0, "terse")),
    ],
)  # fmt: skip
def test_a_failure_is_named_by_fault_tool_argument_calls_and_phrasing(of, text, cluster) -> None:
    assert rounds.cluster_of(failure(of, text), of) == cluster


def test_failures_are_counted_by_the_task_that_is_their_parent() -> None:
    bad = [failure(OSLO, "It is cold."), failure(OSLO, "It is warm."), failure(ROME, "Warm.")]
    found = rounds.failure_clusters(bad, {OSLO.id: OSLO})  # of ROME nothing is known
    assert found == {Cluster("answered_directly", "weather", "", 1, "terse"): 2}


def test_new_tasks_go_where_the_failures_are() -> None:
    many, some, one = Cluster("a"), Cluster("b"), Cluster("c")
    # 10 over 5:3:1 = 5.56, 3.33, 1.11 -> 5 + 3 + 1, and the one that is left to the 0.56
    assert rounds.allocate({one: 1, many: 5, some: 3}, 10) == {many: 6, some: 3, one: 1}
    # 2 over 1:1:1 = 0.67 each: the first two, and none for the third
    assert rounds.allocate({many: 1, some: 1, one: 1}, 2) == {many: 1, some: 1}
    assert rounds.allocate({}, 10) == {}


def test_how_well_a_task_suits_a_cluster() -> None:
    days = Cluster("wrong_value", "weather", "days", 1, "question")
    assert rounds.task_fit(ROME, days) == 1 + 4 + 2 + 1
    assert rounds.task_fit(OSLO, days) == 1 + 2  # the tool and the number of calls
    assert rounds.task_fit(BOTH, days) == 1
    assert rounds.task_fit(HELLO, days) == 0
    no_call = Cluster("unneeded_call", "", "", 0, "terse")
    assert [rounds.task_fit(r, no_call) for r in (HELLO, OSLO)] == [1 + 2 + 1, 0]


def test_a_candidate_is_taken_once_and_the_most_alike_first() -> None:
    days = Cluster("wrong_value", "weather", "days", 1, "question")
    news = Cluster("missing_call", "news", "", 2, "order")
    found = rounds.match_tasks({days: 2, news: 2}, [HELLO, OSLO, BOTH, ROME])
    assert found == {days: [OSLO, ROME], news: [BOTH]}  # fewer than wanted, never another tool


def test_the_band_has_its_ends_and_what_is_above_retires() -> None:
    right = {"a": 0, "b": 1, "c": 3, "d": 4, "e": 5}
    rates = rounds.success_rates(right, 5)
    assert rates == {"a": 0.0, "b": 0.2, "c": 0.6, "d": 0.8, "e": 1.0}
    found = rounds.by_band(rates, (0.2, 0.75), 0.95)
    assert found == BandTasks(kept=("b", "c"), easy=("d",), hard=("a",), retired=("e",))
    record = RoundRecord(1)
    record.occupy(found)
    assert (record.measured, record.in_band_share) == (5, 2 / 5)
    record.occupy(BandTasks())
    assert (record.measured, record.in_band_share) == (0, 0.0)


def test_few_tasks_in_the_band_are_said() -> None:
    record = RoundRecord(1)
    record.occupy(BandTasks(kept=("a",), hard=tuple("bcdefghijk")))  # 1 of 11
    assert "1 of 11 tasks" in rounds.few_in_band(record, (0.2, 0.85))
    assert "too hard" in rounds.few_in_band(record, (0.2, 0.85))
    record.occupy(BandTasks(kept=("a",), hard=tuple("bcdefghij")))  # 1 of 10: enough
    assert rounds.few_in_band(record, (0.2, 0.85)) == ""
    record.occupy(BandTasks(retired=("a", "b")))
    assert "too easy" in rounds.few_in_band(record, (0.2, 0.85))


def test_tasks_are_good_rows_with_tools_whatever_their_order() -> None:
    rows = [ROME, OSLO, BOTH, HELLO, ROME, failure(OSLO, "It is cold.")]
    drawn = rounds.sample_tasks(rows, 3, "1/1")
    assert len({r.id for r in drawn}) == 3
    assert rounds.sample_tasks(rows[::-1], 3, "1/1") == drawn
    assert len(rounds.sample_tasks(rows, 99, "1/1")) == 4


def test_the_budget_is_shared_by_the_rounds_that_are_left() -> None:
    assert rounds.round_budget(None, 500, 2) is None
    assert rounds.round_budget(900, 0, 3) == 300
    assert rounds.round_budget(900, 350, 2) == 275
    assert rounds.round_budget(900, 950, 1) == 0


def test_a_round_is_worse_where_val_fell_by_more_than_chance_or_a_guarded_metric_is_lost() -> None:
    assert rounds.is_worse(0.5, 0.5, 0.0, []) == ""
    assert rounds.is_worse(0.5, 0.45, 0.05, []) == ""
    assert rounds.is_worse(0.5, 0.25, -0.01, []) == "val fell from 0.500 to 0.250"
    assert rounds.is_worse(0.5, 0.25, None, []) == ""  # nothing was measured
    assert rounds.is_worse(0.5, 0.9, 0.6, ["instruction_following"]) == "lost instruction following"


def test_the_result_is_the_best_good_round() -> None:
    start, one, two = RoundRecord(0, 0.4), RoundRecord(1, 0.3, rows=2), RoundRecord(2, 0.4, rows=2)
    bad, empty = RoundRecord(3, 0.9, rows=2, worse="lost irrelevance"), RoundRecord(3, 0.9)
    assert rounds.best_round([start, one], True) == 0
    assert rounds.best_round([start, one], False) == 1
    assert rounds.best_round([start, one, two, bad], True) == 2
    assert rounds.best_round([start, one, two, empty], True) == 2
    assert rounds.best_round([start, replace(one, worse="x")], False) is None


def test_rounds_end_when_the_last_ones_brought_nothing() -> None:
    assert not rounds.stalled([0.2, 0.2], 2)  # one round so far
    assert rounds.stalled([0.2, 0.2, 0.2], 2)
    assert not rounds.stalled([0.2, 0.2, 0.3], 2)
    assert rounds.stalled([0.2, 0.3, 0.3, 0.3], 2)


def test_a_judge_that_says_yes_to_wrong_rows_is_known() -> None:
    assert rounds.believes_anything(5, 8)
    assert not rounds.believes_anything(4, 8)


def values(**by: float) -> dict[str, dict[str, float]]:
    return {name: {str(i): v for i in range(100)} for name, v in by.items()}


def test_the_gate_knows_what_a_start_had_to_lose() -> None:
    kept = {"irrelevance": 1.0, "instruction_following": 0.5}
    first = values(relevance=0.9, **kept)
    assert lost_metrics(first, values(relevance=0.9, **kept), True) == []
    over = values(relevance=0.9, **kept | {"irrelevance": 0.0})
    assert lost_metrics(first, over, True) == ["irrelevance"]
    refuses = values(relevance=0.0, **kept | {"irrelevance": 1.0})
    assert lost_metrics(first, refuses, True) == ["relevance"]
    silent = values(relevance=0.1, **kept)  # a base that hardly calls is no reference
    assert lost_metrics(silent, over, False) == []
    assert lost_metrics(silent, over, True) == ["irrelevance"]


def test_the_rows_of_a_round_keep_the_mixs_share_without_a_call() -> None:
    kind = {no_call: RowKind("positive", False, no_call, False) for no_call in (True, False)}
    rows = SimpleNamespace(counted=[
        ("a", kind[True], 10), ("b", kind[True], 10), ("c", kind[True], 10), ("d", kind[False], 10),
        ("e", kind[False], 0),
    ])  # fmt: skip
    found, weights = rows_by_pool(rows, 0.25)
    assert found == [("a", NO_CALL, 10), ("b", NO_CALL, 10), ("c", NO_CALL, 10), ("d", CALLS, 10)]
    # three of four rows need no call, a quarter of the trained tokens
    assert weights == {CALLS: pytest.approx(0.75), NO_CALL: pytest.approx(0.25)}
    assert {pool for _, pool, _ in rows_by_pool(rows, 0.0)[0]} == {CALLS}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["train.rounds.band=[0.9, 0.2]"], "retired above it"),
        (["train.rounds.band=[0.2, 0.97]"], "retired above it"),
        (["train.rounds.samples=1"], "write samples: 4"),
        (["train.rounds.select=luck"], "failure"),
        (["train.rounds.metod=dpo"], "method"),
    ],
)
def test_a_bad_option_says_what_to_write(options: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(None, options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["train.parameters=full"], "write parameters: lora"),
        (["train.grpo.turns=4", "train.grpo.rewards=[goal]", "train.grpo.reward_weights=[1]"],
         "write grpo.turns: 1"),
    ],
)  # fmt: skip
def test_what_rounds_cannot_train(options: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        validate_rounds(load_config(None, ["train.arms={a: {method: rounds}}", *options]))


def test_counts_of_clusters_keep_their_order() -> None:
    clusters = Counter({Cluster("b"): 2, Cluster("a"): 2})
    assert list(rounds.allocate(clusters, 2)) == [Cluster("a"), Cluster("b")]


def failed_at(tool: str, description: str = "Gets the weather of a city.") -> Trajectory:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    turns = (Message("user", "What is the weather in Oslo?"), Message("assistant", "No idea."))
    return finish(Trajectory(turns, (ToolSpec(tool, description, json.dumps(schema)),)))


def test_new_tasks_come_from_the_agents_that_have_the_tool(tmp_path: Path) -> None:
    config = load_config(None, ["generate.agents=[qa, support]"]).generate
    tool = agents.load_spec("support").tools[0].name
    record = RoundRecord(1)
    clusters = [Cluster("wrong_value", tool), Cluster("wrong_type", "weather")]
    file = tmp_path / "round" / "rows.yaml"
    assert round_tasks.agents_with(config, clusters, [], file, record) == ["support"]
    assert "failures at 1 tools (weather) bring no new tasks" in record.notes[0]
    assert not file.exists()
    drawn = round_tasks.fresh_tasks(config, 6, 3, {})
    known = {drawn[0].id: drawn[0]}
    assert drawn[0].query not in {r.query for r in round_tasks.fresh_tasks(config, 6, 3, known)}


def test_tools_of_rows_that_were_read_bring_new_tasks(tmp_path: Path) -> None:
    config = load_config(None, ["generate.agents=[qa, support]"]).generate
    record, file = RoundRecord(1), tmp_path / "rows.yaml"
    clusters = [Cluster("wrong_value", "forecast_at"), Cluster("wrong_value", "bad name")]
    failures = [failed_at("forecast_at"), failed_at("bad name")]
    able = round_tasks.agents_with(config, clusters, failures, file, record)
    assert able == [str(file)]
    assert len(record.notes) == 1
    assert "(bad name)" in record.notes[0]
    drawn = round_tasks.fresh_tasks(config.model_copy(update={"agents": able}), 6, 3, {})
    assert {c.name for row in drawn for c in row.calls} == {"forecast_at"}
