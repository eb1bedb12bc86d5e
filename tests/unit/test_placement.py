"""From what Ray reports to what runs where, by hand."""

from __future__ import annotations

import pytest

from raytune_agents.config import ConfigError, load_config
from raytune_agents.infra import cluster
from raytune_agents.infra.placement import Resources, plan_placement, shards_under_way

LAPTOP = [{"CPU": 2.0, "memory": 1e9}]
ONE_L4 = [{"CPU": 8.0, "GPU": 1.0, "accelerator_type:L4": 1.0}]
HEAD, A100 = {"CPU": 16.0}, {"CPU": 32.0, "GPU": 4.0, "accelerator_type:A100": 1.0}


def placed(nodes: list[dict], weights_gib: float, *overrides: str):
    return plan_placement(Resources.of(nodes), load_config(None, list(overrides)), weights_gib)


def shape(p) -> tuple:
    return p.engines, p.tensor_parallel_size, p.train_workers, p.trials, p.take_turns


def test_a_laptop_does_one_thing_after_the_other() -> None:
    p = placed(LAPTOP, 0.26)
    assert shape(p) == (1, 1, 1, 1, False)
    assert (p.threads(1), p.trial_cpus, p.gpu_gib) == (2, 2, None)


def test_sixteen_cpus_hold_four_trials_but_not_more_than_are_asked_for() -> None:
    p = placed([HEAD], 0.26, "tune.num_samples=9")
    assert (p.trials, p.trial_cpus) == (4, 4)
    assert placed([HEAD], 0.26, "tune.num_samples=3").trials == 3


def test_one_gpu_is_shared_in_turns() -> None:
    p = placed(ONE_L4, 6.0)
    assert shape(p) == (1, 1, 1, 1, True)
    assert p.gpu_gib == 24


def test_a_cluster_is_used_whole_by_each_step() -> None:
    """8 A100 of 40 GiB: 8 engines, then 8 workers of one row each, then 8 trials."""
    p = placed([HEAD, A100, A100], 6.0, "tune.num_samples=20")
    assert shape(p) == (8, 1, 8, 8, True)
    assert (p.have.cpus, p.have.node_cpus, p.have.node_gpus) == (80, 32, 4)
    assert p.threads(8) == 8  # four workers per node of 32
    assert p.trial_cpus == 10
    config = p.train(load_config(None).train)
    assert (config.num_workers, config.sharding) == (8, "ddp")
    assert (load_config(None).train.num_workers, load_config(None).train.sharding) == (0, "none")


@pytest.mark.parametrize(
    ("engines", "slots", "rows", "found"),
    [
        (1, 256, 128, 16),  # 8 x 256 requests
        (4, 1024, 500, 66),  # 8 x 4,096 requests
        (16, 256, 10_000, 32),  # two per engine at least
    ],
)
def test_enough_shards_are_under_way_to_fill_the_engines(engines, slots, rows, found) -> None:
    assert shards_under_way(engines, slots, rows) == found


def test_workers_share_a_step_evenly() -> None:
    p = placed([A100, A100], 6.0, "train.global_batch_size=6")
    assert p.train_workers == 6  # the largest divisor of 6 up to 8


@pytest.mark.parametrize(
    ("weights", "wide"),
    [(6.0, 1), (31.9, 1), (32.1, 2), (63.9, 2), (64.1, 4)],  # 40 * 0.85 - 2 = 32 GiB per GPU
)
def test_an_engine_takes_the_fewest_gpus_that_hold_the_weights(weights, wide) -> None:
    p = placed([A100, A100], weights)
    assert (p.tensor_parallel_size, p.engines) == (wide, 8 // wide)


def test_a_model_that_fits_no_node_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"140.0 GiB do not fit 4 GPUs with 34.0 GiB"):
        placed([A100, A100], 140.0)


def test_what_is_written_down_stays() -> None:
    words = (
        "engine.actors=1",
        "train.num_workers=4",
        "train.sharding=fsdp",
        "tune.max_concurrent_trials=3",
    )
    p = placed([A100, {**A100, "GPU": 1.0}], 6.0, *words, "tune.num_samples=20")
    assert shape(p) == (1, 1, 4, 3, False)  # 1 + 4 GPUs beside each other
    assert not p.turns(4)
    assert p.turns(5)
    assert p.train(load_config(None, list(words)).train).sharding == "fsdp"
    assert placed([A100], 6.0, *words).take_turns


@pytest.mark.parametrize(
    ("nodes", "words", "said"),
    [
        (LAPTOP, ["engine.tensor_parallel_size=2"], "tensor_parallel_size=2: Ray has no GPU"),
        ([A100], ["engine.actors=5"], "actors=5 of tensor_parallel_size=1: Ray has 4 GPUs"),
        ([A100, A100], ["engine.tensor_parallel_size=8"], "at most 4 a node"),
    ],
)
def test_what_cannot_be_had_is_refused(nodes, words, said) -> None:
    with pytest.raises(ConfigError, match=said):
        placed(nodes, 6.0, *words)


def test_more_workers_than_there_is_room_for_are_refused() -> None:
    words = ["train.num_workers=3", "train.sharding=ddp"]
    config = load_config(None, words).train
    with pytest.raises(
        ConfigError, match=r"train\.num_workers=3: Ray has 2 CPUs; write 2 or fewer"
    ):
        placed(LAPTOP, 0.26, *words).train(config)


