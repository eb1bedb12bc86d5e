"""Finished steps for tests that need a run's manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raytune_agents.runs import STARTED, Counts, Step
from raytune_agents.storage import write_json


def finish_step(
    folder: Path,
    config: dict[str, Any] | None = None,
    counts: Counts | None = None,
    inputs: dict[str, str] | None = None,
    **notes: Any,
) -> Step:
    """The step in `folder`, ended over the files that lie there."""
    step = Step(folder.name, folder, config or {}, inputs or {}, seed=17)
    write_json(folder / STARTED, {"key": step.key, "started": 0.0})
    step.finish(counts or Counts(), **notes)
    return step
