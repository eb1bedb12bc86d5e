"""A user's world, from a folder of its own (tests/example): what it is asked, where it runs, what
generation, faults, roll-outs and evaluation make of it, and how it can fail."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from raytune_agents import agents, negatives
from raytune_agents.agents.rollout import Rollout, can_roll_out
from raytune_agents.agents.worlds import (
    Episode,
    WorldDown,
    WorldTask,
    completed,
    goal_score,
    task_of,
    world_code,
)
from raytune_agents.agents.worlds.process import box_of, locate
from raytune_agents.calls import render_calls
from raytune_agents.cli.init_command import init
from raytune_agents.config import Config, ConfigError, GenerateConfig, load_config
from raytune_agents.evaluate import rollouts, suites
from raytune_agents.generate import validate_rows
from raytune_agents.generate.tasks import tasks
from raytune_agents.generate.world_runs import react
from raytune_agents.pipeline.keys import outside, spec_files
from raytune_agents.records import Message, ToolCall
from raytune_agents.train import rewards

EXAMPLE = Path(__file__).parents[1] / "example"
SPEC = agents.load_spec(EXAMPLE / "orders.yaml")
ROWS = react(SPEC, 10, 1)
LAMPS = ROWS[0]


def sql(statement: str) -> ToolCall:
    return ToolCall.of("sql", statement=statement)


def test_examples_with_a_task_become_runs_with_real_observations():
    assert [len(ROWS), len(react(SPEC, 10, 1, held_out=True))] == [2, 1]
    assert {r.query for r in ROWS} | {r.query for r in react(SPEC, 9, 2, held_out=True)} == {
        e.request for e in SPEC.examples if e.task is not None}  # fmt: skip
    seen = [m.content for m in LAMPS.messages if m.role == "tool"]
    assert seen == ['{"rows": [{"count": 3}], "changed": -1}', '{"rows": [], "changed": 1}']
    assert LAMPS.answer.content == "There were 3 lamps on order; with 2 more there are 5."
    assert task_of(LAMPS) == WorldTask(
        "orders", SPEC.examples[0].task, str(EXAMPLE / "orders.yaml"), ("3", "5"))  # fmt: skip
    assert all(map(completed, ROWS))


def test_execution_checks_run_in_it():
    executor = validate_rows.executor(GenerateConfig(agents=[str(EXAMPLE / "orders.yaml")]))
    assert [executor.fault(r) for r in ROWS] == ["", ""]
    forged = [replace(m, content="{}") if m.role == "tool" else m for m in LAMPS.messages]
    assert executor.fault(replace(LAMPS, messages=tuple(forged))) == "unreal"
    single = tasks(SPEC, 1, 1)[0]
    assert executor.fault(single) == ""
    turn = Message("assistant", tool_calls=(ToolCall.of("sql", query="SELECT 1"),))
    wrong = replace(single, messages=(*single.prompt, turn))
    assert executor.fault(wrong).startswith("sql: ")


@pytest.mark.parametrize(
    "fault",
    ["looping", "premature_finish", "no_termination", "ignore_observation", "fabricated_output"],
)
def test_faults_of_runs_are_executed_and_proven_in_it(fault):
    bad, why = negatives.edit(LAMPS, fault, 1)
    assert (why, bad.fault, bad.outcome) == ("", fault, 0.0)
    episode = Episode(task_of(bad), bad.tools)
    seen = [m.content for m in bad.messages if m.role == "tool"]
    assert [episode.call(c) for c in bad.calls][: len(seen)] == seen


def rolled_out(texts: list[str], task=LAMPS) -> dict:
    rollout = Rollout.of(task, 0)
    for text in texts:
        assert not rollout.end
        rollout.take(text)
    return rollouts.rollout_line("base", rollout)


def script(row) -> list[str]:
    turns = [m for m in row.messages if m.role == "assistant"]
    return [render_calls(m.tool_calls) if m.tool_calls else m.content for m in turns]


def test_roll_outs_reach_its_goal_or_not():
    assert can_roll_out(LAMPS)
    line = rolled_out(script(LAMPS))
    assert (line["end"], line["task_completion"], line["error_rate"]) == ("answered", 1.0, 0.0)
    other = [render_calls([sql("UPDATE orders SET count = 5 WHERE item = 'lamp'")])]
    line = rolled_out([*other, "There were 3, now 5."])
    assert line["task_completion"] == 1.0, "another way to the same goal"
    assert rolled_out([*other, "Done."])["task_completion"] == 0.0, "an answer without the facts"
    assert rolled_out(["3 lamps, so I made it 5."])["task_completion"] == 0.0
    line = rolled_out([render_calls([sql("SELEKT")]), *script(LAMPS)])
    assert (line["recovery"], line["task_completion"]) == (1.0, 1.0)
    seen = json.loads(json.loads(line["row"])["messages"])[2]["content"]
    assert json.loads(seen) == {"error": 'OperationalError: near "SELEKT": syntax error'}
    assert rollouts.rescored_rollout(line) == line


def test_rewards_of_whole_roll_outs():
    silent = replace(LAMPS, messages=(LAMPS.messages[0], LAMPS.messages[-1]))
    assert [rewards.goal(row, LAMPS) for row in (LAMPS, silent)] == [1.0, 0.0]
    assert rewards.ran_without_error(LAMPS, LAMPS) == 1.0
    assert [rewards.calls_in_order(row, LAMPS) for row in (LAMPS, silent)] == [1.0, 0.0]


def test_evaluation_asks_tasks_that_are_not_trained_on():
    path = str(EXAMPLE / "orders.yaml")
    rows = suites.goals([path], 3, 1)
    assert [r.query for r in rows] == [r.query for r in react(SPEC, 3, 9, held_out=True)]
    assert not {r.query for r in rows} & {r.query for r in ROWS}
    config = Config.model_validate({"generate": {"agents": [path]}})
    assert suites.executable_agents(config) == [path]


def test_a_world_can_make_its_tasks():
    spec = SPEC.model_copy(update={"world": "orders_world:ManyOrdersWorld", "examples": []})
    rows = react(spec, 12, 1)
    assert len({r.query for r in rows}) == len(rows) == 12
    others = react(spec, 12, 2, held_out=True)
    assert {r.query for r in rows} != {r.query for r in others}
    assert [r.id for r in rows] == [r.id for r in react(spec, 12, 1)]


WORLD = """
import os, time
class Odd:
    def __init__(self): self.state = []
    def reset(self, task):
        if task.get("refuse"): raise ValueError("no such task")
        self.share = task.get("share", 1)
    def call(self, name, arguments):
        if name == "die": os._exit(3)
        if name == "hang": time.sleep(99)
        if name == "peek": return open("/etc/passwd").read()
        if name == "log": self.state.append(arguments["x"]); return self.state
        raise KeyError(name)
    def goal(self, state, answer): return self.share if state == [1, 2] and "ok" in answer else 0
