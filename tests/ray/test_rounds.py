"""Rounds end to end: an sft arm answers its tasks, new ones are drawn where it fails, it is trained
on those that it sometimes gets right; a killed round goes on; no test row is near any of it."""

from __future__ import annotations

import io
import shutil

import pytest
import torch
from conftest import TINY
from rich.console import Console
from safetensors.torch import load_file

from raytune_agents.config import load_config
from raytune_agents.pipeline.rows import NEW
from raytune_agents.pipeline.run import run_steps
from raytune_agents.progress import Display
from raytune_agents.storage import read_json, read_jsonl, read_rows
from raytune_agents.train.column_files import TrainingRows

ARMS = """{
  sft: {method: sft, weights: {positive: 1}},
  rounds: {method: rounds, weights: {positive: 1}, start: sft, options: {
    rounds.max: 2, rounds.tasks: 10, rounds.new_tasks: 4, rounds.samples: 2,
    rounds.max_tokens: 48, rounds.val_rows: 4, rounds.instruction_rows: 2,
    rounds.band: [0, 0.9], global_batch_size: 2}}}"""
STEPS = ("read", "generate", "label", "mix", "train")


@pytest.mark.slow
def test_two_rounds_of_learning_from_failure(tmp_path) -> None:
    config = load_config(
        TINY,
        [
            f"runs_dir={tmp_path}",
            "generate.rows=4",
            "negatives.mined_tasks=0",
            "tune.num_samples=0",
            f"train.arms={ARMS}",
        ],
    )
    run_steps(config, STEPS, Display(Console(file=io.StringIO())))
    run = tmp_path / "tiny"
    arm = run / "train" / "rounds"
    told = read_json(arm / "rounds.json")
    records = told["rounds"]
    assert [r["round"] for r in records] == list(range(len(records)))
    assert records[1]["rows"] > 0
    assert records[1]["answers"] >= 20
    held = {r.id for r in read_rows(run / "read") if r.split not in ("train", "")}
    held |= {r.id for r in read_rows(run / "generate" / "held")}
    adapters = [run / "train" / "sft" / "adapter"]
    for record in (r for r in records[1:] if r["rows"]):
        folder = arm / f"round-{record['round']}"
        made = [r for n in ("answered", "drawn", NEW, "tried") for r in read_rows(folder / n)]
        assert made
        assert {r.meta["round"] for r in made} == {record["round"]}
        assert not held & {i for r in made for i in (r.id, *r.parents)}
        assert {r.split for r in made} == {"train"}
        trained = set(TrainingRows.mapped(folder / "columns").ids.to_pylist())
        assert trained
        assert not trained & held
        # the reference is the policy at the round's start: no reward at the first step
        first = read_jsonl(folder / "metrics.jsonl")[0]
        assert first["rewards/chosen"] == pytest.approx(0, abs=1e-2)
        start, end = (load_file(f / "adapter_model.safetensors")
                      for f in (adapters[-1], folder / "adapter"))  # fmt: skip
        assert any(not torch.equal(start[n], end[n]) for n in start)
        adapters.append(folder / "adapter")
    both = (adapters[told["kept"]], arm / "adapter")
    kept, out = (load_file(f / "adapter_model.safetensors") for f in both)
    assert all(torch.equal(kept[n], out[n]) for n in out)

    # a run killed in its last round answers nothing again that it has on disk
    last = arm / f"round-{len(records) - 1}"
    answered = sorted((last / "answered").glob("*.parquet"))
    times = [f.stat().st_mtime_ns for f in answered]
    for folder in (last, arm, run / "train"):
        (folder / "manifest.json").unlink()
    run_steps(config, STEPS, Display(Console(file=io.StringIO())))
    assert [f.stat().st_mtime_ns for f in answered] == times
    assert read_json(arm / "rounds.json")["rounds"][:-1] == records[:-1]

    # a round whose training explodes is thrown away, and the rounds before it stand
    for folder in (arm, run / "train"):
        (folder / "manifest.json").unlink()
    shutil.rmtree(last)
    run_steps(
        config.model_copy(update={"train": config.train.model_copy(update={"max_loss": 1e-4})}),
        STEPS,
        Display(Console(file=io.StringIO())),
    )
    told = read_json(arm / "rounds.json")
    assert told["rounds"][:-1] == records[:-1]
    assert "loss" in told["rounds"][-1]["worse"]
    assert told["kept"] < len(records) - 1
    assert "was thrown away" in told["stopped"]
