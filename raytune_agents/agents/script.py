"""How a goal is told: a generator that asks, acts on what it sees, and says what came out.

A goal yields one `Ask`, then `Act`s, each answered with the tool's real result, then one `Say`. It
reads results like a user of the tools and never the world's inside after its first line, so that a
model can do the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from raytune_agents.records import JsonObject, ToolCall
from raytune_agents.storage import yaml_beside

REQUESTS: dict[str, list[str]] = yaml_beside(__file__, "data/requests.yaml")


class ToolError(ValueError):
    """What a tool answers when it cannot do what it is asked; the model sees the message."""


@dataclass(frozen=True)
class Ask:
    """The request. `anchors` are the texts that any rewording of it must keep."""

    text: str
    anchors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Act:
    """One step: why, and the call."""

    thought: str
    call: ToolCall


@dataclass(frozen=True)
class Say:
    """The final answer. `facts` must be said by any answer that reaches the goal."""

    text: str
    facts: tuple[str, ...] = ()
    thought: str = ""


Script = Generator[Ask | Act | Say, Any, None]
Goal = Callable[[JsonObject, random.Random], Script]


def act(thought: str, tool: str, /, **arguments: Any) -> Act:
    """A step with a call; arguments that are None are left out."""
    given = {k: v for k, v in arguments.items() if v is not None}
    return Act(thought, ToolCall.of(tool, **given))


def sample_request(rng: random.Random, goal: str, **anchors: Any) -> Ask:
    """One of the goal's wordings; every {name} in them is an anchor."""
    values = {k: str(v) for k, v in anchors.items()}
    return Ask(rng.choice(REQUESTS[goal]).format(**values), values)


def listed(names: list[str]) -> str:
    """Names as a sentence has them: "a", "a and b", "a, b and c"; "none" for no name."""
    if len(names) < 2:
        return names[0] if names else "none"
    return f"{', '.join(names[:-1])} and {names[-1]}"
