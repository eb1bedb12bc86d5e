"""TRL's trainers with the smallest overrides: rows that are token ids, logits on answer positions
only."""

from __future__ import annotations

from typing import Any

import torch
import trl.trainer.utils
from torch.nn import functional as F
from trl import DPOTrainer, SFTTrainer

from raytune_agents.chat import IGNORE

# Without Triton, TRL's fused head (DPO, KTO, GRPO, RLOO) scores prompts too and throws that away;
# this tells it to score answers only, as it does on a GPU.
trl.trainer.utils._use_triton = lambda device: True


def answer_logits(model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [n, vocab] and labels [n] of the trained positions of a batch, n = trained tokens.

    The forward pass keeps only the columns where some row has a label (`logits_to_keep`), so the
    vocabulary product is paid for answers, not for prompts.
    """
    labels = inputs["labels"][:, 1:]
    keep = labels != IGNORE
    kept_columns = keep.any(dim=0).nonzero().squeeze(-1)
    logits = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        logits_to_keep=kept_columns,
        use_cache=False,
    ).logits
    mask = keep[:, kept_columns]
    return logits[mask], labels[:, kept_columns][mask]


class AnswerTrainer(SFTTrainer):
    """TRL's SFTTrainer with the loss of `answer_logits`; equal to its own loss up to rounding."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if return_outputs:
            return super().compute_loss(model, inputs, True, num_items_in_batch)
        logits, labels = answer_logits(model, inputs)
        loss = F.cross_entropy(logits.float(), labels, reduction="sum")
        count = labels.numel() if num_items_in_batch is None else num_items_in_batch
        loss = loss / torch.as_tensor(count).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        mode = "train" if self.model.training else "eval"
        hits = (logits.argmax(-1) == labels).float().mean().item() if labels.numel() else 0.0
        self._metrics[mode]["mean_token_accuracy"].append(hits)
        if mode == "train":
            self._total_train_tokens += int(inputs["attention_mask"].sum())
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]
        return loss


class PairTrainer(DPOTrainer):
    """TRL's DPOTrainer on pairs that are token ids already."""

    def _prepare_dataset(self, dataset, *args, **kwargs):
        return dataset
