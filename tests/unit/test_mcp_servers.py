"""MCP servers by command, by URL and by an entry of the clients' shared file; then (slow) published
servers, in environments of their own, over stdio and HTTP."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_mcp import asked, server
from typer.testing import CliRunner

from raytune_agents import agents, redact
from raytune_agents.agents import cassettes
from raytune_agents.agents.init import mcp_spec, to_yaml
from raytune_agents.agents.mcp_tools import server_tools
from raytune_agents.agents.worlds import Episode, WorldDown, task_in, world_code
from raytune_agents.agents.worlds.process import close_boxes
from raytune_agents.cli import init_command
from raytune_agents.cli.app import app
from raytune_agents.config import ConfigError
from raytune_agents.records import ToolCall

pytest.importorskip("mcp", reason="package mcp is not installed")
KEY, TYPED = "an-open-secret-of-ours", "typed-into-the-file"


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_NAMED", set())
    monkeypatch.setattr(redact, "_VALUES", {})


LOCKED = """
import os, sys
from mcp.server import MCPServer
shop = MCPServer("a shop")
if os.environ.get("SHOP_WORD") != "{key}":
    sys.exit(f"wrong word: {{os.environ.get('SHOP_WORD')}}, {{os.environ.get('SHOP_API_KEY')}}")
@shop.tool(description="The word is {key}.")
def words() -> str:
    return ", ".join(os.environ.get(k, "-") for k in ("SHOP_WORD", "SHOP_API_KEY", "SHOP_MODE"))
