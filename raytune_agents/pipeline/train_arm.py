"""One training with Ray Train: its job, its columns, its progress; for arms, rounds and trials."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raytune_agents.config import ConfigError, TrainConfig
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.rows import answered_val_rows
from raytune_agents.progress import Bar
from raytune_agents.records import JsonObject, RecordError, to_row
from raytune_agents.runs import Step
from raytune_agents.storage import read_jsonl, whole_file, write_table
from raytune_agents.train import sft
from raytune_agents.train.job import METRICS, Job
from raytune_agents.train.methods import method_named
from raytune_agents.train.reward_hacking import EQUAL


def job_of(
    context: Context, config: TrainConfig, method: str, columns: Path | None, out: Path
) -> Job:
    """The training job of one arm or trial."""
    return Job(
        model=str(context.model),
        dtype=context.config.model.dtype,
        columns=str(columns or ""),
        method=method,
        config=config,
        chat=context.chat.arguments,
        out=str(out),
        seed=context.config.seed,
        threads=context.placement.threads(config.span[1]),
    )


def train_arm(
    context: Context,
    step: Step,
    name: str,
    method: str,
    config: TrainConfig,
    columns: Path,
    numbers: np.ndarray,
) -> None:
    """Ray Train on these columns, in this order, until the adapter is saved; a killed run goes on
    from its checkpoint."""
    from raytune_agents.train import worker

    config = context.placement.train(config)
    order = step.folder / "rows.npy"
    with whole_file(order) as work, work.open("wb") as file:
        np.save(file, numbers)
    job = job_of(context, config, method, columns, step.folder)
    # An arm may have a seed of its own; the step has it.
    job = replace(job, rows=str(order), seed=step.seed)
    if config.eval_steps:
        val = val_columns(context, config, method, config.eval_rows)
        if not val:
            raise ConfigError(
                f"train.eval_steps={config.eval_steps} without val rows; write read.split.val, or 0"
            )
        job = replace(job, val=str(step.folder / "val.parquet"))
        write_table(Path(job.val), pa.Table.from_pylist(val))
    with follow(context, step.folder / METRICS, f"train {name}"):
        # Ray goes on with a run of the same name: the key, so that other rows start anew.
        worker.run_training(job, step.key, step.folder / "ray", context.resources.gpus > 0)
    found = read_jsonl(step.folder / METRICS)
    if equal := [line[EQUAL] for line in found if EQUAL in line]:
        share = sum(equal) / len(equal)
        note = f"{share:.0%} of its groups had equal rewards and taught nothing"
        context.display.say(f"train     {name}: {note}", style="dim")
    # Checkpoints and links: the adapter is all that is kept.
    shutil.rmtree(step.folder / "ray", ignore_errors=True)


@contextmanager
def follow(context: Context, path: Path, name: str) -> Iterator[None]:
    """Show a growing metrics.jsonl as a progress bar while the block runs."""
    stopped = threading.Event()

    def newest() -> JsonObject | None:
        return next((line for line in reversed(read_jsonl(path)) if "of" in line), None)

    before = newest()  # of a killed training

    def watch() -> None:
        with context.display.step(name) as bar:
            if before:
                advance(bar, before, old=True)
            seen = before
            while not stopped.wait(1.0):
                line = newest()
                if line and line != seen:  # else the bar would say that something moves
                    advance(bar, line)
                    seen = line

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def advance(bar: Bar, line: JsonObject, old: bool = False) -> None:
    """Bring the bar to a line of metrics.jsonl. What a killed training did (`old`), and a step back
    to its checkpoint, count as done and start the clock of speed and ETA anew."""
    step, tokens = int(line["step"]), int(line.get("num_tokens", bar.tokens))
    if old or step < bar.done or tokens < bar.tokens:
        bar.done, bar.tokens, bar.before = step, tokens, None
    note = f"loss {line['loss']:.3f}"
    bar.update(step - bar.done, tokens - bar.tokens, total=int(line["of"]), note=note)


def val_columns(
    context: Context, config: TrainConfig, method: str, count: int
) -> list[dict[str, Any]]:
    """Token columns of at most `count` val rows, by id, as the method is asked at inference."""
    marker, made = method_named(method).inference_marker(config), []
    for row in answered_val_rows(context.run.folder):
        if len(made) >= count:
            break
        # One that is longer than the model reads cannot be scored.
        with suppress(RecordError):
            found = sft.columns(row, context.chat, config, None, marker)
            # Scoring stops training: one long row would cost more than all others.
            short = [c for c in found if len(c["input_ids"]) <= 512]
            made += [c | {"row": json.dumps(to_row(row))} for c in short]
    return made[:count]
