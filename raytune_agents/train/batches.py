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
    # A text as seed: the mix and the model draw from the same number, not from this stream.
    rng = random.Random(f"order/{seed}")
    out: list[int] = []
    total = math.ceil(len(lengths) * epochs)
    while len(out) < total:
        rows = list(range(len(lengths)))
        rng.shuffle(rows)
        # The epoch before may have ended within a step: the first rows of this one fill it.
        carry = -len(out) % global_batch_size
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
        # Its short step last: there the next epoch fills it, and no step within is smaller.
        out += [i for step in full + short for i in step]
    return out[:total]


def step_rows(config: TrainConfig, rows: int, shrinks: bool) -> int:
    """Rows of one optimiser step of a training on so many rows. `shrinks`: whether auto may take
    few; KTO compares the rows of a step, GRPO the answers of a group."""
    return config.rows_per_step(math.ceil(rows * config.num_train_epochs) if shrinks else None)


def even_rows(config: TrainConfig) -> int:
    """Rows of a step for one worker, alike for every number of workers that train.num_workers
    allows. Raises ConfigError where they cannot share a step evenly."""
    # Ray may run any number of workers in the span, and each must get whole rows of a step.
    rows, left = divmod(config.rows_per_step(), config.shared_by)
    if left or not rows:
        raise ConfigError(
            f"train.global_batch_size={config.global_batch_size} cannot be shared by "
            f"train.num_workers={config.num_workers}; write a multiple of {config.shared_by}"
        )
    return rows


def micro_batch(longest: int, config: TrainConfig, limit: int | None = None) -> int:
    """Rows in one forward pass of one worker where all passes have as many: the largest divisor of
    `even_rows` that keeps rows * longest within max_tokens_per_forward (or `limit`), at least 1."""
    rows = even_rows(config)
    room = (limit or config.max_tokens_per_forward) // longest
    return max((d for d in range(1, min(rows, room) + 1) if rows % d == 0), default=1)


def deal(rows: Sequence[int], lengths: Sequence[int], workers: int) -> list[list[int]]:
    """The rows of a step for each worker: sorted by length and dealt to and fro, so that all have
    as many (the last step: one less) and about as many tokens. Which worker has a row changes no
    loss, only who waits for whom."""
    hands: list[list[int]] = [[] for _ in range(workers)]
    for k, row in enumerate(sorted(rows, key=lambda i: -lengths[i])):
        turn, offset = divmod(k, workers)
        hands[workers - 1 - offset if turn % 2 else offset].append(row)
    return hands


def forward_passes(
    rows: Sequence[int], lengths: Sequence[int], most: int, padded: bool, least: int = 1
) -> list[list[int]]:
    """A worker's rows of a step, cut into forward passes of at most `most` tokens each (a longer
    row goes alone): with its own longest row times its rows where padding counts, else with the
    sum. At least `least` passes where there are as many rows."""
    passes: list[list[int]] = []
    tokens = 0
    for row in sorted(rows, key=lambda i: -lengths[i]):
        # Longest first, so the first row of a pass is the width that the others are padded to.
        cost = lengths[passes[-1][0]] if passes and padded else lengths[row]
        if not passes or tokens + cost > most:
            passes.append([])
            tokens, cost = 0, lengths[row]
        passes[-1].append(row)
        tokens += cost
    while len(passes) < min(least, len(rows)):
        longest = max(passes, key=len)
        at = passes.index(longest)
        # Workers that meet in every pass need as many; a row in another pass changes no loss.
        half = len(longest) // 2
        passes[at : at + 1] = [longest[:half], longest[half:]]
    return passes


def step_passes(
    chosen: Sequence[int],
    lengths: Sequence[int],
    config: TrainConfig,
    workers: int,
    most: int,
    padded: bool,
) -> list[list[list[int]]]:
    """Row numbers in training order -> [steps * workers] lists of forward passes, a step's workers
    beside each other. Workers that split the weights (fsdp, zero3) meet in every forward pass, so
    all of them have as many."""
    out = []
    size, meet = config.rows_per_step(), config.sharding in ("fsdp", "zero3")
    for start in range(0, len(chosen), size):
        rows = chosen[start : start + size]
        hands = deal(rows, lengths, workers)
        # The last step may leave a worker short: it takes a row a second time, as accelerate does.
        equal = len(max(hands, key=len)) if meet else 1
        hands = [hand if len(hand) >= equal else [*hand, rows[0]] for hand in hands]
        made = [forward_passes(hand, lengths, most, padded) for hand in hands]
        count = max(len(passes) for passes in made) if meet else 1
        out += [forward_passes(hand, lengths, most, padded, count) for hand in hands]
    return out


def warmup_steps(count: int, config: TrainConfig) -> int:
    """Whole steps of warm-up for `count` rows in training order; the first has learning rate 0, so
    a share of less than one step is none."""
    steps = math.ceil(count / config.rows_per_step())
    return int(config.warmup_ratio * (config.max_steps if config.max_steps > 0 else steps))
