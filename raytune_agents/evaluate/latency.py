"""Latency as a user sees it: a sample of requests asked one at a time, and so many at once.

A batch of a whole test set measures the queue. Here a load of L means L requests that arrive
together and wait for one another, wave after wave; time to first token and end to end are of each
request, from its arrival; tokens/s are of the whole wave. Prompts are salted, so that answers that
the engine has given before leave nothing in its prefix cache. Left out: arrivals at random.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from raytune_agents.evaluate import estimates
from raytune_agents.evaluate.estimates import Estimate, JsonRecord, Resampling
from raytune_agents.evaluate.harness import Asker, fitting_prompts
from raytune_agents.evaluate.measured import grouped_rows
from raytune_agents.evaluate.scoreboard import Cells, Scores, board_of
from raytune_agents.inference import client
from raytune_agents.records import Trajectory


@dataclass(frozen=True, slots=True)
class LatencyRow(JsonRecord):
    """One request at a load. `wave_s`: seconds of the wave that it was part of."""

    arm: str
    load: int
    wave: int
    id: str
    first_token_ms: float
    end_to_end_ms: float
    output_tokens: int
    wave_s: float


def sample_of(rows: Sequence[Trajectory], loads: Sequence[int], count: int) -> list[list[int]]:
    """For each load positions of rows to ask, whole waves of at least `count` rows, other rows
    for each load as long as there are some."""
    out, at = [], 0
    for load in loads:
        size = load * -(-count // load)
        out.append([(at + i) % len(rows) for i in range(size)])
        at += size
    return out


def measure_latency(
    rows: Sequence[Trajectory], asker: Asker, loads: Sequence[int], count: int
) -> list[LatencyRow]:
    """At least `count` requests at every load, in waves. Raises EngineDown."""
    arm, (prompts, _) = asker.arm, fitting_prompts(rows, asker)
    fit = list(prompts)
    if not fit:
        return []
    out: list[LatencyRow] = []
    for load, positions in zip(loads, sample_of([rows[i] for i in fit], loads, count)):
        # With the time: an earlier try of this run must not have warmed the cache either.
        salt = f"{arm.name}/{load}/{time.time_ns()}"
        sampling = client.Sampling(max_tokens=asker.max_tokens, cache_salt=salt)
        for wave in range(len(positions) // load):
            members = [fit[k] for k in positions[wave * load : (wave + 1) * load]]
            asked = [prompts[i] for i in members]
            began = time.perf_counter()
            replies = client.ask(asked, [sampling] * load, adapter=arm.adapter)
            seconds = time.perf_counter() - began
            for i, reply in zip(members, replies):
                # A lost request has no time; the others of its wave still have theirs.
                if isinstance(reply, client.Reply):
                    times = reply.first_token_s * 1000, reply.latency_s * 1000
                    which = arm.name, load, wave, rows[i].id
                    out.append(LatencyRow(*which, *times, reply.output_tokens[0], seconds))
    return out


def latency_scores(rows: Sequence[LatencyRow], how: Resampling) -> Scores:
    """{arm: {load: {metric: cell}}}: medians of first_token_ms and end_to_end_ms over requests, and
    tokens_per_s over waves (n = requests)."""

    def cells(part: list[LatencyRow]) -> Cells:
        return {
            "first_token_ms": estimates.quantile_of((r.first_token_ms for r in part), 0.5, how),
            "end_to_end_ms": estimates.quantile_of((r.end_to_end_ms for r in part), 0.5, how),
            "tokens_per_s": _speed(part, how),
        }

    return board_of(grouped_rows(rows, lambda r: (r.arm, str(r.load))), cells)


def _speed(rows: Sequence[LatencyRow], how: Resampling) -> Estimate:
    """Tokens of all waves / their seconds, resampled by wave."""
    # Requests of a wave share its seconds, so it is the unit that is drawn.
    waves = {r.wave: r.wave_s for r in rows}
    seconds = np.array(list(waves.values()))
    tokens = np.array([sum(r.output_tokens for r in rows if r.wave == w) for w in waves])
    found = estimates.bootstrapped(
        len(waves), how, lambda drawn: tokens[drawn].sum(1) / seconds[drawn].sum(1)
    )
    return replace(found, n=len(rows))
