"""Training of a random model of two layers, in this process: out of memory halves the tokens of a
forward pass and changes nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import ROWS, save_tiny, with_columns
from transformers import TrainerCallback

from raytune_agents.config import TrainConfig
from raytune_agents.runs import OutOfMemory
from raytune_agents.storage import read_json, read_jsonl
from raytune_agents.train import worker
from raytune_agents.train.column_files import write_columns
from raytune_agents.train.job import LIMIT, Job


class Full(TrainerCallback):
    """Memory that holds at most so many tokens in a forward pass; `tried`: what was tried."""

    def __init__(self, most: int):
        self.most, self.tried = most, []

    def on_step_end(self, args, state, control, train_dataloader=None, **kwargs):
        rows, passes = train_dataloader.dataset.rows, train_dataloader.dataset.passes
        tokens = max(sum(len(rows[i]["input_ids"]) for i in p) for item in passes for p in item)
        self.tried.append(tokens)
        if tokens > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_tiny(tmp_path_factory.mktemp("model"))


def train(model: str, out: Path, most: int, tokens: int = 4096) -> tuple[list[dict], Full]:
    config = TrainConfig(
        global_batch_size=8,
        max_tokens_per_forward=tokens,
        save_steps=99,
        report_to=[],
        warmup_ratio=0.0,
        lora={"r": 2},
    )
    chat, memory = {"path": model}, Full(most)
    job = Job(
        model, "float32", "", "sft", config, chat, str(out), 17, threads=1
    )
    worker.fit(with_columns(job, ROWS), [memory])
    return read_jsonl(out / "metrics.jsonl"), memory


def test_half_the_tokens_at_once_the_same_steps_and_losses(model, tmp_path) -> None:
    """Rows of 23, 22, ... 8 tokens, eight in a step: 156 tokens. With room for 78 the
    fullest pass is [15, 14, 13, 12, 11, 10]; with room for 37 it is [19, 18]."""
    whole, _ = train(model, tmp_path / "whole", 156)
    short, memory = train(model, tmp_path / "short", 40)
    assert memory.tried == [156, 75, 37, 37]
    assert read_json(tmp_path / "short" / LIMIT) == {"tokens": 37}
    assert [s["step"] for s in short] == [s["step"] for s in whole] == [1, 2]
    assert {s["rows_at_once"] for s in whole} == {8}
    assert sorted(s["rows_at_once"] for s in short) == [2, 3]
    assert [s["tokens"] for s in short] == [s["tokens"] for s in whole]
    assert [s["loss"] for s in short] == pytest.approx([s["loss"] for s in whole], abs=1e-5)


def test_where_one_row_does_not_fit_it_is_said(model, tmp_path) -> None:
    with pytest.raises(OutOfMemory, match=r"with 1 row at a time; write train\.gradient_checkp"):
        train(model, tmp_path, 0, tokens=30)


def test_another_error_is_not_taken_for_it(model, tmp_path, monkeypatch) -> None:
    def other(self, args, state, control, **kwargs):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(Full, "on_step_end", other)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(model, tmp_path, 8)


def test_rows_of_shared_mapped_columns_give_the_losses_of_rows_in_memory(model, tmp_path) -> None:
    """Two epochs of 12 of 16 rows, two of them twice, in three steps each; to the last bit."""
    mixed = [3, 15, 0, 7, 7, 9, 2, 11, 4, 0, 13, 5]
    config = TrainConfig(
        global_batch_size=4, num_train_epochs=2.0, save_steps=99, report_to=[], lora={"r": 2}
    )
    write_columns(tmp_path / "columns" / "rows-00000.arrow", ROWS[:5])
    write_columns(tmp_path / "columns" / "rows-00001.arrow", ROWS[5:])
    np.save(tmp_path / "rows.npy", np.array(mixed))
    held = Job(
        model, "float32", "", "sft", config, {"path": model},
        str(tmp_path / "held"), 17, threads=1,
    )  # fmt: skip
    mapped = replace(
        held,
        columns=str(tmp_path / "columns"),
        rows=str(tmp_path / "rows.npy"),
        out=str(tmp_path / "mapped"),
    )
    worker.fit(with_columns(held, [ROWS[i] for i in mixed]))
    worker.fit(mapped)
    one, two = (read_jsonl(Path(job.out) / "metrics.jsonl") for job in (held, mapped))
    assert [x["loss"] for x in one] == [x["loss"] for x in two]
    assert [x["tokens"] for x in one] == [x["tokens"] for x in two]
    assert len(one) == 6
    assert one[0]["loss"] != one[1]["loss"]
