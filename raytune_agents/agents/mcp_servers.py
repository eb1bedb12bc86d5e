"""An MCP server as its user names it: a command, a URL, or an entry of a file that the clients
share (`mcpServers`; VS Code's `servers`), FILE.json or FILE.json:NAME.

Of an entry are read command, args, env and cwd, or url, headers and type. ${NAME}, ${env:NAME} and
${NAME:-otherwise} are filled in when the server is asked, so that no key stands in a spec; what is
filled in where a key stands is hidden in all that is written of the server's words.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TextIO

from raytune_agents.config import ConfigError
from raytune_agents.records import JsonObject
from raytune_agents.redact import SECRET_NAME, hide

PLACE = re.compile(r"(.+\.json)(?::([^:]+))?")
VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_]\w*)(?::-([^}]*))?\}")
ASKED = re.compile(r"\$\{[a-z]+:")  # VS Code asks its user for ${input:key}
LISTS, URLS = ("mcpServers", "servers"), ("url", "httpUrl", "serverUrl")
OLDER = re.compile(r"/sse/?(?:$|\?)")  # the transport before streamable HTTP


def server_transport(server: str, log: TextIO) -> Any:
    """What the `mcp` package connects to; stderr of a process goes to `log`. Raises ConfigError."""
    if server.startswith(("http://", "https://")):
        return _over_http(log, server, {}, bool(OLDER.search(server)))
    place = PLACE.fullmatch(server)
    try:
        if place and Path(place[1]).is_file():
            return _of_entry(_entry(place[1], place[2] or ""), log)
        if place and " " not in server:
            raise ConfigError(f"--mcp {place[1]}: no such file")
        command, *words = shlex.split(server)
    except ConfigError:
        raise
    # no quote ends; a file that holds something else
    except (AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        raise ConfigError(f"--mcp {server!r}: {error}; write a command or a URL") from None
    return _process(log, command=command, args=words)


def seen_from(folder: Path, server: str) -> str:
    """The server that a spec in `folder` names: a file's path is seen from there."""
    place = PLACE.fullmatch(server)
    return str(folder / server) if place and (folder / place[1]).is_file() else server


def _entry(file: str, name: str) -> JsonObject:
    """The entry of this name in a file, the only one for "". Raises ConfigError, ValueError."""
    tree = json.loads(Path(file).read_text(encoding="utf-8-sig"))
    found = next((tree[k] for k in LISTS if k in tree), {})
    if not name and len(found) == 1:
        [name] = found
    if name not in found:
        names = " or ".join(f"{file}:{n}" for n in found) or 'a file of {"mcpServers": {NAME: ...}}'
        which = f"has no server {name!r}" if name else "has not one server"
        raise ConfigError(f"--mcp {file} {which}; write {names}")
    entry: JsonObject = found[name]
    return entry


def _of_entry(entry: JsonObject, log: TextIO) -> Any:
    for key in entry.keys() & set(URLS):
        url, headers = _filled(entry[key]), _filled_in(entry.get("headers"))
        return _over_http(log, url, headers, entry.get("type") == "sse" or bool(OLDER.search(url)))
    if "command" not in entry:
        raise ValueError("its entry has no url and no command")
    args, where = [_filled(a) for a in entry.get("args") or ()], entry.get("cwd")
    env, cwd = _filled_in(entry.get("env")), where and _filled(where)
    return _process(log, command=_filled(entry["command"]), args=args, env=env or None, cwd=cwd)


def _filled_in(values: JsonObject | None) -> dict[str, str]:
    """Headers or variables with our environment's values; the secret ones are hidden from now."""
    return {k: _filled(v, k) for k, v in (values or {}).items()}


def _filled(text: Any, name: str = "") -> str:
    """A value; that of a header or variable called `name`. Raises ConfigError where a variable is
    not set."""
    # An AUTH_URL of a server may hold its password; in the environment it is a plain address.
    secret = SECRET_NAME.search(name) or "auth" in name.casefold()

    def value(found: re.Match[str]) -> str:
        if secret:
            hide(found[1])
        said = os.environ.get(found[1]) or found[2]
        if said is None:
            raise ConfigError(f"${found[1]} is not set; export it, the MCP server's entry asks")
        return said

    out = VARIABLE.sub(value, str(text))
    if ASKED.search(out):
        raise ConfigError(
            f"{text}: nobody is asked here; write ${{env:NAME}} in the server's entry"
        )
    if secret:
        hide(name, out.rpartition(" ")[2])  # behind the word Bearer
    return out


def _process(log: TextIO, **parameters: Any) -> Any:
    from mcp.client.stdio import StdioServerParameters, stdio_client

    return stdio_client(StdioServerParameters(**parameters), errlog=log)


def _over_http(log: TextIO, url: str, headers: dict[str, str], older: bool) -> Any:
    from mcp.client.sse import sse_client

    return sse_client(url, headers) if older else _streamable(log, url, headers)


@asynccontextmanager
async def _streamable(log: TextIO, url: str, headers: dict[str, str]) -> AsyncIterator[Any]:
    from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

    async def note_refused(response: Any) -> None:  # the package's error leaves the status out
        if response.is_error:
            log.write(f"HTTP {response.status_code} {response.reason_phrase}. ")

    async with (
        create_mcp_http_client(headers) as client,
        streamable_http_client(url, http_client=client) as streams,
    ):
        client.event_hooks["response"].append(note_refused)
        yield streams
