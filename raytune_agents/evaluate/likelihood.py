"""Perplexity: how likely the right answers of val rows are to every arm, asked of the run's engine.

The engine is given a whole training text (prompt and answer, `Chat.encode`) and tells the
log-probability of its tokens; those of the answer count. Left out: what the model would write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from raytune_agents.chat import IGNORE, Chat
from raytune_agents.config import EngineConfig, EvaluateConfig
from raytune_agents.evaluate.harness import Arm, Cells, Lines, differences, means
from raytune_agents.evaluate.metrics import CELLS
from raytune_agents.inference import engine
from raytune_agents.records import RecordError, Trajectory

SPLIT = "val"


def measure_shard(
    rows: Sequence[Trajectory], chat: Chat, arm: Arm, engine_section: EngineConfig
) -> Lines:
    """One line of likelihood.parquet a row: `nll`, mean negative log-likelihood of its answer
    tokens in nats, and their number. Rows that do not fit the engine failed. Raises EngineDown."""
    found: list[Any] = []
    for row in rows:
        try:
            found.append(chat.encode(row, arm.marker)[-1])
        except RecordError:
            found.append(None)
    room = engine_section.max_model_len - 1
    fit = [i for i, e in enumerate(found) if e is not None and len(e.input_ids) <= room]
    replies = engine.ask(
        [found[i].input_ids for i in fit],
        [engine.Sampling(max_tokens=1, score=True)] * len(fit),
        adapter=arm.adapter,
        timeout_s=engine_section.timeout_s,
    )
    told = dict(zip(fit, replies))
    out = []
    for i, row in enumerate(rows):
        line = failed(row, arm.name, "prompt_too_long")
        if i in told:
            kept = [p for p, y in zip(told[i].prompt_logprobs, found[i].labels[1:]) if y != IGNORE]
            line |= {"failed": "", "nll": -sum(kept) / len(kept), "tokens": float(len(kept))}
        out.append(line)
    return out


def failed(row: Trajectory, arm: str, why: str) -> dict[str, Any]:
    """A row that was not measured."""
    return {"arm": arm, "split": SPLIT, "id": row.id, "failed": why, "nll": None, "tokens": None}


def perplexity(
    nll: Sequence[float], tokens: Sequence[float], resamples: int, confidence: float, seed: int
) -> dict[str, Any]:
    """exp(sum of nll * tokens / sum of tokens), in [1, inf), 1 where every token is certain; with
    a percentile bootstrap over rows. Without rows value, low and high are None."""
    if not len(nll):
        return {"value": None, "low": None, "high": None, "n": 0}
    n, t = len(nll), np.asarray(tokens, dtype=float)
    total = np.asarray(nll, dtype=float) * t
    rng, drawn = np.random.default_rng(seed), []
    for start in range(0, resamples, step := max(1, CELLS // n)):
        index = rng.integers(0, n, (min(step, resamples - start), n))
        drawn.append(total[index].sum(1) / t[index].sum(1))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.exp(np.quantile(np.concatenate(drawn), tails))
    return {
        "value": float(np.exp(total.sum() / t.sum())),
        "low": float(low),
        "high": float(high),
        "n": n,
    }


def scores(lines: Lines, section: EvaluateConfig, seed: int) -> Cells:
    """{arm: {"val": {perplexity, nll (the mean over rows): cell}}}."""
    out = means(lines, ("nll",), section, seed)
    for arm in dict.fromkeys(x["arm"] for x in lines):
        part = [x for x in lines if x["arm"] == arm and not x["failed"]]
        cell = perplexity(
            [x["nll"] for x in part],
            [x["tokens"] for x in part],
            section.resamples,
            section.confidence,
            seed,
        )
        if cell["n"]:
            out[arm][SPLIT]["perplexity"] = cell
    return out


def gains(lines: Lines, section: EvaluateConfig, seed: int) -> Cells:
    """{arm: {"val": {nll: difference to base in nats a token, paired by row}}}."""
    return differences(lines, section, seed, ("nll",))
