"""What a round asks, with the policy's answers given by hand: which tasks, drawn from what, checked
by whom, and what is said where nothing is left to learn from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_round_rules import BOTH, HELLO, OSLO, ROME, failed_at, failure

from raytune_agents.config import Config, ConfigError, LabelConfig, load_config
from raytune_agents.dedup.leaks import LeakIndex
from raytune_agents.generate.rewrite import ChatClient
from raytune_agents.inference.endpoint import Refused
from raytune_agents.mix import RowKind
from raytune_agents.pipeline import round_tasks, rounds, shards, train
from raytune_agents.pipeline.round_tasks import ANY_KIND, ArmProgress, Round, TaskAnswers
from raytune_agents.pipeline.rows import NEW
from raytune_agents.progress import Display
from raytune_agents.records import Trajectory, finish
from raytune_agents.rounds import Cluster, RoundRecord
from raytune_agents.storage import read_json, read_rows, write_rows

NOTHING = [
    "evaluate.unseen_agents=[]",
    "evaluate.irrelevance_rows=0",
    "label.evaluation_sets=[]",
    "generate.pools={tflan: 1}",
    "generate.min_distance=0",
]
DAYS = Cluster("wrong_value", "weather", "days", 1, "question")
NEWS = Cluster("missing_call", "news", "", 2, "order")


def config_of(*options: str) -> Config:
    return load_config(None, ["train.arms={a: {method: rounds}}", "generate.agents=[qa]", *options])


def round_of(folder: Path, config: Config, tasks: list[Trajectory], number: int = 1) -> Round:
    """The round of an arm with these tasks; Ray and the engine are not started."""
    context = SimpleNamespace(
        config=config, run=SimpleNamespace(folder=folder), display=Display(), chat=None
    )
    step = SimpleNamespace(folder=folder / f"train/a/round-{number}", seed=1, config_hash="")
    arm = ArmProgress("a", config.train.of(config.train.arms["a"]), {r.id: r for r in tasks}, "")
    return Round(context, step, arm, RoundRecord(number))


# --- new tasks ---


@pytest.mark.parametrize("select", ["failure", "random"])
def test_both_ways_take_as_many_of_the_same_candidates(tmp_path, monkeypatch, select) -> None:
    """Two tasks are wanted of each cluster: of four candidates two suit the first and one the
    second, so the control takes three of the four as well."""
    asked: list[Any] = []

    def candidates(config: Any, count: int, *_: Any) -> list[Trajectory]:
        asked.append((config.agents, count))
        return [HELLO, OSLO, BOTH, ROME]

    monkeypatch.setattr(round_tasks, "fresh_tasks", candidates)
    config = config_of(
        "generate.agents=[qa, support]", "train.rounds.new_tasks=4", f"train.rounds.select={select}"
    )
    this = round_of(tmp_path, config, [])
    wanted, found = round_tasks.draw_tasks(this, {DAYS: 3, NEWS: 3}, [failed_at("weather")])
    # The tools of rows are an agent of both; of the three agents it alone has what failed.
    made = str(this.step.folder / f"{round_tasks.ROWS_AGENT}.yaml")
    assert asked == [(["qa", "support", made], 8 * 4 * 3)]
    if select == "failure":
        assert wanted == {DAYS: 2, NEWS: 2}
        assert found == {DAYS: [OSLO, ROME], NEWS: [BOTH]}
    else:
        assert wanted == {ANY_KIND: 3}
        assert len({r.id for r in found[ANY_KIND]}) == 3
        assert {r.id for r in found[ANY_KIND]} <= {r.id for r in (HELLO, OSLO, BOTH, ROME)}


def inline(context: Any, name: str, parts: Any, work: Callable[..., Any], *_: Any) -> Any:
    """`shards.map_shards` without Ray."""
    return ((k, work(k, list(rows))) for k, rows in parts.items())


def client(say: str) -> ChatClient:
    """Words every request as its template, and judges so."""
    return ChatClient(None, config_of().engine, use_teacher=True, own=lambda *_: say)


def test_no_test_row_comes_into_a_round(tmp_path, monkeypatch) -> None:
    """Of three tasks that are drawn, about a tool each, one is a test row, and one has a test row's
    request with another ending."""
    config = config_of("train.rounds.new_tasks=2", *NOTHING)
    drawn = round_tasks.fresh_tasks(config.generate, 12, 3, {})
    same, near, free = list({r.calls[0].name: r for r in drawn}.values())[:3]
    asked = near.messages[-2]
    reworded = replace(asked, content=f"{asked.content.rstrip('.?!')}, please!")
    copy = finish(replace(near, messages=(*near.messages[:-2], reworded, near.messages[-1])))
    tests = [replace(r, split="test_seen", pool="positive") for r in (same, copy)]
    write_rows(tmp_path / "read/rows-00000.parquet", tests)
    monkeypatch.setattr(shards, "map_shards", inline)
    this = round_of(tmp_path, config, [])
    this.context.chat_client = lambda: client("no words")
    rows = round_tasks.verified_tasks(this, [same, near, free], [])
    assert [r.meta["drawn"] for r in rows] == [free.id]
    assert read_rows(this.step.folder / NEW) == rows
    held = {r.id for r in tests}
    assert not held & {i for r in rows for i in (r.id, *r.parents)}
    assert LeakIndex(tests, LabelConfig()).marked(rows) == rows
    assert {(r.split, r.meta["round"]) for r in rows} == {("train", 1)}
    assert this.record.lost == {"leak": 2}


@pytest.mark.parametrize(("verdict", "asked"), [(True, 0), (False, 3)])
def test_a_judge_is_tried_on_planted_wrong_rows(verdict: bool, asked: int) -> None:
    """One that calls all three right is not asked; one that calls none right stays."""
    options, record = config_of("generate.judge.samples=3").generate, RoundRecord(1)
    planted = [failure(OSLO, "It is cold."), failure(OSLO, "It is warm."), failure(ROME, "Warm.")]
    judge = client(json.dumps({"correct": verdict}))
    found = round_tasks.with_tried_judge(options, judge, planted, 1, record)
    assert found.judge.samples == asked
    assert len(record.notes) == int(verdict)
    if verdict:
        assert "3 of 3 planted wrong rows right" in record.notes[0]
        assert "write a stronger generate.teacher" in record.notes[0]


# --- what is left to ask, and to learn from ---


def answered(monkeypatch: Any, right: int, **lost: int) -> list[set[str]]:
    """Every task has so many right answers, and so many are lost in all; the ids asked, by call."""
    asked: list[set[str]] = []

    def answer(this: Round, name: str, tasks: list[Trajectory]) -> TaskAnswers:
        asked.append({t.id for t in tasks})
        found = TaskAnswers({t.id: right for t in tasks})
        found.lost.update(lost if name == "answered" else {})
        this.record.lose(found.lost)
        return found

    monkeypatch.setattr(round_tasks, "answer_tasks", answer)
    return asked


def test_a_retired_task_is_not_asked_again(tmp_path, monkeypatch) -> None:
    asked = answered(monkeypatch, 4)
    this = round_of(tmp_path, config_of("train.rounds.samples=4"), [ROME, OSLO])
    rounds.learn_from_failures(this)
    assert asked[0] == {ROME.id, OSLO.id}
    assert set(read_json(this.step.folder / rounds.RETIRED)) == {ROME.id, OSLO.id}
    this = round_of(tmp_path, config_of("train.rounds.samples=4"), [ROME, OSLO, BOTH], 2)
    this.arm.retired = {ROME.id, OSLO.id}
    rounds.learn_from_failures(this)
    assert asked[2] == {BOTH.id}
    this.arm.retired.add(BOTH.id)
    rounds.learn_from_failures(this)
    assert this.record.notes[-1] == "no tasks left: all are retired; write harder tasks"


@pytest.mark.parametrize(
    ("right", "lost", "said"),
    [
        (4, {}, "no failures left: every answer was right; write harder tasks"),
        (0, {"cut_at_max_tokens": 8}, "0 of 8 were right, 8 cut_at_max_tokens; write more "
         "train.rounds.max_tokens"),
        (3, {"cut_at_max_tokens": 2}, "6 of 8 were right, 2 cut_at_max_tokens; write more"),
        (0, {"prompt_too_long": 8}, "8 prompt_too_long; write a larger engine.max_model_len"),
        (0, {"empty_answer": 5, "cut_at_max_tokens": 3},
         "write a better start; more train.rounds.max_tokens"),
        (3, {"infra_failed": 2}, "6 of 8 were right, 2 infra_failed; write harder tasks"),
    ],
)  # fmt: skip
def test_why_there_are_no_failures(tmp_path, monkeypatch, right, lost, said) -> None:
    answered(monkeypatch, right, **lost)
    this = round_of(tmp_path, config_of("train.rounds.samples=4"), [ROME, OSLO])
    assert rounds.learn_from_failures(this).rows_in == 0
    assert said in this.record.notes[-1]
    assert this.record.lost == lost


# --- what is refused, and what is not proven ---


def test_a_method_that_cannot_train_is_refused_before_anything_starts() -> None:
    options = ["train.rounds.method=grpo", "train.grpo.num_generations=4"]
    rounds.validate_rounds(config_of(*options, "train.global_batch_size=8"))
    with pytest.raises(ConfigError, match=r"train.arms.a \(rounds.method grpo\).*example 4"):
        rounds.validate_rounds(config_of(*options, "train.global_batch_size=6"))


def test_no_val_rows_are_refused_before_the_first_arm(tmp_path) -> None:
    context = round_of(tmp_path, config_of(), []).context
    with pytest.raises(ConfigError, match=r"train.arms.a: rounds need val rows.*read.split.val"):
        train.validate_val_rows(context)
    context.config = load_config(None, ["train.arms={b: {}}", "train.eval_steps=5"])
    with pytest.raises(ConfigError, match=r"train.arms.b: train.eval_steps=5.*or 0"):
        train.validate_val_rows(context)
    write_rows(tmp_path / "read/rows-00000.parquet", [replace(ROME, split="val")])
    train.validate_val_rows(context)


@pytest.mark.parametrize(("method", "why"), [("nat", "no failures among 2"), ("kto", "0 failures")])
def test_rows_that_a_method_cannot_take_end_the_rounds_not_the_run(method: str, why: str) -> None:
    """The control may keep tasks that are always right: they bring no failure."""
    config, good = config_of().train, RowKind("positive", False, False, False)
    said = rounds.cannot_train(method, [good, good], config)
    assert why in said
    assert said.endswith("write more rounds.tasks or rounds.samples, or rounds.method: sft")
    assert rounds.cannot_train(method, [good, replace(good, failed=True)], config) == ""


def refused(*_: Any) -> Any:
    raise Refused("the teacher big at http://x answered status 400")


def test_a_teacher_that_refuses_is_said_once_by_the_judge_and_the_shards() -> None:
    options, planted = config_of("generate.judge.samples=1").generate, [failure(OSLO, "Warm.")]
    judge = client("")
    object.__setattr__(judge, "ask", refused)
    with pytest.raises(ConfigError, match="teacher big"):
        round_tasks.with_tried_judge(options, judge, planted, 1, RoundRecord(1))
    _, report = shards.answer_part(refused, [1, 2])
    assert "teacher big" in report.refused


def test_what_too_few_rows_cannot_prove_is_said() -> None:
    def values(calls: int, none: int, instructions: int) -> dict[str, dict[str, float]]:
        sizes = {"relevance": calls, "irrelevance": none, "instruction_following": instructions}
        return {name: {str(i): 1.0 for i in range(n)} for name, n in sizes.items()}

    assert rounds.unproven(values(6, 6, 6), True) == []
    none, following = rounds.unproven(values(9, 5, 0), True)
    assert "that irrelevance is kept will not be proven: 5 rows measure it, at least 6" in none
    assert "0 rows measure it" in following
    assert "write more train.rounds.instruction_rows" in following
    silent = values(9, 9, 9) | {"relevance": {"0": 0.0, "1": 0.0}}
    assert "write start: an arm" in rounds.unproven(silent, False)[0]
    assert len(rounds.unproven(silent, True)) == 1  # two rows with a call


def test_a_round_in_a_line() -> None:
    record = RoundRecord(1, val=0.25, in_band=3, hard=5, easy=1, retired=1, new_tasks=2, rows=9)
    head = "val 0.250, 9 rows trained, 3 of 10 tasks in the band, 2 new ones"
    assert record.line() == head
    record.lose({"cut_at_max_tokens": 2, "judge": 1, "leak": 0})
    record.lose({"cut_at_max_tokens": 3})
    assert record.lost == {"cut_at_max_tokens": 5, "judge": 1}
    assert record.line() == f"{head}; lost 5 cut_at_max_tokens, 1 judge"


@pytest.mark.parametrize("select", ["failure", "random"])
def test_both_ways_train_on_as_many_tasks(tmp_path, monkeypatch, select) -> None:
    """Of rates 0, 0.5, 1 and 1 one lies in the band: the control keeps one of the four, and the
    failures of that one alone."""
    tasks, bad = [ROME, OSLO, BOTH, HELLO], failure(OSLO, "It is cold.")
    right = {ROME.id: 0, OSLO.id: 2, BOTH.id: 4, HELLO.id: 4}
    taken: list[Any] = []

    def answer(this: Round, name: str, tasks: list[Trajectory]) -> TaskAnswers:
        return TaskAnswers({t.id: right[t.id] for t in tasks}, [bad] if tasks else [])

    monkeypatch.setattr(round_tasks, "answer_tasks", answer)
    monkeypatch.setattr(rounds, "train_round", lambda _, *given: taken.append(given))
    options = ["train.rounds.new_tasks=0", "train.rounds.samples=4"]
    config = config_of(*options, f"train.rounds.select={select}")
    this = round_of(tmp_path, config, tasks)
    rounds.learn_from_failures(this)
    [(good, failures, _)] = taken
    assert (this.record.in_band, this.record.hard, this.record.retired) == (1, 1, 2)
    assert len(good) == 1
    assert failures == ([bad] if good == [OSLO] else [])
    assert good == [OSLO] or select == "random"
