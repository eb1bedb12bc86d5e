"""Environments both ways: a world at an OpenEnv server, and our worlds served as one. Servers that
hang, lie, die or have no room; then (slow) the real packages, in an environment of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from test_capture import listening
from test_user_worlds import rolled_out, script
from typer.testing import CliRunner
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from raytune_agents import agents, openenv_server
from raytune_agents.agents.init import openenv_spec
from raytune_agents.agents.worlds import Episode, WorldDown
from raytune_agents.agents.worlds.openenv import EnvironmentServer
from raytune_agents.agents.worlds.process import box_of, locate
from raytune_agents.cli.app import app
from raytune_agents.config import ConfigError, GenerateConfig
from raytune_agents.evaluate import suites
from raytune_agents.generate import validate_rows
from raytune_agents.generate.world_runs import react
from raytune_agents.openenv_server import ServedAgent, environment_app
from raytune_agents.records import ToolCall

ROOT = Path(__file__).parents[2]
ORDERS = ServedAgent.of(str(ROOT / "tests/example/orders.yaml"), 8, 0)


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    with listening(environment_app(ORDERS)) as url:
        yield url


def ask(url: str, *messages: Any, **headers: str) -> list[dict[str, Any]]:
    address = f"ws{url.removeprefix('http')}/ws"
    with connect(address, proxy=None, additional_headers=headers) as peer:
        return [_answer(peer, message) for message in messages]


def _answer(peer: Any, message: Any) -> dict[str, Any]:
    peer.send(message if isinstance(message, str | bytes) else json.dumps(message))
    return json.loads(peer.recv(timeout=20))


def call(name: str, **arguments: Any) -> dict[str, Any]:
    data = {"type": "call_tool", "tool_name": name, "arguments": arguments}
    return {"type": "step", "data": data}


# --- our worlds, served ---------------------------------------------------------------------------


def test_a_task_ends_with_the_answer_and_its_reward(served: str) -> None:
    row = ORDERS.rows[0]
    steps = [call(c.name, **c.args) for c in row.calls]
    reset = {"type": "reset", "data": {"seed": 2}}  # two tasks: it goes round
    right, wrong = call("final_answer", answer=row.answer.content), call("final_answer", answer="?")
    first, *found, last, state, over = ask(served, reset, *steps, right, {"type": "state"}, right)
    assert first["data"] == {"observation": {"request": row.query}, "reward": 0.0, "done": False}
    shown = [m.content for m in row.messages if m.role == "tool"]
    assert [json.dumps(x["data"]["observation"]["result"]) for x in found] == shown
    assert (last["data"]["reward"], last["data"]["done"]) == (1.0, True)
    assert state["data"]["step_count"] == len(steps) + 1
    assert over["data"] == {
        "message": "no episode is under way; send reset", "code": "EXECUTION_ERROR"}
    assert ask(served, reset, *steps, wrong)[-1]["data"]["reward"] == 0.0, "it lacks the facts"
    assert ask(served, reset, right)[-1]["data"]["reward"] == 0.0, "nothing was done"


def test_tools_are_listed_and_others_refused(served: str) -> None:
    tools, _, other, broken, failed = ask(
        served, {"type": "step", "data": {"type": "list_tools"}}, {"type": "reset"},
        call("nope"), call("sql", query="x"), call("sql", statement="SELEKT"))
    names = [t["name"] for t in tools["data"]["observation"]["tools"]]
    assert names == ["sql", "tables", "final_answer"]
    assert other["data"]["observation"]["error"]["error_type"] == "tool_not_found"
    assert "missing_required:statement" in broken["data"]["observation"]["result"]["error"]
    assert "syntax error" in failed["data"]["observation"]["result"]["error"]


@pytest.mark.parametrize(("message", "code"), [
    ("{", "INVALID_JSON"), ("[1]", "INVALID_JSON"), (b"\xff", "INVALID_JSON"),
    ("[" * 100_000, "INVALID_JSON"),
    ({"type": "dance"}, "UNKNOWN_TYPE"),
    ({"type": "reset", "data": 3}, "VALIDATION_ERROR"),
    ({"type": "reset", "data": {"seed": -1}}, "VALIDATION_ERROR"),
    ({"type": "step", "data": {"tool_name": 7}}, "VALIDATION_ERROR"),
    (call("sql", statement="SELECT 1"), "EXECUTION_ERROR"),
])  # fmt: skip
def test_a_client_is_believed_in_nothing(served: str, message: Any, code: str) -> None:
    refused, goes_on = ask(served, message, {"type": "reset"})
    assert (refused["type"], refused["data"]["code"]) == ("error", code)
    assert goes_on["type"] == "observation"


def test_a_page_in_a_browser_does_not_reach_it(served: str) -> None:
    assert httpx.get(f"{served}/health").json() == {"status": "healthy"}
    assert httpx.get(f"{served}/schema", headers={"host": "evil.example"}).status_code == 403
    with pytest.raises(InvalidStatus, match="403"):
        ask(served, {"type": "reset"}, origin="http://evil.example")


def test_there_is_room_for_so_many(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openenv_server, "MAX_SESSIONS", 0)
    with connect(f"ws{served.removeprefix('http')}/ws", proxy=None) as peer:
        assert json.loads(peer.recv(timeout=20))["data"]["code"] == "CAPACITY_REACHED"


def test_an_agent_that_cannot_be_served_is_refused(tmp_path: Path) -> None:
    tree = {"name": "x", "description": "d", "tools": [
        {"name": "t", "description": "d", "parameters": {"type": "object", "properties": {}}}]}
    (tmp_path / "x.yaml").write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match="has no world with a task"):
        ServedAgent.of(str(tmp_path / "x.yaml"), 4, 0)


# --- a world at a server --------------------------------------------------------------------------


def spec_with_tasks(url: str, folder: Path) -> str:
    """The spec that `init --openenv` writes, with its user's examples."""
    out = folder / "there.yaml"
    done = CliRunner().invoke(app, ["init", "--openenv", url, "--name", "there", "--out", str(out)])
    assert done.exit_code == 0, done.output
    tree = agents.load_spec(out).model_dump(exclude_defaults=True)
    tree["examples"] = [
        {"request": row.query, "task": {"seed": i}, "answer": row.answer.content,
         "calls": [{"name": c.name, "arguments": c.args} for c in row.calls]}
        for i, row in enumerate(ORDERS.rows)]
    out.write_text(json.dumps(tree))
    return str(out)


