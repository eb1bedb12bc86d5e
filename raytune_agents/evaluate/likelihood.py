"""Perplexity: how likely the right answers of val rows are to every arm, asked of the run's engine.

The engine is given a whole training text (prompt and answer, `Chat.encode`) and tells the
log-probability of its tokens; those of the answer count. Left out: what the model would write.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from raytune_agents.chat import IGNORE
from raytune_agents.evaluate.estimates import Resampling, perplexity_of
from raytune_agents.evaluate.harness import Asker
from raytune_agents.evaluate.measured import Lines, Measured, grouped_rows
from raytune_agents.evaluate.scoreboard import Cells, Scores, board_of
from raytune_agents.inference import client
from raytune_agents.records import FlatRow, RecordError, Trajectory

SPLIT = "val"


def measure_shard(rows: Sequence[Trajectory], asker: Asker) -> Lines:
    """One line of likelihood.parquet per row: `nll`, mean negative log-likelihood of its answer
    tokens in nats, and their number. Rows that do not fit the engine failed. Raises EngineDown."""
    arm, fitting = asker.arm, dict[int, Any]()
    for i, row in enumerate(rows):
        with suppress(RecordError):
            # Where a template gives several examples, the last one has the last answer.
            example = asker.chat.encode(row, arm.marker)[-1]
            # vLLM must generate at least one token, which nobody reads.
            if len(example.input_ids) < asker.room + asker.max_tokens:
                fitting[i] = example
    prompts = [example.input_ids for example in fitting.values()]
    sampling = [client.Sampling(max_tokens=1, score=True)] * len(prompts)
    replies = dict(zip(fitting, client.ask(prompts, sampling, adapter=arm.adapter)))
    out = []
    for i, row in enumerate(rows):
        reply = replies.get(i)
        why = client.INFRA_FAILED if reply else "prompt_too_long"
        line = unmeasured(row, arm.name, why)
        if isinstance(reply, client.Reply):
            # The first token has no log-probability, since nothing is before it.
            kept = [p for p, y in zip(reply.prompt_logprobs, fitting[i].labels[1:]) if y != IGNORE]
            line |= {"failed": "", "nll": -sum(kept) / len(kept), "tokens": float(len(kept))}
        out.append(line)
    return out


def unmeasured(row: Trajectory, arm: str, why: str) -> FlatRow:
    """A row that was not measured."""
    return {"arm": arm, "split": SPLIT, "id": row.id, "failed": why, "nll": None, "tokens": None}


def likelihood_rows(lines: Lines) -> list[Measured]:
    return [Measured.of_columns(x, ("nll",)) for x in lines]


def perplexities(lines: Lines, how: Resampling) -> Scores:
    """{arm: {"val": {perplexity: cell}}}."""

    def cells(part: Lines) -> Cells:
        kept = [x for x in part if not x["failed"]]
        cell = perplexity_of([x["nll"] for x in kept], [x["tokens"] for x in kept], how)
        return {"perplexity": cell} if cell.n else {}

    return board_of(grouped_rows(lines, lambda x: (x["arm"], SPLIT)), cells)
