"""Roll-outs: a model's answers, one after another, in a task's world; its calls are run for real.

`roll_out` is the one loop. Who is asked differs: evaluation asks the engine (`evaluate.rollouts`,
`evaluate.multi_turn`), training samples from the policy (`train.rollout_func`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Protocol, TypeVar

from raytune_agents.agents.worlds import Episode, WorldDown, ends_in_world, task_of
from raytune_agents.calls import parse, turn_of
from raytune_agents.records import Message, Trajectory

SAME_CALL = 3  # the same call for the third time is a loop (AgentTuning, arXiv 2310.12823)
CRASHED = "tool_crashed"  # the world, not the model: not scored


class TurnByTurn(Protocol):
    """What the loop rolls out: `end` says why it has ended, "" while it goes on."""

    end: str

    def take(self, text: str) -> None:
        """The model's next answer."""


T = TypeVar("T", bound=TurnByTurn)


def roll_out(
    rollouts: Sequence[T],
    sample: Callable[[list[T]], Sequence[str | None]],
    max_turns: int | None = None,
) -> None:
    """Answer all that go on together, turn by turn, until each has ended or had `max_turns`
    answers. `sample` gives the next answer of each, None for one that it has ended itself."""
    for _ in range(max_turns) if max_turns else count():
        live = [r for r in rollouts if not r.end]
        if not live:
            return
        for rollout, text in zip(live, sample(live), strict=True):
            if text is not None:
                rollout.take(text)


def can_roll_out(row: Trajectory) -> bool:
    """Whether the row is a task of an executable agent: one request, a world, a goal in it."""
    requests = sum(m.role == "user" for m in row.messages)
    return requests == 1 and bool(row.calls) and ends_in_world(row)


@dataclass
class Rollout:
    """One trial of one task, as far as it has come."""

    task: Trajectory
    trial: int
    episode: Episode
    messages: list[Message]
    calls: Counter[str] = field(default_factory=Counter)
    end: str = ""
    steps: int = 0
    output_tokens: int = 0
    latency_s: float = 0.0

    @classmethod
    def of(cls, task: Trajectory, trial: int) -> Rollout:
        """Before the first answer. Raises KeyError for a row without a world, WorldDown."""
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
        """The model's answer: its calls are run, or the roll-out ends."""
        parsed, number = parse(text, self.task.tools), sum(self.calls.values())
        self.steps += 1
        turn = turn_of(text, parsed)
        if parsed.error or not parsed.calls:
            self.messages.append(turn)
            self.end = "unreadable" if parsed.error else "answered"
            return
        # Numbered over the whole roll-out: ids that a model writes may come twice, and a result is
        # found by its call's id.
        made = tuple(replace(c, id=f"call_{number + i}") for i, c in enumerate(parsed.calls))
        self.messages.append(replace(turn, tool_calls=made))
        for call in made:
            self.calls[call.key] += 1
            try:
                observation = self.episode.call(call)
            except WorldDown as error:
                observation, self.end = json.dumps({"error": str(error)}), CRASHED
            self.messages.append(Message("tool", observation, name=call.name, tool_call_id=call.id))
        if not self.end and max(self.calls.values()) >= SAME_CALL:
            self.end = "loop"

    def end_without_request(self, why: str) -> None:
        """The model cannot be asked for the next answer."""
        self.end = why
