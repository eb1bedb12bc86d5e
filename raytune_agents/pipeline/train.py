"""The train step: every arm that the mix has rows for."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_agents.config import Config, ConfigError, TrainConfig
from raytune_agents.infra.provenance import marks
from raytune_agents.mix import RowKind
from raytune_agents.pipeline import keys, rounds
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.rows import answered_val_rows, training_rows
from raytune_agents.pipeline.tokenize import tokenize
from raytune_agents.pipeline.train_arm import train_arm
from raytune_agents.records import Options, content_hash
from raytune_agents.runs import Counts, Step
from raytune_agents.train import adapter_card, methods, validate_data
from raytune_agents.train.tokenized import Tokenized, validate_mixed


@dataclass(frozen=True)
class MixedRows:
    """What the mix chose for an arm: positions among its tokenised rows, in training order."""

    rows: Tokenized
    positions: np.ndarray

    @property
    def ids(self) -> list[str]:
        return self.rows.facts["id"].take(pa.array(self.positions)).to_pylist()

    @property
    def kinds(self) -> list[RowKind]:
        return [self.rows.kinds[k] for k in self.positions]


def mixed_rows(context: Context, step: Step, name: str) -> MixedRows:
    """The rows of an arm, which the mix step has tokenised. Raises FileNotFoundError for an arm
    that is newer than the mix."""
    file = context.run.folder / "mix" / f"{name}.parquet"
    if not file.is_file():
        raise FileNotFoundError(
            f"train.arms.{name} has no rows yet: `raytune-agents run --steps mix,train`"
        )
    arm = context.config.train.arms[name]
    rows = tokenize(context, step, arm.method, context.config.train.of(arm))
    chosen = pq.read_table(file, columns=["id"])
    return MixedRows(rows, rows.positions(chosen["id"]))


def train_mixed(
    context: Context, step: Step, name: str, config: TrainConfig, mixed: MixedRows
) -> None:
    """Train an arm on its rows. Raises ConfigError where they must not be trained on."""
    method = context.config.train.arms[name].method
    read = partial(training_rows, context.run.folder)
    try:
        recipe = methods.Recipe(method, config, context.chat)
        validate_mixed(recipe, mixed.rows, mixed.positions, read)
    except ConfigError as error:
        raise ConfigError(f"train.arms.{name} (method {method}): {error}") from None
    numbers = mixed.rows.numbers(mixed.positions)
    train_arm(context, step, name, method, config, mixed.rows.folder, numbers)


def arm_step(config: Config, step: Step, name: str, inputs: dict[str, str]) -> Step:
    """An arm as a step of its own, so that what decides another arm does not train it again."""
    arm = config.train.arms[name]
    arm_config = config.train.of(arm)
    decides: Options = {"train": arm_config, "model": config.model}
    if arm.method == "rounds":
        decides |= keys.decides_rounds(config) | {"no_call": config.mix.of(arm).no_call}
    elif methods.method_named(arm.method).samples_answers and arm_config.grpo.turns > 1:
        decides |= {"agents": config.generate.agents}
    return Step(
        f"train/{name}",
        step.folder / name,
        decides,
        inputs,
        config.seed if arm.seed is None else arm.seed,
        # So that a finished arm is in the object store before the next one begins.
        step.mirror,
        marks(keys.files_named(decides), step.content),
    )


def validate_val_rows(context: Context) -> None:
    """There are val rows where an arm needs them while it trains. Raises ConfigError."""
    config = context.config
    for name, arm in config.train.arms.items():
        explores, steps = methods.method_named(arm.method).explores, config.train.of(arm).eval_steps
        if not (explores or steps) or answered_val_rows(context.run.folder):
            continue
        write = "write more rows, or a larger read.split.val"
        if explores:
            raise ConfigError(f"train.arms.{name}: rounds need val rows to stop by; {write}")
        raise ConfigError(
            f"train.arms.{name}: train.eval_steps={steps} without val rows; {write}, or 0"
        )


def train(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """Every arm that is not trained yet, one after the other, each a Ray Train run."""
    config, counts, arms = context.config, Counts(), {}
    mixed = {name: mixed_rows(context, step, name) for name in config.train.arms}
    # All arms before the first: a wrong last one must not show after hours.
    validate_data.validate_arms(config.train, {n: m.kinds for n, m in mixed.items()})
    validate_data.validate_length(context.chat)
    validate_val_rows(context)
    context.free_gpu(config.train.span[1])
    trained: dict[str, str] = {}  # arm -> key
    for name, arm in config.train.arms.items():
        arm_config = config.train.of(arm)
        ids = mixed[name].ids
        # An arm that another goes on from is one of its inputs; the path to it is not.
        inputs = {"rows": step.inputs["label"], "ids": content_hash(ids)}
        if arm.start:
            inputs[f"arm {arm.start}"] = trained[arm.start]
        own = arm_step(config, step, name, inputs)
        # Also of an arm that is done: what goes on from it is known by it.
        trained[name] = own.key
        if own.done:
            context.display.say(f"train     arm {name} done before", style="dim")
        else:
            own.begin()
            if arm.start:
                arm_config = arm_config.starting_at(step.folder / arm.start / "adapter")
            if methods.method_named(arm.method).explores:
                rows = training_rows(context.run.folder, ids)
                rounds.train_rounds(context, own, name, arm_config, [rows[i] for i in ids])
            else:
                train_mixed(context, own, name, arm_config, mixed[name])
            own.finish(Counts(rows_in=len(ids), rows_out=len(ids)))
            adapter_card.write_adapter_card(context.run.folder, name)
        manifest = own.manifest
        assert manifest  # done before, or just now
        counts.rows_in += manifest.rows.rows_in
        counts.rows_out += manifest.rows.rows_out
        counts.rejected.update(manifest.rows.rejected)
        arms[name] = {"method": arm.method, "seconds": manifest.seconds}
    for folder in step.folder.iterdir():
        if folder.is_dir() and folder.name not in config.train.arms:  # no longer named
            shutil.rmtree(folder)
    return counts, {"arms": arms}
