"""Training of a random model of two layers, in this process: out of memory halves the rows at once
and changes nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from raytune_agents.chat import IGNORE
from raytune_agents.config import TrainConfig
from raytune_agents.runs import OutOfMemory, read_json
from raytune_agents.train import callbacks, worker

ROWS = [
    {
        "row_id": str(k), "pool": "positive", "weights": None, "trained_tokens": 4,
        "input_ids": [5 + (k * j) % 90 for j in range(8 + k)],
        "labels": [IGNORE] * (4 + k) + [5 + (k * j) % 90 for j in range(4 + k, 8 + k)],
    }
    for k in range(16)
]  # fmt: skip


class Full(TrainerCallback):
    """Memory that holds at most so many rows at once; `tried`: what was tried."""

    def __init__(self, most: int):
        self.most, self.tried = most, []

    def on_step_end(self, args, state, control, **kwargs):
        self.tried.append(args.per_device_train_batch_size)
        if args.per_device_train_batch_size > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    from raytune_agents.models import embedded

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 49152}
    LlamaForCausalLM(LlamaConfig(**sizes, **heads)).save_pretrained(folder)
    for file in embedded().iterdir():
        if file.name.startswith("tokenizer"):
            (folder / file.name).write_bytes(file.read_bytes())
    return str(folder)


def train(model: str, out: Path, most: int) -> tuple[list[dict], Full]:
    section = TrainConfig(
        global_batch_size=8,
        max_tokens_per_forward=4096,
        save_steps=99,
        report_to=[],
        warmup_ratio=0.0,
        lora={"r": 2},
    )
    chat, memory = {"path": model}, Full(most)
    job = worker.Job(
        model, "float32", "", "sft", section.model_dump(), chat, str(out), 17, threads=1
    )
    worker.fit(job, [memory], rows=ROWS)
    return callbacks.lines(out / "metrics.jsonl"), memory


def test_half_the_rows_at_once_the_same_steps_and_losses(model, tmp_path) -> None:
    whole, _ = train(model, tmp_path / "whole", 8)
    short, memory = train(model, tmp_path / "short", 2)
    assert memory.tried == [8, 4, 2, 2]
    assert read_json(tmp_path / "short" / worker.LIMIT) == {"rows": 2}
    assert [s["step"] for s in short] == [s["step"] for s in whole] == [1, 2]
    assert {s["rows_at_once"] for s in whole} == {8}
    assert {s["rows_at_once"] for s in short} == {2}
    assert [s["tokens"] for s in short] == [s["tokens"] for s in whole]
    assert [s["loss"] for s in short] == pytest.approx([s["loss"] for s in whole], abs=1e-5)


def test_where_one_row_does_not_fit_it_is_said(model, tmp_path) -> None:
    with pytest.raises(OutOfMemory, match=r"with 1 row at a time; write train\.gradient_checkp"):
        train(model, tmp_path, 0)


def test_another_error_is_not_taken_for_it(model, tmp_path, monkeypatch) -> None:
    def other(self, args, state, control, **kwargs):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(Full, "on_step_end", other)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(model, tmp_path, 8)
