"""A trial of several workers: a Ray Train run inside the trial, and its resources given back.

A placement group lives until the job ends where the actor that made it was killed, so a trial that
a scheduler stops would keep its CPUs. Ray's own cleaner asks the dashboard, which a local Ray is
started without; `free` asks the GCS.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from raytune_agents.train.worker import Job, run

FOLDER = "workers"  # of the search: a nested run's checkpoints, by trial


def fit(job: Job, data: list[dict[str, Any]], report: Any, trial_id: str) -> None:
    """Train with `tune.workers` workers; their reports become the trial's. A trial that was killed
    goes on from the nested run's own last checkpoint."""
    import ray
    from ray.tune.integration.ray_train import TuneReportCallback

    storage = Path(job.out) / FOLDER
    run(
        replace(job, out=str(storage / trial_id / "out")),
        trial_id,
        storage,
        use_gpu=bool(ray.cluster_resources().get("GPU")),
        trial={"rows": data, "report": report},
        callbacks=[TuneReportCallback()],
    )


def free() -> int:
    """Remove the placement groups of dead actors; how many groups of actors are left."""
    import ray
    from ray._private.state import state
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    left = 0
    for text in state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(text)
        of_actor = not ray.ActorID(group.creator_actor_id).is_nil()
        if not of_actor or group.state == PlacementGroupTableData.REMOVED:
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
