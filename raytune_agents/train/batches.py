"""Which rows meet in which optimiser step, and how many of them in one forward pass.

The order is made here once, not by a sampler: it depends on the rows and the seed only, so it is
the same after a restart and for any number of workers, and the rows of a step are known by their
place: step k (from 1) holds rows [(k - 1) * batch_rows, k * batch_rows).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from raytune_agents.config import ConfigError, TrainSection

POOL_STEPS = 16  # steps whose rows are sorted together by length


def order(lengths: Sequence[int], batch_rows: int, epochs: float, seed: int) -> list[int]:
    """Row numbers in training order, ceil(rows * epochs) of them.

    Every epoch is a shuffle; within 16 steps' worth of it rows are sorted by length and cut into
    steps, so that rows of like length share a step (little padding), and the steps are shuffled.
    Every row comes once an epoch; only the very last step can be smaller.
    """
    rng = random.Random(f"order/{seed}")
    out: list[int] = []
    total = math.ceil(len(lengths) * epochs)
    while len(out) < total:
        rows = list(range(len(lengths)))
        rng.shuffle(rows)
        carry = (batch_rows - len(out) % batch_rows) % batch_rows  # fills the last epoch's step
        out += rows[:carry]
        rows = rows[carry:]
        size = batch_rows * POOL_STEPS
        steps: list[list[int]] = []
        for start in range(0, len(rows), size):
            part = sorted(rows[start : start + size], key=lambda i: -lengths[i])
            steps += [part[i : i + batch_rows] for i in range(0, len(part), batch_rows)]
        short = [s for s in steps if len(s) < batch_rows]
        full = [s for s in steps if len(s) == batch_rows]
        rng.shuffle(full)
        out += [i for step in full + short for i in step]
    return out[:total]


def micro_batch(longest: int, section: TrainSection, limit: int | None = None) -> int:
    """Rows in one forward pass of one worker: the largest divisor of its rows in a step that keeps
    rows * longest within batch_tokens and `limit`, at least 1. Equal steps and equal loss for every
    choice, and the same for every number of workers that train.workers allows.
    Raises ConfigError where the workers cannot share a step evenly."""
    least, most = section.span
    shared = math.lcm(*range(least, most + 1))
    rows, left = divmod(section.batch_rows, shared)
    if left or not rows:
        raise ConfigError(
            f"train.batch_rows={section.batch_rows} cannot be shared by train.workers="
            f"{section.workers}; write a multiple of {shared}"
        )
    room = min(section.batch_tokens // longest, limit or rows)
    fits = [d for d in range(1, rows + 1) if rows % d == 0 and d <= room]
    return max(fits, default=1)


def warmup_steps(count: int, section: TrainSection) -> int:
    """Whole steps of warm-up for `count` rows in training order; the first has learning rate 0, so
    a share of less than one step is none."""
    steps = math.ceil(count / section.batch_rows)
    return int(section.warmup_share * (section.max_steps if section.max_steps > 0 else steps))
