"""What runs on every Ray Train worker: load, train with the method's TRL trainer, checkpoint, save.

`fit` is the whole loop in one process; Ray Train calls it through `worker`, a Tune trial directly.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from raytune_agents.chat import Chat
from raytune_agents.config import TrainConfig
from raytune_agents.infra.logs import log_in_worker
from raytune_agents.models import bf16, end_ids, give_memory_back, keep_pages
from raytune_agents.runs import BadLoss, OutOfMemory
from raytune_agents.storage import read_json, write_json
from raytune_agents.train import learning_rates, sharding
from raytune_agents.train.batches import micro_batch, order, step_rows, warmup_steps
from raytune_agents.train.job import (
    BAD,
    BEST,
    CHECKPOINT,
    LIMIT,
    METRICS,
    Job,
    check_checkpoint,
    fingerprint,
    token_limit,
    training_rows_of,
)
from raytune_agents.train.methods import method_named

log = logging.getLogger(__name__)
SAME_NAME = {  # options of train that TRL's trainers have under the same name
    *("lr_scheduler_type", "weight_decay", "max_steps", "report_to", "save_steps"),
    "gradient_checkpointing",
}
RESIZE_S = 60.0  # how often Ray looks for room for more workers, where train.num_workers is a span


def trainer_arguments(
    job: Job, config: TrainConfig, count: int, longest: int, scratch: str
) -> dict[str, Any]:
    """The arguments that all TRL trainers share, for `count` rows (those of all epochs, in order)
    of at most `longest` tokens; checkpoints go to folder `scratch` first."""
    size = micro_batch(longest, config, token_limit(job, config))
    accumulated = config.rows_per_step() // size // sharding.world_size()
    half, parameters = bf16(job.dtype), learning_rates.base_parameters(Path(job.model))
    rate = learning_rates.auto_rate(parameters, config, method_named(job.method).rate)
    return sharding.sharding_arguments(config, size, accumulated, half) | {
        **config.model_dump(include=SAME_NAME),
        "output_dir": scratch,
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": accumulated,
        "learning_rate": rate,
        "warmup_steps": warmup_steps(count, config),
        # `count` rows are those of all epochs already (`batches.order`).
        "num_train_epochs": 1,
        "seed": job.seed,
        "data_seed": job.seed,
        "bf16": half,
        "fp16": False,
        "use_cpu": not torch.cuda.is_available(),
        "logging_steps": 1,
        # transformers would log the mean of earlier losses for a NaN, and nobody would stop.
        "logging_nan_inf_filter": False,
        "run_name": Path(job.out).name,
        "project": "raytune-agents",  # of trackio, which stays on this machine
        "save_strategy": "steps",
        # Ray Train keeps the checkpoints; here is only the one that it is about to take.
        "save_total_limit": 1,
        "disable_tqdm": True,
        # The rows have no others: what the model does not take, a collator or a reward reads.
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "optim": "adamw_torch_fused",
        "max_grad_norm": sharding.CLIP,
    }


def build_trainer(job: Job) -> Any:
    """Model, data in training order and the method's trainer. Raises ValueError where there is
    nothing to train on."""
    from transformers import PrinterCallback

    from raytune_agents.train import base_model as models

    torch.set_num_threads(job.threads)
    keep_pages()
    config = job.config
    mixed = training_rows_of(job)
    if not mixed.loss_tokens:
        raise ValueError(f"{job.columns}: no trained tokens; raise mix.tokens or check mix.weights")
    method = method_named(job.method)
    lengths = mixed.lengths.tolist()
    rows_per_step = step_rows(config, len(lengths), method.steps)
    config = config.model_copy(update={"global_batch_size": rows_per_step})
    chosen = order(lengths, rows_per_step, config.num_train_epochs, job.seed)
    spare = {"row_id", "trained_tokens", "length", "shown"} | (set() if method.steps else {"pool"})
    data, ids = mixed.ordered(chosen, without=spare)
    scratch = tempfile.TemporaryDirectory(prefix="raytune-agents-")
    shared = trainer_arguments(job, config, len(chosen), max(lengths), scratch.name)
    announced = sharding.announce(shared)
    model = models.load_model(job.model, job.dtype, config, job.seed)
    # transformers holds it weakly, and reads it while the model loads.
    del announced
    hooks = models.quicken(model, config)
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(Path(job.out) / "tensorboard")
    chat = Chat(**job.chat)
    model.generation_config.eos_token_id = end_ids(model, chat.end_ids)
    trainer = method.trainer(model, chat.tokenizer, data, shared, config)
    # `data` lies in training order already; a sampler would shuffle it again.
    trainer.args.train_sampling_strategy = "sequential"
    trainer.chat, trainer.turns = chat, config.grpo.turns  # what a rollout needs
    trainer.scratch = scratch  # goes with the trainer: no other training finds its checkpoints
    trainer.remove_callback(PrinterCallback)
    models.cast_less(trainer.model, trainer.args.bf16 and config.quantization == "none")
    Path(job.out).mkdir(parents=True, exist_ok=True)
    tokens: list[int] = [lengths[i] for i in chosen]
    trainer.notes = {}
    if method.steps:
        trainer.take_steps(tokens, config, token_limit(job, config), hooks)
    else:
        trainer.largest_pass = (shared["per_device_train_batch_size"], max(lengths))
    # GRPO and RLOO repeat prompts in an order of their own: nobody knows the rows of a step.
    ordered = isinstance(trainer._get_train_sampler(), torch.utils.data.SequentialSampler)
    watch(trainer, job, config, tokens, ids if ordered else [])
    return trainer


def watch(trainer: Any, job: Job, config: TrainConfig, tokens: list[int], ids: Any) -> None:
    """Add what looks on: val rows, the log of every step, signs of reward hacking."""
    from raytune_agents.train import base_model as models
    from raytune_agents.train import callbacks

    method, path, chat = method_named(job.method), Path(job.out) / METRICS, trainer.chat
    if config.eval_steps and job.val:
        val, marker = pq.read_table(job.val).to_pylist(), method.inference_marker(config)
        keep = partial(models.save, trainer, chat, Path(job.out) / BEST, marker)
        trainer.add_callback(callbacks.Validation(val, chat, path, config, trainer.notes, keep))
    trainer.add_callback(callbacks.Metrics(path, tokens, ids, config, trainer.notes))
    if method.samples_answers:
        trainer.add_callback(callbacks.HackingWatch(path, config))


def fit(job: Job, callbacks: Sequence[Any] = (), resume: str | None = None) -> Any:
    """Train to the end (or on from checkpoint folder `resume`) and return the trainer.

    A checkpoint of a finished run is returned as it is: not one step more. Out of memory, it starts
    again with half the tokens in a forward pass, so with the same steps. Raises
    BadLoss, OutOfMemory, ConfigError (a checkpoint of another config)."""
    from raytune_agents.train.trainers import answers_alone

    while True:
        with answers_alone():
            trainer, error = attempt(job, callbacks, resume)
        if error is None:
            return trainer
        rows_at_once, tokens = trainer.largest_pass
        trainer = None
        halve(job, rows_at_once, tokens, error)


def halve(job: Job, rows_at_once: int, tokens: int, error: Exception) -> None:
    """Note that a forward pass of so many rows and tokens was too large. Raises OutOfMemory where
    it was one row, and `error` where other workers wait: Ray Train then starts them all again."""
    if rows_at_once <= method_named(job.method).smallest_batch:
        raise OutOfMemory(
            f"out of memory with {rows_at_once} row at a time; write train."
            "gradient_checkpointing=true, train.quantization=nf4 or a smaller model.max_length"
        ) from error
    # On disk before the error: the workers that Ray starts again read it.
    write_json(Path(job.out) / LIMIT, {"tokens": tokens // 2})
    if sharding.world_size() > 1:
        raise error
    give_memory_back()


def attempt(job: Job, callbacks: Sequence[Any], resume: str | None) -> tuple[Any, Exception | None]:
    """The trainer, and the error where it ran out of memory."""
    from raytune_agents.train.callbacks import keep_until

    state = check_checkpoint(Path(resume), job) if resume else {"global_step": 0, "max_steps": 1}
    try:
        trainer = build_trainer(job)
    except (RuntimeError, MemoryError) as error:
        if not no_memory(error):
            raise
        raise OutOfMemory(
            "out of memory as the model loads; write train.quantization=nf4 or a smaller model"
        ) from None
    for callback in callbacks:
        trainer.add_callback(callback)
    if trainer.is_world_process_zero():
        keep_until(Path(job.out) / METRICS, state["global_step"])
    if state["global_step"] >= state["max_steps"]:
        # Killed between the last checkpoint and the adapter: only the adapter is missing.
        trainer._load_from_checkpoint(resume)
        return trainer, None
    try:
        if not resume and hasattr(trainer, "check_loss"):
            trainer.check_loss()
        trainer.train(resume_from_checkpoint=resume)
    except (RuntimeError, MemoryError) as error:
        if not no_memory(error):
            raise
        return trainer, RuntimeError(str(error))  # the frames of the other hold the model
    return trainer, None


def no_memory(error: Exception) -> bool:
    """Whether torch, or a file that could not be mapped, had no room."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or should_reduce_batch_size(error)


