"""The steps that train: train and tune; and the report on the whole run."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from raytune_agents.pipeline import keys
from raytune_agents.pipeline.rows import training_rows
from raytune_agents.pipeline.train_arm import train_arm
from raytune_agents.records import content_hash
from raytune_agents.runs import Counts, Step
from raytune_agents.train import adapter_card

if TYPE_CHECKING:
    from raytune_agents.pipeline.context import Context


# --- train ---


def train(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """Every arm that is not trained yet, one after the other, each a Ray Train run."""
    from raytune_agents.pipeline import rounds
    from raytune_agents.train import methods, validate_data

    config, counts, arms = context.config, Counts(), {}
    rows = training_rows(context.run.folder)
    files = {name: context.run.folder / "mix" / f"{name}.parquet" for name in config.train.arms}
    chosen = {name: pq.read_table(path)["id"].to_pylist() for name, path in files.items()}
    validate_data.validate_arms(config.train, rows, chosen)
    validate_data.validate_length(context.chat)
    context.free_gpu(config.train.span[1])
    trained: dict[str, str] = {}  # arm -> key
    for name, arm in config.train.arms.items():
        section = config.train.of(arm)
        mixed = chosen[name]
        # An arm that another goes on from is one of its inputs; the path to it is not.
        inputs = {"rows": step.inputs["label"], "ids": content_hash(mixed)}
        if arm.start:
            inputs[f"arm {arm.start}"] = trained[arm.start]
        own = Step(
            f"train/{name}",
            step.folder / name,
            {"train": section, "model": config.model}
            | (keys.decides_rounds(config) if arm.method == "rounds" else {}),
            inputs,
            config.seed if arm.seed is None else arm.seed,
            step.mirror,
        )
        trained[name] = own.key
        if own.done:
            context.display.say(f"train     arm {name} done before", style="dim")
        else:
            own.begin()
            if arm.start:
                section = section.starting_at(step.folder / arm.start / "adapter")
            chosen_rows = [rows[i] for i in mixed]
            if methods.method_named(arm.method).explores:
                arm_counts = rounds.train_rounds(context, own, name, section, chosen_rows)
            else:
                arm_counts = train_arm(context, own, name, arm.method, section, chosen_rows, rows)
            own.finish(arm_counts)
            adapter_card.write_adapter_card(context.run.folder, name)
        manifest = own.manifest
        assert manifest  # done before, or just now
        counts.rows_in += manifest.rows.rows_in
        counts.rows_out += manifest.rows.rows_out
        counts.rejected.update(manifest.rows.rejected)
        arms[name] = {"method": arm.method, "seconds": manifest.seconds}
    for folder in (
        f for f in step.folder.iterdir() if f.is_dir() and f.name not in config.train.arms
    ):
        shutil.rmtree(folder)
    return counts, {"arms": arms}
