"""The sections of the page: findings of one run with their charts, as the template shows them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raytune_agents.evaluate.estimates import Estimate
from raytune_agents.evaluate.measured import values_by_row
from raytune_agents.evaluate.verdict import HEADLINE, change_of, ordered_splits
from raytune_agents.records import Trajectory
from raytune_agents.report import cases as answered
from raytune_agents.report import charts, findings, lineage
from raytune_agents.report.boards import (
    BASE,
    PERCENT,
    BoardCell,
    Figure,
    Grid,
    arms_in_order,
    hardest_split,
)
from raytune_agents.report.cases import Case
from raytune_agents.report.folder import RunContents
from raytune_agents.report.numbers import change_range, metric_change, metric_value
from raytune_agents.report.safe_text import DASH, clip, format_number, moment

DETAILED = 12  # lines of a table by call count, source or tool

# --- data ---


def data_charts(run: RunContents) -> list[Figure]:
    """Synthetic rows left after each check, faults of the negative rows, reasons of the rejected
    ones."""
    faults = findings.tally((g.fault, g.n) for g in run.groups if g.fault)
    reasons = findings.tally((g.reject_reason, g.n) for g in run.groups if g.reject_reason)
    left = findings.left_after(run.manifests.get("generate", {}).get("funnel") or [])
    return [
        Figure(title, charts.bars(rows, title, css), f"{format_number(total)} rows")
        for title, rows, css, total in (
            ("Synthetic rows left after each check", left, "c2", left[0][1] if left else 0),
            ("Faults of negative rows", faults, "c1", sum(n for _, n in faults)),
            ("Rejected rows", reasons, "c0", sum(n for _, n in reasons)),
        )
        if rows
    ]


# --- arms ---


def cost_charts(
    run: RunContents, cases: Sequence[Case], arms: Sequence[str], css: Mapping[str, Any]
) -> list[Figure]:
    """Exact match on the hardest split against what each arm costs, as figures."""
    split = hardest_split(run)
    trained = {m.arm: m.total for m in findings.arm_mixes(run.mix)}
    axes = {
        "mean tokens of an answer": lambda arm: answer_tokens(cases, arm, split),
        "trained tokens": lambda arm: trained.get(arm, 0 if arm == BASE and trained else None),
    }
    found = []
    for title, cost in axes.items():
        points = []
        for arm in arms:
            x, y = cost(arm), score_of(run, arm, split)
            if x is not None and y is not None:
                note = f"{arm}: {y * 100:.1f} % at {format_number(x)} {title}"
                points.append({"name": arm, "x": x, "y": y * 100, "css": css[arm], "note": note})
        if len(points) > 1:
            front = findings.undominated((p["x"], p["y"]) for p in points)
            chart = charts.scatter(points, f"exact match against {title}", title, PERCENT, front)
            found.append(Figure(f"Exact match on {split} against {title}", chart))
    return found


def answer_tokens(cases: Sequence[Case], arm: str, split: str) -> float | None:
    """Mean tokens of an arm's answers on a split."""
    rows = [c.answers[arm] for c in cases if c.split == split and arm in c.answers]
    found = values_by_row(rows, "output_tokens")
    return sum(found.values()) / len(found) if found else None


def score_of(run: RunContents, arm: str, split: str) -> float | None:
    cell = run.scores.get(arm, {}).get(split, {}).get(HEADLINE)
    return None if cell is None else cell.value


def learning(run: RunContents, css: Mapping[str, str]) -> tuple[Figure, list[str]] | None:
    """Exact match on the hardest split against the rows trained on, and the arms that were trained
    on shares of their data too (`train.curve`); the base has 0 rows."""
    split = hardest_split(run)
    arms = (run.config.get("train") or {}).get("arms") or {}

    def point(arm: str) -> tuple[float, float] | None:
        rows = 0.0 if arm == BASE else run.costs.get(arm, {}).get("train_rows")
        value = score_of(run, arm, split)
        return None if rows is None or value is None else (rows, value * 100)

    series = {}
    for arm in arms:
        less = [n for n in arms if n.rpartition("-")[0] == arm and arms[n].get("share", 1) < 1]
        points = [p for name in (BASE, *less, arm) if (p := point(name)) is not None]
        if less and arm in css and len(points) == len(less) + 2:
            series[arm] = sorted(points)
    title = f"Exact match on {split} by rows trained on"
    chart = charts.line_chart(series, css, title, "rows trained on", dots=True)
    return (Figure(title, chart), list(series)) if chart else None


