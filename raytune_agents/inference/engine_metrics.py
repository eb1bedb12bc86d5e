"""vLLM's own metrics, through Ray's exporter. Imported where an engine starts: it loads vLLM."""

from __future__ import annotations

from typing import Any

from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger


class EngineMetrics(RayPrometheusStatLogger):
    """Of the times between two tokens one for each step is kept: its requests get theirs together,
    and Ray's histogram would take as long for 128 of them as a tenth of a step on two cores."""

    def record(self, scheduler_stats: Any, iteration_stats: Any, *rest: Any, **more: Any) -> None:
        if iteration_stats:
            del iteration_stats.inter_token_latencies_iter[1:]
        super().record(scheduler_stats, iteration_stats, *rest, **more)
