"""Grades of failures and pairs for preference methods."""

from dataclasses import replace

import pytest

from raytune_agents import agents
from raytune_agents.agents.worlds import completed
from raytune_agents.calls import judge, render_calls
from raytune_agents.generate.tasks import tasks
from raytune_agents.generate.world_runs import react
from raytune_agents.negatives import TRAJECTORY_FAULTS, answer_text, edit
from raytune_agents.negatives.grades import answer_grade, run_grade
from raytune_agents.negatives.preference_pairs import (
    MORE_ROUNDS,
    both_right,
    ended,
    minimal_pairs,
    outcome_pair,
    outcome_pairs,
    shared_prompt,
    step_pair,
)
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish

SCHEMA = '{"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "string"}}}'
ADD = ToolSpec("add", "", SCHEMA)


def row_of(*calls: ToolCall, **fields) -> Trajectory:
    target = Message("assistant", tool_calls=calls) if calls else Message("assistant", "Hi")
    return finish(
        Trajectory((Message("user", "q"), target), (ADD, replace(ADD, name="sub")), **fields)
    )


@pytest.mark.parametrize(
    ("calls", "grade"),
    [
        # one gold call with two arguments: Smax = 1 + (1 + 2) = 4
        ([ToolCall.of("add", x=1, y="a")], 1.0),
        ([ToolCall.of("add", x=2, y="a")], (1 + 1 + 1) / 4),  # name, both keys, one value
        ([ToolCall.of("add", x=1)], (1 + 1 / 2 + 1) / 4),  # one of two keys, its value
        ([ToolCall.of("sub", x=1, y="a")], 0.0),  # ToolRL: nothing of another name counts
        ([ToolCall.of("add", x=1, y="a"), ToolCall.of("sub")], (1 / 2 + 1 + 2) / 4),
    ],
)
def test_grades_by_hand(calls, grade):
    row = row_of(ToolCall.of("add", x=1, y="a"))
    assert answer_grade(render_calls(calls), row) == pytest.approx(grade)


def test_grades_of_what_is_no_call():
    row = row_of(ToolCall.of("add", x=1))
    assert answer_grade("It is 2.", row) == 0.0
    assert answer_grade("<tool_call>{broken", row) == 0.0
    chat = row_of(gold="[]")
    assert answer_grade(render_calls([ToolCall.of("add", x=1)]), chat) == 0.0
    assert answer_grade("Hello", chat) == 1.0


def test_negatives_carry_their_grade():
    row = tasks(agents.load_spec("security"), 1, 1)[0]
    near, _ = edit(row, "wrong_value", 1)
    far, _ = edit(row, "answered_directly", 1)
    assert 0 < near.meta["grade"] < 1
    assert far.meta["grade"] == 0.0
    assert near.meta["grade"] > edit(row, "wrong_function", 1)[0].meta["grade"]


RUNS = [r for name in agents.shipped() for r in react(agents.load_spec(name), 8, 3)]
FAILED = [(row, bad) for row in RUNS for f in TRAJECTORY_FAULTS if (bad := edit(row, f, 2)[0])]


def test_run_grades():
    for row, bad in FAILED:
        assert bad.meta["grade"] == round(run_grade(bad, row), 4)
        assert 0 <= bad.meta["grade"] < 1
    row, bad = next((r, b) for r, b in FAILED if b.fault == "ignore_observation")
    n = len(row.calls)
    assert bad.meta["grade"] == pytest.approx(n / (n + 1), abs=1e-4)


def test_a_runs_grade_does_not_depend_on_how_its_arguments_are_spelt():
    def spelt(arguments: str) -> Trajectory:
        return row_of(ToolCall("add", arguments))

    run, twin = spelt('{"y":"a", "x":1}'), spelt('{"x": 1, "y": "a"}')
    assert run_grade(run, twin) == run_grade(twin, twin)


def test_minimal_pairs():
    good = tasks(agents.load_spec("qa"), 20, 1)
    bad = [edit(r, "wrong_value", 1)[0] for r in good]
    stray = edit(tasks(agents.load_spec("qa"), 20, 2)[7], "wrong_value", 1)[0]
    pairs = minimal_pairs([*good, *bad, stray])
    assert len(pairs) == 20
    for pair in pairs:
        assert pair.chosen.id in pair.rejected.parents
        assert pair.shared == 1
        assert judge(answer_text(pair.chosen.target), pair.rejected).ok
        assert not judge(answer_text(pair.rejected.target), pair.chosen).ok


def test_outcome_pairs_follow_the_rules_of_eto():
    row, bad = FAILED[0]
    pair = outcome_pair(bad, row)
    assert pair.chosen.id == row.id
    assert pair.rejected.messages[-1].role == pair.chosen.messages[-1].role == "assistant"
    assert outcome_pair(replace(bad, outcome=1.0), row) is None, "a tie"
    assert outcome_pair(replace(bad, outcome=None), row) is None
    assert outcome_pair(row, replace(row, outcome=0.2)) is None, "the same text"
    other = replace(row.messages[0], content="Something else")
    assert outcome_pair(row, replace(bad, messages=(other, *bad.messages[1:]))) is None


def test_a_long_failure_is_cut_and_ends_on_the_agent():
    row, _ = FAILED[0]
    rounds = sum(m.role == "assistant" for m in row.messages)
    call = row.messages[1]
    loop = [m for _ in range(40) for m in (call, Message("tool", "again"))]
    bad = finish(
        replace(row, messages=(row.messages[0], Message("assistant", "x"), *loop), outcome=0.0)
    )
    pair = outcome_pair(row, bad)
    assert sum(m.role == "assistant" for m in pair.rejected.messages) == rounds + MORE_ROUNDS
    assert pair.rejected.messages[-1].role == "assistant"
    assert ended(replace(row, messages=row.messages[:1])) is None


def test_every_failure_meets_the_best_run_of_its_task():
    runs = [*RUNS, *(bad for _, bad in FAILED)]
    pairs = outcome_pairs(runs)
    assert len(pairs) == len(FAILED)
    for pair in pairs:
        assert pair.chosen.outcome > pair.rejected.outcome
        assert completed(pair.chosen)


def test_step_pairs_differ_in_one_turn_after_a_common_prefix():
    for row, bad in FAILED:
        pair = outcome_pair(row, bad)
        step = step_pair(pair)
        n = shared_prompt(row, bad)
        assert step.shared == n == len(step.chosen.messages) - 1
        assert len(step.rejected.messages) == n + 1
        plain = [replace(m, loss=None) for m in step.chosen.messages[:-1]]
        assert plain == list(row.messages[:n])
        assert [m.trained for m in step.rejected.messages].count(True) == 1
        assert step.rejected.target.trained
        assert answer_text(step.chosen.target) != answer_text(step.rejected.target) or (
            step.chosen.target.thought != step.rejected.target.thought)  # fmt: skip
        assert step.chosen.id in step.rejected.parents
    steps = map(step_pair, outcome_pairs([*RUNS, *(b for _, b in FAILED)]))
    assert sum(not both_right(step) for step in steps) == len(FAILED)
