"""What the shipped worlds have in common: a state that a seed makes, and tools that are functions
of it. A task is {seed, state}: the seed of the first state and the hash of the last."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from raytune_agents.agents.script import Goal, ToolError
from raytune_agents.records import content_hash


class SeededWorld:
    """A `World` of `make(rng) -> state`, TOOLS (state, **arguments) -> result and GOALS."""

    agent: ClassVar[str]
    make: ClassVar[Callable[[random.Random], dict[str, Any]]]
    tools: ClassVar[Mapping[str, Any]]  # functions (state, **arguments)
    goals: ClassVar[Mapping[str, Goal]]

    def reset(self, task: dict[str, Any]) -> dict[str, Any]:
        self.task = task
        self.state = type(self).make(random.Random(f"{self.agent}/{task['seed']}"))
        return self.state

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """The tool's result; a tool that cannot do it says {"error": why} and changes nothing."""
        state = copy.deepcopy(self.state)
        try:
            result = self.tools[name](state, **arguments)
        except ToolError as error:
            return {"error": str(error)}
        self.state = state
        return result

    def goal(self, state: dict[str, Any]) -> bool:
        return content_hash(state) == self.task.get("state")
