"""Direct preference optimisation (arXiv 2305.18290) on `negatives.preference_pairs`: minimal edits,
best and worse runs of one task (ETO, arXiv 2403.02502), or either cut to the turn where the sides
part (step-level).

The reference is the base model with the adapter switched off, so no second model is held; where
training goes on from an adapter it is a frozen copy of that. Loss names are TRL's: sigmoid, ipo,
sigmoid_norm (DPO per token), robust (label noise), and `sft`, which anchors the likelihood of the
chosen answer (Iterative RPO, arXiv 2404.19733). Log-probs are summed over answer tokens only: what
the environment says inside a side is masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raytune_agents.chat import IGNORE, Chat, Example
from raytune_agents.config import TrainConfig
from raytune_agents.negatives.preference_pairs import (
    Pair,
    both_right,
    minimal_pairs,
    outcome_pairs,
    step_pair,
)
from raytune_agents.records import Options, RecordError, Trajectory


def pairs_by_row(rows: Mapping[str, Trajectory], config: TrainConfig) -> dict[str, Pair]:
    """Rejected row id -> its pair; rows of a pair have one first request."""
    kind, all_rows = config.dpo.pairs, list(rows.values())
    made = [] if kind == "minimal" else outcome_pairs(all_rows)
    made += [] if kind == "outcome" else minimal_pairs(all_rows)
    # One pair per rejected row: a minimal pair, which comes later, replaces one of outcomes.
    cut = {p.rejected.id: step_pair(p) if kind == "step" else p for p in made}
    return {row_id: pair for row_id, pair in cut.items() if not both_right(pair)}


def encode_side(row: Trajectory, shared: int, chat: Chat) -> tuple[Example, int]:
    """The row as one example that is trained after its first `shared` messages, and the number of
    prompt tokens. Raises RecordError."""
    # Answers that both sides share are part of the prompt: in the margin they would cancel.
    before = [replace(m, loss=False) if m.role == "assistant" else m for m in row.messages[:shared]]
    examples = chat.parts(replace(row, messages=(*before, *row.messages[shared:])))
    if len(examples) != 1:
        raise RecordError("template: it rewrites earlier turns, so only dpo.pairs=step fits")
    example = chat.label(examples[0])
    return example, next(i for i, label in enumerate(example.labels) if label != IGNORE)


def columns(
    row: Trajectory, chat: Chat, config: TrainConfig, pairs: Mapping[str, Pair]
) -> list[dict[str, Any]]:
    """prompt_ids [prompt], and for each side ids and mask (1 = answer token), both [side].

    Raises RecordError where the row has no pair, the sides are equal, or the prompts differ."""
    pair = pairs.get(row.id)
    if pair is None:
        raise RecordError("no better row, of other words, to make a pair with")
    (chosen, start), (rejected, _) = (
        encode_side(r, pair.shared, chat) for r in (pair.chosen, pair.rejected)
    )
    # A template may write earlier turns otherwise by what follows them: no common prompt then.
    if chosen.input_ids[:start] != rejected.input_ids[:start] or rejected.labels[start] == IGNORE:
        raise RecordError("the two sides of a pair have different prompts")
    if chosen.input_ids == rejected.input_ids:
        raise RecordError("the two sides of a pair are equal")
    return [
        {
            "row_id": row.id,
            "pool": row.pool,
            "prompt_ids": chosen.input_ids[:start],
            "chosen_ids": chosen.input_ids[start:],
            "chosen_mask": [int(label != IGNORE) for label in chosen.labels[start:]],
            "rejected_ids": rejected.input_ids[start:],
            "rejected_mask": [int(label != IGNORE) for label in rejected.labels[start:]],
            "trained_tokens": chosen.trained_tokens + rejected.trained_tokens,
        }
    ]


def trainer(model: Any, tokenizer: Any, data: Any, arguments: Options, config: TrainConfig) -> Any:
    """The TRL trainer on the columns above."""
    from trl import DPOConfig

    from raytune_agents.train.trainers import PairCollator, PairTrainer

    trl_config = DPOConfig(
        **arguments,
        # Rows that are too long were refused; TRL would cut them, in the midst of a call.
        max_length=None,
        **config.dpo.model_dump(exclude={"pairs"}),
        precompute_ref_batch_size=arguments["per_device_train_batch_size"],
    )
    return PairTrainer(
        model=model,
        args=trl_config,
        train_dataset=data,
        processing_class=tokenizer,
        data_collator=PairCollator(pad_token_id=tokenizer.pad_token_id),
    )