def worker(config: dict[str, Any]) -> None:
    """Ray Train's loop: resume from the last reported checkpoint, train, save the adapter. A bad
    loss is written down and not tried again. `trial`: {report} of a search's trial, which
    scores every checkpoint."""
    import ray.train

    from raytune_agents.train.callbacks import Checkpoints

    log_in_worker()
    job, trial = config["job"], config["trial"]
    bad = Path(job.out) / BAD
    if bad.is_file():
        return
    context = ray.train.get_context()
    callback = checkpoints = Checkpoints(fingerprint(job))
    if trial:
        callback = trial["report"]
        # Of a trial, the score and its checkpoint are one report.
        callback.send = checkpoints.send
    checkpoint = ray.train.get_checkpoint()
    log.info(
        "train: %s, worker %d of %d, %s",
        job.method,
        context.get_world_rank() + 1,
        context.get_world_size(),
        "goes on from a checkpoint" if checkpoint else "begins",
    )
    try:
        with checkpoint.as_directory() if checkpoint else nullcontext() as folder:
            trainer = fit(job, [callback], folder and os.path.join(folder, CHECKPOINT))
    except BadLoss as error:
        write_json(bad, {"message": str(error)})
        if context.get_world_size() > 1:
            raise  # the others wait for this one: only the controller can end them
        return
    save_result(trainer, job, context.get_world_rank() == 0)


