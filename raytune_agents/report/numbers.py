"""How a metric's values, intervals and differences are written, by its unit."""

from __future__ import annotations

from typing import Any

from raytune_agents.evaluate.estimates import Estimate
from raytune_agents.evaluate.gate import as_points
from raytune_agents.evaluate.metrics import Metric
from raytune_agents.report.safe_text import DASH, finite, format_number, seconds

PLAIN = ("", "tokens", "rows", "steps")  # units that stand in the metric's label


def metric_value(metric: Metric, value: Any) -> str:
    """A value with its unit; a dash where there is none."""
    value = finite(value)
    if value is None:
        return DASH
    if metric.unit == "share":
        return f"{value * 100:.1f} %"
    if metric.unit == "s":
        return seconds(value)
    return format_number(value) if metric.unit in PLAIN else f"{format_number(value)} {metric.unit}"


def metric_interval(metric: Metric, low: Any, high: Any) -> str:
    """An interval with one unit, or '' where an end is missing."""
    low, high = finite(low), finite(high)
    if low is None or high is None:
        return ""
    if metric.unit == "share":
        return f"{low * 100:.1f} – {high * 100:.1f} %"
    start = seconds(low) if metric.unit == "s" else format_number(low)
    return f"{start} – {metric_value(metric, high)}"


def estimate_text(metric: Metric, cell: Estimate) -> str:
    """A value with its interval."""
    ends = metric_interval(metric, cell.low, cell.high)
    return metric_value(metric, cell.value) + (f" ({ends})" if ends else "")


def metric_change(metric: Metric, value: Any) -> str:
    """A difference with its sign; of shares in percentage points."""
    value = finite(value)
    if value is None:
        return DASH
    if metric.unit == "share":
        return as_points(value)
    return ("+" if value > 0 else "−" if value < 0 else "") + metric_value(metric, abs(value))


def change_range(metric: Metric, low: Any, high: Any) -> str:
    """The interval of a difference, its unit once."""
    start = metric_change(metric, low).removesuffix(f" {metric.unit}")
    return f"{start} to {metric_change(metric, high)}"
