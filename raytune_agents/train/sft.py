"""Supervised fine-tuning: cross-entropy on answer tokens only, logits computed on those positions
only. Observations, requests and markers never carry loss.

The parts of an answer can weigh differently (Agent-FLAN, arXiv 2403.12881, section 3.3): thought,
tool name, arguments, format, words; and so can turns (`Message.loss`). A token's weight is the
product of both; its loss is multiplied by it, the mean is still over all answer tokens.
The trainer is TRL's with one override (`trainers.AnswerTrainer`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from raytune_agents.chat import Chat, Part
from raytune_agents.config import ConfigError, SftConfig, TrainConfig
from raytune_agents.mix import RowKind
from raytune_agents.records import Message, Options, RecordError, Trajectory


def columns(
    row: Trajectory, chat: Chat, config: TrainConfig, pairs: Any, marker: str = ""
) -> list[dict[str, Any]]:
    """input_ids, labels and loss weights (None = all 1) of the row, each [seq].
    Raises RecordError (no answer, too long)."""
    out = []
    for parts in chat.parts(row, marker):
        example = chat.label(parts)
        out.append(
            {
                "row_id": row.id,
                "pool": row.pool,
                "input_ids": example.input_ids,
                "labels": example.labels,
                "weights": token_weights(parts, chat, config.sft),
                "trained_tokens": example.trained_tokens,
            }
        )
    return out


def spans(text: str, message: Message, config: SftConfig) -> list[tuple[int, float]]:
    """(end, weight) of the pieces of an answer's text, in order; they cover all of it.
    Raises RecordError where the template writes a call in a way that is not known."""
    out: list[tuple[int, float]] = []
    at = 0

    def piece(part: str, weight: float) -> None:
        nonlocal at
        start = text.find(part, at)
        if start < 0:
            raise RecordError(
                "template: a part of the answer is not in its text, so it cannot be weighed"
            )
        at = start + len(part)
        out.extend([(start, config.instruction), (at, weight)])

    if message.thought:
        piece(message.thought, config.reasoning)
    if message.content:
        piece(message.content, config.answer)
    for call in message.tool_calls:
        piece(call.name, config.retrieval)
        arguments = call.arguments or "{}"
        # Templates write arguments as they were spelt, or as Python dumps them.
        piece(arguments if arguments in text[at:] else json.dumps(call.args), config.understanding)
    return [*out, (len(text), config.instruction)]


def token_weights(parts: list[Part], chat: Chat, config: SftConfig) -> list[float] | None:
    """The loss weight of every token, [seq]; None where all are 1. A token belongs to the piece
    that holds its first character that is no space."""
    turns = [m for _, m in parts if m is not None]
    even = set(config.model_dump().values()) == {1.0}
    # Then the column stays empty, and TRL's own collator will do (`trainer`).
    if even and all(m.loss in (None, True, 1.0) for m in turns):
        return None
    out: list[float] = []
    for text, message in parts:
        coded = chat.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        if message is None:
            out += [0.0] * len(coded["input_ids"])
            continue
        pieces = spans(text, message, config)
        turn = 1.0 if message.loss is None else float(message.loss)
        for start, end in coded["offset_mapping"]:
            # A BPE token carries the space before its word: " get" is part of the name, not of the
            # format.
            first = start + len(text[start:end]) - len(text[start:end].lstrip())
            first = min(first, max(start, end - 1))
            out.append(turn * next(w for stop, w in pieces if first < stop))
    return out


def trainer(model: Any, tokenizer: Any, data: Any, arguments: Options, config: TrainConfig) -> Any:
    """The TRL trainer on columns input_ids and labels, and weights where some are not 1."""
    from trl import SFTConfig

    from raytune_agents.train.column_files import all_null
    from raytune_agents.train.trainers import AnswerTrainer, WeightCollator

    trl_config = SFTConfig(
        **arguments,
        # Rows that are too long were refused; TRL would cut them, in the midst of a call.
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="group_by_length",
    )
    collator = None
    if all_null(data, "weights"):
        data = data.remove_columns("weights")
    else:
        collator = WeightCollator(pad_token_id=tokenizer.pad_token_id)
    return AnswerTrainer(
        model=model,
        args=trl_config,
        train_dataset=data,
        processing_class=tokenizer,
        data_collator=collator,
    )


def validate_data(rows: Sequence[RowKind], config: TrainConfig) -> None:
    """Plain sft learns every row as right. Raises ConfigError where one is a failure."""
    failed = sorted({row.pool for row in rows if row.failed})
    if failed:
        raise ConfigError(
            f"rows of {failed} are failures and would be learned as right answers; write method: "
            "nat (with a marker), nut (the control without), dpo or kto, or weights without them"
        )
