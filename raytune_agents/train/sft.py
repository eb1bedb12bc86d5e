"""Supervised fine-tuning: cross-entropy on answer tokens only, logits computed on those positions
only.

The trainer is TRL's with one override (`trainers.AnswerTrainer`).
"""

from __future__ import annotations

from typing import Any

from raytune_agents.chat import Chat
from raytune_agents.config import TrainSection
from raytune_agents.records import Trajectory


def columns(
    row: Trajectory,
    chat: Chat,
    section: TrainSection,
    twins: dict[str, Trajectory],
    marker: str = "",
) -> list[dict[str, Any]]:
    """Token ids and labels of the row. Raises RecordError (no answer, too long)."""
    return [
        {
            "row_id": row.id,
            "pool": row.pool,
            "input_ids": e.input_ids,
            "labels": e.labels,
            "trained_tokens": e.trained_tokens,
        }
        for e in chat.encode(row, marker)
    ]


def trainer(
    model: Any, tokenizer: Any, data: Any, arguments: dict[str, Any], section: TrainSection
):
    """The TRL trainer on columns input_ids and labels."""
    from trl import SFTConfig

    from raytune_agents.train.trainers import AnswerTrainer

    config = SFTConfig(
        **arguments,
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="group_by_length",
    )
    return AnswerTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
