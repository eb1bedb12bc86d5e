"""One tool as a stranger writes it, a request for a call of it, and drawn values."""

from __future__ import annotations

import random
from typing import Any

from raytune_agents.agents import ToolConfig, parse_spec
from raytune_agents.agents.analyse import Argument
from raytune_agents.generate import arguments, described_requests
from raytune_agents.generate.scenes import Scene

TEXT, WHOLE, YES = ({"type": t} for t in ("string", "integer", "boolean"))


def of(kind: dict[str, Any], about: str, **more: Any) -> dict[str, Any]:
    return kind | {"description": about} | more


def tool_of(
    name: str, about: str, properties: dict[str, Any], needed: tuple[str, ...] = ()
) -> ToolConfig:
    schema = {"type": "object", "properties": properties, "required": list(needed or properties)}
    tool = {"name": name, "description": about, "parameters": schema}
    return parse_spec({"name": "s", "description": "d", "tools": [tool]}).tools[0]


def order(tool: ToolConfig, args: dict[str, Any], seed: int = 0) -> str:
    rng = random.Random(seed)
    wish = described_requests.compose(tool, args, Scene(rng), rng, "order")
    return f"{wish.text} {wish.rest}".strip()


def saying(tool: ToolConfig, args: dict[str, Any], said: str | tuple[str, ...]) -> list[str]:
    """Six orders, of which each must say this, or one of these."""
    texts = [order(tool, args, seed) for seed in range(6)]
    for text in texts:
        assert any(s in text for s in ([said] if isinstance(said, str) else said)), text
    return texts


def drawn(tool: ToolConfig, n: int = 40) -> list[dict[str, Any]]:
    names = tool.parameters["properties"]
    return [arguments.sample(tool, names, random.Random(k))[0] for k in range(n)]


def drawn_beside(
    tool: ToolConfig, habits: dict[str, Argument], n: int = 60
) -> list[dict[str, Any]]:
    """Arguments for all parameters, where good rows with these values are known."""
    names, rng = tool.parameters["properties"], random.Random(0)
    return [
        arguments.sample(tool, names, rng, arguments.spec_values(tool, rng, habits))[0]
        for _ in range(n)
    ]
