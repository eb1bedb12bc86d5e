"""`init --mcp`: the tools of a running server, and its answers recorded and replayed; servers that
hang, die, lie or never end."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from raytune_agents import agents
from raytune_agents.agents import ExampleConfig, cassettes
from raytune_agents.agents.init import mcp_spec, to_yaml
from raytune_agents.agents.mcp_tools import MAX_TOOLS, server_tools
from raytune_agents.agents.worlds import Episode, WorldDown, live_mcp, task_in, world_code
from raytune_agents.agents.worlds.process import WorldCode, close_boxes
from raytune_agents.cli import init_command
from raytune_agents.cli.app import app
from raytune_agents.config import ConfigError
from raytune_agents.generate.world_runs import react
from raytune_agents.records import ToolCall

pytest.importorskip("mcp", reason="package mcp is not installed")


def server(tmp_path: Path, code: str) -> str:
    """A command that runs `code`, with the protocol as the official package speaks it."""
    file = tmp_path / "server.py"
    file.write_text(code)
    return f"{sys.executable} {file}"


SHOP = """
import os
from mcp.server import MCPServer
shop = MCPServer("shop")
@shop.tool()
def price(item: str, count: int = 1) -> float:
    "The price of an item."
    return 2.5 * count
@shop.tool()
def environment() -> str:
    "Shows nothing."
    return ""
environment.__doc__ = None
assert "RAYTUNE_SECRET" not in os.environ, "it sees our environment"
shop.run()
"""


def test_the_tools_of_a_server(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RAYTUNE_SECRET", "s3cret-value-of-ours")
    command = server(tmp_path, SHOP)
    said, (price, other) = server_tools(command)
    assert said == "shop"
    assert (price["name"], other["name"]) == ("price", "environment")
    assert price["inputSchema"]["required"] == ["item"]
    assert [t["name"] for t in server_tools(command, ["price"]).tools] == ["price"]
    with pytest.raises(ConfigError, match="the server has price, environment"):
        server_tools(command, ["buy"])


@pytest.mark.parametrize(("code", "said"), [
    ("import sys; sys.exit('no licence')", "it said: no licence"),
    ("print('hello')", "Connection closed"),
    ("", "Connection closed"),
])
def test_a_server_that_dies_is_quoted(code: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        server_tools(server(tmp_path, code))


def test_a_server_that_hangs_is_given_up(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(ConfigError, match=r"does not answer within 0\.5 s"):
        server_tools(server(tmp_path, "import time; time.sleep(60)"), timeout_s=0.5)
    assert time.monotonic() - start < 20
    with pytest.raises(ConfigError, match="No such file"):
        server_tools("/no/such/server")
    with pytest.raises(ConfigError, match="write a command or a URL"):
        server_tools("'unclosed")


RAW = """
import json, sys
def tools(cursor):
    {tools}
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "initialize":
        result = {{"protocolVersion": asked["params"]["protocolVersion"], "capabilities":
                  {{"tools": {{}}}}, "serverInfo": {{"name": "raw", "version": "1"}}}}
    elif asked.get("method") == "tools/list":
        result = tools((asked.get("params") or {{}}).get("cursor"))
    elif asked.get("method") == "tools/call":
        result = asked["params"]["arguments"]["result"]
    else:
        if "id" in asked:
            print(json.dumps({{"jsonrpc": "2.0", "id": asked["id"], "error":
                              {{"code": -32601, "message": "no such method"}}}}), flush=True)
        continue
    print(json.dumps({{"jsonrpc": "2.0", "id": asked["id"], "result": result}}), flush=True)
