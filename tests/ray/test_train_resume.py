"""kill -9 of a training worker, then of the driver: the same command goes on from the last durable
checkpoint and ends with the losses of an undisturbed run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, TINY, cli, command
from safetensors.torch import load_file

from raytune_agents.chat import Chat
from raytune_agents.config import ConfigError, load_config
from raytune_agents.infra.watchdog import processes_below
from raytune_agents.storage import read_json

STEPS = 6


def training_worker(driver: int) -> int:
    for pid in processes_below(driver):
        line = Path(f"/proc/{pid}/cmdline")
        if line.exists() and b"RayTrainWorker" in line.read_bytes():
            return pid
    raise AssertionError("no training worker")


def steps_of(path: Path) -> list[int]:
    from raytune_agents.storage import read_jsonl

    return [line["step"] for line in read_jsonl(path)]


def wait_for(path: Path, step: int, driver: subprocess.Popen) -> None:
    stop = time.monotonic() + 600
    while not steps_of(path) or steps_of(path)[-1] != step:
        assert driver.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < stop
        time.sleep(0.02)


def test_a_killed_training_ends_as_an_undisturbed_one(tiny, tmp_path) -> None:
    tree = yaml.safe_load(TINY.read_text())
    tree["train"] = {
        "arms": {"sft": {"method": "sft"}}, "global_batch_size": 1, "max_steps": STEPS,
        "save_steps": 2
    }  # fmt: skip
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(tree))
    for step in ("label", "mix"):
        shutil.copytree(tiny[0] / step, tmp_path / "tiny" / step)
    words = ("run", "--steps", "train", str(config), f"runs_dir={tmp_path}")
    arm = tmp_path / "tiny" / "train" / "sft"
    driver = subprocess.Popen(
        command(*words), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True)  # fmt: skip
    try:
        wait_for(arm / "metrics.jsonl", 3, driver)
        os.kill(training_worker(driver.pid), signal.SIGKILL)
        killed = time.time()
        wait_for(arm / "metrics.jsonl", 5, driver)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    assert not (arm / "manifest.json").exists()
    done = cli(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_equal(arm, load_config(config), killed)


def assert_equal(arm: Path, config, killed: float) -> None:
    """Every step once, the first ones from before the kill, and the losses and weights of a run in
    one go, in this process."""
    from raytune_agents.models import embedded
    from raytune_agents.storage import read_jsonl
    from raytune_agents.train import worker
    from raytune_agents.train.base_model import save
    from raytune_agents.train.job import JOB, Job

    found = read_jsonl(arm / "metrics.jsonl")
    assert [line["step"] for line in found] == list(range(1, STEPS + 1))
    assert found[0]["time"] < killed < found[-1]["time"]
    chat = {"path": str(embedded()), "max_length": 256}
    (columns,) = (arm.parents[1] / "columns").iterdir()
    job = Job(
        str(embedded()), "float32", str(columns), "sft", config.train,
        chat, str(arm.parent / "whole"), config.seed, os.cpu_count() or 1,
        rows=str(arm / "rows.npy"))  # fmt: skip
    trainer = worker.fit(job)
    whole = read_jsonl(Path(job.out) / "metrics.jsonl")
    assert [x["loss"] for x in found] == pytest.approx([x["loss"] for x in whole], abs=1e-6)
    save(trainer, Chat(**chat), Path(job.out) / "adapter")
    one, two = (
        load_file(f / "adapter" / "adapter_model.safetensors") for f in (arm, Path(job.out))
    )
    assert all((one[k] - two[k]).abs().max() < 1e-6 for k in one | two)
    saved = Path(job.out) / "checkpoint"
    saved.mkdir()
    (saved / JOB).write_text('{"seed": 1}')
    (saved / "trainer_state.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"seed=1 there, 17 here"):
        worker.fit(replace(job), resume=str(saved))
    assert read_json(arm / "manifest.json")["rows"]["out"] > 0
