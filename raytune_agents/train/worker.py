"""What runs on every Ray Train worker: load, train with the method's TRL trainer, checkpoint, save.

`fit` is the whole loop in one process; Ray Train calls it through `worker`, a Tune trial directly.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_agents.config import TrainSection


@dataclass(frozen=True)
class Job:
    """Everything a training process needs; plain values, so that it travels to any worker."""

    model: str  # local folder
    dtype: str
    columns: str  # Parquet of the method's columns
    method: str
    section: dict[str, Any]  # a dumped TrainSection
    chat: dict[str, Any]  # arguments of Chat
    out: str  # folder of adapter/ and metrics.jsonl
    seed: int
    threads: int


class BadLoss(RuntimeError):
    """The loss is not a number; the message says at which step."""


def micro_batch(longest: int, section: TrainSection) -> int:
    """Rows in one forward pass: the largest divisor of batch_rows that keeps rows * longest within
    batch_tokens, at least 1. Equal steps and equal loss for every choice."""
    fits = [
        d
        for d in range(1, section.batch_rows + 1)
        if section.batch_rows % d == 0 and d * longest <= section.batch_tokens
    ]
    return max(fits, default=1)


def warmup_steps(count: int, section: TrainSection) -> int:
    """Whole steps of warm-up for `count` rows; the first has learning rate 0, so a share of less
    than one step is none."""
    steps = math.ceil(math.ceil(count / section.batch_rows) * section.epochs)
    return int(section.warmup_share * (section.max_steps if section.max_steps > 0 else steps))


def arguments(
    job: Job, section: TrainSection, count: int, longest: int, workers: int = 1
) -> dict[str, Any]:
    """The arguments that all TRL trainers share, for `count` rows of at most `longest` tokens."""
    micro = micro_batch(longest, section)
    return {
        "output_dir": str(Path(tempfile.gettempdir()) / "raytune-agents" / str(os.getpid())),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": max(1, section.batch_rows // micro // workers),
        "learning_rate": section.learning_rate,
        "lr_scheduler_type": section.scheduler,
        "warmup_steps": warmup_steps(count, section),
        "weight_decay": section.weight_decay,
        "num_train_epochs": section.epochs,
        "max_steps": section.max_steps,
        "seed": job.seed,
        "data_seed": job.seed,
        "bf16": False,
        "fp16": False,
        "logging_steps": 1,
        "report_to": [],
        "save_strategy": "steps",
        "save_steps": section.save_steps,
        "save_total_limit": 1,
        "gradient_checkpointing": section.gradient_checkpointing,
        "disable_tqdm": True,
        "remove_unused_columns": True,
        "dataloader_pin_memory": False,
        "optim": "adamw_torch_fused",
        "max_grad_norm": 1.0,
    }


def row_length(row: dict[str, Any]) -> int:
    """Padded tokens that a row of columns becomes; a pair (and a KTO row with its mismatched twin)
    is two sequences."""
    if "length" in row:
        return row["length"]
    if "input_ids" in row:
        return len(row["input_ids"])
    sides = ("chosen_ids", "rejected_ids", "completion_ids")
    return 2 * (len(row["prompt_ids"]) + max(len(row[k]) for k in sides if k in row))


def build(job: Job, rows: list[dict[str, Any]] | None = None, workers: int = 1) -> Any:
    """Model, data (`rows`, else the Parquet of the job) and the method's trainer.
    Raises ValueError where there is nothing to train on."""
    import pyarrow.parquet as pq
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback

    from raytune_agents.chat import Chat
    from raytune_agents.train import model as models
    from raytune_agents.train.methods import METHODS

    torch.set_num_threads(job.threads)
    section = TrainSection(**job.section)
    rows = pq.read_table(job.columns).to_pylist() if rows is None else rows
    if not rows or not sum(r["trained_tokens"] for r in rows):
        raise ValueError(
            f"{job.columns or job.out}: no trained tokens; raise mix.tokens or check mix.weights"
        )
    spare = ("row_id", "pool", "trained_tokens", "length")
    data = Dataset.from_list([{k: v for k, v in r.items() if k not in spare} for r in rows])
    model = models.load(job.model, job.dtype, section.lora, job.seed)
    shared = arguments(job, section, len(rows), max(map(row_length, rows)), workers)
    make = METHODS[job.method].trainer
    trainer = make(model, Chat(**job.chat).tokenizer, data, shared, section)
    trainer.remove_callback(PrinterCallback)
    return trainer


def metrics_callback(path: Path) -> Any:
    """A TRL callback that appends one line a logging step to metrics.jsonl and stops on a bad
    loss."""
    from transformers import TrainerCallback

    from raytune_agents.train.model import peak_memory_mib

    class Metrics(TrainerCallback):
        started = time.monotonic()
        seen = 0.0

        def on_log(self, args, state, control, logs=None, **kwargs):
            if not state.is_world_process_zero or "loss" not in (logs or {}):
                return
            loss = float(logs["loss"])
            now = time.monotonic()
            tokens = float(logs.get("num_tokens", 0.0))
            line = {
                "step": state.global_step,
                "of": state.max_steps,
                "loss": loss,
                "tokens_per_s": round((tokens - self.seen) / max(now - self.started, 1e-9), 1),
                "peak_memory_mib": round(peak_memory_mib(), 1),
                "time": round(time.time(), 3),
            }
            line |= {
                k: float(v)
                for k, v in logs.items()
                if k != "loss" and isinstance(v, int | float | str)
            }
            Metrics.started, Metrics.seen = now, tokens
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if not math.isfinite(loss):
                raise BadLoss(
                    f"loss {loss} at step {state.global_step}; lower train.learning_rate "
                    f"(now {args.learning_rate})"
                )

    return Metrics()


def fit(
    job: Job,
    callbacks: Sequence[Any] = (),
    resume: str | None = None,
    workers: int = 1,
    rows: list[dict[str, Any]] | None = None,
) -> Any:
    """Train to the end (or on from checkpoint folder `resume`) and return the trainer.

    A checkpoint of a finished run is returned as it is: not one step more.
    """
    trainer = build(job, rows, workers)
    Path(job.out).mkdir(parents=True, exist_ok=True)
    for callback in (metrics_callback(Path(job.out) / "metrics.jsonl"), *callbacks):
        trainer.add_callback(callback)
    if resume:
        state = json.loads((Path(resume) / "trainer_state.json").read_text())
        if state["global_step"] >= state["max_steps"]:
            trainer._load_from_checkpoint(resume)
            return trainer
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def worker(config: dict[str, Any]) -> None:
    """Ray Train's loop: resume from the last reported checkpoint, train, save the adapter on rank
    0."""
    import ray.train
    from ray.train.huggingface.transformers import RayTrainReportCallback

    from raytune_agents.chat import Chat
    from raytune_agents.train.model import save_adapter

    job = Job(**config)
    context = ray.train.get_context()
    checkpoint = ray.train.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            resume = os.path.join(folder, RayTrainReportCallback.CHECKPOINT_NAME)
            trainer = fit(job, [RayTrainReportCallback()], resume, context.get_world_size())
    else:
        trainer = fit(job, [RayTrainReportCallback()], None, context.get_world_size())
    if context.get_world_rank() == 0:
        save_adapter(
            trainer.accelerator.unwrap_model(trainer.model),
            Chat(**job.chat),
            Path(job.out) / "adapter",
        )


def run(job: Job, name: str, storage: Path, workers: int, use_gpu: bool) -> None:
    """One Ray Train run. The same name and storage resume a killed run from its last checkpoint.
    Raises ray.train.TrainingFailedError after max_failures restarts."""
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    section = TrainSection(**job.section)
    trainer = TorchTrainer(
        worker,
        train_loop_config=job.__dict__,
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=workers, use_gpu=use_gpu),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=str(storage),
            failure_config=ray.train.FailureConfig(max_failures=section.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
        ),
    )
    trainer.fit()
