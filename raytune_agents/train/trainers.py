"""TRL's trainers with the smallest overrides: rows that are token ids, logits on answer positions
only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import trl.trainer.utils
from torch.nn import functional as F
from trl import DPOTrainer, KTOTrainer, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
from trl.trainer.utils import pad

from raytune_agents.chat import IGNORE
from raytune_agents.runs import BadLoss

KNOWN_AMONG = 64  # rows from whose first ones the known batch is taken
KNOWN_ERROR = 0.03  # share that bf16 may change a loss by

# Without Triton, TRL's fused head (DPO, KTO, GRPO, RLOO) scores prompts too and throws that away;
# this tells it to score answers only, as it does on a GPU.
trl.trainer.utils._use_triton = lambda device: True


def right_aligned(inputs: dict[str, Any]) -> dict[str, Any]:
    """The batch with padding on the left and each row's own positions, all [rows, seq]: answers end
    in the last column, so the columns with loss are few."""
    attended = inputs["attention_mask"]
    width = attended.shape[1]
    shift = width - attended.sum(dim=1, keepdim=True)
    index = (torch.arange(width, device=attended.device) - shift) % width
    keys = ("input_ids", "attention_mask", "labels", "weights")
    out = {k: inputs[k].gather(1, index) for k in keys if inputs.get(k) is not None}
    return out | {"position_ids": (out["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)}


def answer_logits(
    model: Any, inputs: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Logits [n, vocab], labels [n], loss weights [n] (None = all 1) and row numbers [n] of the
    trained positions of a batch, n = trained tokens.

    The forward pass keeps only the columns where some row has a label (`logits_to_keep`), so the
    vocabulary product is paid for answers, not for prompts.
    """
    inputs = right_aligned(inputs)
    labels = inputs["labels"][:, 1:]
    keep = labels != IGNORE
    kept_columns = keep.any(dim=0).nonzero().squeeze(-1)
    logits = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        position_ids=inputs["position_ids"],
        logits_to_keep=kept_columns,
        use_cache=False,
    ).logits
    mask = keep[:, kept_columns]
    weights = inputs.get("weights")
    if weights is not None:
        weights = weights[:, 1:][:, kept_columns][mask]
    return logits[mask], labels[:, kept_columns][mask], weights, mask.nonzero()[:, 0]


def note_pools(trainer: Any, rows: Sequence[int], losses: Sequence[float]) -> None:
    """Add losses to the sums of their rows' pools; `rows` are numbers within the next micro-batch.
    `trainer.pools` are those of the rows in training order, where `worker.build` has set them."""
    pools, process, args = getattr(trainer, "pools", ()), trainer.accelerator, trainer.args
    if not pools:
        return
    seen = getattr(trainer, "micro", None)  # micro-batches, counted from the start of training
    if seen is None:
        seen = trainer.state.global_step * args.gradient_accumulation_steps
    first = seen * process.num_processes + process.process_index
    first, trainer.micro = first * args.per_device_train_batch_size, seen + 1
    sums = trainer.notes.setdefault("pools", {})
    for row, loss in zip(rows, losses, strict=True):
        pool = pools[(first + row) % len(pools)]
        total, count = sums.get(pool, (0.0, 0))
        sums[pool] = (total + loss, count + 1)


class WeightCollator(DataCollatorForLanguageModeling):
    """TRL's collator, with column `weights` padded to [rows, seq]; a row without it has ones."""

    def torch_call(self, examples):
        batch = super().torch_call(examples)
        rows = [torch.tensor(e.get("weights") or [1.0] * len(e["input_ids"])) for e in examples]
        padded = pad(rows, padding_value=0.0, padding_side="right")  # type: ignore[arg-type]
        return batch | {"weights": padded}


