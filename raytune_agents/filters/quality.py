"""One number per row: how much it is worth to train on."""

from __future__ import annotations

from typing import Any

import numpy as np

from raytune_agents.filters.grounding import groundedness
from raytune_agents.records import Trajectory

WEIGHTS = {"groundedness": 0.5, "difficulty": 0.3, "diversity": 0.2}
EASY_NLL, HARD_NLL = 0.05, 2.0  # nats per token: below, it is known; above, cannot be learnt


def difficulty(nll: float, easy: float = EASY_NLL, hard: float = HARD_NLL) -> float:
    """Worth of a row to the learner by its own mean NLL of the answer, nats per token, in [0, 1].

    1 between the bounds (ToolACE, 2409.00920, section 2.3), nll / easy below, hard / nll above.
    """
    if nll < easy:
        return max(nll, 0.0) / easy
    return 1.0 if nll <= hard else hard / nll


def signature(row: Trajectory) -> str:
    """What a row shows: the called tools with their argument names, and the fault."""
    shown = []
    for call in row.calls:
        try:
            shown.append(f"{call.name}({','.join(sorted(call.args))})")
        except ValueError:
            shown.append(f"{call.name}(?)")
    return f"{row.fault}|{' '.join(sorted(shown))}"


def rarity(signatures: np.ndarray) -> np.ndarray:
    """1 / sqrt(rows that have the signature) for each of them, in (0, 1]; 1 for what is shown only
    once."""
    _, at, counts = np.unique(signatures, return_inverse=True, return_counts=True)
    return counts[at] ** -0.5


def quality_parts(row: Trajectory, nll: float | None = None) -> tuple[float, float, float]:
    """(validity, sum of w_i * x_i, sum of w_i) over the parts that the row itself tells."""
    if row.reject_reason:
        return 0.0, 0.0, 0.0
    negative = row.pool.startswith("negative")
    validity = 1.0 if negative or row.outcome is None else row.outcome
    known = {
        "groundedness": None if negative else groundedness(row),
        "difficulty": None if nll is None else difficulty(nll),
    }
    measured = {k: x for k, x in known.items() if x is not None}
    worth = sum(WEIGHTS[k] * x for k, x in measured.items())
    return validity, worth, sum(WEIGHTS[k] for k in measured)


def quality(validity: Any, worth: Any, weight: Any, rarity: Any = None) -> Any:
    """Quality in [0, 1] of the `parts` of rows, numbers or arrays [rows].

    quality = validity * sum(w_i * x_i) / sum(w_i) over the parts x_i that are known:
    groundedness (0.5), difficulty by the model's own NLL (0.3), diversity: `rarity` of the row's
    signature (0.2). Validity is 0 for a rejected row, the known outcome, else 1. A negative's
    values are wrong on purpose, so its groundedness is not counted; with no part known the quality
    is the validity.
    """
    if rarity is not None:
        worth, weight = worth + WEIGHTS["diversity"] * rarity, weight + WEIGHTS["diversity"]
    share = np.divide(worth, weight, out=np.ones(np.shape(weight)), where=np.asarray(weight) > 0)
    return validity * share
