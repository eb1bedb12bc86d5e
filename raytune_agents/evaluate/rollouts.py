"""Whole trajectories: the engine answers in an agent's world, with real observations, to the goal.

Each roll-out of a shard goes on as soon as it has its answer (`roll_out_all`). One ends when the
model answers without a call (`answered`), makes the same call a third time (`loop`), writes no
readable call (`unreadable`), or runs out of steps or room. Success is a fact: the calls, run anew,
reach the goal, and the last answer says its facts (tau-bench, arXiv 2406.12045). Left out: a user
who is simulated too.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import comb
from typing import Any, Protocol

import numpy as np

from raytune_agents.agents.rollout import CRASHED, Rollout, roll_out
from raytune_agents.agents.worlds import WorldDown, failed_observation, goal_score
from raytune_agents.config import TrajectoriesConfig
from raytune_agents.evaluate.estimates import Resampling, mean_of
from raytune_agents.evaluate.harness import Asker
from raytune_agents.evaluate.measured import Measured, grouped_rows
from raytune_agents.evaluate.scoreboard import Cells, Scores, board_of
from raytune_agents.evaluate.suites import TRAJECTORIES
from raytune_agents.inference import client
from raytune_agents.records import FlatRow, RecordError, Trajectory, finish, from_row, to_row

FAILED_ENDS = ("loop", "unreadable", "max_steps", "too_long", "template_refused")
ENDS = ("answered", *FAILED_ENDS, CRASHED)
RolloutLines = Sequence[Mapping[str, Any]]


class OpenConversation(Protocol):
    """A conversation that the engine goes on with."""

    output_tokens: int
    latency_s: float

    @property
    def row(self) -> Trajectory:
        """The conversation so far."""

    def end_without_request(self, why: str) -> None:
        """Its prompt is too long for the engine, the template refuses it, or no answer comes."""


@dataclass(frozen=True)
class EngineSampler:
    """The engine as what `roll_out` samples from. `sampling` says how a conversation is asked."""

    asker: Asker
    sampling: Callable[[Any], client.Sampling]

    def __call__(self, live: Sequence[OpenConversation]) -> list[str | None]:
        """The next answer of each, None where there is none. Raises EngineDown."""
        return [self.answer(one) for one in live]

    def answer(self, one: OpenConversation) -> str | None:
        """The next answer of one conversation, whose turns go to one engine."""
        row, arm, chat = one.row, self.asker.arm, self.asker.chat
        try:
            ids = chat.prompt_ids(row, arm.marker)
        except RecordError:
            one.end_without_request("template_refused")
            return None
        if len(ids) > self.asker.room:
            one.end_without_request("too_long")
            return None
        sampling = replace(self.sampling(one), tools=chat.tools_text(row))
        # The turns before are in that engine's prefix cache.
        session = f"{arm.name}/{id(one)}"
        (reply,) = client.ask([ids], [sampling], adapter=arm.adapter, session=session)
        if isinstance(reply, client.Lost):
            one.end_without_request(client.INFRA_FAILED)
            return None
        one.output_tokens += reply.output_tokens[0]
        one.latency_s += reply.latency_s
        return reply.texts[0]


def roll_out_all(
    conversations: Sequence[Any], sample: EngineSampler, max_turns: int | None = None
) -> None:
    """Roll each out in a thread of its own, so that none waits for another's answer."""
    # Threads only wait here: the engine answers, and worlds run in processes of their own.
    with ThreadPoolExecutor(max(1, len(conversations))) as pool:
        list(pool.map(lambda one: roll_out([one], sample, max_turns), conversations))


def rollout_shard(
    tasks: Sequence[Trajectory], asker: Asker, options: TrajectoriesConfig, seed: int
) -> list[FlatRow]:
    """Every trial of every task, rolled out to its end: one line of rollouts.parquet each.
    Raises EngineDown."""
    rollouts = [Rollout.of(task, trial) for task in tasks for trial in range(options.trials)]

    def sampling(rollout: Rollout) -> client.Sampling:
        where = f"{seed}/{rollout.task.id}/{rollout.trial}/{rollout.steps}"
        return client.Sampling(
            max_tokens=asker.max_tokens,
            temperature=options.temperature,
            # CRC, as `hash` of a text differs between processes. Greedy needs no seed.
            seed=zlib.crc32(where.encode()) if options.temperature else None,
        )

    roll_out_all(rollouts, EngineSampler(asker, sampling), options.max_steps)
    return [rollout_line(asker.arm.name, rollout) for rollout in rollouts]


