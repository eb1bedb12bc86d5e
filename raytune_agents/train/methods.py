"""The table of training methods. A method says how a row becomes the columns of its TRL trainer,
which rows it takes, what marker it writes and is asked with, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raytune_agents.chat import Chat
from raytune_agents.config import TrainConfig
from raytune_agents.records import RecordError, Trajectory
from raytune_agents.train import dpo, grpo, kto, nat, rloo, sft


def nothing(*_: Any) -> Any:
    """No marker, no check."""
    return ""


PREFERENCE = 1 / 20  # train/learning_rates.py


@dataclass(frozen=True)
class Method:
    """`columns(row, chat, section, twins)` gives row_id, pool, trained_tokens and the trainer's
    columns, or raises RecordError; `trainer(model, tokenizer, data, arguments, section)` is TRL's
    trainer; `twins(all rows by id, section)` is what columns needs of the other rows;
    `marker(row, section)` a training row's, `asked(section)` that of inference;
    `check(rows, section)` raises ConfigError."""

    columns: Callable[[Trajectory, Chat, TrainConfig, Any], list[dict[str, Any]]]
    trainer: Callable[..., Any]
    takes: Callable[[Trajectory], bool] = bool
    twins: Callable[[Mapping[str, Trajectory], TrainConfig], Mapping[str, Any]] | None = None
    marker: Callable[[Trajectory, TrainConfig], str] = nothing
    asked: Callable[[TrainConfig], str] = nothing
    check: Callable[[list[Trajectory], TrainConfig], None] = nothing
    rate: float = 1.0  # of sft's learning rate, where it is auto
    steps: bool = True  # its trainer is a StepTrainer: forward passes are cut by tokens


METHODS: dict[str, Method] = {
    "sft": Method(sft.columns, sft.trainer, check=sft.check),
    "vanilla": Method(sft.columns, sft.trainer, takes=nat.good),
    "nut": Method(sft.columns, sft.trainer, check=nat.check),
    "nat": Method(nat.columns, nat.trainer, marker=nat.marker, asked=nat.asked, check=nat.check),
    "inverse": Method(
        nat.swapped_columns,
        nat.trainer,
        marker=nat.swapped_marker,
        asked=nat.swapped_asked,
        check=nat.check,
    ),
    "dpo": Method(dpo.columns, dpo.trainer, twins=dpo.twins, rate=PREFERENCE),
    "kto": Method(kto.columns, kto.trainer, check=kto.check, rate=PREFERENCE, steps=False),
    "grpo": Method(
        grpo.columns, grpo.trainer, takes=nat.good, check=grpo.check, rate=PREFERENCE, steps=False
    ),
    "rloo": Method(
        rloo.columns, rloo.trainer, takes=nat.good, check=rloo.check, rate=PREFERENCE, steps=False
    ),
    # Its rows are tasks to explore: pipeline.eto.
    "eto": Method(dpo.columns, dpo.trainer, takes=nat.good, rate=PREFERENCE),
}


def costs(
    name: str,
    rows: Mapping[str, Trajectory],
    tokens: Mapping[str, int],
    chat: Chat,
    section: TrainConfig,
) -> dict[str, int]:
    """Trained tokens of every row under a method, by id; 0 = the method does not train on it."""
    method = METHODS[name]
    if method.twins is None:
        return {i: n if method.takes(rows[i]) else 0 for i, n in tokens.items()}
    out, twins = dict.fromkeys(tokens, 0), method.twins(rows, section)
    for i in tokens:
        if i in twins:
            made, _ = build(name, [rows[i]], chat, section, twins)
            out[i] = sum(column["trained_tokens"] for column in made)
    return out


def build(
    name: str, rows: Sequence[Trajectory], chat: Chat, section: TrainConfig, twins: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    """Columns of the rows in order, and the reasons of rows that gave none."""
    out, refused = [], []
    for row in rows:
        try:
            out += METHODS[name].columns(row, chat, section, twins)
        except RecordError as error:
            refused.append(str(error))
    return out, refused