def test_an_environment_becomes_the_world_of_an_agent(served: str, tmp_path: Path) -> None:
    path = spec_with_tasks(served, tmp_path)
    spec = agents.load_spec(path)
    assert spec.world == served
    assert spec.toolspecs == ORDERS.spec.toolspecs, "final_answer is no tool of the model"
    executor = validate_rows.executor(GenerateConfig(agents=[path]))
    [row], [kept] = react(spec, 9, 1), suites.goals([path], 9, 1)
    shown = {r.query: [m.content for m in r.messages if m.role == "tool"] for r in ORDERS.rows}
    assert [m.content for m in row.messages if m.role == "tool"] == shown[row.query]
    assert executor.fault(row) == ""
    assert rolled_out(script(kept), kept)["task_completion"] == 1.0
    assert rolled_out(["I do not know."], kept)["task_completion"] == 0.0
    assert rolled_out([*script(kept)[:-1], "Done."], kept)["task_completion"] == 0.0


def test_another_answer_to_the_same_steps_is_another_score(served: str) -> None:
    row = ORDERS.rows[0]
    episode = Episode.of(locate(served, Path()), {"seed": 0}, None)
    for made in row.calls:
        episode.call(made)
    assert [episode.score(x) for x in ("?", row.answer.content, "?")] == [0.0, 1.0, 0.0]