def rollout_line(arm: str, rollout: Rollout) -> FlatRow:
    """One line of rollouts.parquet."""
    row = finish(replace(rollout.row, step="evaluate.trajectories", parents=(rollout.task.id,)))
    facts = {
        "arm": arm,
        "task": rollout.task.id,
        "trial": rollout.trial,
        "agent": rollout.task.meta["world"]["agent"],
        "goal": ", ".join(rollout.task.meta.get("goals", [])),
        # `roll_out` stops asking without a word.
        "end": rollout.end or "max_steps",
        "steps": float(rollout.steps),
        "output_tokens": float(rollout.output_tokens),
        "latency_s": rollout.latency_s,
        "row": json.dumps(to_row(row), ensure_ascii=False),
    }
    return facts | values(row, facts["end"])


def lost_rollout(arm: str, task: Trajectory, trial: int, why: str) -> FlatRow:
    """A trial that was not rolled out."""
    return rollout_line(arm, Rollout.of(task, trial)) | dict.fromkeys(VALUES) | {"end": why}


def rescored_rollout(line: Mapping[str, Any]) -> FlatRow:
    """A stored roll-out scored anew: its calls run in a fresh world."""
    return dict(line) | values(from_row(json.loads(line["row"])), line["end"])


VALUES = ("task_completion", "recovery", "loop_rate", "error_rate", "steps_to_success")


def values(row: Trajectory, end: str) -> dict[str, float | None]:
    """What a roll-out is worth; a value is None where it does not apply.

    task_completion: how far the goal is reached, 0 to 1, by an answer that says its facts.
    recovery: an observation was an error: 1 if a later call was not. loop_rate: 1 if the same call
    was made three times. error_rate: errors / observations. steps_to_success: answers of a success.
    """
    # Lost to the engine or to the world: not the arm's doing, so no value.
    if end not in ENDS or end == CRASHED:
        return dict.fromkeys(VALUES)
    errors = [failed_observation(m.content) for m in row.messages if m.role == "tool"]
    first = errors.index(True) if True in errors else None
    steps = sum(m.role == "assistant" for m in row.messages)
    try:
        # Reached but not said counts as nothing: the user would not know.
        score = goal_score(row) if end == "answered" else 0.0
    except WorldDown:
        return dict.fromkeys(VALUES)
    return {
        "task_completion": score,
        "recovery": None if first is None else float(not all(errors[first:])),
        "loop_rate": float(end == "loop"),
        "error_rate": sum(errors) / len(errors) if errors else None,
        "steps_to_success": float(steps) if score >= 1 else None,
    }


# --- many roll-outs ---

COMPARED = ("task_completion", "loop_rate")


def rollout_rows(lines: RolloutLines) -> list[Measured]:
    """One row per arm and task with the means over its trials: these are not independent, so
    intervals are over tasks."""
    trials = grouped_rows(lines, lambda p: (p["arm"], p["task"]))
    most = 1 + max((p["trial"] for p in lines), default=0)
    return [
        Measured(arm, TRAJECTORIES, task, values=task_values(part, most))
        for (arm, task), part in trials.items()
    ]


def task_values(trials: RolloutLines, most: int) -> dict[str, float | None]:
    """Means over the trials of a task where a value applies; of a task with at least k of at most
    `most` trials C(c, k) / C(n, k) and 1 - C(n - c, k) / C(n, k), whose means over tasks are pass^k
    (tau-bench, arXiv 2406.12045) and pass@k (arXiv 2107.03374)."""
    scored = [p for p in trials if p["task_completion"] is not None]
    out: dict[str, float | None] = {}
    for name in (*VALUES, "steps", "output_tokens"):
        known = [p[name] for p in scored if p[name] is not None]
        out[name] = float(np.mean(known)) if known else None
    # A goal in part is no success for pass^k.
    n, c = len(scored), sum(p["task_completion"] >= 1 for p in scored)
    for k in range(2, most + 1):
        out[f"pass_hat_{k}"] = comb(c, k) / comb(n, k) if n >= k else None
        out[f"pass_at_{k}"] = 1 - comb(n - c, k) / comb(n, k) if n >= k else None
    return out


def end_shares(lines: RolloutLines, how: Resampling) -> Scores:
    """{arm: {"trajectories": {end.NAME: share of roll-outs that ended so}}}."""

    def shares(part: RolloutLines) -> Cells:
        ends = [p["end"] for p in part if p["task_completion"] is not None]
        return {
            f"end.{e}": mean_of([float(x == e) for x in ends], how) for e in FAILED_ENDS if ends
        }

    return board_of(grouped_rows(lines, lambda p: (p["arm"], TRAJECTORIES)), shares)
