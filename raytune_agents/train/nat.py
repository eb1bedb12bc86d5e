"""Negative-aware training (NAT, arXiv 2402.11651): successes and failures are both answers to
learn, told apart by a marker in the user turn that holds the question. Inference shows the marker
that good rows carried.

NAT-k parts failures by their grade and gives each group its own marker. The control arms: `vanilla`
(good rows only), `nut` (the same rows, no marker), `inverse` (the markers swapped, so that good
rows carry the word for bad: what counts is the separation, not the word). Loss and trainer are
those of `sft`; only the prompt text differs.
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from typing import Any

from raytune_agents.chat import Chat
from raytune_agents.config import ConfigError, NatConfig, TrainConfig
from raytune_agents.mix import RowKind
from raytune_agents.records import FlatRow, Trajectory
from raytune_agents.train import sft

SENTENCE = "Generate a response that {} answers the request."
DEGREES = {  # words for k groups of failures, worst first; of k = 2 and 3 those of the paper's code
    1: ("incorrectly",),
    2: ("incorrectly", "partially correctly"),
    3: ("totally incorrectly", "mostly incorrectly", "mostly correctly"),
}
trainer = sft.trainer


def words(config: NatConfig) -> list[str]:
    """The markers: one for each group of failures, worst first, then that of good rows."""
    count = len(config.cuts) + 1
    if config.positive:
        own = config.negative
        return [*([own] if isinstance(own, str) else own), config.positive]
    if config.template == "good_bad":
        bad = [f"[Bad {k}]" for k in range(count, 0, -1)] if count > 1 else ["[Bad]"]
        return [*bad, "[Good]"]
    if config.template == "a_b":
        return [f"[{letter}]" for letter in string.ascii_uppercase[: count + 1][::-1]]
    if config.template == "random":
        # Training and inference are other processes: the words must come from the seed alone.
        rng = random.Random(f"nat/{config.seed}")
        return [f"[{''.join(rng.choices(string.ascii_lowercase, k=8))}]" for _ in range(count + 1)]
    return [SENTENCE.format(word) for word in (*DEGREES[count], "correctly")]


def group(row: Trajectory, config: NatConfig) -> int:
    """0 = the worst failures ... len(cuts) = the best ones, len(cuts) + 1 = a good row.

    The cuts c1 < c2 < ... part [0, 1) into [0, c1), [c1, c2), ..., [ck, 1); a cut at 0 parts 0 from
    (0, c2). A failure's grade is what its maker measured (meta.grade), else its outcome, else 0."""
    if not row.failed:
        return len(config.cuts) + 1
    grade = float(row.meta.get("grade", row.outcome or 0.0))
    # With >=, a cut at 0 would leave no failure below it.
    return sum(grade > cut if cut == 0 else grade >= cut for cut in config.cuts)


def marker(row: Trajectory, config: TrainConfig) -> str:
    """The marker of a training row."""
    return words(config.nat)[group(row, config.nat)]


def inference_marker(config: TrainConfig) -> str:
    """The marker of every prompt at inference: that of good rows."""
    return words(config.nat)[-1]


def swapped_marker(row: Trajectory, config: TrainConfig) -> str:
    """The marker of a training row under `inverse`: best and worst change places."""
    return words(config.nat)[::-1][group(row, config.nat)]


def swapped_inference_marker(config: TrainConfig) -> str:
    """The marker that good rows carried under `inverse`: the word for the worst."""
    return words(config.nat)[0]


def columns(row: Trajectory, chat: Chat, config: TrainConfig, pairs: Any) -> list[dict[str, Any]]:
    """`sft` columns with the row's marker in its question."""
    return sft.columns(row, chat, config, pairs, marker(row, config))


def swapped_columns(row: Trajectory, chat: Chat, config: TrainConfig, pairs: Any) -> list[FlatRow]:
    """`sft` columns with the swapped marker in the question."""
    return sft.columns(row, chat, config, pairs, swapped_marker(row, config))


def good(row: Trajectory) -> bool:
    """The rows of `vanilla`, and the prompts of RL: a failure repeats that of a good row."""
    return not row.failed


def validate_data(rows: Sequence[RowKind], config: TrainConfig) -> None:
    """Good rows and failures must both be there. Raises ConfigError."""
    count = sum(row.failed for row in rows)
    if not count or count == len(rows):
        kind, pool = ("failures", "negative") if not count else ("good rows", "positive")
        raise ConfigError(
            f"no {kind} among {len(rows)} rows, so its marker has nothing to tell apart; write a "
            f"mix.weights with {pool}, or method: {'sft' if not count else 'dpo'}"
        )
