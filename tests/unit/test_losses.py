"""Each method's loss and gradient on a tiny model are those of a plain forward pass, row by row,
without padding, by a model that none of our code has touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from tiny_model import ROWS, save_tiny, with_columns
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from raytune_agents.chat import IGNORE
from raytune_agents.config import load_config
from raytune_agents.train import worker
from raytune_agents.train.base_model import lora_config
from raytune_agents.train.job import Job

STEP = 6  # rows of different lengths, all in one optimiser step
SIDES: list[dict[str, Any]] = [
    {
        "row_id": str(k), "pool": "negative", "trained_tokens": 6,
        "prompt_ids": [7 + (k * j) % 80 for j in range(3 + 2 * k)],
        "chosen_ids": [9, 4 + k, 2], "chosen_mask": [1, 1, 1],
        "rejected_ids": [9, 30 + k, 6, 2][: 3 + k % 2], "rejected_mask": [1, 1, 0, 1][: 3 + k % 2],
    }
    for k in range(STEP)
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return save_tiny(tmp_path_factory.mktemp("model"))


def built(folder: str, out: Path, method: str, rows: list[dict], *options: str) -> tuple[Any, Any]:
    """A trainer whose adapter is not the reference any more, and a plain model of its weights."""
    settings = ["global_batch_size=6", "max_tokens_per_forward=30", "report_to=[]", "lora.r=2"]
    config = load_config(None, [f"train.{o}" for o in (*settings, *options)]).train
    job = Job(folder, "float32", "", method, config, {"path": folder},
                     str(out), 3, threads=1)  # fmt: skip
    trainer = worker.build_trainer(with_columns(job, rows))
    torch.manual_seed(0)
    for name, weight in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    plain = peft.get_peft_model(base, lora_config(config.lora))
    plain.load_state_dict(trainer.model.state_dict())
    return trainer, plain


def log_probs(model: Any, ids: list[int], start: int) -> torch.Tensor:
    """Of the tokens from `start` on."""
    logits = model(input_ids=torch.tensor([ids])).logits[0]
    picked = logits.log_softmax(-1)[:-1].gather(1, torch.tensor(ids)[1:, None])[:, 0]
    return picked[start - 1 :]


def step(trainer: Any) -> float:
    """One optimiser step's forward and backward passes; its loss."""
    trainer.model.train()
    (item,) = list(trainer.get_train_dataloader())
    trainer.current_gradient_accumulation_steps = 1  # as the training loop sets it
    count = (item["labels"] != IGNORE).sum() if "labels" in item else None
    return float(trainer.training_step(trainer.model, item, count))


def assert_gradients(trainer: Any, plain: Any) -> None:
    own = {n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}
    by_hand = {n: p.grad for n, p in plain.named_parameters() if p.grad is not None}
    assert own.keys() == by_hand.keys()
    assert any(g.any() for g in own.values())
    for name, gradient in by_hand.items():
        assert torch.allclose(own[name], gradient, rtol=2e-3, atol=1e-7), name


@pytest.mark.parametrize("method", ["sft", "nat"])
@pytest.mark.parametrize("padding_free", ["true", "false"])
def test_answers(method: str, padding_free: str, folder: str, tmp_path: Path) -> None:
    weights = [None, 0.5, 2.0, 1.0, None, 3.0] if method == "nat" else [None] * STEP
    rows = [row | {"weights": w and [w] * len(row["input_ids"])} for row, w in zip(ROWS, weights)]
    trainer, plain = built(folder, tmp_path, method, rows, f"padding_free={padding_free}")
    assert len(trainer.train_dataset.passes[0]) > 1  # several forward passes, one step
    found = step(trainer)
    total = torch.zeros(())
    for row, weight in zip(rows, weights):
        start = row["labels"].count(IGNORE)
        total = total - log_probs(plain, row["input_ids"], start).sum() * (weight or 1.0)
    loss = total / (4 * STEP)  # four answer tokens in a row
    loss.backward()
    assert found == pytest.approx(loss.item(), rel=1e-5)
    assert_gradients(trainer, plain)
    assert trainer.notes["pools"]["positive"][1] == 4 * STEP


def test_pairs(folder: str, tmp_path: Path) -> None:
    options = ("dpo.beta=0.3", "dpo.loss_type=[sigmoid]", "dpo.loss_weights=[1]")
    trainer, plain = built(folder, tmp_path, "dpo", SIDES, *options)
    assert len(trainer.train_dataset.passes[0]) > 1
    found = step(trainer)
    loss = torch.zeros(())
    for row in SIDES:
        ratios = []
        for side in ("chosen", "rejected"):
            ids, mask = row["prompt_ids"] + row[f"{side}_ids"], torch.tensor(row[f"{side}_mask"])
            policy = (log_probs(plain, ids, len(row["prompt_ids"])) * mask).sum()
            with torch.no_grad(), plain.disable_adapter():
                reference = (log_probs(plain, ids, len(row["prompt_ids"])) * mask).sum()
            ratios.append(policy - reference)
        loss = loss - F.logsigmoid(0.3 * (ratios[0] - ratios[1])) / STEP
    loss.backward()
    assert found == pytest.approx(loss.item(), rel=1e-4)
    assert_gradients(trainer, plain)


def test_unpaired_rows(folder: str, tmp_path: Path) -> None:
    """KTO: the KL estimate is of the rows of a forward pass, so all six share one here."""
    rows = [
        {k: row[k] for k in ("row_id", "pool", "trained_tokens", "prompt_ids")}
        | {"completion_ids": row["chosen_ids"], "completion_mask": [1, 1, 1], "label": k % 2 == 0}
        for k, row in enumerate(SIDES)
    ]
    trainer, plain = built(folder, tmp_path, "kto", rows, "max_tokens_per_forward=4096")
    found = step(trainer)
    data = trainer.train_dataset
    kept: dict[str, list[torch.Tensor]] = {"": [], "KL_": []}
    for row in data:
        for prefix, ratios in kept.items():
            ids, start = row["prompt_ids"] + row[f"{prefix}completion_ids"], len(row["prompt_ids"])
            policy = log_probs(plain, ids, start).sum()
            with torch.no_grad(), plain.disable_adapter():
                reference = log_probs(plain, ids, start).sum()
            ratios.append(policy - reference)
    baseline = torch.stack(kept["KL_"]).mean().clamp(min=0).detach()
    sign = torch.tensor([1.0 if x else -1.0 for x in data["label"]])
    loss = (1 - torch.sigmoid(0.1 * sign * (torch.stack(kept[""]) - baseline))).mean()
    loss.backward()
    assert found == pytest.approx(loss.item(), rel=1e-4)
    assert_gradients(trainer, plain)
