"""A running MCP server, through the official `mcp` package: the tools that `init --mcp` writes a
spec of, and what one call of a tool gives. `cassettes` records calls, `worlds.live_mcp` makes them
in roll-outs, of tools that the user names.

A server is a program of somebody else. It is started without our environment (the package passes
PATH, HOME and their like alone), has TIMEOUT_S for everything, may name at most MAX_TOOLS tools,
and what it says of them is read as any tools file is: a schema that is none names its tool.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TextIO, TypeVar

from raytune_agents.agents.mcp_servers import server_transport
from raytune_agents.config import ConfigError
from raytune_agents.records import JsonObject
from raytune_agents.redact import redact, with_texts, without_known

T = TypeVar("T")
TIMEOUT_S = 30.0
MAX_TOOLS, MAX_PAGES = 2_000, 100
MAX_CHARS = 64_000  # of one answer
SHOWN_CHARACTERS = 500  # characters of what a server wrote before it died


class ListedServer(NamedTuple):
    """The name that a server gives itself ("" = none), and {name, description, inputSchema} of each
    of its tools."""

    name: str
    tools: list[JsonObject]


class NotRecorded(Exception):
    """Why a call has no answer of its tool."""


def server_tools(
    server: str, allowed: Sequence[str] = (), timeout_s: float = TIMEOUT_S
) -> ListedServer:
    """The tools of `server`, of `allowed` alone where that names any. Raises ConfigError saying
    what to do."""
    name, tools = ask_server(server, partial(_listed, server), timeout_s)
    names = [t["name"] for t in tools]
    if unknown := sorted(set(allowed) - set(names)):
        raise ConfigError(f"--only {', '.join(unknown)}: the server has {', '.join(names)}")
    found = [t for t in tools if not allowed or t["name"] in allowed]
    if not found:
        raise ConfigError(f"--mcp {server!r}: the server lists no tools")
    return ListedServer(name, found)


def ask_server(server: str, work: Callable[[Any], Awaitable[T]], timeout_s: float) -> T:
    """What `work` makes of a client that is connected to `server`. Raises ConfigError saying what
    to do, and what `work` raises where it says why itself (`ConfigError`, `NotRecorded`)."""
    try:
        import mcp  # noqa: F401
    except ImportError:
        raise ConfigError("--mcp needs package mcp: pip install mcp") from None
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            return asyncio.run(asyncio.wait_for(_connected(server, log, work), timeout_s))
        except TimeoutError:
            why = f"it does not answer within {timeout_s:g} s"
            raise ConfigError(_refusal(server, why, log)) from None
        # whatever a foreign server makes of the protocol; the transport's tasks raise in groups
        except (Exception, BaseExceptionGroup) as error:
            first = first_cause(error)
            if isinstance(first, ConfigError | NotRecorded):
                raise first from None
            why = " ".join(str(first).split())[:SHOWN_CHARACTERS] or type(first).__name__
            raise ConfigError(_refusal(server, why, log)) from None


async def _connected(server: str, log: TextIO, work: Callable[[Any], Awaitable[T]]) -> T:
    from mcp import Client

    async with Client(server_transport(server, log)) as client:
        return await work(client)


async def _listed(server: str, client: Any) -> ListedServer:
    tools: list[JsonObject] = []
    # pages may go round in a circle, so they are counted
    cursor = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += [t.model_dump(by_alias=True, exclude_none=True) for t in page.tools]
        if len(tools) > MAX_TOOLS:
            break
        cursor = page.next_cursor
        if cursor is None:
            about = client.server_info
            return ListedServer(about.name if about else "", with_texts(tools, without_known))
    raise ConfigError(
        f"--mcp {server!r}: the server names more than {MAX_TOOLS} tools, or does "
        "not end its list; write the ones you want into a file for --tools"
    )


async def tool_answer(
    client: Any, name: str, arguments: JsonObject, timeout_s: float
) -> JsonObject:
    """{observation} or {error} of a call, without our secrets. Raises NotRecorded where that is no
    word of the tool."""
    answer: JsonObject = with_texts(
        await _answer(client, name, arguments, timeout_s), without_known
    )
    return answer


async def _answer(client: Any, name: str, arguments: JsonObject, timeout_s: float) -> JsonObject:
    from mcp import MCPError
    from mcp.types import CONNECTION_CLOSED

    try:
        found = await asyncio.wait_for(client.call_tool(name, arguments), timeout_s)
    except TimeoutError:
        raise NotRecorded(f"{name} does not answer within {timeout_s:g} s") from None
    except MCPError as error:
        if error.code == CONNECTION_CLOSED:
            raise NotRecorded(f"{name} ended the server") from None
        return {"error": str(error)[:MAX_CHARS]}
    except (RuntimeError, ValueError) as error:  # it breaks its own schema, or the protocol
        why = " ".join(str(error).split())[:SHOWN_CHARACTERS]
        raise NotRecorded(f"{name} answers what a client refuses ({why})") from None
    texts = [text for block in found.content if (text := _text_of(block)) is not None]
    structured = found.structured_content
    if found.is_error:
        return {"error": "\n".join(texts)[:MAX_CHARS] or "the tool failed and says nothing"}
    if len(texts) < len(found.content) and structured is None:
        raise NotRecorded(f"{name} answers with more than text")
    observation = "\n".join(texts) if structured is None else _only_result(structured)
    if len(json.dumps(observation)) > MAX_CHARS:
        raise NotRecorded(f"{name} answers with more than {MAX_CHARS} characters")
    return {"observation": observation}


def _text_of(block: Any) -> str | None:
    """The text of a block of an answer, that of a file in it too; None of a picture or a link."""
    held = block.resource if block.type == "resource" else block
    return getattr(held, "text", None)


def _only_result(structured: Any) -> Any:
    """A structured answer; {result: x}, which servers put around what is no object, as x."""
    wrapped = isinstance(structured, dict) and structured.keys() == {"result"}
    return structured["result"] if wrapped else structured


def first_cause(error: BaseException) -> BaseException:
    """The first cause that is no group of others."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _refusal(server: str, why: str, log: TextIO) -> str:
    log.seek(0)
    output = log.read()[-SHOWN_CHARACTERS:].strip()
    text = f"--mcp {server!r}: {why}" + (f"; it said: {output}" if output else "")
    return redact(f"{text}; start it by hand to see why, or write its tools to a file for --tools")
