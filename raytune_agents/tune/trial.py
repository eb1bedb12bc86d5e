"""One trial: choose rows, train, score at every rung, report.

On one core or GPU the loop runs in the trial's own process; a trial of several workers nests a Ray
Train run. The pool is tokenised and on the disk, mapped by every trial; a trial is a
weighted choice of it. A trial that was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune as ray_tune
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback
from ray.util.placement_group import PlacementGroup, remove_placement_group

from raytune_agents import mix
from raytune_agents.models import give_memory_back
from raytune_agents.train import worker
from raytune_agents.train.batches import step_rows
from raytune_agents.train.job import UNWATCHED, Job
from raytune_agents.train.methods import method_named
from raytune_agents.tune.axes import Sample
from raytune_agents.tune.trial_report import ReportCallback
from raytune_agents.tune.trial_spec import POINT, TrialInputs, specify

WORKERS = "workers"  # of the search: a nested run's checkpoints, by trial
GROUP = "placement_group"  # in a trial's folder: the group of its workers, while it has one


def run_trial(sample: Sample, *, inputs: TrialInputs) -> None:
    """Train one proposal; reports at most `num_rungs` times (once, a confirming run)."""
    started = time.time()
    spec = specify(sample.get(POINT, sample), inputs)
    pool = inputs.pools[spec.text]
    # The mix step gives rows without a call their share; a trial's mix must be the one it trains.
    rows, weights = mix.with_no_call(pool.counted, spec.weights, spec.no_call)
    chosen = mix.choose_rows(rows, weights, spec.tokens, spec.max_epochs, spec.seed)
    numbers = pool.numbers(pool.positions(chosen.ids))
    # A save needs a step: the one of the base model has a rate that moves no weight.
    rows_per_step = step_rows(spec.options, len(numbers), method_named(spec.method).steps)
    steps = 1 if spec.untrained else math.ceil(len(numbers) / rows_per_step)
    every = math.ceil(steps / (inputs.tune.num_rungs if spec.reports else 1))
    # A report is made at a save, so rungs are saves.
    own = {"save_steps": every, "max_steps": steps, "global_batch_size": rows_per_step}
    options = spec.options.model_copy(update=own | UNWATCHED)
    job = replace(
        inputs.job, method=spec.method, config=options, columns=str(pool.folder), seed=spec.seed
    )
    # It goes to other processes with its inputs, and reads no pool.
    tokens = 0 if spec.untrained else sum(chosen.tokens.values())
    report = ReportCallback(replace(inputs, pools={}), spec, tokens, started)
    if inputs.tune.num_workers > 1:
        fit_nested(job, numbers, report, ray_tune.get_context().get_trial_id())
    else:
        train_here(job, numbers, report)


def train_here(job: Job, numbers: np.ndarray, report: ReportCallback) -> None:
    """Train in this process, which the next trial uses again."""
    # Scratch: what is reported is copied by Ray, the rest is of no use to anyone.
    out = Path(tempfile.mkdtemp(prefix="raytune-agents-trial-"))
    job = replace(job, out=str(out), rows=str(out / "rows.npy"))
    np.save(job.rows, numbers)
    checkpoint = ray_tune.get_checkpoint()
    try:
        with checkpoint.as_directory() if checkpoint else nullcontext() as folder:
            worker.fit(job, [report], folder)
    finally:
        shutil.rmtree(job.out, ignore_errors=True)
        give_memory_back()


def fit_nested(job: Job, numbers: np.ndarray, report: ReportCallback, trial_id: str) -> None:
    """Train with `tune.num_workers` workers; their reports become the trial's. A trial that was
    killed goes on from the nested run's own last checkpoint.

    A placement group lives until the job ends where the actor that made it was killed, so a trial
    that a scheduler stops would keep its CPUs: its first worker writes down the group that it runs
    in, and the search removes that group when the trial has ended. Ray's own cleaner asks the
    dashboard, which a local Ray is started without, and would ask for ever; it is left out.
    """

    class Trainer(TorchTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            made = super()._create_default_callbacks()  # type: ignore[misc]
            # By name: its module is none that Ray promises to keep.
            return [c for c in made if type(c).__name__ != "PlacementGroupCleanerCallback"]

    storage = Path(job.out) / WORKERS
    report.group_file = storage / trial_id / GROUP
    report.group_file.parent.mkdir(parents=True, exist_ok=True)
    rows = storage / trial_id / "rows.npy"
    np.save(rows, numbers)
    worker.run_training(
        replace(job, out=str(storage / trial_id / "out"), rows=str(rows)),
        trial_id,
        storage,
        # The cluster's, not this process's: a trial that only waits for its workers holds no GPU.
        use_gpu=bool(ray.cluster_resources().get("GPU")),
        trial={"report": report},
        callbacks=[TuneReportCallback()],
        kind=Trainer,
    )


def free_workers(search: Path, trial_id: str = "*") -> None:
    """Remove the placement groups of the trials of this search that have ended."""
    for file in (search / WORKERS).glob(f"{trial_id}/{GROUP}"):
        group = ray.PlacementGroupID(bytes.fromhex(file.read_text(encoding="utf-8")))
        remove_placement_group(PlacementGroup(group))
        file.unlink(missing_ok=True)
