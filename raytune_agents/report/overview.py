"""The first screen: is it better, where, what was lost, which mix, how sure, what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from raytune_agents.evaluate.gate import least_shown
from raytune_agents.evaluate.scoreboard import VAL, main_metric
from raytune_agents.evaluate.verdict import HEADLINE, change_of, ordered_splits
from raytune_agents.report.boards import BASE, Figure
from raytune_agents.report.charts import intervals
from raytune_agents.report.findings import arm_mixes
from raytune_agents.report.folder import RunContents
from raytune_agents.report.numbers import change_range, metric_change, metric_value
from raytune_agents.report.safe_text import finite, format_number, seconds


class Answer(NamedTuple):
    """What a reader asks first, answered; `tone`: better, worse, none or ""."""

    answer: str
    note: str = ""
    tone: str = ""


def gate_tone(run: RunContents) -> str:
    """What the gate found of the headline arm: kept, lost or open."""
    gate = run.gates.get(run.conclusion.arm)
    return gate.outcome if gate and gate.outcome != "not proven" else "open"


def _better(run: RunContents) -> Answer:
    found, cell = run.conclusion, run.headline
    if cell is None or cell.value is None:
        return Answer("not known yet", "no arm has been compared with the base")
    metric = run.metrics[HEADLINE]
    change = metric_change(metric, cell.value)
    note = f"points of {metric.label}, {found.arm} against base on {found.split}"
    return Answer(change, note, found.tone)


def _where(run: RunContents) -> Answer:
    by = run.differences.get(run.conclusion.arm, {})
    splits: dict[str, list[str]] = {"better": [], "worse": [], "": []}
    for split in ordered_splits(by):
        name = main_metric(by[split])
        if name and split != VAL:
            splits[change_of(run.metrics[name], by[split][name])].append(split)
    if not any(splits.values()):
        return Answer("not known yet")
    words = {"better": "better on", "worse": "worse on", "": "not told apart on"}
    note = "; ".join(f"{words[k]} {', '.join(found)}" for k, found in splits.items() if found)
    answer = f"{len(splits['better'])} of {sum(map(len, splits.values()))} suites"
    tone = "worse" if splits["worse"] else "better" if splits["better"] else "none"
    return Answer(answer, note, tone)


def _lost(run: RunContents) -> Answer:
    gate, lost = run.gates.get(run.conclusion.arm), run.conclusion.lost
    if gate is None:
        return Answer("not measured", "the gate needs the base and an arm")
    judged = bool(gate.reference) and gate.arm != gate.reference
    note = "base hardly ever calls, so that it is right about every row without a call"
    if judged:
        note = f"against {gate.reference}: {gate.words(*gate.metrics)}"
    if lost:
        if judged and gate.reference == BASE:  # which stands before it
            note = gate.words(*gate.metrics)
        # Their sizes stand in the list below the chart.
        labels = ", ".join(found.partition(" (")[0] for found in lost)
        answer = f"{len(lost)} metric{'s' * (len(lost) > 1)}"
        return Answer(answer, f"against base: {labels}; gate: {note}", "worse")
    if not judged:
        return Answer("nothing seen", note)
    if gate.outcome == "lost":
        names = ", ".join(gate.named("lost")).replace("_", " ")
        return Answer(names, note, "worse")
    answer, tone = ("nothing", "better") if gate.outcome == "kept" else ("not proven", "none")
    return Answer(answer, note, tone)


def _mix(run: RunContents) -> Answer:
    mixes = {m.arm: m for m in arm_mixes(run.mix)}
    mix = mixes.get(run.conclusion.arm)
    if mix is None:
        return Answer("not known yet")
    parts = sorted(mix.parts, key=lambda p: -p.share)[:4]
    answer = " / ".join(f"{p.share * 100:.0f}" for p in parts) + "\u00a0%"
    note = f"{', '.join(p.pool for p in parts)} of {format_number(mix.total)} trained tokens"
    advice = run.guidance.get("recommended")
    if isinstance(advice, dict) and advice:
        shares = ", ".join(f"{k} {v * 100:.0f}\u00a0%" for k, v in advice.items() if finite(v))
        note += f"; the search recommends {shares}"
    elif run.trials and "tune" in run.manifests:  # it has ended
        why = run.guidance.get("refused")
        note += f"; the search recommends none{f': {why}' if why else ''}"
    return Answer(answer, note)


def _sure(run: RunContents) -> Answer:
    cell = run.headline
    if cell is None or cell.value is None:
        return Answer("not known yet")
    metric = run.metrics[HEADLINE]
    note = f"{run.confidence * 100:.0f} % interval, one training seed; {least_shown(cell)}"
    return Answer(change_range(metric, cell.low, cell.high), note)


def _cost(run: RunContents) -> Answer:
    whole = [  # an arm's seconds are in its step's
        m
        for name, m in run.manifests.items()
        if "/" not in name or name.partition("/")[0] not in run.manifests
    ]
    total = sum(finite(m.get("seconds")) or 0.0 for m in whole)
    costs = run.costs.get(run.conclusion.arm, {})
    parts = ["1 step" if len(whole) == 1 else f"{len(whole)} steps"]
    if price := finite((run.config.get("budget") or {}).get("usd_per_hour")):
        parts.append(f"{total / 3600 * price:.2f} USD by budget.usd_per_hour")
    for name in ("train_seconds", "train_rows", "train_peak_memory_mib", "train_energy_j"):
        if (value := costs.get(name)) is not None:
            metric = run.metrics[name]
            parts.append(f"{metric.label} {metric_value(metric, value)}")
    return Answer(seconds(total), ", ".join(parts))


# One that the run cannot answer yet says so.
QUESTIONS: dict[str, Callable[[RunContents], Answer]] = {
    "Is it better?": _better,
    "Where?": _where,
    "What was lost?": _lost,
    "Which mix?": _mix,
    "How sure?": _sure,
    "What did it cost?": _cost,
}


def changes_by_suite(run: RunContents, css: Mapping[str, str]) -> Figure | None:
    """The headline arm's difference to base on every suite, in its main metric."""
    by = run.differences.get(run.conclusion.arm, {})
    rows = []
    for split in ordered_splits(by):
        name = main_metric(by[split])
        cell = by[split].get(name)
        if cell is None or cell.value is None or split == VAL:
            continue
        rows.append((split.replace("_", " "), css[run.conclusion.arm], cell))
    if not rows:
        return None
    label = f"{run.conclusion.arm} against base, by suite"
    return Figure(label, intervals(rows, label, "percentage points", zero=0.0))
