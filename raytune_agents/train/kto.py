"""KTO (arXiv 2402.01306): unpaired good rows and failures; the value of an answer is its log-ratio
to the reference (the adapter off) beyond a batch estimate of their KL divergence.

The KL estimate needs mismatched prompts and answers: answers are rotated among the rows of one
optimiser step, before training. The classes must weigh about the same (equation 8): weight of
good rows * their number / the same of failures in [1, 4/3]; without own weights, it is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raytune_agents.chat import IGNORE, Chat
from raytune_agents.config import ConfigError, KtoConfig, TrainConfig
from raytune_agents.mix import RowKind
from raytune_agents.records import Options, RecordError, Trajectory

BALANCE = (1.0, 4 / 3)


def columns(row: Trajectory, chat: Chat, config: TrainConfig, pairs: Any) -> list[dict[str, Any]]:
    """prompt_ids [prompt], completion_ids and completion_mask [answer] (1 = answer token), label
    (False = failure). Raises RecordError."""
    examples = chat.encode(row)
    if len(examples) != 1:
        raise RecordError("template: it rewrites earlier turns, so a run is no single example")
    example = examples[0]
    start = next(i for i, label in enumerate(example.labels) if label != IGNORE)
    return [
        {
            "row_id": row.id,
            "pool": row.pool,
            "prompt_ids": example.input_ids[:start],
            "completion_ids": example.input_ids[start:],
            "completion_mask": [int(label != IGNORE) for label in example.labels[start:]],
            "label": not row.failed,
            "trained_tokens": example.trained_tokens,
        }
    ]


def weights(good: int, bad: int, config: KtoConfig) -> tuple[float, float]:
    """(weight of good rows, weight of failures); the smaller class is raised where none is given.
    Raises ConfigError for one class only, and for own weights out of balance."""
    if not good or not bad:
        raise ConfigError(
            f"{good} good rows and {bad} failures: KTO needs both; write a mix.weights with "
            f"{'negative' if good else 'positive'}, or method: sft"
        )
    desirable, undesirable = config.desirable_weight, config.undesirable_weight
    if desirable is None:
        desirable = undesirable * bad / good if undesirable else max(1.0, bad / good)
    if undesirable is None:
        undesirable = desirable * good / bad
    balance = desirable * good / (undesirable * bad)
    low, high = BALANCE
    # People write weights with two or three digits.
    if not low - 0.01 <= balance <= high + 0.01:
        fits = [round(undesirable * bad / good * b, 3) for b in BALANCE]
        raise ConfigError(
            f"train.kto.desirable_weight={desirable} with {good} good rows and {bad} failures of "
            f"weight {undesirable} is out of balance ({balance:.2f}, not in [1, 1.33]); write "
            f"{fits[0]} to {fits[1]}, or neither weight"
        )
    return desirable, undesirable


def rotated(count: int, step: int) -> list[int]:
    """For each row the row whose answer it is mismatched with: the one before it among the `step`
    rows of its optimiser step. A last group of one joins the group before."""
    starts = list(range(0, count, step))
    # A row alone would be matched with its own answer.
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    out = []
    for start, end in zip(starts, [*starts[1:], count]):
        out += [end - 1, *range(start, end - 1)]
    return out


def trainer(model: Any, tokenizer: Any, data: Any, arguments: Options, config: TrainConfig) -> Any:
    """The TRL trainer on the columns above; TRL asks for at least two rows in a forward pass."""
    from datasets import concatenate_datasets
    from trl import KTOConfig

    from raytune_agents.train.trainers import UnpairedCollator, UnpairedTrainer

    good = sum(data["label"])
    desirable, undesirable = weights(good, len(data) - good, config.kto)
    if arguments["per_device_train_batch_size"] == 1:
        # TRL refuses one row per pass; half as many passes keep the rows of a step.
        half = max(1, arguments["gradient_accumulation_steps"] // 2)
        arguments |= {"per_device_train_batch_size": 2, "gradient_accumulation_steps": half}
    other = rotated(len(data), max(2, config.rows_per_step()))
    answers = ["completion_ids", "completion_mask"]
    mismatched = data.select(other).select_columns(answers)
    mismatched = mismatched.rename_columns({key: f"KL_{key}" for key in answers})
    data = concatenate_datasets([data, mismatched], axis=1)
    own = {"desirable_weight": desirable, "undesirable_weight": undesirable}
    # Rows that are too long were refused; TRL would cut them, in the midst of a call.
    trl_config = KTOConfig(**arguments, **config.kto.model_dump() | own, max_length=None)
    return UnpairedTrainer(
        model=model,
        args=trl_config,
        train_dataset=data,
        processing_class=tokenizer,
        data_collator=UnpairedCollator(pad_token_id=tokenizer.pad_token_id),
    )


def validate_data(rows: Sequence[RowKind], config: TrainConfig) -> None:
    """Both classes, in balance. Raises ConfigError."""
    failed = sum(row.failed for row in rows)
    weights(len(rows) - failed, failed, config.kto)
