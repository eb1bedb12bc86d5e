"""What a training is given (`Job`), the names of the files that it leaves, and what a checkpoint
must share with the run that goes on from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_agents.config import ConfigError, TrainConfig
from raytune_agents.storage import read_json
from raytune_agents.train.column_files import TrainingRows

METRICS, CHECKPOINT, JOB, BAD = "metrics.jsonl", "checkpoint", "job.json", "bad_loss.json"
LIMIT = "max_tokens_per_forward.json"  # after out of memory: what one forward pass may hold
LONGER = 16  # tokens that a written answer may be longer than the gold one
# what a training does on its own account, switched off: a trial scores its own reports
UNWATCHED = {"report_to": [], "eval_steps": 0, "early_stopping_patience": 0}
BEST = "best"  # the adapter with the best val score so far, until it is the adapter


@dataclass(frozen=True)
class Job:
    """Everything a training process needs; plain values, so that it travels to any worker."""

    model: str  # local folder
    dtype: str
    columns: str  # folder of the method's columns, see `column_files`
    method: str
    config: TrainConfig
    chat: dict[str, Any]  # arguments of Chat
    out: str  # folder of adapter/ and metrics.jsonl
    seed: int
    threads: int
    rows: str = ""  # .npy of numbers: which of the columns, in the order of the mix; "" = all
    val: str = ""  # Parquet of input_ids and labels of the rows that are scored, "" = none


def token_limit(job: Job, config: TrainConfig) -> int:
    """The most tokens in one forward pass: the config's, or less after out of memory."""
    known = Path(job.out) / LIMIT
    return read_json(known)["tokens"] if known.is_file() else config.max_tokens_per_forward


def training_rows_of(job: Job) -> TrainingRows:
    """What the job trains on. The links to its files go with the job's folder `ray`."""
    which = Path(job.rows) if job.rows else None
    return TrainingRows.mapped(Path(job.columns), which, Path(job.out) / "ray" / "rows")


def fingerprint(job: Job) -> dict[str, Any]:
    """What a checkpoint must share with the run that goes on from it."""
    return {
        "method": job.method,
        "model": job.model,
        "dtype": job.dtype,
        "seed": job.seed,
        "columns": training_rows_of(job).digest if job.columns else "",
        **{k: v for k, v in job.config.deciding().items() if k != "arms"},
    }


def check_checkpoint(folder: Path, job: Job) -> dict[str, Any]:
    """The trainer state of a checkpoint. Raises ConfigError where it is of another config."""
    saved = read_json(folder / JOB) if (folder / JOB).is_file() else {}
    # Through JSON, as the saved one went: tuples become lists.
    own = json.loads(json.dumps(fingerprint(job)))
    other = sorted(k for k in own if saved and saved.get(k) != own[k])
    if other:
        raise ConfigError(
            f"checkpoint {folder} is of another config: "
            + ", ".join(f"{k}={saved.get(k)!r} there, {own[k]!r} here" for k in other)
            + "; write its values, or another name to start anew"
        )
    return read_json(folder / "trainer_state.json")
