"""The inside of a world's process: makes worlds of a user's class and lets them be called.

`sandbox.child` loads this file as it loads a tool module, so it imports nothing of ours; shipped
worlds are made by the same functions in our own process. Each episode has an instance of the class.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

METHODS = ("reset", "call", "goal")
_episodes: dict[str, tuple[Any, Any]] = {}  # id -> (world, what its reset returned)


def _made(entry: str) -> Any:
    """An instance of "module:Class". Raises TypeError where it is no world."""
    module, _, name = entry.partition(":")
    world = getattr(importlib.import_module(module), name)()
    missing = [m for m in METHODS if not callable(getattr(world, m, None))]
    if missing:
        raise TypeError(f"{name} has no {' and no '.join(missing)}; a world has {METHODS}")
    return world


def begin_episode(
    episode: str, entry: str, task: dict[str, Any], ended: Sequence[str] = ()
) -> None:
    """Start an episode with a task; those that ended are forgotten."""
    for old in ended:
        _episodes.pop(old, None)
    world = _made(entry)
    _episodes[episode] = (world, world.reset(task))


def episode_state(episode: str) -> Any:
    """The state as calls left it: `world.state`, or else the object that reset returned."""
    world, first = _episodes[episode]
    return getattr(world, "state", first)


def carry_out(episode: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """{"observation": what the tool said} or {"error": what it raised}. What the sandbox refuses
    (PermissionError, MemoryError) is no word of the tool and goes on up."""
    world, _ = _episodes[episode]
    try:
        return {"observation": world.call(name, arguments)}
    except (PermissionError, MemoryError):
        raise
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def episode_score(episode: str, answer: str) -> float:
    """How far the goal is reached, 0 to 1. A goal that takes two arguments sees the answer too."""
    world, _ = _episodes[episode]
    inputs = (episode_state(episode), answer)
    found = world.goal(*inputs[: len(inspect.signature(world.goal).parameters)])
    if not isinstance(found, bool | int | float) or not 0 <= found <= 1:
        raise TypeError(f"goal returned {found!r}; return True, False or a score from 0 to 1")
    return float(found)


def world_tasks(entry: str, seed: int, count: int) -> list[dict[str, Any]]:
    """Tasks that the world makes itself, [] where it cannot: see `World.tasks`."""
    make = getattr(_made(entry), "tasks", None)
    return list(make(seed, count))[:count] if make else []