class Half:
    def reset(self, task): return {}
"""


@pytest.fixture
def odd(tmp_path):
    (tmp_path / "odd.py").write_text(WORLD)
    return locate("odd.py:Odd", tmp_path)


def test_a_world_that_dies_is_brought_to_where_it_was(odd):
    one, two = Episode.of(odd, {}, None), Episode.of(odd, {"share": 0.5}, None)
    assert one.call(ToolCall.of("log", x=1)) == two.call(ToolCall.of("log", x=1)) == "[1]"
    with pytest.raises(WorldDown, match="carry_out: killed:exit 3"):
        one.call(ToolCall.of("die"))
    assert two.call(ToolCall.of("log", x=2)) == "[1, 2]"
    assert (two.score("ok"), two.score("no"), one.score("ok")) == (0.5, 0.0, 0.0)
    with pytest.raises(WorldDown, match="carry_out: forbidden: "):
        two.call(ToolCall.of("peek"))
    assert two.call(ToolCall.of("other")) == '{"error": "KeyError: \'other\'"}'
    assert "seccomp" in box_of(odd).layers


def test_a_world_that_hangs_ends_the_roll_out(odd):
    box_of(odd).limits = replace(box_of(odd).limits, timeout_s=0.3)
    episode = Episode.of(odd, {}, None)
    began = time.monotonic()
    with pytest.raises(WorldDown, match="carry_out: timeout"):
        episode.call(ToolCall.of("hang"))
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"world": "none.py:X"}, r"no module 'none' in .*; write module:Class"),
        ({"world": "odd.py:Nothing"}, "has no attribute 'Nothing'"),
        ({"world": "odd.py:Half"}, "Half has no call and no goal"),
        ({"world": "odd.py:Odd", "task": {"refuse": True}}, "ValueError: no such task"),
        ({"world": "odd.py:Odd", "task": {"share": 0.25}}, r"examples\.0: .* score of 0\.25"),
        ({"world": "odd.py:Odd", "answer": "no"}, "its calls reach a score of 0, "),
        ({"world": "odd.py:Odd", "facts": ["7"]}, r"its answer lacks the facts \['7'\]"),
        ({"world": "", "task": {}}, "write the calls that do it"),
        ({"world": "odd"}, "world"),
    ],
)
def test_a_world_that_is_none_stops_before_anything_starts(tmp_path, change, said):
    (tmp_path / "odd.py").write_text(WORLD)
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    calls = [{"name": "log", "arguments": {"x": x}} for x in (1, 2)]
    example = {"request": "q", "task": {}, "calls": calls, "answer": "ok", "facts": []}
    tree = {"name": "odd", "description": "d", "tools": [
        {"name": "log", "description": "Logs.", "parameters": schema}]}  # fmt: skip
    tree |= {"world": change.pop("world"), "examples": [example | change]}
    path = tmp_path / "odd.yaml"
    path.write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match=said):
        validate_rows.executor(GenerateConfig(agents=[str(path)]))


def test_a_row_of_a_source_names_no_world():
    """What a reader put into meta is text: it opens nothing, and no step trips over it."""
    for meta in ({"world": LAMPS.meta["world"], "goal": LAMPS.meta["goal"]},
                 {"world": "x", "goal": "y"}, {"goal": {"facts": 3}}):  # fmt: skip
        row = replace(LAMPS, source="rows.jsonl:3", meta=meta)
        assert task_of(row) is None
        assert not can_roll_out(row)
        assert negatives.suits(row, "looping") is False
        with pytest.raises(KeyError):
            goal_score(row)


def test_shipped_worlds_come_through_the_same_door():
    """They are named by their specs and do the same three things."""
    for name in agents.shipped():
        row = react(agents.load_spec(name), 1, 4)[0]
        assert world_code(agents.load_spec(name)).entry == agents.load_spec(name).world
        episode = Episode.of(
            world_code(agents.load_spec(name)), row.meta["world"]["task"], row.tools
        )
        seen = [m.content for m in row.messages if m.role == "tool"]
        assert [episode.call(c) for c in row.calls] == seen
        assert episode.score("") == 1.0


def test_a_program_of_another_package_is_a_world(tmp_path):
    """BFCL's file system, from the installed bfcl-eval."""
    pytest.importorskip("bfcl_eval")
    (tmp_path / "files.py").write_text(
        "from bfcl_eval.eval_checker.multi_turn_eval.func_source_code.gorilla_file_system import "
        "GorillaFileSystem\n"
        "class Files:\n"
        "    def reset(self, task):\n"
        "        self.state = GorillaFileSystem()\n"
        "        self.state._load_scenario(task)\n"
        "    def call(self, name, arguments): return getattr(self.state, name)(**arguments)\n"
        "    def goal(self, files): return 'notes' in files.ls()['current_directory_content']\n"
    )
    task = {"root": {"home": {"type": "directory", "contents": {}}}}
    episode = Episode.of(locate("files:Files", tmp_path), task, None)
    assert episode.score("") == 0.0
    assert episode.call(ToolCall.of("mkdir", dir_name="notes")) in ("null", "{}")
    assert json.loads(episode.call(ToolCall.of("ls"))) == {"current_directory_content": ["notes"]}
    assert "TypeError" in episode.call(ToolCall.of("mkdir", nothing=1))
    assert episode.score("") == 1.0


