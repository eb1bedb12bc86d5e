"""Which rows meet in which optimiser step, and how many of them in one forward pass.

The order is made here once, not by a sampler: it depends on the rows and the seed only, so it is
the same after a restart and for any number of workers, and the rows of a step are known by their
place: step k (from 1) holds rows [(k - 1) * global_batch_size, k * global_batch_size).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from raytune_agents.config import ConfigError, TrainConfig

POOL_STEPS = 16  # steps whose rows are sorted together by length


def order(lengths: Sequence[int], global_batch_size: int, epochs: float, seed: int) -> list[int]:
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
        carry = (
            global_batch_size - len(out) % global_batch_size
        ) % global_batch_size  # fills the last epoch's step
        out += rows[:carry]
        rows = rows[carry:]
        size = global_batch_size * POOL_STEPS
        steps: list[list[int]] = []
        for start in range(0, len(rows), size):
            part = sorted(rows[start : start + size], key=lambda i: -lengths[i])
            steps += [
                part[i : i + global_batch_size] for i in range(0, len(part), global_batch_size)
            ]
        short = [s for s in steps if len(s) < global_batch_size]
        full = [s for s in steps if len(s) == global_batch_size]
        rng.shuffle(full)
        out += [i for step in full + short for i in step]
    return out[:total]


def micro_batch(longest: int, section: TrainConfig, limit: int | None = None) -> int:
    """Rows in one forward pass of one worker: the largest divisor of its rows in a step that keeps
    rows * longest within max_tokens_per_forward and `limit`, at least 1. Equal steps and equal
    loss for every choice, and the same for every number of workers that train.num_workers
    allows.     Raises ConfigError where the workers cannot share a step evenly."""
    least, most = section.span
    shared = math.lcm(*range(least, most + 1))
    rows, left = divmod(section.global_batch_size, shared)
    if left or not rows:
        raise ConfigError(
            f"train.global_batch_size={section.global_batch_size} cannot be shared by "
            f"train.num_workers={section.num_workers}; write a multiple of {shared}"
        )
    room = min(section.max_tokens_per_forward // longest, limit or rows)
    fits = [d for d in range(1, rows + 1) if rows % d == 0 and d <= room]
    return max(fits, default=1)


def warmup_steps(count: int, section: TrainConfig) -> int:
    """Whole steps of warm-up for `count` rows in training order; the first has learning rate 0, so
    a share of less than one step is none."""
    steps = math.ceil(count / section.global_batch_size)
    return int(section.warmup_ratio * (section.max_steps if section.max_steps > 0 else steps))
