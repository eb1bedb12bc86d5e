"""The tools of a running MCP server, through the official `mcp` package: what `init --mcp` writes a
spec of. Only listed: no tool is called.

A server is a program of somebody else. It is started without our environment (the package passes
PATH, HOME and their like alone), has TIMEOUT_S for everything, may name at most MAX_TOOLS tools,
and what it says of them is read as any tools file is: a schema that is none names its tool.
"""

from __future__ import annotations

import asyncio
import shlex
import tempfile
from collections.abc import Sequence
from typing import Any, TextIO

from raytune_agents.config import ConfigError
from raytune_agents.records import JsonObject
from raytune_agents.redact import redact

TIMEOUT_S = 30.0
MAX_TOOLS, MAX_PAGES = 2_000, 100
SAID = 500  # characters of what a server wrote before it died


def server_tools(
    server: str, allowed: Sequence[str] = (), timeout_s: float = TIMEOUT_S
) -> list[JsonObject]:
    """{name, description, inputSchema} of each tool of `server`, a command or a URL; of `allowed`
    alone where that names any. Raises ConfigError saying what to do."""
    try:
        import mcp  # noqa: F401
    except ImportError:
        raise ConfigError("--mcp needs package mcp: pip install mcp") from None
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            tools = asyncio.run(asyncio.wait_for(_listed(server, log), timeout_s))
        except TimeoutError:
            why = f"it does not answer within {timeout_s:g} s"
            raise ConfigError(_refusal(server, why, log)) from None
        except ConfigError:
            raise
        except BaseExceptionGroup as group:  # of the tasks that carry the transport
            raise ConfigError(_refusal(server, _first(group), log)) from None
        except Exception as error:  # whatever a foreign server makes of the protocol
            raise ConfigError(_refusal(server, _first(error), log)) from None
    names = [t["name"] for t in tools]
    if unknown := sorted(set(allowed) - set(names)):
        raise ConfigError(f"--only {', '.join(unknown)}: the server has {', '.join(names)}")
    found = [t for t in tools if not allowed or t["name"] in allowed]
    if not found:
        raise ConfigError(f"--mcp {server!r}: the server lists no tools")
    return found


async def _listed(server: str, log: TextIO) -> list[JsonObject]:
    from mcp import Client

    tools: list[JsonObject] = []
    async with Client(_transport(server, log)) as client:
        # pages may go round in a circle, so they are counted
        cursor = None
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            tools += [t.model_dump(by_alias=True, exclude_none=True) for t in page.tools]
            if len(tools) > MAX_TOOLS:
                break
            cursor = page.next_cursor
            if cursor is None:
                return tools
    raise ConfigError(
        f"--mcp {server!r}: the server names more than {MAX_TOOLS} tools, or does "
        "not end its list; write the ones you want into a file for --tools"
    )


def _transport(server: str, log: TextIO) -> Any:
    """A URL as it is; a command as a process whose stderr goes to `log`."""
    from mcp.client.stdio import StdioServerParameters, stdio_client

    if server.startswith(("http://", "https://")):
        return server
    try:
        command, *words = shlex.split(server)
    except ValueError as error:
        raise ConfigError(f"--mcp {server!r}: {error}; write a command or a URL") from None
    return stdio_client(StdioServerParameters(command=command, args=words), errlog=log)


def _first(error: BaseException) -> str:
    """The first cause that is no group of others."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(str(error).split())[:SAID] or type(error).__name__


def _refusal(server: str, why: str, log: TextIO) -> str:
    log.seek(0)
    output = log.read()[-SAID:].strip()
    text = f"--mcp {server!r}: {why}" + (f"; it said: {output}" if output else "")
    return redact(f"{text}; start it by hand to see why, or write its tools to a file for --tools")