@dataclass
class BeforeAfter:
    """The headline arm (or the last one that answered) against base, row by row."""

    arm: str
    split: str
    counts: dict[str, int]
    cases: list[Case]


def before_after(
    run: RunContents, cases: Sequence[Case], arms: Sequence[str]
) -> BeforeAfter | None:
    others = [n for n in arms if n != BASE and any(n in c.answers for c in cases)]
    best = run.conclusion.arm
    arm = best if best in others else next(reversed(others), "")
    if not arm or not any(BASE in c.answers for c in cases):
        return None
    split = run.conclusion.split or ordered_splits({c.split for c in cases})[0]
    counts = answered.change_counts(cases, arm, split)
    return BeforeAfter(arm, split, counts, answered.telling_cases(cases, arm, split))


# --- robustness ---


def robustness_section(
    run: RunContents, arms: Sequence[str], css: Mapping[str, str]
) -> tuple[list[Figure], Grid]:
    """What each perturbation costs each arm in exact match: a chart per arm, and a table."""
    metric, figures = run.metrics[HEADLINE], []
    names = dict.fromkeys(name for by in run.robustness.values() for name in by)
    cells: dict[str, dict[str, BoardCell]] = {}  # arm -> perturbation -> cell
    for arm in arms:
        rows = []
        for name in names:
            drop = run.robustness.get(arm, {}).get(name, {}).get(HEADLINE)
            if drop is not None and drop.value is not None:
                rows.append((name.replace("_", " "), css[arm], drop))
                levels = (metric_value(metric, v) for v in (drop.clean, drop.perturbed))
                change = metric_change(metric, drop.value)
                span = change_range(metric, drop.low, drop.high)
                cells.setdefault(arm, {})[name] = BoardCell(
                    " → ".join(levels), "", drop.n, change, span, word=change_of(metric, drop)
                )
        label = f"change of {arm}"
        chart = charts.intervals(rows, label, "points of exact match", zero=0.0)
        figures.append(Figure(arm, chart))
    lines = [
        (name.replace("_", " "), [max(c.n for c in found if c), *(c or DASH for c in found)])
        for name in names
        if any(found := [by.get(name) for by in cells.values()])
    ]
    return figures, Grid("Robustness", ["perturbation", "rows", *cells], lines)


# --- where it fails ---


def details(cases: Sequence[Case], arms: Sequence[str]) -> dict[str, list[answered.ShareLine]]:
    """Exact match by number of calls, source and tool, where there are several."""
    keys = {
        "number of calls": lambda c: c.calls,
        "category": lambda c: c.source,
        "tool": lambda c: c.tool,
    }
    found = {title: answered.shares_by(cases, arms, key) for title, key in keys.items()}
    return {title: lines for title, lines in found.items() if len(lines) > 1}


def detail_grid(title: str, lines: Sequence[answered.ShareLine], arms: Sequence[str]) -> Grid:
    """The DETAILED largest of them, a column per arm."""

    def shown(cell: Estimate | None) -> BoardCell | str:
        if cell is None or cell.value is None or cell.low is None or cell.high is None:
            return DASH
        return BoardCell(
            f"{cell.value * 100:.0f} %", f"{cell.low * 100:.0f} – {cell.high * 100:.0f}"
        )

    rows = [
        (line.name or "(none)", [line.n, *(shown(line.cells.get(arm)) for arm in arms)])
        for line in lines[:DETAILED]
    ]
    lead = "All splits that were answered, with 95 % Wilson intervals."
    if more := len(lines) - len(rows):
        lead += f" {more} more with fewer rows are in report/where.csv."
    return Grid(f"Exact match by {title}", [title, "rows", *arms], rows, lead)