def test_an_episode_outlives_its_connection(
    served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with room for two, and one that ends idle connections: no step is lost."""
    monkeypatch.setattr(openenv_server, "MAX_SESSIONS", 2)
    row, code = ORDERS.rows[0], locate(served, Path())
    episodes = [Episode.of(code, {"seed": 0}, None) for _ in range(4)]
    shown = [m.content for m in row.messages if m.role == "tool"]
    assert [[e.call(c) for e in episodes] for c in row.calls] == [[s] * 4 for s in shown]
    for session in box_of(code)._sessions.values():
        if session.socket:
            session.socket.close()
    assert [e.score(row.answer.content) for e in episodes] == [1.0] * 4


SCHEMA = {"action": {"title": "ActAction", "type": "object", "properties": {
    "act": {"type": "string"}, "metadata": {"type": "object"}}}}  # fmt: skip


@contextmanager
def hostile(act: Callable[[ServerConnection, str], None], schema: Any = SCHEMA) -> Iterator[str]:
    """A server that resets and then does to a step what `act` says."""

    def session(peer: ServerConnection) -> None:
        for text in peer:
            if json.loads(text)["type"] == "reset":
                peer.send(told({}))
            else:
                act(peer, json.loads(text)["data"].get("act", ""))

    def page(peer: ServerConnection, request: Any) -> Any:
        if request.path == "/schema":
            return peer.respond(HTTPStatus.OK, json.dumps(schema))
        return None

    with serve(session, "127.0.0.1", 0, process_request=page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"


def told(observation: Any, **more: Any) -> str:
    data = {"observation": observation, "reward": None, "done": False} | more
    return json.dumps({"type": "observation", "data": data})


def failed(code: str) -> str:
    return json.dumps({"type": "error", "data": {"message": "no", "code": code}})


LIES = {
    "text": ("hello", "answers with no JSON object: 'hello'"),
    "list": ("[1]", "answers with no JSON object"),
    "deep": ("[" * 100_000, "answers with no JSON object"),
    "other": ('{"type": "state", "data": {}}', "answers with no observation"),
    "half": ('{"type": "observation", "data": {"observation": [1]}}', "no observation"),
    "paid": (told({}, reward="much"), "gives the reward 'much', which is no number"),
    "nan": (told({}, reward=float("nan")), "the reward nan"),
    "broke": (failed("SESSION_ERROR"), "says SESSION_ERROR: no"),
    "huge": (told({"x": "a" * (5 << 20)}), "closed the connection"),
    "tool": (told({"tool_name": "t", "error": {"error_type": "timeout", "message": "late"}}),
             "cannot reach its tool: late"),
}


def test_a_server_that_lies_ends_the_roll_out_and_no_other() -> None:
    with hostile(lambda peer, act: peer.send(LIES[act][0] if act else told({"x": 1}))) as url:
        code = locate(url, Path())
        good = Episode.of(code, {}, None)
        assert good.call(ToolCall.of("act")) == '{"x": 1}'
        for act, (_, said) in LIES.items():
            with pytest.raises(WorldDown, match="carry_out: server: ") as caught:
                Episode.of(code, {}, None).call(ToolCall.of("act", act=act))
            assert said in str(caught.value), act
        assert good.call(ToolCall.of("act")) == '{"x": 1}'


def test_what_an_environment_says_to_a_bad_action_is_an_observation() -> None:
    with hostile(lambda peer, act: peer.send(failed(act))) as url:
        episode = Episode.of(locate(url, Path()), {}, None)
        for code in ("EXECUTION_ERROR", "VALIDATION_ERROR"):
            assert json.loads(episode.call(ToolCall.of("act", act=code)))["error"].startswith("no")


def test_rewards_add_up_to_a_score_or_are_refused() -> None:
    paid = {"half": told({}, reward=0.5), "lost": told({}, reward=-1), "all": told({}, reward=3),
            "end": told({}, reward=True, done=True)}  # fmt: skip
    with hostile(lambda peer, act: peer.send(paid[act])) as url:
        def after(*acts: str) -> tuple[float, str]:
            episode = Episode.of(locate(url, Path()), {}, None)
            seen = [episode.call(ToolCall.of("act", act=a)) for a in acts]
            return episode.score("any"), seen[-1]

        assert after("half", "half") == (1.0, "{}")
        assert after("half", "lost")[0] == 0.0
        assert after("end", "half") == (1.0, '{"error": "the episode has ended"}')
        with pytest.raises(WorldDown, match="rewards of 3 in all; a goal is a score from 0 to 1"):
            after("all")


def test_a_server_that_hangs_or_dies_is_given_up() -> None:
    with hostile(lambda peer, act: time.sleep(5) if act else peer.send(told({}))) as url:
        code = locate(url, Path())
        box_of(code).timeout_s = 0.3
        episode = Episode.of(code, {}, None)
        began = time.monotonic()
        with pytest.raises(WorldDown, match="carry_out: timeout"):
            episode.call(ToolCall.of("act", act="hang"))
        assert time.monotonic() - began < 3
        assert Episode.of(code, {}, None).call(ToolCall.of("act")) == "{}"
    with pytest.raises(WorldDown, match=r"does not answer .*refused"):
        Episode.of(code, {}, None).score("")


@pytest.mark.parametrize(("schema", "said"), [
    ([1], "answers with no JSON object"),
    ({}, "/schema has no action"),
    ({"action": {"title": "CallToolAction"}}, "lists no tools"),
])  # fmt: skip
def test_init_refuses_what_is_no_environment(schema: Any, said: str, tmp_path: Path) -> None:
    no_tools = told({"tools": 3})
    with (
        hostile(lambda peer, act: peer.send(no_tools), schema) as url,
        pytest.raises(ConfigError, match=said),
    ):
        openenv_spec(url)
    done = CliRunner().invoke(app, ["init", "--openenv", url, "--out", str(tmp_path / "x.yaml")])
    assert (done.exit_code, (tmp_path / "x.yaml").exists()) == (2, False)
    assert "is it running?" in " ".join(done.output.split())


def test_an_environment_of_one_action_is_one_tool() -> None:
    with hostile(lambda peer, act: peer.send(told({"x": act}))) as url:
        [tool] = openenv_spec(url).tools
        assert (tool.name, list(tool.parameters["properties"])) == ("act", ["act"])
        outcome = EnvironmentServer(url).call("world_tasks", {"entry": "", "seed": 0, "count": 1})
        assert outcome.value == []


# --- the real packages ----------------------------------------------------------------------------

FOREIGN = ROOT / ".venvs/environments/bin/python"
PROGRAMS = ROOT / "tests/foreign"
needs_openenv = pytest.mark.skipif(
    not FOREIGN.exists(), reason="openenv-core is not installed apart: make environments"
)


@contextmanager
def running(folder: Path, application: str) -> Iterator[str]:
    """An ASGI application of the foreign environment, by its own uvicorn."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [FOREIGN, "-m", "uvicorn", application, "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": "."},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + 240
    try:
        while time.monotonic() < until and process.poll() is None:
            try:
                httpx.get(f"{url}/health").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.5)
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@needs_openenv
def test_the_environment_that_openenv_writes_is_a_world(tmp_path: Path) -> None:
    """The environment of `openenv init`: one action, one session at a time, rewards by length."""
    command = [FOREIGN.with_name("openenv"), "init", "echo_shop"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=240)
    with running(tmp_path / "echo_shop", "server.app:app") as url:
        [tool] = openenv_spec(url).tools
        assert (tool.name, tool.parameters["required"]) == ("echo_shop", ["message"])
        one, two = (Episode.of(locate(url, Path()), {}, None) for _ in range(2))
        for text in ("hello", "world"):
            for episode in (one, two):
                seen = json.loads(episode.call(ToolCall.of("echo_shop", message=text)))
                assert seen == {"echoed_message": text, "message_length": 5}
        assert [one.score(""), two.score("")] == pytest.approx([1.0, 1.0])
        assert "message" in json.loads(one.call(ToolCall.of("echo_shop", message=3)))["error"]


