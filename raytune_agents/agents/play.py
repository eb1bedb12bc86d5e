"""A play: a model's answers, one after another, in a task's world; its calls are run for real.

Who asks the model is left out: evaluation asks the engine (`evaluate.rollouts`), training samples
from the policy (`train.play`).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace

from raytune_agents.agents.worlds import Episode, WorldDown, ends_in_world, task_of
from raytune_agents.calls import parse
from raytune_agents.records import Message, Trajectory, canonical

SAME_CALL = 3  # the same call for the third time is a loop (AgentTuning, arXiv 2310.12823)
CRASHED = "tool_crashed"  # our tool, not the model: not scored


def playable(row: Trajectory) -> bool:
    """Whether the row is a task of an executable agent: one request, a world, a goal in it."""
    requests = sum(m.role == "user" for m in row.messages)
    return requests == 1 and bool(row.calls) and ends_in_world(row)


@dataclass
class Play:
    """One trial of one task, as far as it has come."""

    task: Trajectory
    trial: int
    world: Episode
    messages: list[Message]
    calls: Counter[str] = field(default_factory=Counter)
    end: str = ""
    steps: int = 0
    output_tokens: int = 0
    latency_s: float = 0.0

    @classmethod
    def of(cls, task: Trajectory, trial: int) -> Play:
        first = next(i for i, m in enumerate(task.messages) if m.role == "assistant")
        where = task_of(task)
        if where is None:
            raise KeyError(f"row {task.id} was not made in a world")
        return cls(task, trial, Episode(where, task.tools), [*task.messages[:first]])

    @property
    def row(self) -> Trajectory:
        """The conversation so far, with the task's tools, world and goal."""
        return replace(self.task, messages=tuple(self.messages))

    def take(self, text: str) -> None:
        """The model's answer: its calls are run, or the play ends."""
        parsed, number = parse(text), sum(self.calls.values())
        self.steps += 1
        if parsed.error or not parsed.calls:
            self.messages.append(Message("assistant", text))
            self.end = "unreadable" if parsed.error else "said"
            return
        made = tuple(replace(c, id=f"call_{number + i}") for i, c in enumerate(parsed.calls))
        self.messages.append(Message("assistant", thought=parsed.text, tool_calls=made))
        for call in made:
            self.calls[canonical([call.name, call.args])] += 1
            try:
                told = self.world.call(call)
            except WorldDown as error:
                told, self.end = json.dumps({"error": str(error)}), CRASHED
            self.messages.append(Message("tool", told, name=call.name, tool_call_id=call.id))
        if not self.end and max(self.calls.values()) >= SAME_CALL:
            self.end = "loop"