def fault_charts(
    cases: Sequence[Case], arms: Sequence[str], css: Mapping[str, Any]
) -> list[Figure]:
    """What each arm gets wrong: the same faults in the same order on the same scale; answers cut at
    the limit come first, because their limit and not their model may be at fault."""
    counts = {arm: answered.fault_tally(cases, arm) for arm in arms}
    total = sum(counts.values(), Counter())
    order = sorted(total, key=lambda name: (name != "cut", -total[name], name))
    top = max((n for c in counts.values() for n in c.values()), default=0)
    found = []
    for arm in arms if top else []:
        rows = [(name, counts[arm][name]) for name in order]
        note = f"{format_number(counts[arm].total())} wrong answers, all splits"
        found.append(Figure(arm, charts.bars(rows, f"faults of {arm}", css[arm], top), note))
    return found


def confused_tools(cases: Sequence[Case], arms: Sequence[str]) -> Grid:
    """How often each tool was chosen instead of gold's, the most frequent first."""
    counts = {arm: answered.tool_choices(cases, arm) for arm in arms}
    pairs = findings.tally(
        ((gold, got), n) for c in counts.values() for (gold, got), n in c.items() if gold != got
    )
    lines = [
        (key[0], [key[1], *(counts[arm].get(key, 0) for arm in arms)])
        for key, _ in pairs
        if isinstance(key, tuple)
    ]
    lead = "The first call of each answer: how often another tool was chosen than the right one."
    head = ["right tool", "chosen", *arms]
    return Grid("Chosen against right tool", head, lines, lead, words=["chosen"])


@dataclass
class ErrorBrowser:
    """Wrong cases; `origin` by id: the rows that a case was made from, each with its verdict. Names
    stay out of attributes: the filter of the page compares numbers."""

    cases: list[Case]
    origin: dict[str, list[tuple[Trajectory, str]]]
    faults: list[str]
    splits: list[str]
    tools: list[str]
    arms: list[str]
    total: int


def error_browser(run: RunContents, cases: Sequence[Case], most: int) -> ErrorBrowser:
    chosen = answered.wrong_cases(cases, most)
    known = lineage.ancestors(run.path, [c.id for c in chosen])
    return ErrorBrowser(
        chosen,
        {
            c.id: [(row, lineage.row_verdict(row)) for row in lineage.chain(c.id, known)[0]]
            for c in chosen
        },
        faults=sorted({f for c in chosen for f in c.faults}, key=lambda f: (f != "cut", f)),
        splits=ordered_splits({c.split for c in chosen}),
        tools=sorted({c.tool for c in chosen}),
        arms=arms_in_order(arm for c in chosen for arm in c.answers),
        total=sum(bool(c.faults) for c in cases),
    )


# --- reproduce ---


def run_facts(run: RunContents) -> dict[str, str]:
    """What it takes to repeat the run: seed, revision, hardware, versions of all manifests
    together; what differs between steps stands with "/" between."""
    found: dict[str, dict[str, None]] = {"seed": {str(run.config.get("seed", DASH)): None}}
    for key in ("revision", "commit", "hardware", "versions"):
        for manifest in run.manifests.values():
            value = manifest.get(key)
            for name, v in (value if isinstance(value, dict) else {key: value}).items():
                if v is not None:
                    text = v if isinstance(v, str) else json.dumps(v, default=str)
                    found.setdefault(name, {})[text] = None
    return {name: " / ".join(values) for name, values in found.items()}


def step_grid(run: RunContents) -> Grid:
    """When each step ran, its key, and the hashes of what it read."""
    lines = []
    for step, m in run.manifests.items():
        inputs = m.get("inputs")
        read = inputs.items() if isinstance(inputs, dict) else []
        hashes = ", ".join(f"{name} {clip(value, 24)}" for name, value in read)
        times = [moment(m.get(k)) for k in ("started", "finished")]
        lines.append((step, [str(m.get("key") or ""), *times, hashes]))
    head = ["step", "key", "started", "finished", "inputs"]
    return Grid("Steps and their keys", head, lines, words=head)
