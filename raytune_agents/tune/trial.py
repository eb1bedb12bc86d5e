"""One trial: choose rows, train, score at every rung, report.

On one core or GPU the loop runs in the trial's own process; a trial of several workers nests a Ray
Train run (`nested`). The pool is tokenised and on the disk, mapped by every trial; a trial is a
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

import numpy as np
from ray import tune as ray_tune

from raytune_agents import mix
from raytune_agents.models import give_memory_back
from raytune_agents.train.batches import step_rows
from raytune_agents.train.job import UNWATCHED, Job
from raytune_agents.train.methods import method_named
from raytune_agents.tune.axes import Sample
from raytune_agents.tune.trial_report import ReportCallback
from raytune_agents.tune.trial_spec import POINT, TrialInputs, specify


def run_trial(sample: Sample, *, inputs: TrialInputs) -> None:
    """Train one proposal; reports at most `num_rungs` times (once, a confirming run)."""
    from raytune_agents.tune import nested_trial

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
        nested_trial.fit_nested(job, numbers, report, ray_tune.get_context().get_trial_id())
    else:
        train_here(job, numbers, report)


def train_here(job: Job, numbers: np.ndarray, report: ReportCallback) -> None:
    """Train in this process, which the next trial uses again."""
    from raytune_agents.train import worker

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
