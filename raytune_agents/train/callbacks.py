"""What is seen of a training run: metrics.jsonl, checkpoints, val scores, a stop on a bad loss.

TRL callbacks; they write on rank 0 and read nothing but files, so a resumed run goes on with them.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from raytune_agents.chat import Chat
from raytune_agents.config import TrainConfig
from raytune_agents.infra.energy import Meter
from raytune_agents.runs import BadLoss
from raytune_agents.storage import append_jsonl, read_jsonl, write_json, write_text
from raytune_agents.train.base_model import peak_memory_mib
from raytune_agents.train.job import CHECKPOINT, JOB
from raytune_agents.train.reward_hacking import STEP_KEYS, PolicyStep, hacking_sign
from raytune_agents.train.score import answered, objective, teacher_forced


def keep_until(path: Path, step: int) -> list[dict[str, Any]]:
    """Cut metrics.jsonl back to the checkpoint that training goes on from, so that no step is in it
    twice."""
    kept = [line for line in read_jsonl(path) if line["step"] <= step]
    if path.is_file():
        write_text(path, "".join(json.dumps(x) + "\n" for x in kept))
    return kept


def step_numbers(logs: Mapping[str, Any], names: Iterable[str]) -> dict[str, float]:
    """The named values; None or NaN is a reward or a rate that no row of the step has."""
    found = {k: float(logs[k]) for k in names if logs.get(k) is not None}
    return {k: v for k, v in found.items() if not math.isnan(v)}


@dataclass(eq=False)
class Metrics(TrainerCallback):
    """One line an optimiser step in metrics.jsonl, and a stop where the loss is not a number or
    above train.max_loss.

    `tokens`: padding-free tokens of the rows in training order; `ids`: their row ids (an Arrow
    array), [] where the method trains them in another order; `notes`: what others want in the next
    line. Raises BadLoss naming the rows of the step."""

    path: Path
    tokens: Sequence[int]
    ids: Any
    config: TrainConfig
    notes: dict[str, Any]
    started: float = field(default_factory=time.monotonic)
    meter: Meter = field(default_factory=Meter)
    joules: float = 0.0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.started = time.monotonic()

    def of_step(self, values: Sequence[Any], step: int) -> list[Any]:
        """The values of the rows of a step (from 1), also past the first pass."""
        rows = self.config.rows_per_step()
        start = (step - 1) % max(1, math.ceil(len(values) / rows)) * rows
        return list(values[start : start + rows])

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Any = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or "loss" not in (logs or {}):
            return
        step, loss = state.global_step, float(logs["loss"])
        seconds = max(time.monotonic() - self.started, 1e-9)
        tokens, limit = sum(self.of_step(self.tokens, step)), self.config.max_loss
        line = {
            "step": step,
            "of": state.max_steps,
            "loss": loss,
            "rows_at_once": args.per_device_train_batch_size,
            "tokens": tokens,
            "tokens_per_s": round(tokens / seconds, 1),
            "peak_memory_mib": round(peak_memory_mib(), 1),
            "workers": args.world_size,
            "time": round(time.time(), 3),
        }
        if (joules := self.meter.joules()) is not None:  # of this step, on this machine
            line["energy_j"], self.joules = round(joules - self.joules, 3), joules
        line |= step_numbers(logs, [k for k in logs if k != "loss"])
        pools = self.notes.pop("pools", {})
        line["pool_loss"] = {p: round(total / n, 4) for p, (total, n) in sorted(pools.items())}
        line |= self.notes
        self.notes.clear()
        append_jsonl(self.path, line)
        # After the line is written: the file shows the step that broke.
        if not math.isfinite(loss) or loss > limit:
            raise BadLoss(
                f"loss {loss} at step {step} (limit: train.max_loss={limit}); lower "
                f"train.learning_rate (now {args.learning_rate}) or look at the rows of this step: "
                f"{', '.join(map(str, self.of_step(self.ids, step))) or 'sampled by the method'}"
            )


@dataclass(eq=False)
class HackingWatch(TrainerCallback):
    """Stops GRPO and RLOO at signs of reward hacking; the steps before a checkpoint that training
    goes on from are read from metrics.jsonl. Raises BadLoss naming step, sign and option."""

    path: Path
    config: TrainConfig
    steps: list[PolicyStep] = field(default_factory=list)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        done = [line for line in read_jsonl(self.path) if line["step"] <= state.global_step]
        self.steps = [{k: line[k] for k in STEP_KEYS if k in line} for line in done]

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Any = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or "loss" not in (logs or {}):
            return
        self.steps.append(step_numbers(logs, STEP_KEYS))
        if sign := hacking_sign(self.steps, self.config.grpo.stop):
            raise BadLoss(
                f"signs of reward hacking at step {state.global_step}: {sign}; look at the "
                "rewards, write train.grpo.beta above 0 or a lower train.learning_rate, or 0 "
                "for that option to go on"
            )


@dataclass(eq=False)
class Checkpoints(TrainerCallback):
    """Hands every save to Ray Train, which copies it to the run's storage. All ranks save: each
    has files of its own (random state, shards of the optimiser), which Ray merges.

    A save counts once the controller has polled the report (RAY_TRAIN_HEALTH_CHECK_INTERVAL_S);
    a worker killed within that time goes on from the save before."""

    fingerprint: dict[str, Any]

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        saved = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        self.send({"step": state.global_step}, saved, state.is_world_process_zero)

    def send(self, metrics: dict[str, Any], saved: Path, first: bool) -> None:
        """Report metrics with the saved checkpoint; `first`: whether on rank 0."""
        import ray.train

        with tempfile.TemporaryDirectory() as folder:
            # Moved, not copied: Ray copies it to the storage, and resume reads it from there.
            shutil.move(saved, Path(folder) / CHECKPOINT)
            # So that a checkpoint cannot be gone on from with another config (`check_checkpoint`).
            if first:
                write_json(Path(folder) / CHECKPOINT / JOB, self.fingerprint)
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


@dataclass(eq=False)
class Validation(TrainerCallback):
    """Teacher-forced exact match of val rows every `eval_steps` steps; `keep` is called where it
    is the best so far, and training stops after `early_stopping_patience` scores without a
    better one. Every `generate_steps` the model answers them too: exact match by BFCL's rules,
    which is only noted.

    Every rank scores all rows, so all decide alike. The earlier scores are read from
    metrics.jsonl, so a resumed run decides as an undisturbed one."""

    rows: Sequence[dict[str, Any]]
    chat: Chat
    path: Path
    config: TrainConfig
    notes: dict[str, Any]
    keep: Callable[[], None]
    scores: list[float] = field(default_factory=list)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        done = [x for x in read_jsonl(self.path) if x["step"] <= state.global_step]
        scored = [x for x in done if "val_exact_match" in x]
        self.scores = [objective(x["val_exact_match"], x["val_loss"]) for x in scored]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        model, last, config = kwargs["model"], state.global_step >= state.max_steps, self.config
        if state.global_step % config.eval_steps and not last:
            return
        found = teacher_forced(model, self.rows, self.chat.tokenizer.pad_token_id)
        self.notes |= {"val_exact_match": found["exact_match"], "val_loss": found["val_loss"]}
        if (every := config.generate_steps) and (last or state.global_step % every == 0):
            self.notes["val_answered"] = answered(model, self.rows, self.chat)
        self.scores.append(objective(found["exact_match"], found["val_loss"]))
        # `index` gives the first of equal scores: of a tie, the adapter that was trained least.
        best = self.scores.index(max(self.scores))
        if best == len(self.scores) - 1:
            # On every rank, as they all decide alike: a sharded model is gathered to be saved.
            self.keep()
        patience = config.early_stopping_patience
        if patience and len(self.scores) - 1 - best >= patience:
            control.should_training_stop = True
