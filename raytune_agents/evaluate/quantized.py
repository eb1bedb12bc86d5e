"""The headline arm with its weights in fewer bits: the same requests to each kind, one at a time.

transformers answers, not the engine (vLLM 0.32 has none of bitsandbytes' kinds), and to the whole
weights too, so that nothing but the weights differs. Left out: kinds that need calibration rows
(AWQ, GPTQ).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raytune_agents.calls import judge
from raytune_agents.calls.match import BAD_GOLD
from raytune_agents.evaluate.estimates import Estimate, JsonRecord, Resampling, mean_of, quantile_of
from raytune_agents.evaluate.harness import Asker, fitting_prompts
from raytune_agents.evaluate.measured import grouped_rows
from raytune_agents.evaluate.scoreboard import Cells, Scores, board_of
from raytune_agents.models import causal_lm, merged_folder
from raytune_agents.records import Trajectory


@dataclass(frozen=True, slots=True)
class QuantizedAnswer(JsonRecord):
    """One answer by weights of a kind; `weights_mib`: memory that they take."""

    arm: str
    weights: str
    split: str
    id: str
    exact_match: float | None
    end_to_end_ms: float
    weights_mib: float


def spread(rows: Sequence[Trajectory], count: int) -> list[Trajectory]:
    """At most `count` rows from all over the list, so of every suite."""
    return [rows[k * len(rows) // count] for k in range(count)] if count < len(rows) else [*rows]


def answer_quantized(
    model: Path, dtype: str, asker: Asker, weights: str, rows: Sequence[Trajectory]
) -> list[QuantizedAnswer]:
    """The arm's greedy answers with its weights of that kind; rows whose prompt does not fit have
    none. The first request is asked twice: what it warms up is not timed."""
    import torch

    from raytune_agents.train.base_model import quantisation
    from raytune_agents.train.score import greedy_answers

    arm, chat = asker.arm, asker.chat
    with merged_folder(str(model), arm.adapter, dtype) as folder:
        loaded = causal_lm(folder, dtype, **quantisation(weights, dtype))
    if weights == "none" and torch.cuda.is_available():
        loaded = loaded.to("cuda")
    weights_mib = loaded.get_memory_footprint() / 2**20
    prompts, _ = fitting_prompts(rows, asker)
    for first in list(prompts.values())[:1]:
        greedy_answers(loaded, chat, [first], [asker.max_tokens])
    out = []
    for i, prompt in prompts.items():
        began = time.perf_counter()
        (text,) = greedy_answers(loaded, chat, [prompt], [asker.max_tokens])
        taken, verdict = (time.perf_counter() - began) * 1000, judge(text, rows[i])
        right = None if verdict.error == BAD_GOLD else float(verdict.ok)
        split, row_id = rows[i].split, rows[i].id
        out.append(QuantizedAnswer(arm.name, weights, split, row_id, right, taken, weights_mib))
    return out


def quantized_scores(answers: Sequence[QuantizedAnswer], how: Resampling) -> Scores:
    """{arm: {kind of weights: {metric: cell}}}: share right, median time, memory."""

    def cells(part: list[QuantizedAnswer]) -> Cells:
        return {
            "exact_match": mean_of((a.exact_match for a in part), how),
            "end_to_end_ms": quantile_of((a.end_to_end_ms for a in part), 0.5, how),
            "weights_mib": Estimate(part[0].weights_mib, n=len(part)),
        }

    return board_of(grouped_rows(answers, lambda a: (a.arm, a.weights)), cells)