def test_an_edited_world_is_not_answered_by_the_old_one(tmp_path):
    """Also within one process: a notebook, a worker that goes on."""
    source = "class One:\n    def reset(self, task): pass\n    def goal(self, state): return 1\n"
    spec = json.loads(SPEC.model_dump_json(exclude={"examples", "profile"}))
    spec |= {"name": "edited", "world": "one:One"}
    (tmp_path / "edited.yaml").write_text(json.dumps(spec))
    task = WorldTask("edited", {}, str(tmp_path / "edited.yaml"))
    for answer in ("old", "newer"):
        text = f"{source}    def call(self, name, arguments): return {answer!r}\n"
        (tmp_path / "one.py").write_text(text)
        assert Episode(task, None).call(sql("select 1")) == answer


MY_TOOLS = '''
import socket

def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b

def fetch(port: int) -> str:
    """Fetches a page."""
    return socket.create_connection(("127.0.0.1", port)).recv(9).decode()
'''


def test_init_writes_a_world_that_runs(tmp_path, capsys):
    """What the sandbox refuses is left out of its tasks and said; the rest is run and evaluated."""
    (tmp_path / "my_tools.py").write_text(MY_TOOLS)
    out = tmp_path / "my-agent.yaml"
    init(tools=tmp_path / "my_tools.py", out=out, world=True)
    said = capsys.readouterr().out
    assert "my_agent_world.py: MyToolsWorld with " in said
    assert "forbidden: socket." in said
    spec = agents.load_spec(out)
    assert spec.world == "my_agent_world.py:MyToolsWorld"
    names = {c.name for e in spec.examples for c in e.calls}
    assert names == {"add"}
    validate_rows.executor(GenerateConfig(agents=[str(out)]))
    row = react(spec, 1, 1)[0]
    (call,) = row.calls
    assert [m.content for m in row.messages if m.role == "tool"] == [str(sum(call.args.values()))]
    assert rolled_out(script(row), row)["task_completion"] == 1.0
    assert rolled_out(["Done."], row)["task_completion"] == 0.0
    with pytest.raises(typer.Exit):
        init(tools=tmp_path / "my_tools.py", out=tmp_path / "my-agent.yml", world=True)