def save_result(trainer: Any, job: Job, first: bool) -> None:
    """The adapter: the one with the best val score where val rows were scored, else the last."""
    from raytune_agents.train.base_model import save

    best, out = Path(job.out) / BEST, Path(job.out) / "adapter"
    if not job.val:
        marker = method_named(job.method).inference_marker(job.config)
        save(trainer, Chat(**job.chat), out, marker)
    elif first and best.is_dir():  # else it was moved before a kill
        shutil.rmtree(out, ignore_errors=True)
        # A rename within a folder is atomic: killed before it, `best` is still there.
        os.replace(best, out)


def run_training(
    job: Job,
    name: str,
    storage: Path,
    use_gpu: bool,
    trial: dict[str, Any] | None = None,
    callbacks: Sequence[Any] = (),
    kind: Any = None,
) -> None:
    """One Ray Train run. The same name and storage resume a killed run from its last checkpoint.
    `trial` goes to `worker`, `callbacks` to Ray Train; `kind`: a TorchTrainer of one's own.
    Raises ray.train.TrainingFailedError after max_failures restarts, BadLoss."""
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    config, bad = job.config, Path(job.out) / BAD
    bad.unlink(missing_ok=True)  # of a run before, whose limit may have been raised since
    trainer: Any = (kind or TorchTrainer)(
        worker,
        train_loop_config={"job": job, "trial": trial or {}},
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.num_workers or 1,  # type: ignore[arg-type]
            use_gpu=use_gpu,
            label_selector=config.label_selector or None,
            elastic_resize_monitor_interval_s=RESIZE_S,  # type: ignore[call-arg]
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=str(storage),
            failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
            # Only the last one is ever gone on from; the best adapter is kept apart, in `best`.
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            callbacks=list(callbacks),
        ),
    )
    # Ray Train's own handler of Ctrl-C ends the process with 1 and no word; as in every other step
    # it raises KeyboardInterrupt.
    trainer._register_sigint_handler = lambda controller: None
    trainer.fit()
    if bad.is_file():
        raise BadLoss(read_json(bad)["message"])
