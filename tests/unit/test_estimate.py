"""Memory, time and disk from shapes, by hand."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from method_rows import GOOD, small_chat

from raytune_agents import models
from raytune_agents.config import ArmConfig, TrainConfig, load_config
from raytune_agents.infra.estimate import (
    GIB,
    GPU_SHARES,
    DecoderShape,
    Speed,
    disk_gib,
    speed,
    training_gib,
)
from raytune_agents.pipeline import plan as planner
from raytune_agents.train.column_files import columns_table
from raytune_agents.train.methods import build_columns

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """One layer of hidden 8, inner 16, two heads, one key head; vocabulary 32."""
    config = {
        "num_attention_heads": 2, "hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 32,
        "intermediate_size": 16, "num_key_value_heads": 1,
    }  # fmt: skip
    shapes = {
        "model.embed_tokens.weight": [32, 8],
        "model.layers.0.self_attn.q_proj.weight": [8, 8],
        "model.layers.0.self_attn.k_proj.weight": [4, 8],
        "model.layers.0.mlp.down_proj.weight": [8, 16],
        "model.norm.weight": [8],
    }
    head = json.dumps({k: {"shape": v} for k, v in shapes.items()} | {"__metadata__": {}}).encode()
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + b"\0" * 100)
    return tmp_path


def test_shape_is_read_from_headers(folder) -> None:
    shape = DecoderShape.of(folder)
    assert shape.parameters == 256 + 64 + 32 + 128 + 8
    assert set(shape.matrices) == {
        "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj",
        "model.layers.0.mlp.down_proj",
    }  # fmt: skip
    assert shape.kv_width == 4
    assert shape.kv_bytes() == 2 * 1 * 4 * 2


def test_lora_weights(folder) -> None:
    shape = DecoderShape.of(folder)
    assert shape.trained(TrainConfig(lora={"r": 2})) == 2 * (16 + 12 + 24)
    assert shape.trained(TrainConfig(lora={"r": 2, "target_modules": ["q_proj"]})) == 2 * 16
    assert shape.trained(TrainConfig(parameters="full")) == shape.parameters


def test_training_memory_by_part(folder) -> None:
    shape = DecoderShape.of(folder)
    config = TrainConfig(lora={"r": 2})
    parts = training_gib(shape, config, 2, tokens=10, answer_share=0.5, gpu=True)
    assert parts["weights"] * GIB == pytest.approx(shape.parameters * 2)
    assert parts["gradients, optimiser"] * GIB == pytest.approx(104 * 16)
    layer = 2 * (6 * 8 + 2 * 4 + 5 * 16) + 8 * 8
    assert parts["activations"] * GIB == pytest.approx(10 * (layer + 32 * 14 * 0.5))
    shared = config.model_copy(update={"num_workers": 4, "sharding": "zero2"})
    split = training_gib(shape, shared, 2, 10, 0.5, True)
    assert split["gradients, optimiser"] == pytest.approx(parts["gradients, optimiser"] / 4)
    assert split["weights"] == parts["weights"]
    less = training_gib(shape, config.model_copy(update={"gradient_checkpointing": True}), 2, 10,
                        0.5, True)  # fmt: skip
    assert less["activations"] * GIB == pytest.approx(10 * (2 * 8 + layer + 32 * 7))


def test_seconds(folder) -> None:
    shape = DecoderShape.of(folder)
    at = Speed(1e6, {"train": 0.5, "read": 0.25, "write": 0.1}, "")
    n = shape.parameters
    assert at.seconds(shape, train=10) == pytest.approx(n * 40 / 5e5)
    assert at.seconds(shape, read=10, write=5) == pytest.approx(n * 20 / 2.5e5 + n * 10 / 1e5)
    slow = Speed(1e6, {"score": 0.1}, "")
    assert slow.seconds(shape, score=5) == pytest.approx(n * 10 / 1e5)
    four = speed(4, "A100", 8)
    assert (four.flops, four.shares) == (4 * 312e12, GPU_SHARES)
    assert "a guess" in speed(1, "X9", 8).source


@pytest.mark.parametrize(("bf16", "core"), [(1400, 360), (300, 300)])
def test_matrix_units_are_counted_as_what_the_rest_of_a_step_leaves(
    bf16: float, core: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a processor with AMX a run would take four times as long as its products foretell."""
    measured = {"bfloat16": bf16 * 1e9, "float32": 180e9}
    monkeypatch.setattr(models, "core_flops", measured.__getitem__)
    assert speed(0, "", 2, "bfloat16").flops == 2 * core * 1e9
    assert speed(0, "", 2, "float32").flops == 2 * 180e9


