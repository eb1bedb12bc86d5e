"""TRL's trainers with the smallest overrides: rows that are token ids, logits on answer positions
only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import trl.trainer.utils
from torch.nn import functional as F
from transformers import Trainer
from trl import DPOTrainer, KTOTrainer, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
from trl.trainer.utils import pad

from raytune_agents.chat import IGNORE
from raytune_agents.config import TrainConfig
from raytune_agents.runs import BadLoss
from raytune_agents.train.answer_loss import TokenLosses, answer_loss
from raytune_agents.train.batches import step_passes
from raytune_agents.train.padding_free import PaddingFree

KNOWN_AMONG = 64  # rows from whose first ones the known batch is taken
KNOWN_ERROR = 0.03  # share that bf16 may change a loss by


@contextlib.contextmanager
def answers_alone() -> Iterator[None]:
    """Within it, TRL's fused head (DPO, KTO, GRPO, RLOO) scores answers only, as on a GPU. Without
    Triton it would score prompts too and throw that away; TRL 1.16 has no option for it."""
    own = trl.trainer.utils._use_triton
    trl.trainer.utils._use_triton = lambda device: True
    try:
        yield
    finally:
        trl.trainer.utils._use_triton = own


class StepDataset(torch.utils.data.Dataset[Any]):
    """What one worker does in one optimiser step, as one item: its forward passes, each a list of
    rows. `passes` are numbers of rows, as `batches.step_passes` made them."""

    def __init__(self, rows: Any, passes: Sequence[list[list[int]]]):
        self.rows, self.passes = rows, passes

    def __len__(self) -> int:
        return len(self.passes)

    def __getitem__(self, k: int) -> list[list[dict[str, Any]]]:
        return [[self.rows[i] for i in rows] for rows in self.passes[k]]


class StepCollator:
    """One item of StepDataset -> {"passes": [batch of the trainer's collator, ...]}; of rows with
    labels also "labels" [tokens of the step], by which transformers counts them."""

    def __init__(self, collator: Any):
        self.collator = collator

    def __call__(self, items: list[list[list[dict[str, Any]]]]) -> dict[str, Any]:
        (item,) = items
        out: dict[str, Any] = {"passes": []}
        for rows in item:
            pools = [row["pool"] for row in rows]
            bare = [{k: v for k, v in row.items() if k != "pool"} for row in rows]
            out["passes"].append(self.collator(bare) | {"pools": pools})
        if "labels" in item[0][0]:
            # a label is that of the position before it, so a row's first one is none's
            labels = [y for rows in item for row in rows for y in row["labels"][1:]]
            out["labels"] = torch.tensor([IGNORE, *labels])
        return out


class StepTrainer(Trainer):
    """A Trainer whose batch is a whole optimiser step of this worker, cut into forward passes by
    tokens: so each pass holds as many rows as fit, with its own longest row. Accumulating rows by
    number (`gradient_accumulation_steps`) would size all passes for the longest row of the data."""

    pass_share = 1.0  # of the step's rows that are in the pass under way
    notes: dict[str, Any]
    hooks: PaddingFree
    largest_pass: tuple[int, int]  # rows and tokens, of one forward pass

    def take_steps(
        self, lengths: Sequence[int], config: TrainConfig, most: int, hooks: PaddingFree
    ) -> None:
        """Train on the rows that the trainer has now, of these lengths, in forward passes of at
        most `most` tokens."""
        self.hooks, padded = hooks, not hooks.unpad
        workers = self.accelerator.num_processes
        steps = step_passes(range(len(lengths)), lengths, config, workers, most, padded)
        passes = [[lengths[i] for i in rows] for item in steps for rows in item]
        tokens = [max(p) * len(p) if padded else sum(p) for p in passes]
        self.largest_pass = (max(len(p) for p in passes), max(tokens))
        self.train_dataset = StepDataset(self.train_dataset, steps)
        self.data_collator = StepCollator(self.data_collator)
        # To Trainer an item is a row: one per step and worker, nothing to accumulate.
        self.args.per_device_train_batch_size = self.args.gradient_accumulation_steps = 1
        self._train_batch_size = 1
        self.accelerator.gradient_accumulation_steps = 1

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # transformers' guess by the inputs' shape, which nobody reads

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """All forward passes of the step; workers exchange gradients after the last one only."""
        passes, losses = inputs["passes"], []
        rows = [len(part["pools"]) for part in passes]
        sync = self.accelerator.sync_gradients
        for k, part in enumerate(passes):
            self.pass_share = rows[k] / sum(rows)
            last = sync and k == len(passes) - 1
            # What accelerate wraps steps and exchanges only where this is set.
            self.accelerator.gradient_state._set_sync_gradients(last)
            apart = last or self.is_deepspeed_enabled  # DeepSpeed asks for sync_gradients itself
            with contextlib.nullcontext() if apart else self.accelerator.no_sync(model):
                losses.append(super().training_step(model, part, num_items_in_batch))
        self.notes["rows_at_once"] = max(rows)
        self.end_step()
        return sum(losses[1:], start=losses[0])

    def end_step(self) -> None:
        """What is noted about the step, once all its passes are under way."""


def answer_logits(
    model: Any, inputs: dict[str, Any], hooks: PaddingFree
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Logits [n, vocab], labels [n], loss weights [n] (None = all 1) and row numbers [n] of the
    trained positions of a right-padded batch, n = trained tokens.

    The head sees those positions only (`PaddingFree.wanted`), so the vocabulary product, a fifth of
    a small model, is paid for answers, not for prompts.
    """
    labels = inputs["labels"]
    # Causal shift: position i predicts token i + 1, the last position nothing.
    at = F.pad(labels[:, 1:], (0, 1), value=IGNORE)  # what the position is to predict
    hooks.wanted = wanted = (at != IGNORE).flatten().nonzero().squeeze(-1)
    logits = model(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
    ).logits[0]
    weights = inputs.get("weights")
    if weights is not None:
        weights = F.pad(weights[:, 1:], (0, 1)).flatten()[wanted]
    return logits, at.flatten()[wanted], weights, wanted // labels.shape[1]


def note_pools(notes: dict[str, Any], pools: Sequence[str], losses: Sequence[float]) -> None:
    """Add losses to the sums of their pools in `notes`, one pool per loss."""
    sums = notes.setdefault("pools", {})
    for pool, loss in zip(pools, losses, strict=True):
        total, count = sums.get(pool, (0.0, 0))
        sums[pool] = (total + loss, count + 1)


class WeightCollator(DataCollatorForLanguageModeling):
    """TRL's collator, with column `weights` padded to [rows, seq]; a row without it has ones."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().torch_call(examples)
        rows = [torch.tensor(e.get("weights") or [1.0] * len(e["input_ids"])) for e in examples]
        padded = pad(rows, padding_value=0.0, padding_side="right")  # type: ignore[arg-type]
        return batch | {"weights": padded}


class AnswerTrainer(StepTrainer, SFTTrainer):
    """TRL's SFTTrainer with the loss of `answer_logits`; equal to its own loss up to rounding,
    where no weights are given."""

    # Narrower than the library says: all are there once a trainer is made.
    model: Any
    train_dataset: Any

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # of the passes of this step: what was lost, in which rows, of which pools
        self.seen: list[tuple[TokenLosses, torch.Tensor, list[str]]] = []

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        pools = inputs.pop("pools", None)
        if return_outputs:
            return super().compute_loss(model, inputs, True, num_items_in_batch)
        logits, labels, weights, rows = answer_logits(model, inputs, self.hooks)
        found = answer_loss(logits, labels, weights)
        count = labels.numel() if num_items_in_batch is None else num_items_in_batch
        loss = found.total / torch.as_tensor(count).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # The count is of all workers, and DDP takes the mean of their gradients: so times them.
            loss = loss * self.accelerator.num_processes
        if pools is not None:
            self.seen.append((found, rows, pools))
            # TRL's own counter, which its compute_loss would have raised.
            self._total_train_tokens += inputs["attention_mask"].sum()
        return loss

    def end_step(self) -> None:
        """Entropy [nats] and accuracy of the trained positions, and the loss of each pool: read
        from the device once per step, not once per pass."""
        losses, entropy, hits = (
            torch.cat([getattr(found, key) for found, *_ in self.seen])
            for key in ("losses", "entropy", "hits")
        )
        pools = [own[i] for _, rows, own in self.seen for i in rows.tolist()]
        self.seen.clear()
        if pools:
            metrics = self._metrics["train"]
            metrics["entropy"].append(entropy.mean().item())
            metrics["mean_token_accuracy"].append(hits.mean().item())
            metrics["num_tokens"] = [int(self._total_train_tokens)]
        note_pools(self.notes, pools, losses.tolist())

    @torch.no_grad()
    def check_loss(self) -> None:
        """Before the first step: the loss of two rows in one batch is the one worked out row
        by row, without padding, from whole logits. Left out where workers hold parts of the model.
        Raises BadLoss: the model reads padding or positions otherwise."""
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            return
        rows = self.train_dataset.rows
        first = rows.select(range(min(KNOWN_AMONG, len(rows)))).remove_columns("pool")
        by_length = sorted(first, key=lambda row: len(row["input_ids"]))
        rows = [by_length[0], by_length[len(by_length) // 2]]  # so the first one is padded
        # Without dropout, else no two passes are equal.
        self.model.eval()
        total, count = 0.0, 0
        with self.accelerator.autocast():
            assert isinstance(self.data_collator, StepCollator)  # set in __init__
            batch = self._prepare_inputs(self.data_collator.collator(rows))
            found = self.compute_loss(self.model, batch).item()
            for row in rows:
                ids, labels = (torch.tensor(row[k]) for k in ("input_ids", "labels"))
                logits = self.model(input_ids=ids[None].to(self.model.device)).logits[0, :-1]
                losses = F.cross_entropy(logits.float().cpu(), labels[1:], reduction="none")
                weights = torch.tensor(row.get("weights") or [1.0] * len(ids))[1:]
                total += (losses * weights).sum().item()  # 0 where there is no label
                count += int((labels[1:] != IGNORE).sum())
        self.model.train()
        by_hand = total / max(1, count)
        if abs(found - by_hand) > KNOWN_ERROR * max(1.0, abs(by_hand)):
            raise BadLoss(
                f"model.name: the loss of two rows is {found:.4f} in a batch and {by_hand:.4f} row "
                "by row, so this model does not read batches as others do; write "
                "train.padding_free=false, or train.max_tokens_per_forward=1"
            )


class PairCollator(DataCollatorForPreference):
    """TRL's collator, with loss on the answers only where a side holds several turns: columns
    chosen_mask and rejected_mask, 1 on the answers' tokens, [side]."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().torch_call(examples)
        sides = [(e, e[f"{side}_mask"]) for side in ("chosen", "rejected") for e in examples]
        for row, (example, mask) in zip(batch["completion_mask"], sides, strict=True):
            start = len(example["prompt_ids"])
            row[start : start + len(mask)] = torch.tensor(mask, dtype=row.dtype)
        return batch


class TokenRows(Trainer):
    """A trainer of pairs or labels on rows that are token ids already; see `drop_fresh_reference`
    for its reference."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        drop_fresh_reference(self)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


def drop_fresh_reference(trainer: Any) -> None:
    """TRL copies the adapter as its reference `ref`. A fresh adapter changes nothing (B = 0), so
    the reference is the base with the adapter off, and the copy is dropped. Where training goes on
    from an adapter, the copy stays: the reference is the policy at the start."""
    model = trainer.model
    if "ref" in getattr(model, "peft_config", {}):
        ups = [p for n, p in model.named_parameters() if "lora_B" in n and ".ref." in n]
        if not any(p.detach().any() for p in ups):
            model.delete_adapter("ref")


class PairTrainer(TokenRows, StepTrainer, DPOTrainer):
    """TRL's DPOTrainer. The loss by pool is -log sigmoid(beta *
    margin) of the pairs of a fault, whatever loss is trained; it needs
    `precompute_ref_log_probs`."""

    model: Any
    log_probs: torch.Tensor  # of the last forward pass, [chosen and rejected, seq]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # TRL logs means of the batch only; a loss by pool needs the pairs.
        self.model.register_forward_hook(self.keep_log_probs)

    def keep_log_probs(self, model: Any, args: Any, output: Any) -> None:
        if getattr(output, "log_probs", None) is not None:
            self.log_probs = output.log_probs.detach()

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        pools = inputs.pop("pools", None)
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if pools is None:
            return loss
        if self.precompute_ref_logps:
            # TRL lays all chosen sides before all rejected ones.
            chosen, rejected = self.log_probs.sum(dim=1).chunk(2)
            margins = chosen - rejected - inputs["ref_chosen_logps"] + inputs["ref_rejected_logps"]
            losses = -F.logsigmoid(self.beta * margins)
            note_pools(self.notes, pools, losses.tolist())
        return loss * self.pass_share  # TRL's loss is a mean of pairs: the step's is theirs by size


class UnpairedCollator(DataCollatorForUnpairedPreference):
    """TRL's collator, with loss on answer tokens only: columns completion_mask and
    KL_completion_mask, [answer]."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().torch_call(examples)
        for key in ("completion_mask", "KL_completion_mask"):
            for row, example in zip(batch[key], examples, strict=True):
                start, mask = len(example["prompt_ids"]), example[key]
                row[start : start + len(mask)] = torch.tensor(mask, dtype=row.dtype)
        return batch


class UnpairedTrainer(TokenRows, KTOTrainer):
    """TRL's KTOTrainer; KL_completion_ids are in the rows."""
