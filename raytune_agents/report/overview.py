"""The first screen: is it better, where, what was lost, which mix, how sure, what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raytune_agents.evaluate.scoreboard import VAL, main_metric
from raytune_agents.evaluate.verdict import HEADLINE, change_of, ordered_splits
from raytune_agents.report.boards import Figure, interval_row
from raytune_agents.report.charts import intervals
from raytune_agents.report.findings import arm_mixes
from raytune_agents.report.folder import RunContents
from raytune_agents.report.numbers import change_range, metric_change, metric_value
from raytune_agents.report.safe_text import finite, format_number, seconds


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a reader with its answer; `tone`: better, worse, none or ""."""

    question: str
    answer: str
    note: str = ""
    tone: str = ""


def gate_tone(run: RunContents) -> str:
    """What the gate found of the headline arm: kept, lost or open."""
    gate = run.gates.get(run.conclusion.arm)
    return gate.outcome if gate and gate.outcome != "not proven" else "open"


def questions_of(run: RunContents) -> list[Question]:
    """The six questions; one that the run cannot answer yet says so."""
    return [_better(run), _where(run), _lost(run), _mix(run), _sure(run), _cost(run)]


def _better(run: RunContents) -> Question:
    found, cell = run.conclusion, run.headline
    if cell is None or cell.value is None:
        return Question("Is it better?", "not known yet", "no arm has been compared with the base")
    metric = run.metrics[HEADLINE]
    change = metric_change(metric, cell.value)
    note = f"points of {metric.label}, {found.arm} against base on {found.split}"
    return Question("Is it better?", change, note, found.tone)


def _where(run: RunContents) -> Question:
    by = run.differences.get(run.conclusion.arm, {})
    words: dict[str, list[str]] = {"better": [], "worse": [], "": []}
    for split in ordered_splits(by):
        name = main_metric(by[split])
        if name and split != VAL:
            words[change_of(run.metrics[name], by[split][name])].append(split)
    if not any(words.values()):
        return Question("Where?", "not known yet")
    total = sum(map(len, words.values()))
    rest = [f"worse on {', '.join(words['worse'])}"] if words["worse"] else []
    rest += [f"not told apart on {', '.join(words[''])}"] if words[""] else []
    answer = f"{len(words['better'])} of {total} suites"
    tone = "worse" if words["worse"] else "better" if words["better"] else "none"
    better = [f"better on {', '.join(words['better'])}"] if words["better"] else []
    return Question("Where?", answer, "; ".join(better + rest), tone)


def _lost(run: RunContents) -> Question:
    gate, found = run.gates.get(run.conclusion.arm), run.conclusion
    if gate is None:
        return Question("What was lost?", "not measured", "the gate needs the base and an arm")
    own = gate.arm == gate.reference
    base_never_calls = "base hardly ever calls, so that it is right about every row without a call"
    against = base_never_calls if own else f"against {gate.reference}: {gate.words(*gate.metrics)}"
    if found.lost:
        # The gate's reference may be another arm, which lost as much: what base had is said first.
        metrics = f"{len(found.lost)} metric{'s' * (len(found.lost) > 1)}"
        note = f"against base: {', '.join(found.lost)}; {against}"
        return Question("What was lost?", metrics, note, "worse")
    if own:
        return Question("What was lost?", "nothing seen", against)
    if gate.outcome == "lost":
        names = ", ".join(gate.named("lost")).replace("_", " ")
        return Question("What was lost?", names, against, "worse")
    answer, tone = ("nothing", "better") if gate.outcome == "kept" else ("not proven", "none")
    return Question("What was lost?", answer, against, tone)


def _mix(run: RunContents) -> Question:
    mixes = {m.arm: m for m in arm_mixes(run.mix)}
    mix = mixes.get(run.conclusion.arm)
    if mix is None:
        return Question("Which mix?", "not known yet")
    parts = sorted(mix.parts, key=lambda p: -p.share)[:4]
    answer = " / ".join(f"{p.share * 100:.0f}" for p in parts) + "\u00a0%"
    note = f"{', '.join(p.pool for p in parts)} of {format_number(mix.total)} trained tokens"
    advice = run.guidance.get("recommended")
    if isinstance(advice, dict) and advice:
        shares = ", ".join(f"{k} {v * 100:.0f}\u00a0%" for k, v in advice.items() if finite(v))
        note += f"; the search recommends {shares}"
    elif run.trials:
        note += "; the search recommends no other mix"
    return Question("Which mix?", answer, note)


def _sure(run: RunContents) -> Question:
    cell = run.headline
    if cell is None or cell.value is None:
        return Question("How sure?", "not known yet")
    metric = run.metrics[HEADLINE]
    note = f"{run.confidence * 100:.0f} % interval, {cell.n} paired rows, one training seed"
    if cell.detectable is not None:
        note += f"; less than {cell.detectable * 100:.0f} points would often be missed"
    return Question("How sure?", change_range(metric, cell.low, cell.high), note)


def _cost(run: RunContents) -> Question:
    whole = [  # an arm's seconds are in its step's
        m
        for name, m in run.manifests.items()
        if "/" not in name or name.partition("/")[0] not in run.manifests
    ]
    total = sum(finite(m.get("seconds")) or 0.0 for m in whole)
    costs = run.costs.get(run.conclusion.arm, {})
    parts = ["1 step" if len(whole) == 1 else f"{len(whole)} steps"]
    for name in ("train_seconds", "train_rows", "train_peak_memory_mib", "train_energy_j"):
        if (value := costs.get(name)) is not None:
            metric = run.metrics[name]
            parts.append(f"{metric.label} {metric_value(metric, value)}")
    return Question("What did it cost?", seconds(total), ", ".join(parts))


def changes_by_suite(run: RunContents, css: Mapping[str, str]) -> Figure | None:
    """The headline arm's difference to base on every suite, in its main metric."""
    by = run.differences.get(run.conclusion.arm, {})
    rows = []
    for split in ordered_splits(by):
        name = main_metric(by[split])
        cell = by[split].get(name)
        if cell is None or cell.value is None or split == VAL:
            continue
        rows.append(interval_row(split.replace("_", " "), css[run.conclusion.arm], cell))
    if not rows:
        return None
    label = f"{run.conclusion.arm} against base, by suite"
    return Figure(label, intervals(rows, label, "percentage points", format_number, 0.0))
