"""Our own Prometheus metrics, through Ray's exporter: `cluster/grafana.json` shows them and vLLM's
(`ray_vllm_...`), which the engines export themselves.

METRICS is all there is. Without a running Ray nothing is counted, so the callers need not ask; a
metric is made on its first use, in the process that uses it."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from raytune_agents.runs import Manifest

METRICS: dict[str, tuple[str, str, tuple[str, ...]]] = {  # name -> (kind, what, labels)
    "raytune_rows": ("Counter", "rows of finished steps", ("run", "step", "outcome")),
    "raytune_faults": ("Counter", "negatives by the fault they have", ("run", "step", "fault")),
    "raytune_tokens": ("Counter", "tokens written by the engine", ("run", "step")),
    "raytune_acceptance": ("Gauge", "share of asked rows that were kept", ("run", "step")),
    "raytune_step_seconds": ("Gauge", "wall time of a finished step", ("run", "step")),
    "raytune_trials": ("Counter", "ended trials", ("run", "stage", "outcome")),
}


@cache
def metric(name: str) -> Any:
    from ray.util import metrics

    kind, what, labels = METRICS[name]
    return getattr(metrics, kind)(name, description=what, tag_keys=labels)


def running() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def add(name: str, value: float, **labels: str) -> None:
    """Count. Nothing happens without Ray, or for nothing."""
    if value > 0 and running():
        metric(name).inc(value, tags=labels)


def set_to(name: str, value: float, **labels: str) -> None:
    """Show a value. Nothing happens without Ray."""
    if running():
        metric(name).set(value, tags=labels)


def finished(run: str, step: str, manifest: Manifest) -> None:
    """What a finished step's manifest says."""
    rows = manifest.rows
    add("raytune_rows", rows.rows_out, run=run, step=step, outcome="out")
    for kind, found in (("rejected", rows.rejected), ("failed", rows.failed)):
        for reason, count in found.items():
            # First words only: a label of every reason with its numbers would make endless series.
            outcome = f"{kind}: {reason.partition(' ')[0][:60]}"
            add("raytune_rows", count, run=run, step=step, outcome=outcome)
    for part in ("mined", "edited"):
        for fault, count in (manifest.notes.get(part) or {}).items():
            add("raytune_faults", count, run=run, step=part, fault=fault)
    set_to("raytune_step_seconds", manifest.seconds, run=run, step=step)