def test_disk(folder) -> None:
    shape, config = DecoderShape.of(folder), TrainConfig(lora={"r": 2})
    parts = disk_gib(shape, [config, config], trials=3, extras=100)
    assert parts["adapters"] * GIB == pytest.approx(2 * (104 * 4 + 100))
    assert parts["trials"] * GIB == pytest.approx(3 * (3 * 104 * 4 + 100))


def test_columns_are_of_all_rows_and_shared_by_arms_of_one_recipe(folder) -> None:
    config, chat = load_config(None, ["mix.tokens=auto"]), small_chat()
    good = {row.id: replace(row, split="train") for row in GOOD}
    sample = planner.Sample(good, scale=3.0)

    def work(method: str) -> planner.Work:
        arm = ArmConfig(method=method, weights={"positive": 1.0, "synthetic": 1.0})
        return planner.arm_work(config, arm, config.train, sample, chat)

    made, _ = build_columns("sft", list(good.values()), chat, config.train, None)
    arms = [work(method) for method in ("sft", "nut", "vanilla")]
    assert [w.columns for w in arms] == [3 * columns_table(made).nbytes] * 3
    parts = planner.stored_gib(sample, arms)
    assert parts["columns"] * GIB == pytest.approx(2 * 3 * columns_table(made).nbytes)


def test_few_drawn_rows_stand_for_all_of_them() -> None:
    """300 rows are foreseen from 100 of them: as many rows, and tokens within a few percent."""
    options = ["generate.agents=[support, legal]", "generate.rows=300", "mix.tokens=auto"]
    config, chat = load_config(None, options), small_chat()
    weights = {"synthetic": 0.8, "negative": 0.2}
    arm = ArmConfig(method="nat", weights=weights)

    def foreseen(most: int) -> tuple[planner.Sample, int, planner.Work]:
        sample = planner.Sample()
        drawn = planner.add_generated(sample, config, most)
        return sample, len(drawn), planner.arm_work(config, arm, config.train, sample, chat)

    (few, drawn, less), (every, _, work) = foreseen(100), foreseen(300)
    assert 90 < drawn <= 100
    assert not {n for n in every.copies.values() if n != 1}
    assert few.count(few.rows.values()) == pytest.approx(every.count(every.rows.values()), rel=0.03)
    for name in ("train", "trained", "columns", "rows"):
        assert getattr(less, name) == pytest.approx(getattr(work, name), rel=0.08), name


def test_the_3b_preset_fits_16_gib() -> None:
    """Qwen2.5-Coder-3B in 4 bits under its adapter, by the sizes of its config.json."""
    config = load_config(ROOT / "jobs/configs/one_gpu_16gb.yaml").train
    assert (config.quantization, config.lora.r, config.lora.lora_alpha) == ("nf4", 16, 32)
    of_layer = {"q_proj": (2048, 2048), "k_proj": (256, 2048), "v_proj": (256, 2048),
                "o_proj": (2048, 2048), "gate_proj": (11008, 2048), "up_proj": (11008, 2048),
                "down_proj": (2048, 11008)}  # fmt: skip
    shape = DecoderShape(
        parameters=3_085_938_688, weights_gib=5.75, layers=36, hidden=2048, inner=11008,
        kv_width=256, vocab=151_936,
        matrices={f"{k}.{n}": size for k in range(36) for n, size in of_layer.items()},
    )  # fmt: skip
    held = training_gib(shape, config, 2, config.max_tokens_per_forward, 0.25, gpu=True)
    assert sum(held.values()) < 16