class AnswerTrainer(SFTTrainer):
    """TRL's SFTTrainer with the loss of `answer_logits`; equal to its own loss up to rounding,
    where no weights are given."""

    # Narrower than the library says: all are there once a trainer is made.
    model: Any
    train_dataset: Any

    def _set_signature_columns_if_needed(self):
        if self._signature_columns is None:
            super()._set_signature_columns_if_needed()
            self._signature_columns += ["weights"]  # type: ignore[operator]

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if return_outputs:
            return super().compute_loss(model, inputs, True, num_items_in_batch)
        logits, labels, weights, rows = answer_logits(model, inputs)
        logits = logits.float()
        losses = F.cross_entropy(logits, labels, reduction="none")
        loss = losses.sum() if weights is None else (losses * weights).sum()
        count = labels.numel() if num_items_in_batch is None else num_items_in_batch
        loss = loss / torch.as_tensor(count).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        mode = "train" if self.model.training else "eval"
        hits = (logits.argmax(-1) == labels).float().mean().item() if labels.numel() else 0.0
        self._metrics[mode]["mean_token_accuracy"].append(hits)
        if mode == "train":
            self._total_train_tokens += int(inputs["attention_mask"].sum())
            self.note(logits.detach(), losses.detach(), rows)
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]
        return loss

    @torch.no_grad()
    def check_loss(self) -> None:
        """Before the first step: the loss of two rows in one batch is the one worked out row
        by row, without padding, from whole logits. Left out where workers hold parts of the model.
        Raises BadLoss: the model reads padding, positions or `logits_to_keep` otherwise."""
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            return
        first = self.train_dataset.select(range(min(KNOWN_AMONG, len(self.train_dataset))))
        by_length = sorted(first, key=lambda row: len(row["input_ids"]))
        rows = [by_length[0], by_length[len(by_length) // 2]]  # so the first one is padded
        self.model.eval()
        total, count = 0.0, 0
        with self.accelerator.autocast():
            batch = self._prepare_inputs(self.data_collator(rows))
            found = self.compute_loss(self.model, batch).item()
            for row in rows:
                ids, labels = (torch.tensor(row[k]) for k in ("input_ids", "labels"))
                logits = self.model(input_ids=ids[None].to(self.model.device)).logits[0, :-1]
                losses = F.cross_entropy(logits.float().cpu(), labels[1:], reduction="none")
                weights = torch.tensor(row.get("weights") or [1.0] * len(ids))[1:]
                total += (losses * weights).sum().item()  # 0 where there is no label
                count += int((labels[1:] != IGNORE).sum())
        self.model.train()
        self._metrics["eval"].clear()
        by_hand = total / max(1, count)
        if abs(found - by_hand) > KNOWN_ERROR * max(1.0, abs(by_hand)):
            raise BadLoss(
                f"model.name: the loss of two rows is {found:.4f} in a batch and {by_hand:.4f} row "
                "by row, so this model does not read padded batches as others do; write "
                "train.max_tokens_per_forward=1"
            )

    def note(self, logits: torch.Tensor, losses: torch.Tensor, rows: torch.Tensor) -> None:
        """Entropy [nats] of the trained positions, and the loss of each pool of the micro-batch."""
        if len(losses):
            share = logits.softmax(dim=-1)
            entropy = logits.logsumexp(dim=-1) - (share * logits).sum(dim=-1)
            self._metrics["train"]["entropy"].append(entropy.mean().item())
        note_pools(self, rows.tolist(), losses.tolist())


class PairCollator(DataCollatorForPreference):
    """TRL's collator, with loss on the answers only where a side holds several turns: columns
    chosen_mask and rejected_mask, 1 on the answers' tokens, [side]."""

    def torch_call(self, examples):
        batch = super().torch_call(examples)
        sides = [(e, e[f"{side}_mask"]) for side in ("chosen", "rejected") for e in examples]
        for row, (example, mask) in zip(batch["completion_mask"], sides, strict=True):
            start = len(example["prompt_ids"])
            row[start : start + len(mask)] = torch.tensor(mask, dtype=row.dtype)
        return batch


def drop_fresh_reference(trainer: Any) -> None:
    """TRL copies the adapter as its reference `ref`. A fresh adapter changes nothing (B = 0), so
    the reference is the base with the adapter off, and the copy is dropped. Where training goes on
    from an adapter, the copy stays: the reference is the policy at the start."""
    model = trainer.model
    if "ref" in getattr(model, "peft_config", {}):
        ups = [p for n, p in model.named_parameters() if "lora_B" in n and ".ref." in n]
        if not any(p.detach().any() for p in ups):
            model.delete_adapter("ref")


class PairTrainer(DPOTrainer):
    """TRL's DPOTrainer on pairs that are token ids already. The loss by pool is -log sigmoid(beta *
    margin) of the pairs of a fault, whatever loss is trained; it needs
    `precompute_ref_log_probs`."""

    model: Any
    log_probs: torch.Tensor  # of the last forward pass, [chosen and rejected, seq]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        drop_fresh_reference(self)
        self.model.register_forward_hook(self.keep_log_probs)

    def keep_log_probs(self, model: Any, args: Any, output: Any) -> None:
        if getattr(output, "log_probs", None) is not None:
            self.log_probs = output.log_probs.detach()

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self.model.training and self.precompute_ref_logps:
            chosen, rejected = self.log_probs.sum(dim=1).chunk(2)
            margins = chosen - rejected - inputs["ref_chosen_logps"] + inputs["ref_rejected_logps"]
            losses = -F.logsigmoid(self.beta * margins)
            note_pools(self, range(len(losses)), losses.tolist())
        return loss

    def _set_signature_columns_if_needed(self):
        if self._signature_columns is None:
            super()._set_signature_columns_if_needed()
            self._signature_columns += ["chosen_mask", "rejected_mask"]  # type: ignore[operator]

    def _prepare_dataset(self, dataset, *args, **kwargs):
        return dataset


class UnpairedCollator(DataCollatorForUnpairedPreference):
    """TRL's collator, with loss on answer tokens only: columns completion_mask and
    KL_completion_mask, [answer]."""

    def torch_call(self, examples):
        batch = super().torch_call(examples)
        for key in ("completion_mask", "KL_completion_mask"):
            for row, example in zip(batch[key], examples, strict=True):
                start, mask = len(example["prompt_ids"]), example[key]
                row[start : start + len(mask)] = torch.tensor(mask, dtype=row.dtype)
        return batch


class UnpairedTrainer(KTOTrainer):
    """TRL's KTOTrainer on rows that are token ids already; KL_completion_ids are in the rows."""

    def _set_signature_columns_if_needed(self):
        if self._signature_columns is None:
            super()._set_signature_columns_if_needed()
            self._signature_columns += ["completion_mask", "KL_completion_mask"]  # type: ignore[operator]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        drop_fresh_reference(self)

    def _prepare_dataset(self, dataset, *args, **kwargs):
        return dataset
