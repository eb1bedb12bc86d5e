"""Where a world's code lies and runs: a shipped world in this process, a user's in a sandbox that
is kept for all its episodes, an OpenEnv environment or an MCP server where it runs."""

from __future__ import annotations

import atexit
import importlib.util
import os
import sys
import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_agents.agents.mcp_servers import seen_from
from raytune_agents.agents.worlds.live_mcp import MCP, McpServer
from raytune_agents.agents.worlds.openenv import EnvironmentServer
from raytune_agents.agents.worlds.remote import RemoteWorld
from raytune_agents.config import ConfigError
from raytune_agents.infra.provenance import code_files
from raytune_agents.records import JsonObject, content_hash
from raytune_agents.sandbox import Limits, Sandbox

SHIPPED = "raytune_agents.agents.worlds."
HOST = Path(__file__).with_name("host.py")
LIMITS = Limits(timeout_s=20.0, memory_mib=1024, output_kib=1024)  # of one call of a world


class WorldDown(RuntimeError):
    """The sandbox ended a world's call, or the world cannot begin: no word of a tool."""


@dataclass(frozen=True)
class WorldCode:
    """The class of a world, and the files or packages that it needs beside installed ones, as they
    are now: an edited world is another one, with a process of its own. Or the address of a server
    as its module, and the tools that may be called there."""

    module: str
    name: str
    files: tuple[Path, ...] = ()
    tools: tuple[str, ...] = ()
    version: str = ""

    @property
    def entry(self) -> str:
        return f"{self.module}:{self.name}"

    @property
    def shipped(self) -> bool:
        """Whether it is ours, so that it needs no sandbox."""
        return self.module.startswith(SHIPPED)

    @property
    def remote(self) -> bool:
        """Whether it runs at a server."""
        return self.module.startswith(MCP) or "://" in self.module


def _installed(path: Path) -> bool:
    """Whether every sandbox can import it: it lies in the interpreter's own folders."""
    return any(path.is_relative_to(Path(p).resolve()) for p in (sys.prefix, sys.base_prefix))


def _code(module: str, name: str, files: tuple[Path, ...]) -> WorldCode:
    found = ((file, file.stat()) for path in files for file in code_files(path))
    marks = [[str(file), at.st_mtime_ns, at.st_size] for file, at in found]
    return WorldCode(module, name, files, version=content_hash(marks))


def locate(world: str, folder: Path, beside: tuple[Path, ...] = ()) -> WorldCode:
    """The code of "module:Class", or a server's address. The module is a file or package of
    `folder` (that of the spec), or one that Python finds. `beside` are files that it imports.
    Raises ConfigError."""
    if world.startswith(MCP):
        world = f"{MCP} {seen_from(folder, world.removeprefix(MCP).strip())}"
    if (at_server := WorldCode(world, "")).remote:
        return at_server
    module, _, name = world.partition(":")
    if module.startswith(SHIPPED):
        return WorldCode(module, name)
    module = module.removesuffix(".py").replace("/", ".")
    top = module.partition(".")[0]
    for path in (folder / f"{top}.py", folder / top):
        if path.exists():
            return _code(module, name, (path.resolve(), *beside))
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise ConfigError(
            f"world={world!r}: no module {top!r} in {folder} or installed; write module:Class"
        )
    places = list(spec.submodule_search_locations or [spec.origin or ""])
    path = Path(places[0]).resolve()
    own = not path.exists() or _installed(path)
    return _code(module, name, beside if own else (path, *beside))


Box = Sandbox | RemoteWorld
# either answers one call at a time
LOCKS: defaultdict[WorldCode, threading.RLock] = defaultdict(threading.RLock)
_boxes: dict[tuple[int, WorldCode], Box] = {}  # a forked process must not share a pipe


def box_of(code: WorldCode) -> Box:
    """The sandbox of a world's code, a new one where it has died; or its server. Raises
    SandboxError."""
    key = (os.getpid(), code)
    box = _boxes.get(key)
    if box is None or not box.alive:
        if box is not None:
            box.close()
        _boxes[key] = box = new_box(code)
    return box


def new_box(code: WorldCode) -> Box:
    if code.module.startswith(MCP):
        return McpServer(code.module.removeprefix(MCP).strip(), code.tools)
    return EnvironmentServer(code.module) if code.remote else Sandbox(HOST, LIMITS, code.files)


def class_of(code: WorldCode) -> Any:
    """The class of a shipped world, which may be imported."""
    return getattr(importlib.import_module(code.module), code.name)


def made_tasks(code: WorldCode, seed: int, count: int) -> list[JsonObject]:
    """Tasks that a user's world makes itself, [] where it has no `tasks`. Raises WorldDown."""
    with LOCKS[code]:
        arguments = {"entry": code.entry, "seed": seed, "count": count}
        outcome = box_of(code).call("world_tasks", arguments)
    if outcome.error:
        raise WorldDown(f"tasks: {outcome.error}")
    made = outcome.value
    if not isinstance(made, list) or not all(isinstance(task, dict) for task in made):
        raise WorldDown(f"tasks: {made!r:.80} is no list of tasks")
    return made[:count]


@atexit.register
def close_boxes() -> None:
    """End the worlds of this process."""
    for (pid, _), box in _boxes.items():
        if pid == os.getpid():
            box.close()
    _boxes.clear()
