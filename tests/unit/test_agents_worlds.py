"""Executable worlds: deterministic tools, real errors, goals that are reached or not."""

import json
import random
from dataclasses import replace

import pytest

from raytune_agents import agents
from raytune_agents.agents.worlds import Episode, WorldTask, completed, task_of, world_code
from raytune_agents.agents.worlds.process import class_of
from raytune_agents.calls import gold_of, judge, render_calls, schema_errors
from raytune_agents.config import ConfigError
from raytune_agents.generate.world_runs import dependent, depends, dialogue, react
from raytune_agents.records import Message, ToolCall

NAMES = agents.shipped()
WORLDS = {name: class_of(world_code(agents.load_spec(name))) for name in NAMES}


def world_of(name: str, seed: int) -> Episode:
    return Episode(WorldTask(name, {"seed": seed}), agents.load_spec(name).toolspecs)


def test_every_shipped_agent_has_a_world_of_its_tools():
    for name, world in WORLDS.items():
        assert world.agent == name
        assert set(world.tools) == {t.name for t in agents.load_spec(name).tools}
        assert len(world.goals) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_worlds_are_seeded_and_plain(name):
    world = world_of(name, 3)
    assert world.digest == world_of(name, 3).digest
    assert world.digest != world_of(name, 4).digest
    assert json.loads(json.dumps(world.state)) == world.state


@pytest.mark.parametrize("name", NAMES)
def test_positives_are_real_valid_and_complete(name):
    rows = react(agents.load_spec(name), 40, 6)
    assert len({r.messages[0].content for r in rows}) == len(rows) == 40
    assert {g for r in rows for g in r.meta["goals"]} == set(WORLDS[name].goals)
    for row in rows:
        assert completed(row)
        world = Episode(task_of(row), row.tools)
        seen = [m.content for m in row.messages if m.role == "tool"]
        assert [world.call(c) for c in row.calls] == seen, "observations are what the tools say"
        assert all(schema_errors(c, row.tools) == [] for c in row.calls)
        assert (row.pool, row.gold, row.target.tool_calls) == ("synthetic.react", "[]", ())
        ids = [m.tool_call_id for m in row.messages if m.role == "tool"]
        assert ids == [c.id for c in row.calls]
        assert len(set(ids)) == len(ids)


def test_completion_is_a_fact():
    rows = [
        r for r in react(agents.load_spec("support"), 30, 1) if "escalate_oldest" in r.meta["goals"]
    ]
    row = rows[0]
    fact = row.meta["goal"]["facts"][0]
    said = row.target.content
    other = replace(row, messages=(*row.prompt, Message("assistant", "Well: " + said.upper())))
    assert completed(other), "another wording reaches the goal too"
    silent = replace(row, messages=(*row.prompt, Message("assistant", said.replace(fact, "it"))))
    assert not completed(silent)
    short = replace(row, messages=(row.messages[0], row.messages[-1]))
    assert not completed(short), "the state is not reached without the calls"
    open_end = replace(row, messages=row.prompt)
    assert not completed(open_end)


def test_a_wrong_call_is_an_observation_and_changes_nothing():
    world = world_of("support", 1)
    before = world.digest
    for call in [
        ToolCall("nothing"),
        ToolCall("ticketing_system", '{"action": "find"}'),
        ToolCall("email", "{broken"),
        ToolCall.of("ticketing_system", action="find", customer="nobody@example.com"),
        ToolCall.of("knowledge_base", query="x", language="latin"),
    ]:
        assert set(world.run(call)) == {"error"}
        assert world.digest == before
    assert "unknown_tool" in world.call(ToolCall("nothing"))


