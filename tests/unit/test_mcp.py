"""`init --mcp`: the tools of a running server; servers that hang, die, lie or never end."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from raytune_agents.agents.mcp_tools import MAX_TOOLS, server_tools
from raytune_agents.cli.app import app
from raytune_agents.config import ConfigError

pytest.importorskip("mcp", reason="package mcp is not installed")
TIME = shutil.which("mcp-server-time")  # of the protocol's own collection of servers


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
    price, other = server_tools(command)
    assert (price["name"], other["name"]) == ("price", "environment")
    assert price["inputSchema"]["required"] == ["item"]
    assert [t["name"] for t in server_tools(command, ["price"])] == ["price"]
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
    found = server_tools(server(tmp_path, RAW.format(tools=pages)))
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


@pytest.mark.skipif(TIME is None, reason="mcp-server-time is not on PATH (pip install it apart)")
def test_a_published_server_becomes_a_spec(tmp_path: Path) -> None:
    """In an environment of its own, with whatever release of mcp it wants."""
    out = tmp_path / "clock.yaml"
    done = CliRunner().invoke(app, ["init", "--mcp", f"{TIME} --local-timezone UTC", "--only",
                                    "convert_time", "--out", str(out), "--name", "clock"])
    assert done.exit_code == 0, done.output
    [tool] = yaml.safe_load(out.read_text())["tools"]
    assert tool["name"] == "convert_time"
    assert tool["parameters"]["required"] == ["source_timezone", "time", "target_timezone"]