def test_workers_that_come_and_go_need_room_for_the_least() -> None:
    words = ["train.num_workers=[2, 8]", "train.sharding=ddp", "train.global_batch_size=840"]
    config = load_config(None, words).train
    p = placed([A100], 6.0, *words)
    assert (p.train_workers, p.take_turns) == (8, True)
    assert p.train(config).num_workers == (2, 8)
    with pytest.raises(ConfigError, match=r"train\.num_workers=2: Ray has 1 GPUs; write 1"):
        placed(ONE_L4, 6.0, *words).train(config)


def test_the_smallest_gpu_of_a_mixed_cluster_counts() -> None:
    p = placed([A100, {"CPU": 8.0, "GPU": 1.0, "accelerator_type:T4": 1.0}], 6.0)
    assert (p.have.gpu_type, p.gpu_gib, p.tensor_parallel_size) == ("T4", 16, 1)
    assert placed([A100], 6.0, "resources.gpu_gib=80").gpu_gib == 80


def test_gpus_that_others_use_are_not_placed_on() -> None:
    have = Resources.of([HEAD, A100, A100], [0, 1, 2])
    assert (have.gpus, have.busy_gpus, have.node_gpus) == (3, 5, 2)
    assert shape(plan_placement(have, load_config(None), 6.0))[:2] == (3, 1)
    assert Resources.of([HEAD, A100]).busy_gpus == 0
    assert Resources.of([HEAD, A100], [0, 0]).gpus == 0


@pytest.mark.parametrize(
    ("free", "weights", "found"),
    [
        ([1, 1], 6.0, (2, 1)),
        ([1, 1], 40.0, None),  # of two GPUs, which no node has free
        ([3, 3], 40.0, (2, 2)),  # not three: the sixth GPU and the third are on two nodes
        ([4, 2], 40.0, (3, 2)),
        ([4, 3], 80.0, (1, 4)),
    ],
)
def test_an_engine_has_its_gpus_on_one_node(free, weights, found) -> None:
    have = Resources.of([A100, A100], free)
    if found:
        assert shape(plan_placement(have, load_config(None), weights))[:2] == found
        return
    with pytest.raises(ConfigError, match="do not fit 1 GPUs"):
        plan_placement(have, load_config(None), weights)
    with pytest.raises(ConfigError, match=r"tensor_parallel_size=2: Ray has 2 GPUs, at most 1 a n"):
        plan_placement(have, load_config(None, ["engine.tensor_parallel_size=2"]), weights)


@pytest.mark.parametrize(
    ("most", "free", "found", "engines"),
    [
        (4, [8], (4, 4, 0), 4),  # the other four are for a second job
        (0, [8], (0, 0, 0), 1),  # CPUs alone
        (4, [4], (4, 4, 4), 4),  # that second job
        (None, [8], (8, 8, 0), 8),
        (6, [8], (6, 6, 0), 6),
    ],
)
def test_a_run_takes_no_more_gpus_than_it_says(most, free, found, engines) -> None:
    have = Resources.of([{**A100, "GPU": 8.0}], free, most)
    assert (have.gpus, have.node_gpus, have.busy_gpus) == found
    words = [] if most is None else [f"resources.gpus={most}"]
    config = load_config(None, words)
    assert have.lacks(config.resources) == ""
    placed = plan_placement(have, config, 6.0)
    assert (placed.engines, placed.take_turns) == (engines, bool(found[0]))


def test_a_cap_stands_in_what_is_looked_up_without_ray(monkeypatch) -> None:
    monkeypatch.setattr(cluster.glob, "glob", lambda pattern: ["/dev/nvidia0", "/dev/nvidia1"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for words, gpus in [([], 2), (["resources.gpus=1"], 1), (["resources.gpus=0"], 0)]:
        assert cluster.local_machine(load_config(None, words).resources).gpus == gpus


@pytest.mark.parametrize(
    ("nodes", "free", "words", "said"),
    [
        ([HEAD], [0], [], ""),
        ([HEAD], [0], ["resources.gpus=0"], ""),
        ([HEAD, A100], [0, 4], ["resources.gpus=4", "resources.nodes=2"], ""),
        ([HEAD], [0], ["resources.gpus=1"], "resources.gpus=1: Ray has 0"),
        ([HEAD, A100], [0, 3], ["resources.gpus=4"], "resources.gpus=4: Ray has 3 free, 1 in use"),
        ([HEAD, A100], [0, 4], ["resources.nodes=3"], "resources.nodes=3: Ray has 2"),
        ([HEAD, A100], [0, 0], [], "resources.gpus=1: Ray has 0 free, 4 in use"),  # no run on CPUs
    ],
)
def test_what_is_expected_and_not_there_is_said(nodes, free, words, said) -> None:
    config, have = load_config(None, words), Resources.of(nodes, free)
    assert have.lacks(config.resources) == said
    if said:
        with pytest.raises(ConfigError, match=said):
            plan_placement(have, config, 6.0)
    else:
        plan_placement(have, config, 6.0)


def test_labelled_nodes_are_counted_by_who_labels_them() -> None:
    spot = "{ray.io/market-type: spot}"
    for words, said in [
        ([f"engine.label_selector={spot}"], r"engine: .*with actors=auto.*write actors: 1"),
        ([f"train.label_selector={spot}"], r"train: .*with num_workers=auto.*write num_workers: 4"),
    ]:
        with pytest.raises(ConfigError, match=said):
            load_config(None, words)
    load_config(None, [f"engine.label_selector={spot}", "engine.actors=1",
                       f"train.label_selector={spot}", "train.num_workers=1"])  # fmt: skip


def test_auto_as_a_word() -> None:
    words = ["resources=auto", "train.num_workers=auto", "tune.max_concurrent_trials=auto"]
    assert load_config(None, words) == load_config(None)
    with pytest.raises(ConfigError, match=r"train\.num_workers='all'"):
        load_config(None, ["train.num_workers=all"])
