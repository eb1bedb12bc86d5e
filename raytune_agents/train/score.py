"""Teacher-forced score: one forward pass says whether greedy decoding would write the gold
answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from raytune_agents.chat import IGNORE


def pad(examples: Sequence[dict[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    """Columns input_ids and labels -> right-padded batch [rows, seq] with its attention mask."""
    width = max(len(e["input_ids"]) for e in examples)

    def fill(key: str, value: int) -> torch.Tensor:
        return torch.tensor([list(e[key]) + [value] * (width - len(e[key])) for e in examples])

    mask = torch.tensor(
        [[1] * len(e["input_ids"]) + [0] * (width - len(e["input_ids"])) for e in examples]
    )
    return {
        "input_ids": fill("input_ids", pad_id),
        "labels": fill("labels", IGNORE),
        "attention_mask": mask,
    }


@torch.no_grad()
def teacher_forced(
    model: Any, examples: Sequence[dict[str, Any]], pad_id: int, batch_tokens: int = 1024
) -> dict[str, float]:
    """exact_match: share of rows whose every answer token is the argmax given the gold before it,
    in [0, 1] (equal to exact text match of greedy decoding); val_loss: mean NLL of answer tokens in
    nats; n: rows. Raises ValueError without rows."""
    if not examples:
        raise ValueError("no rows to score; write a larger tune.rows or more val rows")
    order = sorted(range(len(examples)), key=lambda i: len(examples[i]["input_ids"]))
    was_training, hits, nll, tokens = model.training, 0, 0.0, 0
    model.eval()
    while order:
        width = len(examples[order[-1]]["input_ids"])
        take = max(1, min(len(order), batch_tokens // width))
        part, order = [examples[i] for i in order[-take:]], order[:-take]
        batch = {k: v.to(model.device) for k, v in pad(part, pad_id).items()}
        labels = batch["labels"][:, 1:]
        keep = labels != IGNORE
        columns = keep.any(dim=0).nonzero().squeeze(-1)
        logits = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            logits_to_keep=columns,
            use_cache=False,
        ).logits
        mask, gold = keep[:, columns], labels[:, columns]
        hits += int(((logits.argmax(-1) == gold) | ~mask).all(dim=1).sum())
        nll += F.cross_entropy(logits[mask].float(), gold[mask], reduction="sum").item()
        tokens += int(mask.sum())
    model.train(was_training)
    return {"exact_match": hits / len(examples), "val_loss": nll / tokens, "n": len(examples)}
