"""Runs that meet an error: the error is the world's, the repair reaches the goal again."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from raytune_agents import agents
from raytune_agents.agents.worlds import Episode, completed, failed_observation, task_of
from raytune_agents.evaluate.rollouts import VALUES
from raytune_agents.filters import RULES
from raytune_agents.generate import recovery, validate_rows, world_runs
from raytune_agents.negatives import trajectory_fault
from raytune_agents.records import ToolCall, ToolSpec

TICKET = {"type": "object", "properties": {"ticket_id": {"type": "string"}, "note": {}},
          "required": ["ticket_id"]}  # fmt: skip
TOOL = ToolSpec("close_ticket", "", json.dumps(TICKET))
CALL = ToolCall.of("close_ticket", ticket_id="T-1042", note="done")
RNG = random.Random(3)


def test_each_error_breaks_what_it_says() -> None:
    assert recovery.missing_argument(CALL, TOOL, RNG).call.args == {"note": "done"}
    renamed = recovery.changed_schema(CALL, TOOL, random.Random(0)).call.args
    assert len(renamed) == 2
    assert set(renamed) - set(CALL.args) <= {"ticket_value", "note_value"}
    lost = recovery.not_found(CALL, TOOL, RNG).call.args["ticket_id"]
    assert lost != "T-1042"
    assert lost.startswith("T-")
    assert recovery.passing(CALL, TOOL, RNG).call == CALL
    assert recovery.passing(CALL, TOOL, RNG).error in recovery.PASSING.values()
    assert recovery.missing_argument(ToolCall.of("close_ticket", note="x"), TOOL, RNG) is None
    assert recovery.not_found(ToolCall.of("close_ticket", note="x"), TOOL, RNG) is None


@pytest.mark.parametrize("agent", ["support", "qa"])
def test_a_recovered_run_reaches_its_goal_and_trains_no_mistake(agent: str) -> None:
    spec = agents.load_spec(agent)
    rows = recovery.recovery(spec, 8, 17)
    assert len(rows) == 8
    assert len({row.meta["error"] for row in rows}) > 2
    for row in rows:
        assert row.pool == "synthetic.recovery"
        assert completed(row)
        assert not [why for rule in RULES.values() if (why := rule(row))]
        assert validate_rows.format_fault(row) == ""
        assert trajectory_fault(row, row) == ""  # observations are what the world says again
        turns = [i for i, m in enumerate(row.messages) if m.role == "tool"]
        failed = [i for i in turns if failed_observation(row.messages[i].content)]
        wrong = row.messages[failed[0] - 1]
        assert wrong.trained == (row.meta["error"] == "passing")
        assert row.messages[failed[0] + 1].trained
    assert recovery.recovery(spec, 8, 17) == rows


def test_an_error_that_passes_is_met_by_whoever_plays_the_task() -> None:
    row = world_runs.react(agents.load_spec("support"), 1, 5)[0]
    task = replace(task_of(row), errors={"0": "429 Too Many Requests"})
    assert task_of(replace(row, meta=row.meta | task.meta)) == task
    episode = Episode(task, row.tools)
    assert episode.run(row.calls[0]) == {"error": "429 Too Many Requests"}
    assert not failed_observation(episode.call(row.calls[0]))
    assert "errors" not in task_of(row).meta["world"]
    assert "recovery" in VALUES  # the rate of roll-outs that go on after an error
