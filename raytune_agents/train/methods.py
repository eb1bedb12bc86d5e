"""The table of training methods. A method says how a row becomes the columns of its TRL trainer,
which rows it takes, what marker it writes and is asked with, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

from raytune_agents.chat import Chat
from raytune_agents.config import ConfigError, TrainConfig
from raytune_agents.config.base import json_values
from raytune_agents.config.lookup import user_object
from raytune_agents.mix import RowKind
from raytune_agents.records import ROW_FAULTS, Trajectory, row_reason
from raytune_agents.train import dpo, grpo, kto, nat, rloo, sft


def nothing(*_: Any) -> Any:
    """No marker, no check."""
    return ""


PREFERENCE = 1 / 20  # train/learning_rates.py


@dataclass(frozen=True)
class Method:
    """`columns(row, chat, config, pairs)` gives row_id, pool, trained_tokens and the trainer's
    columns, or raises RecordError; `trainer(model, tokenizer, data, arguments, config)` is TRL's
    trainer; `pairs(rows by id, config)` is what columns needs of other rows, and is given all those
    that begin with one request, of large data no others; `marker(row, config)` a training row's,
    `inference_marker(config)` that of inference;
    `validate_data(kinds of the rows, config)` raises ConfigError; `options` are those of `train`
    that columns reads (None: any), so that arms which share them share the columns.

    `reference_pass`: a frozen model reads the batch too; `samples_answers`: the policy writes what
    it is trained on; `smallest_batch`: rows that one forward pass needs; `explores`: its arm is
    trained in rounds of tasks and failures (`pipeline.rounds`)."""

    columns: Callable[[Trajectory, Chat, TrainConfig, Any], list[dict[str, Any]]]
    trainer: Callable[..., Any]
    takes: Callable[[Trajectory], bool] = bool
    pairs: Callable[[Mapping[str, Trajectory], TrainConfig], Mapping[str, Any]] | None = None
    marker: Callable[[Trajectory, TrainConfig], str] = nothing
    inference_marker: Callable[[TrainConfig], str] = nothing
    validate_data: Callable[[Sequence[RowKind], TrainConfig], None] = nothing
    options: tuple[str, ...] | None = None
    rate: float = 1.0  # of sft's learning rate, where it is auto
    steps: bool = True  # its trainer is a StepTrainer: forward passes are cut by tokens
    reference_pass: bool = False
    samples_answers: bool = False
    smallest_batch: int = 1
    explores: bool = False


_marked = partial(
    Method, trainer=nat.trainer, validate_data=nat.validate_data, options=("sft", "nat")
)
_sampled = partial(
    Method,
    takes=nat.good,
    # Only what columns reads is named: rewards and beta change no row, so arms share them.
    options=("grpo.turns", "grpo.max_tokens"),
    samples_answers=True,
    rate=PREFERENCE,
    steps=False,
)
METHODS: dict[str, Method] = {
    "sft": Method(sft.columns, sft.trainer, validate_data=sft.validate_data, options=("sft",)),
    # The control arms of NAT share its rows: see train/nat.py.
    "vanilla": Method(sft.columns, sft.trainer, takes=nat.good, options=("sft",)),
    "nut": Method(sft.columns, sft.trainer, validate_data=nat.validate_data, options=("sft",)),
    "nat": _marked(nat.columns, marker=nat.marker, inference_marker=nat.inference_marker),
    "inverse": _marked(
        nat.swapped_columns,
        marker=nat.swapped_marker,
        inference_marker=nat.swapped_inference_marker,
    ),
    "dpo": Method(
        dpo.columns,
        dpo.trainer,
        pairs=dpo.pairs_by_row,
        options=("dpo.pairs",),
        reference_pass=True,
        rate=PREFERENCE,
    ),
    "kto": Method(  # its KL term compares rows of a batch
        kto.columns,
        kto.trainer,
        validate_data=kto.validate_data,
        options=(),
        reference_pass=True,
        smallest_batch=2,
        rate=PREFERENCE,
        steps=False,
    ),
    "grpo": _sampled(grpo.columns, grpo.trainer, validate_data=grpo.validate_data),
    "rloo": _sampled(rloo.columns, rloo.trainer, validate_data=rloo.validate_data),
    # Its rows are tasks to answer; a round trains by a method of its own.
    "rounds": Method(
        sft.columns,
        sft.trainer,
        takes=nat.good,
        inference_marker=lambda config: method_named(config.rounds.method).inference_marker(config),
        options=("sft",),
        explores=True,
    ),
}


def method_named(name: str) -> Method:
    """A method of METHODS, or a user's own as "module:NAME". Raises ConfigError."""
    if name in METHODS:
        return METHODS[name]
    found = user_object(name, "train.arms.*.method", f"or one of {', '.join(METHODS)}")
    if not isinstance(found, Method):
        raise ConfigError(f"train.arms.*.method={name!r} is no train.methods.Method; write one")
    return found


@dataclass(frozen=True)
class Recipe:
    """How rows become columns: a method by its name, its options of train, and the chat."""

    method: str
    config: TrainConfig
    chat: Chat

    @property
    def how(self) -> Method:
        return method_named(self.method)

    def pairs(self, rows: Mapping[str, Trajectory]) -> Mapping[str, Any] | None:
        """What columns needs of other rows; None where it needs nothing."""
        return self.how.pairs(rows, self.config) if self.how.pairs else None

    def decided_by(self) -> list[Any]:
        """The method's functions, and the options that they read, as JSON values: arms for which
        these are equal share the columns."""
        how = self.how
        made = (f for f in (how.columns, how.takes, how.pairs) if f)
        names = [f"{f.__module__}.{f.__qualname__}" for f in made]
        if how.options is None:
            return [names, json_values(self.config, deciding=True)]
        read = [reduce(getattr, option.split("."), self.config) for option in how.options]
        return [names, json_values(read, deciding=True)]


def build_columns(
    name: str, rows: Sequence[Trajectory], chat: Chat, config: TrainConfig, pairs: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    """Columns of the rows in order, and the reasons of rows that gave none."""
    out, refused = [], []
    for row in rows:
        try:
            out += method_named(name).columns(row, chat, config, pairs)
        except ROW_FAULTS as error:
            refused.append(row_reason(error))
    return out, refused