def test_init_writes_a_world_for_tools_without_code(tmp_path):
    schema = {"type": "object", "properties": {"host": {"type": "string"}}, "required": ["host"]}
    tool = {"name": "ping", "description": "Pings a host.", "parameters": schema}
    (tmp_path / "tools.json").write_text(json.dumps([tool]))
    init(tools=tmp_path / "tools.json", out=tmp_path / "net.yaml", name="9net", world=True)
    spec = agents.load_spec(tmp_path / "net.yaml")
    assert spec.world == "net_world.py:Agent9netWorld"
    (observation,) = (m.content for m in react(spec, 1, 1)[0].messages if m.role == "tool")
    assert observation == '{"ok": true}'


def test_a_step_is_done_again_where_the_code_of_a_world_changed():
    assert EXAMPLE / "orders_world.py" in spec_files(EXAMPLE / "orders.yaml")
    config = load_config(None, [f"generate.agents=[{EXAMPLE / 'orders.yaml'}]"])
    grpo = load_config(
        None,
        [
            f"generate.agents=[{EXAMPLE / 'orders.yaml'}]",
            "train.grpo={turns: 4, rewards: [goal], reward_weights: [1]}",
        ],
    )
    assert EXAMPLE / "orders_world.py" in outside(config, "generate")
    assert EXAMPLE / "orders_world.py" not in outside(config, "train")
    assert EXAMPLE / "orders_world.py" in outside(grpo, "train")
