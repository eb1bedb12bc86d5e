"""kill -9 of a training worker, then of the driver: the same command goes on from the last durable
checkpoint and ends with the losses and weights of an undisturbed run."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import FIRST_ARM, TINY
from safetensors.torch import load_file

from raytune_agents.chat import Chat
from raytune_agents.config import load_config
from raytune_agents.models import embedded
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.train import mixed_rows
from raytune_agents.progress import Display
from raytune_agents.storage import read_json, read_jsonl
from raytune_agents.train import worker
from raytune_agents.train.base_model import save
from raytune_agents.train.job import Job


def undisturbed(runs: Path, out: Path) -> Job:
    """The arm's training in one go, in this process."""
    config = load_config(TINY, [f"runs_dir={runs}"])
    context, arm = Context(config, Display()), config.train.arms[FIRST_ARM]
    try:
        columns = mixed_rows(context, context.step("train"), FIRST_ARM).rows.folder
    finally:
        context.close()
    return Job(
        str(embedded()), "float32", str(columns), arm.method, config.train.of(arm),
        context.chat.arguments, str(out), config.seed, 2,
        rows=str(context.run.folder / "train" / FIRST_ARM / "rows.npy"))  # fmt: skip


@pytest.mark.faults
def test_a_killed_training_ends_as_an_undisturbed_one(story, tmp_path) -> None:
    """Every step once, the first ones from before the kill."""
    assert story.worker_killed, "training ended before it could be killed"
    assert not story.arm_done
    assert story.codes[0] != 0
    arm = story.folder / "train" / FIRST_ARM
    found = read_jsonl(arm / "metrics.jsonl")
    assert [line["step"] for line in found] == list(range(1, found[-1]["of"] + 1))
    assert found[0]["time"] < story.worker_killed < found[-1]["time"]
    job = undisturbed(story.folder.parent, tmp_path / "whole")
    trainer = worker.fit(job)
    whole = read_jsonl(tmp_path / "whole" / "metrics.jsonl")
    assert [x["loss"] for x in found] == pytest.approx([x["loss"] for x in whole], abs=1e-6)
    save(trainer, Chat(**job.chat), tmp_path / "whole" / "adapter")
    one, two = (
        load_file(f / "adapter" / "adapter_model.safetensors") for f in (arm, tmp_path / "whole")
    )
    assert all((one[k] - two[k]).abs().max() < 1e-6 for k in one | two)
    assert read_json(arm / "manifest.json")["rows"]["out"] > 0