shop.run()
"""


def entries(tmp_path: Path, key: str = "mcpServers", **more: Any) -> Path:
    """A file of two servers, of which the first needs a key."""
    command, *args = server(tmp_path, LOCKED.format(key=KEY)).split()
    shop = {"command": "${SHOP_PYTHON:-" + command + "}", "args": args,
            "env": {"SHOP_WORD": "${env:SHOP_TOKEN}", "SHOP_API_KEY": TYPED, "SHOP_MODE": "short"}}
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({key: {"shop": shop | more, "other": {"command": "/none"}}}))
    return path


@pytest.mark.parametrize("key", ["mcpServers", "servers"])
def test_an_entry_gets_its_key_and_nothing_of_ours_shows_it(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", KEY)
    path = f"{entries(tmp_path, key)}:shop"
    name, [tool] = server_tools(path)
    assert (name, tool["description"]) == ("a shop", "The word is [SHOP_TOKEN].")
    found = cassettes.record_tasks(path, [asked("which?", ("words", {}))])
    assert found.lines[0]["observation"] == "[SHOP_TOKEN], [SHOP_API_KEY], short"


def test_a_key_is_hidden_in_what_a_server_writes_before_it_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "the-wrong-word")
    with pytest.raises(ConfigError, match=r"wrong word: \[SHOP_TOKEN\], \[SHOP_API_KEY\]"):
        server_tools(f"{entries(tmp_path)}:shop")


def test_a_world_names_the_entry_and_its_file_lies_beside_the_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", KEY)
    path, out = entries(tmp_path), tmp_path / "shop.yaml"
    spec = mcp_spec(f"{path}:shop")
    out.write_text(to_yaml(spec.model_copy(update={"world": "mcp: servers.json:shop"})))
    spec = agents.load_spec(out)
    try:
        episode = Episode.of(world_code(spec), {"calls": [["words", {}]]}, None)
        assert episode.call(ToolCall.of("words")) == "[SHOP_TOKEN], [SHOP_API_KEY], short"
        assert KEY not in out.read_text()
    finally:
        close_boxes()


@pytest.mark.parametrize(("file", "name", "said"), [
    ("{", "", "servers.json': .*write a command or a URL"),
    ('{"mcpServers": {"a": {"url": "http://h"}, "b": {}}}', "", r"servers.json:a or .*json:b"),
    ('{"mcpServers": {"a": {"url": "http://h"}}}', ":c", "no server 'c'; write .*json:a"),
    ('{"mcpServers": {"a": {}}}', "", "no url and no command"),
    ('{"mcpServers": {"a": 3}}', "", "a command or a URL"),
    ('{"mcpServers": [1]}', "", "a command or a URL"),
    ('{"mcpServers": {"a": {"url": "http://h", "headers": []}}}', ":b", "has no server 'b'"),
    ('{"mcpServers": {"a": {"url": "http://h", "headers": [1]}}}', "", "a command or a URL"),
    ("[]", "", "has not one server"), ("{}", "", r'a file of \{"mcpServers"'),
    ('{"servers": {"a": {"url": "http://h/${NO_SUCH}"}}}', "", "NO_SUCH is not set; export it"),
    ('{"servers": {"a": {"command": "x", "args": ["${input:key}"]}}}', "", r"write \$\{env:NAME\}"),
])  # fmt: skip
def test_a_file_that_names_no_server_says_what_to_write(
    file: str, name: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "servers.json"
    path.write_text(file)
    with pytest.raises(ConfigError, match=said):
        server_tools(f"{path}{name}", timeout_s=5.0)
    with pytest.raises(ConfigError, match=r"--mcp none\.json: no such file"):
        server_tools(f"none.json{name}", timeout_s=5.0)


# --- published servers ----------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
NEW, OLD = ROOT / ".venvs/environments/bin", ROOT / ".venvs/mcp-1/bin"  # releases 2 and 1 of mcp
ARGS = ["--local-timezone", "UTC"]
TOKYO = {"source_timezone": "UTC", "time": "09:00", "target_timezone": "Asia/Tokyo"}


def needs(*programs: Path) -> None:
    for program in programs:
        if not program.exists():
            pytest.skip(f"{program.name} is not installed apart: make environments")


@contextmanager
def running(command: list[Any], port: int) -> Iterator[None]:
    """A server of the foreign environments, until it listens."""
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    try:
        while time.monotonic() < until and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                time.sleep(0.3)
        yield
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def clock(kind: str, tmp_path: Path) -> Iterator[str]:
    """mcp-server-time: itself, or behind the proxy of mcp-proxy or of FastMCP."""
    home = NEW if kind in ("stdio", "fastmcp") else OLD
    program, port = home / "mcp-server-time", free_port()
    needs(program)
    if kind.startswith("stdio"):
        yield " ".join(map(str, [program, *ARGS]))
        return
    if kind == "fastmcp":
        config = tmp_path / "proxied.json"
        entry = {"command": str(program), "args": ARGS}
        config.write_text(json.dumps({"mcpServers": {"clock": entry}}))
        needs(home / "fastmcp")
        command = [home / "fastmcp", "run", config, "--transport", "http", "--port", port]
    else:
        needs(home / "mcp-proxy")
        command = [home / "mcp-proxy", "--port", port, "--", program, *ARGS]
    with running(command, port):
        yield f"http://127.0.0.1:{port}/{'sse' if kind == 'sse' else 'mcp'}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stdio", "stdio of 1", "fastmcp", "mcp-proxy", "sse"])
def test_a_published_server_is_listed_recorded_replayed_and_played(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init_command, "TASKS", 2)
    rows, out = tmp_path / "rows.jsonl", tmp_path / "clock.yaml"
    call = {"id": "c", "type": "function",
            "function": {"name": "convert_time", "arguments": json.dumps(TOKYO)}}
    turns = [{"role": "user", "content": "9:00 UTC in Tokyo?"},
             {"role": "assistant", "content": None, "tool_calls": [call]}]
    rows.write_text(json.dumps({"messages": turns}) + "\n")
    with clock(kind, tmp_path) as address:
        typed = ["init", "--mcp", address, "--only", "convert_time", "--world"]
        typed += ["--positives", str(rows), "--out", str(out)]
        done = CliRunner().invoke(app, typed)
        assert done.exit_code == 0, done.output
        tree = yaml.safe_load(out.read_text())
        assert tree["name"] == ("mcp-time" if kind != "fastmcp" else tree["name"])
        tree |= {"world": f"mcp: {address}"}
        live = world_code(agents.parse_spec(tree, "clock.yaml"))
        episode = Episode.of(live, {"calls": [["convert_time", TOKYO]]}, None)
        shown = json.loads(episode.call(ToolCall.of("convert_time", **TOKYO)))
        assert shown["target"]["datetime"][10:] == "T18:00:00+09:00"
        refused = episode.call(ToolCall.of("get_current_time", timezone="UTC"))
        assert "get_current_time is none of convert_time" in refused
        assert "error" in episode.run(ToolCall.of("convert_time", **TOKYO | {"time": "noon"}))
        assert episode.score("18:00.") == 1.0
        close_boxes()
    spec = agents.load_spec(out)  # nothing runs any more
    [example] = [e for e in spec.examples if e.request == "9:00 UTC in Tokyo?"]
    assert example.calls[0].arguments == TOKYO
    episode = Episode(task_in(spec, example.task or {}), spec.toolspecs)
    replayed = json.loads(episode.call(ToolCall.of("convert_time", **TOKYO)))
    assert replayed["time_difference"] == shown["time_difference"] == "+9.0h"
    assert episode.score("") == 1.0
    assert address not in out.read_text() + (tmp_path / "clock_world/cassette.jsonl").read_text()


@pytest.mark.slow
def test_a_server_that_asks_for_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tool says what it was asked with."""
    needs(NEW / "fastmcp")
    port, config = free_port(), tmp_path / "servers.json"
    headers = {"Authorization": "Bearer ${SHOP_WORD}"}
    url = f"http://127.0.0.1:{port}/mcp"
    config.write_text(json.dumps({"mcpServers": {"shop": {"url": url, "headers": headers}}}))
    program = Path(__file__).parents[1] / "foreign/locked_server.py"
    with running([NEW / "python", program, port, KEY], port):
        for where, word in ((url, KEY), (str(config), "wrong-words")):
            monkeypatch.setenv("SHOP_WORD", word)
            with pytest.raises(ConfigError, match="HTTP 401 Unauthorized") as caught:
                server_tools(where)
            assert word not in str(caught.value)
        monkeypatch.setenv("SHOP_WORD", KEY)
        out = tmp_path / "shop.yaml"
        typed = ["init", "--mcp", str(config), "--only", "price", "--world", "--out", str(out)]
        done = CliRunner().invoke(app, typed)
        assert done.exit_code == 0, done.output
        tree = yaml.safe_load(out.read_text()) | {"world": "mcp: servers.json"}
        live = tmp_path / "live.yaml"
        live.write_text(yaml.safe_dump(tree))
        code = world_code(agents.load_spec(live))
        episode = Episode.of(code, {"calls": [["price", {"item": "lamp"}]]}, None)
        seen = episode.call(ToolCall.of("price", item="lamp"))
        assert seen == "lamp: 2.5, for Bearer [Authorization]"
        monkeypatch.setenv("SHOP_WORD", "wrong-words")
        with pytest.raises(WorldDown, match="server: "):
            Episode.of(code, {"calls": [["price", {}]]}, None).call(ToolCall.of("price"))
        close_boxes()
    written = "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())
    assert KEY not in written
    assert "Bearer [" in written