@pytest.mark.slow
@needs_openenv
def test_an_environment_of_tools_of_openenv_is_a_world() -> None:
    with running(PROGRAMS, "stock_server:app") as url:
        assert [t.name for t in openenv_spec(url).tools] == ["count", "add"]
        task = {"held": {"lamp": 3}, "wanted": {"lamp": 5}}
        episodes = [Episode.of(locate(url, Path()), task, None) for _ in range(4)]
        for episode in episodes:
            assert episode.call(ToolCall.of("count", item="lamp")) == "3"
        assert "sofa" in json.loads(episodes[0].call(ToolCall.of("count", item="sofa")))["error"]
        assert "number" in json.loads(episodes[0].call(ToolCall.of("add", item="x")))["error"]
        for episode in episodes[1:]:
            assert episode.call(ToolCall.of("add", item="lamp", number=2)) == "5 held"
        assert [e.score("") for e in episodes] == [0.0, 1.0, 1.0, 1.0]


@pytest.mark.slow
@needs_openenv
def test_openenvs_clients_play_our_world(served: str) -> None:
    row = ORDERS.rows[0]
    steps = [[c.name, c.args] for c in row.calls]
    steps.append(["final_answer", {"answer": row.answer.content}])
    command = [FOREIGN, PROGRAMS / "play.py", served, json.dumps(steps)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=240)
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["tools"] == ["sql", "tables", "final_answer"]
    assert seen["request"] == row.query
    assert seen["ends"] == [[0.0, False]] * len(row.calls) + [[1.0, True]]
    shown = [m.content for m in row.messages if m.role == "tool"]
    assert [json.dumps(x) for x in seen["seen"][:-1]] == shown
