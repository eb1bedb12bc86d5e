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


def by_name(*functions: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """A table of functions by their own names."""
    return {function.__name__: function for function in functions}


class SeededWorld:
    """A `World` of `make(rng) -> state`, tools (state, **arguments) -> result and goals, whose
    requests are worded in data/requests.yaml."""

    agent: ClassVar[str]
    make: ClassVar[Callable[[random.Random], State]]
    tools: ClassVar[Mapping[str, Callable[..., Any]]]
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
