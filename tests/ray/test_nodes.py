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
from conftest import ROOT, TINY, command, generated

from raytune_agents.config import ConfigError, ResourcesConfig
from raytune_agents.infra import cluster
from raytune_agents.infra import nodes as nodes_of_run
from raytune_agents.storage import read_json, read_jsonl

NODE = {"num_cpus": 1, "object_store_memory": 150 * 2**20}


@pytest.fixture
def nodes(monkeypatch) -> Iterator[tuple[Any, list[Any]]]:
    """A cluster of a head and two more nodes, one CPU and a resource of its own each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    more = [made.add_node(**NODE, resources={f"part{k}": 1}) for k in range(2)]
    yield made, more
    made.shutdown()


@pytest.fixture
def joined(monkeypatch) -> Iterator[Any]:
    """A head without CPUs, as the files of cluster/ have it, and this process in its cluster."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setattr(cluster, "POLL_S", 0.2)
    head = {**NODE, "num_cpus": 0, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=made.address, logging_level="error", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def test_gpus_are_waited_for_and_busy_ones_left_alone(joined, tmp_path) -> None:
    import ray

    expected = {"address": joined.address, "gpus": 2, "nodes": 2, "wait_s": 1}
    with pytest.raises(ConfigError, match=r"gpus=2: Ray has 0, resources.nodes=2: Ray has 1 after"):
        cluster.await_resources(ResourcesConfig(**expected))
    said: list[str] = []

    def join(text: str) -> None:
        said.append(text)
        joined.add_node(**NODE, num_gpus=2)

    have = cluster.await_resources(ResourcesConfig(**expected | {"wait_s": 60}), join)
    assert (have.gpus, have.nodes, have.node_gpus) == (2, 2, 2)
    assert said == ["waiting for resources: resources.gpus=2: Ray has 0, resources.nodes=2: "
                    "Ray has 1 (0 of 60 s)"]  # fmt: skip

    @ray.remote(num_gpus=1, num_cpus=0)
    class Other:
        def there(self) -> None: ...

    other = Other.remote()
    ray.get(other.there.remote())
    with pytest.raises(ConfigError, match=r"resources\.gpus=2: Ray has 1 free, 1 in use after"):
        cluster.await_resources(ResourcesConfig(**expected))
    assert cluster.await_resources(ResourcesConfig(address=joined.address)).gpus == 1
    with pytest.raises(ConfigError, match=r"1 in use after 1 s"):  # it may be free at any moment
        cluster.await_resources(ResourcesConfig(gpus=2, wait_s=1))
    ray.kill(other)
    assert cluster.await_resources(ResourcesConfig(gpus=2)).gpus == 2
    with pytest.raises(ConfigError, match=r"gpus=3: Ray has 2 after 0 s"):  # none joins a local Ray
        cluster.await_resources(ResourcesConfig(gpus=3))

    (tmp_path / "config.json").write_text("{}")
    found = nodes_of_run.validate_nodes(tmp_path, tmp_path)
    assert len(found) == 2
    assert nodes_of_run.validate_nodes(tmp_path, tmp_path, found) == found
    with pytest.raises(ConfigError, match=r"^node [\d.]+ \w{6} cannot run a task .*ZeroDivision"):
        nodes_of_run.ask_nodes(lambda: 1 / 0)


def test_work_goes_where_its_labels_say_and_what_waits_is_said(joined) -> None:
    import ray
    from ray import tune
    from ray.data import DataContext

    def add(a: int, b: int) -> int:
        return a + b

    def refuse() -> None:
        raise ConfigError("too much; write less")

    spot = joined.add_node(**NODE, num_gpus=1, labels={"ray.io/market-type": "spot"})
    joined.add_node(**NODE, num_gpus=1, labels={"ray.io/market-type": "on-demand"})
    joined.wait_for_nodes()
    asked = tune.PlacementGroupFactory(
        [{"GPU": 1}], bundle_label_selector=[{"ray.io/market-type": "!on-demand"}]
    )
    assert asked == tune.PlacementGroupFactory(asked.bundles, **asked._kwargs)
    assert isinstance(hash(asked), int)
    trial = asked.to_placement_group()
    ray.get(trial.ready(), timeout=30)
    (node,) = ray.util.placement_group_table(trial)["bundles_to_node_id"].values()
    assert node == spot.node_id

    assert cluster.run_task(add, (1, 2), 0, gpus=1) == 3  # the other GPU
    with pytest.raises(ConfigError, match="write less"):
        cluster.run_task(refuse, (), 0)
    late = ray.remote(num_gpus=1, num_cpus=0, label_selector={"ray.io/market-type": "spot"})(add)
    waits = late.remote(1, 0)
    stop = time.monotonic() + 20
    while cluster.waiting_demand() != "1 x (1 GPU)" and time.monotonic() < stop:
        time.sleep(0.2)
    assert cluster.waiting_demand() == "1 x (1 GPU)"
    ray.util.remove_placement_group(trial)
    assert ray.get(waits, timeout=30) == 1

    context, size = DataContext.get_current(), DataContext.get_current().target_max_block_size
    cluster.quiet_data()
    rows = cluster.in_order(ray.data.range(8, override_num_blocks=4), "read").map(lambda r: r)
    assert (rows.name, rows.context.execution_options.preserve_order) == ("read", True)
    assert not context.execution_options.preserve_order  # the next step's shards end as they end
    assert not ray.data.range(8).context.execution_options.preserve_order
    assert context.target_max_block_size == cluster.BLOCK_BYTES
    cluster.disconnect()
    assert context.target_max_block_size == size


def start(address: str, step: str, folder: Path, *words: str) -> subprocess.Popen:
    words = (f"runs_dir={folder}", f"resources.address={address}", *words)
    return subprocess.Popen(
        command("run", "--steps", step, str(TINY), *words),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ,
    )  # fmt: skip


def wait(driver: subprocess.Popen, ready: Any) -> None:
    stop = time.monotonic() + 240
    while not ready():
        assert driver.poll() is None, driver.communicate()[0][-3000:]
        assert time.monotonic() < stop
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["generate", "train", "tune"])
def test_a_node_dies_in_a_step_and_the_run_ends_well(step, nodes, tiny, tmp_path) -> None:
    made, more = nodes
    for name in {"generate": ["read"], "train": ["label", "mix"], "tune": ["read", "label"]}[step]:
        shutil.copytree(tiny[0] / name, tmp_path / "tiny" / name)
    run = tmp_path / "tiny"
    words = {
        "generate": (),
        "train": ("train.num_workers=2", "train.sharding=ddp",
                  "train.global_batch_size=2", "train.save_steps=1"),
        "tune": ("tune.max_concurrent_trials=2",),
    }[step]  # fmt: skip
    began = {
        "generate": lambda: list(run.glob("generate/*/rows-*.parquet")),
        "train": lambda: read_jsonl(run / "train" / "nat" / "metrics.jsonl"),
        "tune": lambda: (run / "tune" / "metrics.jsonl").is_file(),
    }[step]
    driver = start(made.address, step, tmp_path, *words)
    wait(driver, began)
    made.remove_node(more[1], allow_graceful=False)
    made.add_node(**NODE, resources={"part2": 1})
    said = driver.communicate(timeout=500)[0]
    assert driver.returncode == 0, said[-3000:]
    rows = read_json(run / step / "manifest.json")["rows"]
    assert rows["in"] == rows["out"] + sum((rows["rejected"] | rows["failed"]).values())
    if step == "generate":
        found, wanted = (sorted(r.id for r in generated(f)) for f in (run, tiny[0]))
        assert found == wanted
    if step == "train":
        steps = [x["step"] for x in read_jsonl(run / "train" / "nat" / "metrics.jsonl")]
        assert steps == list(range(1, steps[-1] + 1))
        assert (run / "train" / "nat" / "adapter" / "adapter_model.safetensors").is_file()
