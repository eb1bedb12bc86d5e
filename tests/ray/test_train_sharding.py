"""Two workers on CPU through Ray Train: every way to share the model gives the losses of one
process, and its adapter loads alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from raytune_agents.config import ResourcesConfig, TrainConfig
from raytune_agents.infra import cluster
from raytune_agents.models import embedded
from raytune_agents.storage import read_jsonl
from raytune_agents.train import column_files, worker
from raytune_agents.train.job import Job

STEPS = 3
pytestmark = pytest.mark.slow  # two workers on two cores: minutes


@pytest.fixture(scope="module")
def columns(tmp_path_factory) -> Path:
    """Plain token rows; what they say does not matter here."""
    from raytune_agents.chat import IGNORE, Chat

    chat = Chat(embedded(), "ours")
    rows = []
    for k in range(4 * STEPS):
        prompt = chat.chat_ids(
            [{"role": "user", "content": f"Add {k} and {k + 1}. " * (k % 4 + 1)}]
        )
        answer = chat.ids(f'[{{"name": "add", "arguments": {{"a": {k}, "b": {k + 1}}}}}]<|im_end|>')
        rows.append(
            {
                "row_id": f"row-{k}",
                "pool": "positive" if k % 2 else "negative.wrong_value",
                "input_ids": prompt + answer,
                "labels": [IGNORE] * len(prompt) + answer,
                "weights": None,
                "trained_tokens": len(answer),
            }
        )
    folder = tmp_path_factory.mktemp("columns")
    column_files.write_columns(folder / "rows-00000.arrow", rows)
    return folder


def job(columns: Path, out: Path, **options) -> Job:
    config = {
        "global_batch_size": 4, "learning_rate": 1e-3, "max_failures": 0, "warmup_ratio": 0.0,
        "save_steps": 2, "report_to": [],
    }  # fmt: skip
    return Job(
        str(embedded()), "float32", str(columns), "sft",
        TrainConfig(**config | options), {"path": str(embedded())}, str(out), 17,
        1)  # fmt: skip


@pytest.fixture(scope="module")
def alone(columns, tmp_path_factory) -> list[dict]:
    """The losses of one process."""
    made = job(columns, tmp_path_factory.mktemp("alone"))
    worker.fit(made)
    return read_jsonl(Path(made.out) / "metrics.jsonl")


@pytest.fixture(scope="module")
def two_cpus():
    yield cluster.connect(ResourcesConfig(cpus=2))
    cluster.disconnect()


def test_one_row_eight_times_is_eight_rows_at_once(columns, alone, tmp_path) -> None:
    made = job(columns, tmp_path, max_tokens_per_forward=1)
    assert worker.fit(made).args.per_device_train_batch_size == 1
    assert losses(read_jsonl(tmp_path / "metrics.jsonl")) == pytest.approx(losses(alone), abs=2e-4)


def losses(found: list[dict]) -> list[float]:
    return [line["loss"] for line in found]


@pytest.mark.parametrize(
    "sharding",
    [
        "ddp",
        pytest.param("zero1", marks=pytest.mark.slow),
        pytest.param("zero2", marks=pytest.mark.slow),
        "zero3",
        pytest.param("fsdp", marks=pytest.mark.slow),
    ],
)
def test_two_workers_give_the_losses_of_one(columns, alone, two_cpus, tmp_path, sharding) -> None:
    if sharding.startswith("zero"):
        pytest.importorskip("deepspeed")
    made = job(columns, tmp_path / "arm", sharding=sharding, num_workers=2)
    worker.run_training(made, sharding, tmp_path / "ray", use_gpu=False)
    found = read_jsonl(tmp_path / "arm" / "metrics.jsonl")
    assert losses(found) == pytest.approx(losses(alone), abs=2e-3)
    assert losses(found)[-1] < losses(found)[0]
    loads_alone(tmp_path / "arm" / "adapter", columns, losses(alone)[0])


def loads_alone(adapter: Path, columns: Path, before: float) -> None:
    """PEFT loads the adapter on a fresh base, every weight is whole, and it helps."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from raytune_agents.train.score import teacher_forced

    base = AutoModelForCausalLM.from_pretrained(embedded(), dtype=torch.float32)
    model = PeftModel.from_pretrained(base, adapter)
    ups = [p for n, p in model.named_parameters() if "lora_B" in n]
    assert len(ups) == 30 * 7
    assert all(p.ndim == 2 and torch.count_nonzero(p) for p in ups)
    rows = column_files.TrainingRows.mapped(columns).data.to_list()
    assert teacher_forced(model, rows, 2)["val_loss"] < before
