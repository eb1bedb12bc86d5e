"""A cluster that grows and shrinks under a training: workers come and go, the losses stay those of
one process."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from test_train_sharding import columns, job, losses  # noqa: F401  a fixture and its job

from raytune_agents.config import ResourcesConfig
from raytune_agents.infra import cluster
from raytune_agents.storage import read_jsonl
from raytune_agents.train import worker

STEPS = 40
pytestmark = pytest.mark.slow  # three starts of workers: minutes


@pytest.fixture
def nodes(monkeypatch):
    """A Ray cluster of one node with one CPU."""
    for key, value in cluster.QUIET.items():
        monkeypatch.setenv(key, value)  # a node's processes have the environment it started with
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.connect(ResourcesConfig(address=made.address))
    yield made
    cluster.disconnect()
    made.shutdown()


def wait_for(path: Path, workers: int, count: int) -> None:
    """Until `count` steps were done by so many workers."""
    stop = time.monotonic() + 240
    while sum(line["workers"] == workers for line in read_jsonl(path)) < count:
        assert time.monotonic() < stop, f"no {count} steps of {workers} workers"
        time.sleep(0.2)


def test_workers_come_and_go_and_the_losses_stay(columns, nodes, tmp_path, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(worker, "RESIZE_S", 3.0)
    options = {"max_steps": STEPS, "save_steps": 2, "learning_rate": 1e-4}
    alone = job(columns, tmp_path / "alone", **options)
    worker.fit(alone)
    made = job(
        columns, tmp_path / "arm", sharding="ddp", num_workers=(1, 2), max_failures=3, **options
    )
    path = tmp_path / "arm" / "metrics.jsonl"
    training = threading.Thread(
        target=worker.run_training, args=(made, "elastic", tmp_path / "ray", False), daemon=True
    )
    training.start()
    wait_for(path, workers=1, count=3)
    second = nodes.add_node(num_cpus=1)
    wait_for(path, workers=2, count=4)
    nodes.remove_node(second, allow_graceful=False)
    training.join(timeout=240)
    found = read_jsonl(path)
    assert [line["step"] for line in found] == list(range(1, STEPS + 1))
    crew = [line["workers"] for line in found]
    assert crew[0] == crew[-1] == 1
    assert 2 in crew
    whole = read_jsonl(tmp_path / "alone" / "metrics.jsonl")
    assert losses(found) == pytest.approx(losses(whole), abs=2e-3)
    assert (tmp_path / "arm" / "adapter" / "adapter_model.safetensors").is_file()
