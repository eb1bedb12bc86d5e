"""Executable worlds: the agents' tools over seeded state, so that task completion is a fact.

`World(agent, seed)` makes the same state every time; `call` runs a tool and gives the observation a
model sees; `digest` names the state. A goal is reached when the state is the expected one and the
answer says the expected facts (as in tau-bench, arXiv 2406.12045, section 3). Worlds are ours and
run in this process; a user's own tool code runs in `generate.sandbox`.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterable
from functools import cache
from types import ModuleType
from typing import Any

from raytune_agents import agents
from raytune_agents.agents.script import ToolError
from raytune_agents.agents.wording import survives
from raytune_agents.agents.worlds import analyst, content, legal, qa, security, support
from raytune_agents.calls import schema_errors
from raytune_agents.records import ToolCall, ToolSpec, Trajectory, content_hash

WORLDS: dict[str, ModuleType] = {
    "qa": qa,
    "support": support,
    "analyst": analyst,
    "legal": legal,
    "content": content,
    "security": security,
}


@cache
def _tools(agent: str) -> tuple[ToolSpec, ...]:
    return agents.load(agent).toolspecs


class World:
    """One agent's tools over one seeded state."""

    def __init__(self, agent: str, seed: int):
        if agent not in WORLDS:
            raise KeyError(f"agent {agent!r} has no world; worlds are {sorted(WORLDS)}")
        self.module = WORLDS[agent]
        self.tools = _tools(agent)
        self.state: dict[str, Any] = self.module.make(random.Random(f"{agent}/{seed}"))

    @property
    def digest(self) -> str:
        """Content hash of the state."""
        return content_hash(self.state)

    def run(self, call: ToolCall) -> Any:
        """The tool's result; what a model did wrong is {"error": why} and changes nothing."""
        wrong = schema_errors(call, self.tools)
        if wrong:
            return {"error": ", ".join(wrong)}
        state = copy.deepcopy(self.state)
        try:
            result = self.module.TOOLS[call.name](state, **call.args)
        except ToolError as error:
            return {"error": str(error)}
        self.state = state
        return result

    def call(self, call: ToolCall) -> str:
        """The observation: the result as JSON text."""
        return json.dumps(self.run(call), ensure_ascii=False)


def replay(agent: str, seed: int, calls: Iterable[ToolCall]) -> World:
    """A fresh world after these calls."""
    world = World(agent, seed)
    for call in calls:
        world.run(call)
    return world


def completed(row: Trajectory) -> bool:
    """Whether the row's calls, run anew, reach its goal and its last turn says the facts.

    The row's meta holds `world` {agent, seed} and `goal` {state, facts}. Raises KeyError without.
    """
    where, goal = row.meta["world"], row.meta["goal"]
    answer = row.target.content if row.target and not row.target.tool_calls else ""
    state = replay(where["agent"], where["seed"], row.calls).digest
    return (
        state == goal["state"] and bool(answer) and all(survives(f, answer) for f in goal["facts"])
    )
