"""Roll-outs of executable agents: what ends one, what it is worth, and the figures over many."""

import json

import pytest

from raytune_agents.agents.rollout import Rollout
from raytune_agents.calls import render_calls
from raytune_agents.evaluate import rollouts, suites
from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.evaluate.result_files import KINDS
from raytune_agents.records import ToolCall

TASKS = suites.goals(["qa", "support", "legal"], 6, 5)
HOW = Resampling(resamples=200)


def rolled_out(task, texts: list[str]) -> dict:
    rollout = Rollout.of(task, 0)
    for text in texts:
        assert not rollout.end
        rollout.take(text)
    return rollouts.rollout_line("base", rollout)


def script(task) -> list[str]:
    """What a perfect model answers."""
    turns = [m for m in task.messages if m.role == "assistant"]
    return [render_calls(m.tool_calls) if m.tool_calls else m.content for m in turns]


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.source_id)
def test_a_perfect_rollout_completes_the_task(task):
    line = rolled_out(task, script(task))
    assert (line["end"], line["task_completion"], line["loop_rate"]) == ("answered", 1.0, 0.0)
    assert line["steps"] == line["steps_to_success"] == len(script(task))
    seen = [m["content"] for m in json.loads(json.loads(line["row"])["messages"])
            if m["role"] == "tool"]  # fmt: skip
    assert seen == [m.content for m in task.messages if m.role == "tool"]
    assert rollouts.rescored_rollout(line) == line


def test_an_answer_without_its_facts_or_calls_is_no_success():
    task = TASKS[0]
    assert rolled_out(task, [*script(task)[:-1], "Done."])["task_completion"] == 0.0
    assert rolled_out(task, [script(task)[-1] + " I think."])["task_completion"] in (0.0, 1.0)
    line = rolled_out(task, ["I cannot."])
    assert (line["end"], line["task_completion"]) == ("answered", 0.0)
    assert line["steps_to_success"] is None


def test_loops_errors_and_recovery():
    task = TASKS[0]
    bad = render_calls([ToolCall.of("no_such_tool", a=1)])
    line = rolled_out(task, [bad] * 3)
    assert (line["end"], line["loop_rate"], line["recovery"], line["error_rate"]) == (
        "loop", 1.0, 0.0, 1.0)  # fmt: skip
    line = rolled_out(task, [bad, *script(task)])
    assert (line["recovery"], line["task_completion"]) == (1.0, 1.0)
    assert line["error_rate"] == pytest.approx(1 / len(script(task)))
    assert rolled_out(task, script(task))["recovery"] is None
    line = rolled_out(task, ['{"name": "pytest", "arg'])
    assert (line["end"], line["task_completion"]) == ("unreadable", 0.0)
    unfinished = rolled_out(task, script(task)[:1])
    assert (unfinished["end"], unfinished["task_completion"]) == ("max_steps", 0.0)


def test_hostile_arguments_never_stop_a_rollout():
    task = TASKS[0]
    names = [t.name for t in task.tools]
    for value in (1e308, -(10**40), "x" * 10**5, {"a": {}}, [None], None, True):
        for name in names:
            call = ToolCall.of(name, **dict.fromkeys(("path", "url", "source", "module"), value))
            line = rolled_out(task, [render_calls([call])])
            assert line["end"] in ("max_steps", rollouts.CRASHED)


def test_a_rollout_that_was_lost_is_not_scored():
    line = rollouts.lost_rollout("base", TASKS[0], 1, "infra_failed")
    assert (line["end"], line["task_completion"], line["trial"]) == ("infra_failed", None, 1)
    assert rollouts.rescored_rollout(line)["task_completion"] is None
    assert KINDS["rollouts"].scores([line], HOW) == {"base": {"trajectories": {}}}


def line(arm: str, task: str, done: float, trial: int = 0) -> dict:
    empty = dict.fromkeys((*rollouts.VALUES, "steps", "output_tokens", "latency_s"), 1.0)
    facts = {"arm": arm, "task": task, "trial": trial, "end": "answered"}
    return empty | facts | {"task_completion": done}


def test_trials_of_a_task_count_once():
    wins = {"a": 3, "b": 1, "c": 0}
    played = [line("base", task, float(i < n), i) for task, n in wins.items() for i in range(3)]
    cells = KINDS["rollouts"].scores(played, HOW)["base"]["trajectories"]
    assert cells["task_completion"].value == pytest.approx(4 / 9)
    assert cells["task_completion"].n == 3  # tasks, not roll-outs
    # pass^2: C(3,2) / C(3,2), 0, 0 of three tasks; pass@3: 1, 1, 0
    assert cells["pass_hat_2"].value == pytest.approx(1 / 3)
    assert cells["pass_at_2"].value == pytest.approx((1 + 2 / 3) / 3)
    assert cells["pass_at_3"].value == pytest.approx(2 / 3)
    assert cells["end.loop"].value == 0.0


def test_difference_to_base_is_paired_by_task():
    played = [line("base", t, 0.0) for t in "abcd"] + [
        line("nat", t, float(t != "a")) for t in "abcd"
    ]
    gains = KINDS["rollouts"].differences(played, HOW)["nat"]
    cell = gains["trajectories"]["task_completion"]
    assert (cell.value, cell.n, cell.wins, cell.losses) == (0.75, 4, 3, 0)
    assert cell.p_holm == cell.p == 0.25  # 2 * (1/2)^3
