"""What the shipped worlds have in common: a state that a seed makes, and tools that are functions
of it. A task is {seed, state}: the seed of the first state and the hash of the last."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from raytune_agents.agents.script import Goal, ToolError
from raytune_agents.records import Arguments, JsonObject, content_hash

State = dict[str, Any]  # of a shipped world, as JSON values


class SeededWorld:
    """A `World` of `make(rng) -> state`, TOOLS (state, **arguments) -> result and GOALS."""

    agent: ClassVar[str]
    make: ClassVar[Callable[[random.Random], State]]
    tools: ClassVar[Mapping[str, Any]]  # functions (state, **arguments)
    goals: ClassVar[Mapping[str, Goal]]

    def reset(self, task: JsonObject) -> State:
        self.task = task
        self.state = type(self).make(random.Random(f"{self.agent}/{task['seed']}"))
        return self.state

    def call(self, name: str, arguments: Arguments) -> Any:
        """The tool's result; a tool that cannot do it says {"error": why} and changes nothing."""
        state = copy.deepcopy(self.state)
        try:
            result = self.tools[name](state, **arguments)
        except ToolError as error:
            return {"error": str(error)}
        self.state = state
        return result

    def goal(self, state: State) -> bool:
        return content_hash(state) == self.task.get("state")
