"""Three nodes on one host: a run is spread over them, one is killed in each step, and the run ends
with the rows of an undisturbed one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, TINY, command

from raytune_agents.runs import read_json, read_rows
from raytune_agents.train.callbacks import lines

pytestmark = pytest.mark.slow
NODE = {"num_cpus": 1, "object_store_memory": 150 * 2**20}


@pytest.fixture
def nodes(monkeypatch) -> Iterator[tuple[Any, list[Any]]]:
    """A cluster of a head and two more nodes, one CPU and a resource of its own each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    more = [cluster.add_node(**NODE, resources={f"part{k}": 1}) for k in range(2)]
    yield cluster, more
    cluster.shutdown()


def start(address: str, step: str, folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        command(step, str(TINY), f"runs_dir={folder}", f"resources.address={address}", *words),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ,
    )  # fmt: skip


def wait(driver: subprocess.Popen, ready: Any) -> None:
    stop = time.monotonic() + 240
    while not ready():
        assert driver.poll() is None, driver.communicate()[0][-3000:]
        assert time.monotonic() < stop
        time.sleep(0.1)


@pytest.mark.parametrize("step", ["generate", "train", "tune"])
def test_a_node_dies_in_a_step_and_the_run_ends_well(step, nodes, tiny, tmp_path) -> None:
    cluster, more = nodes
    for name in {"generate": ["read"], "train": ["label", "mix"], "tune": ["read", "label"]}[step]:
        shutil.copytree(tiny[0] / name, tmp_path / "tiny" / name)
    run = tmp_path / "tiny"
    words = {
        "generate": (),
        "train": ("train.num_workers=2", "train.sharding=ddp", "train.arms={sft: {method: sft}}",
                  "train.global_batch_size=2", "train.save_steps=1"),
        "tune": ("tune.max_concurrent_trials=2",),
    }[step]  # fmt: skip
    began = {
        "generate": lambda: list(run.glob("generate/*/rows-*.parquet")),
        "train": lambda: lines(run / "train" / "sft" / "metrics.jsonl"),
        "tune": lambda: (run / "tune" / "metrics.jsonl").is_file(),
    }[step]
    driver = start(cluster.address, step, tmp_path, *words)
    wait(driver, began)
    cluster.remove_node(more[1], allow_graceful=False)
    cluster.add_node(**NODE, resources={"part2": 1})
    said = driver.communicate(timeout=500)[0]
    assert driver.returncode == 0, said[-3000:]
    rows = read_json(run / step / "manifest.json")["rows"]
    assert rows["in"] == rows["out"] + sum((rows["rejected"] | rows["failed"]).values())
    if step == "generate":
        parts = ("synthetic", "mined", "edited")
        found, wanted = (
            sorted(r.id for part in parts for r in read_rows(f / step / part))
            for f in (run, tiny[0])
        )
        assert found == wanted
    if step == "train":
        steps = [x["step"] for x in lines(run / "train" / "sft" / "metrics.jsonl")]
        assert steps == list(range(1, steps[-1] + 1))
        assert (run / "train" / "sft" / "adapter" / "adapter_model.safetensors").is_file()
