"""A trial of several workers: a Ray Train run inside the trial, and its resources given back.

A placement group lives until the job ends where the actor that made it was killed, so a trial that
a scheduler stops would keep its CPUs. Ray's own cleaner asks the dashboard, which a local Ray is
started without, and then stays for ever; it is left out, and `free` asks the GCS.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from raytune_agents.train.worker import Job, run

FOLDER = "workers"  # of the search: a nested run's checkpoints, by trial


def fit(job: Job, data: list[dict[str, Any]], report: Any, trial_id: str) -> None:
    """Train with `tune.num_workers` workers; their reports become the trial's. A trial that was
    killed     goes on from the nested run's own last checkpoint."""
    import ray
    from ray.train.torch import TorchTrainer
    from ray.train.v2._internal.callbacks.placement_group_callback import (
        PlacementGroupCleanerCallback,
    )
    from ray.tune.integration.ray_train import TuneReportCallback

    class Trainer(TorchTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            made = super()._create_default_callbacks()  # type: ignore[misc]
            return [c for c in made if not isinstance(c, PlacementGroupCleanerCallback)]

    storage = Path(job.out) / FOLDER
    run(
        replace(job, out=str(storage / trial_id / "out")),
        trial_id,
        storage,
        use_gpu=bool(ray.cluster_resources().get("GPU")),
        trial={"rows": data, "report": report},
        callbacks=[TuneReportCallback()],
        kind=Trainer,
    )


def free() -> int:
    """Remove the placement groups that dead actors of this job made; how many were left by now."""
    import ray
    from ray._private.state import state
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    left, job = 0, ray.get_runtime_context().get_job_id()
    for text in state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(text)
        of_driver = not group.creator_actor_id.strip(b"\xff")
        gone = group.state == PlacementGroupTableData.REMOVED
        if of_driver or gone or group.creator_job_id.hex() != job:
            continue
        if group.creator_actor_dead:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
        left += 1
    return left


def free_all(timeout_s: float = 30.0) -> None:
    """Wait until the stopped trials have given everything back."""
    stop = time.monotonic() + timeout_s
    while free() and time.monotonic() < stop:
        time.sleep(0.2)
