"""Whole trajectories: the engine plays an executable agent, with real observations, to the goal.

All plays of a shard go step by step together, so that the engine answers them in one batch. A play
ends when the model answers without a call (`said`), makes the same call a third time (`loop`),
writes no readable call (`unreadable`), or runs out of steps or room. Success is a fact: the calls,
run anew, reach the goal's state, and the last answer says its facts (tau-bench, arXiv 2406.12045).
Left out: a user who is played too.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import comb
from typing import Any

import numpy as np

from raytune_agents.agents.play import CRASHED, Play
from raytune_agents.agents.worlds import WorldDown, failed_observation, goal_score
from raytune_agents.chat import Chat
from raytune_agents.config import EngineConfig, EvaluateConfig
from raytune_agents.evaluate.harness import Arm, Cells, to_base
from raytune_agents.evaluate.metrics import aggregate
from raytune_agents.evaluate.suites import TRAJECTORIES
from raytune_agents.inference import engine
from raytune_agents.records import Trajectory, finish, from_row, to_row

ENDS = ("said", "loop", "unreadable", "max_steps", "too_long", CRASHED)
FAILED_ENDS = ("loop", "unreadable", "max_steps", "too_long")
Plays = Sequence[Mapping[str, Any]]


def play_shard(
    tasks: Sequence[Trajectory],
    chat: Chat,
    arm: Arm,
    section: EvaluateConfig,
    engine_section: EngineConfig,
    seed: int,
) -> list[dict[str, Any]]:
    """Every trial of every task, played to its end: one line of plays.parquet each.
    Raises EngineDown."""
    options = section.trajectories
    plays = [Play.of(task, trial) for task in tasks for trial in range(options.trials)]
    room = engine_section.max_model_len - section.max_tokens
    for step in range(options.max_steps):
        prompts = {i: chat.prompt_ids(p.row, arm.marker) for i, p in enumerate(plays) if not p.end}
        for i in [i for i, ids in prompts.items() if len(ids) > room]:
            plays[i].end = "too_long"
            del prompts[i]
        replies = engine.ask(
            list(prompts.values()),
            [_sampling(plays[i], step, section, seed) for i in prompts],
            adapter=arm.adapter,
            timeout_s=engine_section.timeout_s,
        )
        for i, reply in zip(prompts, replies):
            plays[i].output_tokens += reply.output_tokens[0]
            plays[i].latency_s += reply.latency_s
            plays[i].take(reply.texts[0])
    return [stored(arm.name, p) for p in plays]


def _sampling(play: Play, step: int, section: EvaluateConfig, seed: int) -> engine.Sampling:
    temperature = section.trajectories.temperature
    drawn = zlib.crc32(f"{seed}/{play.task.id}/{play.trial}/{step}".encode())
    return engine.Sampling(
        max_tokens=section.max_tokens,
        temperature=temperature,
        seed=drawn if temperature else None,
    )


def stored(arm: str, play: Play) -> dict[str, Any]:
    """One line of plays.parquet."""
    row = finish(replace(play.row, step="evaluate.trajectories", parents=(play.task.id,)))
    facts = {
        "arm": arm,
        "task": play.task.id,
        "trial": play.trial,
        "agent": play.task.meta["world"]["agent"],
        "goal": ", ".join(play.task.meta.get("goals", [])),
        "end": play.end or "max_steps",
        "steps": float(play.steps),
        "output_tokens": float(play.output_tokens),
        "latency_s": play.latency_s,
        "row": json.dumps(to_row(row), ensure_ascii=False),
    }
    return facts | values(row, facts["end"])


def failed(arm: str, task: Trajectory, trial: int, why: str) -> dict[str, Any]:
    """A trial that was not played."""
    return stored(arm, Play.of(task, trial)) | dict.fromkeys(VALUES) | {"end": why}


def rescored(play: Mapping[str, Any]) -> dict[str, Any]:
    """A stored play scored anew: its calls run in a fresh world."""
    return dict(play) | values(from_row(json.loads(play["row"])), play["end"])


VALUES = ("task_completion", "recovery", "loop_rate", "error_rate", "steps_to_success")


def values(row: Trajectory, end: str) -> dict[str, float | None]:
    """What a play is worth; a value is None where it does not apply.

    task_completion: how far the goal is reached, 0 to 1, by an answer that says its facts.
    recovery: an observation was an error: 1 if a later call was not. loop_rate: 1 if the same call
    was made three times. error_rate: errors / observations. steps_to_success: answers of a success.
    """
    if end not in ENDS or end == CRASHED:
        return dict.fromkeys(VALUES)
    errors = [failed_observation(m.content) for m in row.messages if m.role == "tool"]
    first = errors.index(True) if True in errors else None
    steps = sum(m.role == "assistant" for m in row.messages)
    try:
        score = goal_score(row) if end == "said" else 0.0
    except WorldDown:
        return dict.fromkeys(VALUES)
    return {
        "task_completion": score,
        "recovery": None if first is None else float(not all(errors[first:])),
        "loop_rate": float(end == "loop"),
        "error_rate": sum(errors) / len(errors) if errors else None,
        "steps_to_success": float(steps) if score >= 1 else None,
    }


# --- many plays ---


def by_task(plays: Plays, name: str) -> dict[str, float]:
    """{task: mean over its trials} where the value applies: trials of a task are not independent,
    so intervals are over tasks."""
    found: dict[str, list[float]] = {}
    for p in plays:
        if p[name] is not None:
            found.setdefault(p["task"], []).append(p[name])
    return {task: float(np.mean(got)) for task, got in found.items()}


def repeated(plays: Plays, k: int) -> tuple[list[float], list[float]]:
    """Of every task with at least k trials: C(c, k) / C(n, k) and 1 - C(n - c, k) / C(n, k), whose
    means over tasks are pass^k and pass@k (`metrics.pass_hat_k`, `metrics.pass_at_k`)."""
    trials: dict[str, list[float]] = {}
    for p in plays:
        if p["task_completion"] is not None:
            trials.setdefault(p["task"], []).append(p["task_completion"])
    counts = [(len(got), sum(x >= 1 for x in got)) for got in trials.values() if len(got) >= k]
    every = [comb(c, k) / comb(n, k) for n, c in counts]
    some = [1 - comb(n - c, k) / comb(n, k) for n, c in counts]
    return every, some


def summary(plays: Plays, section: EvaluateConfig, seed: int) -> dict[str, dict[str, Any]]:
    """Metric -> its cell, over tasks; `end.NAME` is the share of plays that ended so."""
    options = (section.resamples, section.confidence, seed)
    names = (*VALUES, "steps", "output_tokens", "latency_s")
    played = [p for p in plays if p["task_completion"] is not None]
    cells = {name: aggregate(by_task(played, name).values(), *options) for name in names}
    for k in range(2, section.trajectories.trials + 1):
        every, some = repeated(played, k)
        cells[f"pass_hat_{k}"] = aggregate(every, *options)
        cells[f"pass_at_{k}"] = aggregate(some, *options)
    for end in FAILED_ENDS:
        cells[f"end.{end}"] = aggregate([float(p["end"] == end) for p in played], *options)
    return {name: cell for name, cell in cells.items() if cell["n"]}


def scores(plays: Plays, section: EvaluateConfig, seed: int) -> Cells:
    """{arm: {"trajectories": {metric: cell}}}."""
    arms = dict.fromkeys(p["arm"] for p in plays)
    return {
        arm: {TRAJECTORIES: summary([p for p in plays if p["arm"] == arm], section, seed)}
        for arm in arms
    }


def gains(plays: Plays, section: EvaluateConfig, seed: int) -> Cells:
    """{arm: {"trajectories": {metric: difference to base, paired by task}}}."""
    arms = dict.fromkeys(p["arm"] for p in plays)
    out: Cells = {}
    for metric in ("task_completion", "loop_rate"):
        values = {arm: by_task([p for p in plays if p["arm"] == arm], metric) for arm in arms}
        for arm, cell in to_base(values, section, seed).items():
            out.setdefault(arm, {}).setdefault(TRAJECTORIES, {})[metric] = cell
    return out
