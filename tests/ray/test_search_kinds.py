"""Every kind of search once with the real model: trials of several workers, answers
written by the trial, confirming runs, a killed trial."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import ray
from conftest import ROOT, TINY, cli, command
from ray._private.state import actors

from raytune_agents.config import load_config
from raytune_agents.infra import cluster
from raytune_agents.pipeline import tune
from raytune_agents.pipeline.context import Context
from raytune_agents.progress import Display
from raytune_agents.storage import read_json
from raytune_agents.tune.ledger import reports_of

pytestmark = pytest.mark.slow  # a search each

RATES = "tune.space={train.learning_rate: {choice: [1.0e-3, 1.0e-8]}}"
SMALL = ("tune.num_samples=4", "tune.tokens=200", "tune.num_rungs=3", "tune.rows=4",
         "tune.noise=0", "tune.settle_learning_rate=0")  # fmt: skip
TUNE = ("run", "--steps", "tune", str(TINY))


def linked(runs: Path, name: str) -> Path:
    """The tune folder to be of a run of this name over the labels of the tiny run."""
    (runs / name).mkdir()
    for step in ("read", "generate", "label"):
        (runs / name / step).symlink_to(runs / "tiny" / step)
    return runs / name / "tune"


def tuned(runs: Path, name: str, *words: str) -> Path:
    """The tune folder of a finished search of this name."""
    folder = linked(runs, name)
    done = cli(*TUNE, f"runs_dir={runs}", f"name={name}", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def searched(ledger: Path) -> list[dict[str, Any]]:
    """The reports of the search itself, not of the untrained model before it."""
    return [line for line in reports_of(ledger) if line["stage"] == "search"]


def test_trials_of_two_workers_give_their_cpus_back_when_stopped(labelled) -> None:
    """A trial at a rate of 1e-8 learns nothing, so it is stopped beside one at 1e-3."""
    words = (*SMALL, RATES, "tune.num_workers=2", "tune.search_alg=random", "tune.method=sft",
             "tune.scheduler=asha",
             "tune.objective={val_loss: -1}", "train.learning_rate=1e-3",
             "train.global_batch_size=2")  # fmt: skip
    linked(labelled, "workers")
    config = load_config(TINY, [f"runs_dir={labelled}", "name=workers", "resources.cpus=2", *words])
    context = Context(config, Display())
    step = context.run.step("tune", None, ("label",))
    step.begin()
    try:
        tune.tune(context, step)
        stop = time.monotonic() + 10
        while ray.available_resources().get("CPU") != 2.0 and time.monotonic() < stop:
            time.sleep(0.2)
        assert ray.available_resources()["CPU"] == 2.0
        left = [a["ActorClassName"] for a in actors(actor_state_name="ALIVE").values()]
        assert "PlacementGroupCleaner" not in left  # it would ask for a dashboard for ever
    finally:
        cluster.disconnect()
    trials = read_json(step.folder / "trials.json")
    assert {t["status"] for t in trials} == {"finished", "stopped"}
    assert len(trials) == 4
    for t in trials:
        whole = t["status"] == "finished"
        assert whole == (t["config"]["train.learning_rate"] == 1e-3)
        assert not whole or (Path(t["checkpoint"]) / "adapter_model.safetensors").is_file()


def test_the_last_report_is_of_answers_that_the_trial_writes(labelled) -> None:
    """Format adherence applies to written answers alone; the first report is teacher-forced."""
    words = (*SMALL, "tune.num_rungs=2", "tune.scheduler=none")
    folder = tuned(labelled, "written", *words)
    trials = read_json(folder / "trials.json")
    assert all(0 <= t["reports"][-1]["format_adherence"] <= 1 for t in trials)
    assert all("format_adherence" not in t["reports"][0] for t in trials)


def test_the_confirming_runs_are_judged_on_rows_no_trial_has_seen(labelled) -> None:
    folder = tuned(labelled, "confirmed", *SMALL, "tune.confirm=2", "tune.num_samples=2")
    confirmed = read_json(folder / "guide.json")["confirmed"]
    assert set(confirmed["arms"]) == {"best_trial", "natural", "stratified", "positives_only"}
    assert {a["seeds"] for a in confirmed["arms"].values()} == {2}
    assert all(g["low"] <= g["value"] <= g["high"] for g in confirmed["gains"].values())
    hits = [
        set(read_json(Path(t["checkpoint"]) / "hits.json")["exact_match"])
        for t in read_json(folder / "trials.json")
    ]
    stages = [t["stage"] for t in read_json(folder / "trials.json")]
    seen = set.union(*(h for h, s in zip(hits, stages) if s == "search"))
    asked = set.union(*(h for h, s in zip(hits, stages) if s == "confirm"))
    assert not seen & asked
    assert "full budget" in (folder / "guide.md").read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_trial_goes_on_from_its_checkpoint(labelled, workers) -> None:
    """kill -9 of the process that trains, after the first report of the first trial."""
    name = f"killed{workers}"
    folder = linked(labelled, name)
    words = (*SMALL, "tune.num_samples=1", "tune.noise=0", f"tune.num_workers={workers}",
             f"train.global_batch_size={workers}", "tune.scheduler=none", "tune.tokens=400",
             "tune.num_rungs=4")  # fmt: skip
    log = (labelled / f"{name}.log").open("w")
    driver = subprocess.Popen(
        command(*TUNE, f"runs_dir={labelled}", f"name={name}", *words),
        cwd=ROOT, stdout=log, stderr=log)  # fmt: skip
    stop = time.monotonic() + 300
    while not (seen := searched(folder / "metrics.jsonl")):
        assert driver.poll() is None
        assert time.monotonic() < stop
        time.sleep(0.05)
    time.sleep(0.5)  # the driver has saved the trial's checkpoint
    os.kill(int(seen[0]["process"]), signal.SIGKILL)
    assert driver.wait(300) == 0, (labelled / f"{name}.log").read_text()
    (trial,) = read_json(folder / "trials.json")
    assert trial["status"] == "finished"
    assert trial["reports"][0]["seconds"] == seen[0]["seconds"]  # kept
    assert trial["reports"][-1]["from_step"] >= seen[0]["step"]
    assert trial["reports"][-1]["process"] != seen[0]["process"]


def test_a_search_outlives_a_killed_node(labelled) -> None:
    """Two nodes of one CPU with a trial each; the second node dies after its first report."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    other = nodes.add_node(num_cpus=1)
    words = (
        *SMALL,
        "tune.num_samples=2",
        "tune.max_concurrent_trials=2",
        "tune.scheduler=none",
        "tune.num_rungs=4",
    )
    linked(labelled, "node")
    address = f"resources.address={nodes.address}"
    config = load_config(TINY, [f"runs_dir={labelled}", "name=node", address, *words])
    context = Context(config, Display())
    step = context.run.step("tune", None, ("label",))
    step.begin()
    ledger = step.folder / "metrics.jsonl"

    def kill() -> None:
        while len({line["trial_id"] for line in searched(ledger)}) < 2:
            time.sleep(0.05)
        nodes.remove_node(other, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        tune.tune(context, step)
    finally:
        cluster.disconnect()
        nodes.shutdown()
    assert not killer.is_alive()
    trials = read_json(step.folder / "trials.json")
    assert [t["status"] for t in trials] == ["finished"] * 2
    moved = [t for t in trials if len({r["process"] for r in t["reports"]}) == 2]
    assert len(moved) == 1
    assert moved[0]["reports"][-1]["from_step"] > 0
