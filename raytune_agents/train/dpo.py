"""Direct preference optimisation (arXiv 2305.18290) on minimal-edit pairs: a negative row and the
positive twin it was made from. The reference is the base model with the adapter switched off, so no
second model is held; `sft` among the losses anchors the likelihood of the chosen answer
(Iterative RPO, arXiv 2404.19733).
"""

from __future__ import annotations

from typing import Any

from raytune_agents.chat import IGNORE, Chat
from raytune_agents.config import TrainSection
from raytune_agents.records import RecordError, Trajectory


def columns(
    row: Trajectory, chat: Chat, section: TrainSection, twins: dict[str, Trajectory]
) -> list[dict[str, Any]]:
    """prompt_ids, chosen_ids, rejected_ids of the pair of a negative row and its twin.

    Raises RecordError where the row has no twin at hand, the sides are equal, or the prompts
    differ."""
    twin = next((twins[p] for p in row.parents if p in twins), None)
    if not row.fault or twin is None:
        raise RecordError("no positive twin to make a pair with")
    chosen, rejected = chat.encode(twin)[-1], chat.encode(row)[-1]
    start = next(i for i, label in enumerate(rejected.labels) if label != IGNORE)
    if chosen.input_ids[:start] != rejected.input_ids[:start] or chosen.labels[start - 1] != IGNORE:
        raise RecordError("the two sides of a pair have different prompts")
    if chosen.input_ids == rejected.input_ids:
        raise RecordError("the two sides of a pair are equal")
    pair = {
        "prompt_ids": rejected.input_ids[:start],
        "chosen_ids": chosen.input_ids[start:],
        "rejected_ids": rejected.input_ids[start:],
    }
    return [
        {
            "row_id": row.id,
            "pool": row.pool,
            **pair,
            "trained_tokens": len(pair["chosen_ids"]) + len(pair["rejected_ids"]),
        }
    ]


def trainer(
    model: Any, tokenizer: Any, data: Any, arguments: dict[str, Any], section: TrainSection
):
    """The TRL trainer on columns prompt_ids, chosen_ids, rejected_ids."""
    from trl import DPOConfig

    from raytune_agents.train.trainers import PairTrainer

    config = DPOConfig(
        **arguments,
        max_length=None,
        beta=section.dpo.beta,
        loss_type=section.dpo.loss_type,
        loss_weights=section.dpo.loss_weights,
    )
    return PairTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