"""
TOOL = '{"name": f"t{i}", "inputSchema": {"type": "object"}}'


def test_pages_are_read_to_their_end_and_no_further(tmp_path: Path) -> None:
    pages = ("i = int(cursor or 0); "
             f'return {{"tools": [{TOOL}]}} | ({{"nextCursor": str(i + 1)}} if i < 3 else {{}})')
    found = server_tools(server(tmp_path, RAW.format(tools=pages))).tools
    assert [t["name"] for t in found] == ["t0", "t1", "t2", "t3"]
    endless = (f'return {{"tools": [{TOOL} for i in range(500)], "nextCursor": "again"}}')
    with pytest.raises(ConfigError, match=f"more than {MAX_TOOLS} tools"):
        server_tools(server(tmp_path, RAW.format(tools=endless)))


def test_a_schema_that_lies_is_refused_by_its_place(tmp_path: Path) -> None:
    lie = 'return {"tools": [{"name": "odd", "inputSchema": {"type": "object", "properties": 7}}]}'
    command = server(tmp_path, RAW.format(tools=lie))
    done = CliRunner().invoke(app, ["init", "--mcp", command, "--out", str(tmp_path / "a.yaml")])
    assert done.exit_code == 2
    assert "tools.0.inputSchema.properties" in done.output
    assert not (tmp_path / "a.yaml").exists()


# --- answers recorded and replayed ------------------------------------------------------------

STOCK = """
import json, os, sys, time
from mcp.server import MCPServer
from mcp.types import ImageContent
stock = MCPServer("stock")
held = {"lamp": 3}
@stock.tool()
def count(item: str) -> int:
    "How many of an item are held."
    return held[item]
@stock.tool()
def add(item: str, number: int) -> str:
    "Put more of an item into the stock."
    held[item] += number
    return f"{held[item]} held"
@stock.tool()
def hang() -> str:
    "Never answers."
    time.sleep(60)
@stock.tool()
def die() -> str:
    "Ends the server."
    os._exit(1)
@stock.tool()
def picture() -> ImageContent:
    "A picture of the stock."
    return ImageContent(type="image", data="AA==", mime_type="image/png")