def test_tickets_by_hand():
    world = world_of("support", 1)
    who = next(iter(world.state["tickets"].values()))["customer"]
    made = world.run(ToolCall.of("ticketing_system", action="create", customer=who, subject="x"))
    assert made == {"ticket_id": "T-5001", "status": "open", "priority": "normal"}
    close = ToolCall.of("ticketing_system", action="close", customer=who, ticket_id="T-5001")
    assert world.run(close) == {"ticket_id": "T-5001", "status": "closed"}
    assert world.run(close) == {"error": "ticket T-5001 is closed; create a new one"}
    lost = world_of("support", 1)
    lost.run(close)
    assert lost.digest == world_of("support", 1).digest


def test_sql_is_read_only_and_bounded():
    world = world_of("analyst", 2)
    ((table, rows),) = world.state["databases"]["sales"].items()
    measure = list(rows[0])[1]

    def ask(query: str, **more):
        return world.run(ToolCall.of("sql", database="sales", query=query, **more))

    total = sum(r[measure] for r in rows)
    assert ask(f"SELECT SUM({measure}) AS s FROM {table}") == [{"s": total}]
    assert len(ask(f"SELECT * FROM {table}", limit=4)) == 4
    for query in [f"DROP TABLE {table}", f"DELETE FROM {table}", "ATTACH 'x.db' AS y",
                  "PRAGMA database_list", "SELECT * FROM nowhere", "SELECT 1; SELECT 2", "",
                  "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c"
                  " WHERE x < 0"]:  # fmt: skip
        out = ask(query)
        assert out == [] or "error" in out, query
    assert ask(f"SELECT COUNT(*) AS n FROM {table}") == [{"n": len(rows)}]


def test_pandas_by_hand():
    world = world_of("analyst", 2)
    world.state["files"]["t.csv"] = [{"g": "a", "v": 1}, {"g": "a", "v": 4}, {"g": "b", "v": 6}]

    def ask(**arguments):
        return world.run(ToolCall.of("pandas", file="t.csv", **arguments))

    assert ask(operation="mean", column="v") == {"mean": 3.67}
    assert ask(operation="sum", column="v", group_by="g") == {"sum": {"a": 5, "b": 6}}
    assert ask(operation="count", column="g") == {"count": 3}
    assert ask(operation="sum", column="g") == {"error": "column 'g' is not numeric"}
    assert ask(operation="sum", column="z") == {"error": "no column 'z'; columns are g, v"}


def test_dependent_rows_end_on_a_call_that_needs_an_observation():
    for name in NAMES:
        rows = dependent(agents.load_spec(name), 12, 5)
        assert len(rows) >= 6
        for row in rows:
            assert row.target.tool_calls
            assert depends(row, len(row.messages) - 1)
            assert [m.trained for m in row.messages if m.role == "assistant"][:-1] == [False] * (
                len([m for m in row.messages if m.role == "assistant"]) - 1
            )
            assert judge(render_calls(row.target.tool_calls), row).ok
            assert len(gold_of(row)) == 1
            assert not any(m.thought for m in row.messages)


def test_dialogues_hold_two_goals_in_one_world():
    for name in NAMES:
        for row in dialogue(agents.load_spec(name), 6, 5):
            assert sum(m.role == "user" for m in row.messages) == 2
            assert len(set(row.meta["goals"])) == 2
            assert completed(row)


def test_an_agent_without_a_world_has_no_such_rows():
    spec = agents.load_spec("qa").model_copy(update={"world": ""})
    assert react(spec, 5, 1) == []
    with pytest.raises(ConfigError, match="agent 'qa' has no world; write world: module:Class"):
        world_code(spec)
    with pytest.raises(ConfigError, match="neither a shipped spec nor a file"):
        Episode(WorldTask("other"), ())


def test_goals_are_told_from_observations():
    """A goal's script may look at the world only before its first line."""
    for name in NAMES:
        for goal in WORLDS[name].goals:
            world = world_of(name, 11)
            script = WORLDS[name].goals[goal](world.state, random.Random(2))
            next(script)
            step = next(script)
            world.state.clear()
            assert hasattr(step, "call"), "the request alone is not the answer"
