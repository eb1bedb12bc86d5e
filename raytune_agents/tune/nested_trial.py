"""A trial of several workers: a Ray Train run inside the trial, and its resources given back.

A placement group lives until the job ends where the actor that made it was killed, so a trial that
a scheduler stops would keep its CPUs: its first worker writes down the group that it runs in, and
the search removes that group when the trial has ended. Ray's own cleaner asks the dashboard, which
a local Ray is started without, and would ask for ever; it is left out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback
from ray.util.placement_group import PlacementGroup, remove_placement_group

from raytune_agents.train.job import Job
from raytune_agents.train.worker import run_training
from raytune_agents.tune.trial_report import ReportCallback

FOLDER = "workers"  # of the search: a nested run's checkpoints, by trial
GROUP = "placement_group"  # in a trial's folder: the group of its workers, while it has one


def fit_nested(job: Job, numbers: np.ndarray, report: ReportCallback, trial_id: str) -> None:
    """Train with `tune.num_workers` workers; their reports become the trial's. A trial that was
    killed goes on from the nested run's own last checkpoint."""

    class Trainer(TorchTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            made = super()._create_default_callbacks()  # type: ignore[misc]
            # By name: its module is none that Ray promises to keep.
            return [c for c in made if type(c).__name__ != "PlacementGroupCleanerCallback"]

    storage = Path(job.out) / FOLDER
    report.group_file = storage / trial_id / GROUP
    report.group_file.parent.mkdir(parents=True, exist_ok=True)
    rows = storage / trial_id / "rows.npy"
    np.save(rows, numbers)
    run_training(
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
    for file in (search / FOLDER).glob(f"{trial_id}/{GROUP}"):
        group = ray.PlacementGroupID(bytes.fromhex(file.read_text(encoding="utf-8")))
        remove_placement_group(PlacementGroup(group))
        file.unlink(missing_ok=True)