stock.run()
"""


def asked(request: str, *calls: tuple[str, dict]) -> ExampleConfig:
    made = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return ExampleConfig.model_validate(
        {"request": request, "calls": made, "answer": "Done.", "task": {}})


def test_each_task_is_recorded_in_a_session_of_its_own(tmp_path: Path) -> None:
    lamp, more = ("count", {"item": "lamp"}), ("add", {"item": "lamp", "number": 2})
    tasks = [asked("twice", lamp, more, lamp), asked("once", lamp),
             asked("lost", lamp, ("count", {"item": "sofa"})), asked("image", ("picture", {})),
             asked("slow", ("hang", {})), asked("dead", ("die", {}))]
    found = cassettes.record_tasks(server(tmp_path, STOCK), tasks, timeout_s=5.0)
    assert [(r["task"], r["observation"]) for r in found.lines] == [
        (0, 3), (0, "5 held"), (0, 5), (1, 3)]
    assert [e.request for e in found.examples] == ["twice", "once"]
    why = dict(found.left_out)
    assert why["lost"].startswith("count fails: Error executing tool count")
    assert why["image"] == "picture answers with more than text"
    assert why["slow"] == "hang does not answer within 5 s"
    assert why["dead"] == "die ended the server"


def test_what_an_answer_may_hold(tmp_path: Path) -> None:
    """A tool whose output schema asks for an object with a number, and one without; the server
    answers what it is asked to."""
    wants = '{"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}'
    anything = '"inputSchema": {"type": "object"}'
    listed = (f'return {{"tools": [{{"name": "free", {anything}}}, '
              f'{{"name": "typed", {anything}, "outputSchema": {wants}}}]}}')
    text, image = {"type": "text", "text": "ok"}, {"type": "image", "data": "AA==",
                                                   "mimeType": "image/png"}
    file = {"type": "resource", "resource": {"uri": "file:///a", "text": "inside"}}
    link = {"type": "resource_link", "uri": "file:///a", "name": "a"}
    results = {
        "file": ("free", {"content": [text, file]}),
        "both": ("typed", {"content": [text, image], "structuredContent": {"n": 1}}),
        "mute": ("free", {"content": [], "isError": True}),
        "long": ("free", {"content": [text | {"text": "x" * 10**6}], "isError": True,
                          "structuredContent": {"n": 1}}),
        "link": ("free", {"content": [text, link]}),
        "lies": ("typed", {"content": [text], "structuredContent": {"n": "one"}}),
        "odd": ("free", {"content": 7}),
    }
    tasks = [asked(key, (name, {"result": result})) for key, (name, result) in results.items()]
    command = server(tmp_path, RAW.format(tools=listed))
    found = cassettes.record_tasks(command, tasks, timeout_s=5.0)
    assert [r["observation"] for r in found.lines] == ["ok\ninside", {"n": 1}]
    why = dict(found.left_out)
    assert why["mute"] == "free fails: the tool failed and says nothing"
    assert why["link"] == "free answers with more than text"
    assert len(why["long"]) < 10**5
    assert why["lies"].startswith("typed answers what a client refuses (Invalid structured")
    assert why["odd"].startswith("free answers what a client refuses (")


def test_a_server_of_which_nothing_can_be_recorded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lamp = asked("once", ("count", {"item": "lamp"}))
    with pytest.raises(ConfigError, match=r"nothing could be recorded: .*no licence"):
        cassettes.record_tasks(server(tmp_path, "import sys; sys.exit('no licence')"), [lamp])
    monkeypatch.setattr(cassettes, "MAX_CALLS", 0)
    with pytest.raises(ConfigError, match="more than 0 calls in all"):
        cassettes.record_tasks(server(tmp_path, STOCK), [lamp])


def test_a_recorded_world_needs_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init_command, "TASKS", 1)  # drawn beside the examples
    out, command = tmp_path / "stock.yaml", server(tmp_path, STOCK)
    spec = mcp_spec(command, ["count"], "stock")
    asked_for = ("How many lamps?", "Count the lamps.", "Lamps left?", "Is there a lamp?")
    examples = [asked(r, ("count", {"item": "lamp"})).model_copy(update={"task": None})
                for r in asked_for]
    spec = spec.model_copy(update={"examples": examples})
    with pytest.raises(ConfigError, match="name them by --only count"):
        init_command.with_recording(spec, out, command, [])
    spec = init_command.with_recording(spec, out, command, ["count"])
    (tmp_path / "server.py").unlink()
    out.write_text(to_yaml(spec))
    spec = agents.load_spec(out)
    tasks = [e for e in spec.examples if e.task is not None]
    assert {e.request for e in tasks} >= set(asked_for)
    episode = Episode(task_in(spec, tasks[0].task or {}), spec.toolspecs)
    assert episode.call(ToolCall.of("count", item="lamp")) == "3"
    assert episode.score("Done.") == 1.0
    assert "was not recorded" in episode.call(ToolCall.of("count", item="sofa"))
    row = react(spec, 1, 1)[0]
    assert [m.content for m in row.messages if m.role == "tool"] == ["3"]


# --- live -------------------------------------------------------------------------------------


def test_roll_outs_on_a_running_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_mcp, "CALL_S", 5.0)
    monkeypatch.setattr(live_mcp, "MAX_CALLS", 3)
    command, more = server(tmp_path, STOCK), ToolCall.of("add", item="lamp", number=2)
    spec = mcp_spec(command, ["count", "add", "hang", "die"], "stock")
    lamp = {"item": "lamp"}
    tree = yaml.safe_load(to_yaml(spec)) | {"world": f"mcp: {command}"}
    code = world_code(agents.parse_spec(tree, "stock.yaml"))
    task = {"calls": [["add", lamp | {"number": 2}], ["count", lamp]]}
    one, other, last = (Episode.of(code, task, None) for _ in range(3))
    try:
        assert (one.call(more), one.score("")) == ("5 held", 0.0)
        assert other.call(ToolCall.of("count", item="lamp")) == "3"  # a session of its own
        assert "none of count, add, hang, die" in one.call(ToolCall.of("picture"))
        assert (one.call(ToolCall.of("count", item="lamp")), one.score("")) == ("5", 1.0)
        assert "error" in one.run(ToolCall.of("count", item="sofa"))
        assert one.run(more) == {"error": "more than 3 calls"}
        with pytest.raises(WorldDown, match="hang does not answer within 5 s"):
            other.call(ToolCall.of("hang"))
        with pytest.raises(WorldDown, match="die ended the server"):
            last.call(ToolCall.of("die"))
        with pytest.raises(WorldDown, match=r"server: .*ended"):
            last.call(more)
        with pytest.raises(WorldDown, match="has no calls"):
            Episode.of(code, {}, None).call(more)
    finally:
        close_boxes()


def test_a_server_that_cannot_start_ends_the_roll_out() -> None:
    code = WorldCode("mcp: /no/such/server", "", tools=("count",))
    with pytest.raises(WorldDown, match="No such file"):
        Episode.of(code, {"calls": [["count", {}]]}, None).call(ToolCall.of("count"))
    close_boxes()
