"""The order of training rows, and what a step's forward passes hold."""

from __future__ import annotations

import json

import pytest

from raytune_agents.config import ConfigError, TrainConfig
from raytune_agents.runs import BadLoss
from raytune_agents.train.batches import (
    deal,
    forward_passes,
    micro_batch,
    order,
    step_passes,
    warmup_steps,
)

LENGTHS = [(37 * i) % 101 + 20 for i in range(100)]


def test_every_row_comes_once_an_epoch_and_only_the_last_step_is_short() -> None:
    rows = order(LENGTHS, 8, 2.0, seed=3)
    assert sorted(rows[:100]) == sorted(rows[100:]) == list(range(100))
    half = order(LENGTHS, 8, 0.5, seed=3)
    assert half == rows[:50]
    assert order(LENGTHS, 8, 2.0, seed=3) == rows != order(LENGTHS, 8, 2.0, seed=4)


def test_rows_of_like_length_share_a_step_and_steps_are_shuffled() -> None:
    rows = order(LENGTHS, 4, 1.0, seed=0)
    steps = [[LENGTHS[i] for i in rows[k : k + 4]] for k in range(0, 100, 4)]
    padded = sum(4 * max(s) for s in steps)
    assert padded < 1.1 * sum(LENGTHS)
    tops = [max(s) for s in steps]
    assert tops != sorted(tops, reverse=True)


def test_micro_batch_is_the_largest_share_of_a_step_within_the_budget() -> None:
    config = TrainConfig(global_batch_size=8, max_tokens_per_forward=1024)
    assert [micro_batch(n, config) for n in (100, 128, 200, 300, 600, 2000)] == [8, 8, 4, 2, 1, 1]
    two = TrainConfig(
        global_batch_size=8, max_tokens_per_forward=1024, num_workers=2, sharding="ddp"
    )
    assert micro_batch(100, two) == 4
    # By the rows that a pass may have, not by those of a step: this would take minutes.
    assert micro_batch(1, TrainConfig(global_batch_size=999_999_999)) == 999
    with pytest.raises(ConfigError, match=r"train\.global_batch_size=8 .* multiple of 3"):
        micro_batch(100, TrainConfig(global_batch_size=8, num_workers=3, sharding="ddp"))
    # a span of workers: one forward pass for any number of them, so a step is cut alike
    span = TrainConfig(
        global_batch_size=12, max_tokens_per_forward=1024, num_workers=(1, 3), sharding="ddp"
    )
    assert micro_batch(100, span) == 2
    with pytest.raises(
        ConfigError, match=r"train\.global_batch_size=8 .*\(2, 3\); write a multiple of 6"
    ):
        micro_batch(100, TrainConfig(global_batch_size=8, num_workers=(2, 3), sharding="ddp"))


def test_warmup_is_whole_steps() -> None:
    assert warmup_steps(100, TrainConfig(global_batch_size=8, warmup_ratio=0.25)) == 3  # 13 steps
    assert warmup_steps(100, TrainConfig(global_batch_size=8, warmup_ratio=0.05)) == 0
    assert warmup_steps(100, TrainConfig(max_steps=40, warmup_ratio=0.05)) == 2


class State:
    is_world_process_zero, global_step, max_steps = True, 2, 3


class Arguments:
    learning_rate, world_size = 0.1, 2
    per_device_train_batch_size = 1


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 31.0])
def test_a_bad_loss_stops_and_names_the_rows_of_its_step(tmp_path, loss) -> None:
    from raytune_agents.storage import read_jsonl
    from raytune_agents.train.callbacks import Metrics

    path = tmp_path / "metrics.jsonl"
    notes = {"val_exact_match": 0.25}
    metrics = Metrics(
        path, [10, 20, 30, 40, 50], list("abcde"), TrainConfig(global_batch_size=2), notes
    )
    metrics.on_log(Arguments, State, None, {"loss": 1.5, "grad_norm": 0.5})
    assert read_jsonl(path)[0]["tokens"] == 70
    assert (read_jsonl(path)[0]["grad_norm"], read_jsonl(path)[0]["workers"]) == (0.5, 2)
    assert read_jsonl(path)[0]["val_exact_match"] == 0.25
    assert notes == {}
    with pytest.raises(BadLoss, match=r"at step 2 .* train\.learning_rate \(now 0\.1\).*: c, d$"):
        metrics.on_log(Arguments, State, None, {"loss": loss})
    assert metrics.of_step(list("abcde"), 3) == ["e"]
    assert metrics.of_step(list("abcde"), 4) == ["a", "b"]


def test_metrics_are_cut_back_to_the_checkpoint(tmp_path) -> None:
    from raytune_agents.storage import read_jsonl
    from raytune_agents.train.callbacks import keep_until

    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": k}) + "\n" for k in range(1, 6)) + '{"step": 6, ')
    assert [x["step"] for x in keep_until(path, 3)] == [1, 2, 3]
    assert [x["step"] for x in read_jsonl(path)] == [1, 2, 3]
    assert keep_until(tmp_path / "none.jsonl", 3) == []


def test_a_steps_rows_are_dealt_evenly_by_number_and_tokens() -> None:
    lengths = [10, 9, 8, 7, 6, 5, 4, 3]
    assert deal(range(8), lengths, 2) == [[0, 3, 4, 7], [1, 2, 5, 6]]  # 26 tokens each
    assert [len(hand) for hand in deal(range(7), lengths, 2)] == [3, 4]


def test_forward_passes_hold_as_many_rows_as_fit() -> None:
    lengths = [10, 9, 8, 3, 3, 2]
    rows = range(6)
    # by the sum of tokens, and by the longest row times the rows where padding is computed
    assert forward_passes(rows, lengths, 19, padded=False) == [[0, 1], [2, 3, 4, 5]]
    assert forward_passes(rows, lengths, 20, padded=True) == [[0, 1], [2, 3], [4, 5]]
    assert forward_passes(rows, lengths, 5, padded=False) == [[0], [1], [2], [3], [4, 5]]
    assert forward_passes(rows, lengths, 99, padded=False, least=3) == [[0], [1, 2], [3, 4, 5]]


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_the_rows_of_a_step_are_those_of_one_worker(sharding: str) -> None:
    """For any number of workers; where weights are split, all meet in every forward pass."""
    config = TrainConfig(global_batch_size=4, num_workers=2, sharding=sharding)
    chosen = list(range(11))  # the last step is short
    items = step_passes(chosen, LENGTHS, config, 2, 100, padded=False)
    assert len(items) == 6
    for k in range(3):
        pair = items[2 * k : 2 * k + 2]
        rows = [i for passes in pair for p in passes for i in p]
        assert set(rows) == set(chosen[4 * k : 4 * k + 4])
        if sharding == "fsdp":
            assert len(pair[0]) == len(pair[1])


@pytest.mark.parametrize(
    ("count", "workers", "expected"),
    [
        (0, 1, 1), (199, 1, 1), (200, 1, 2), (399, 1, 2), (400, 1, 4), (10**6, 1, 8),
        (None, 1, 8), (199, 2, 2), (400, 3, 6), (None, 3, 9), (199, (1, 4), 12),
    ],
)  # fmt: skip
def test_a_step_has_fewer_rows_where_rows_are_few(count, workers, expected) -> None:
    config = TrainConfig(num_workers=workers, sharding="ddp")
    assert config.rows_per_step(count) == expected
    assert TrainConfig(global_batch_size=5).rows_per_step(count) == 5
