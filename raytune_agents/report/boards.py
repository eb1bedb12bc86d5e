"""The tables of arms: scores by split, overall, latency, confidence, cost; and public anchors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NamedTuple

from raytune_agents.evaluate.estimates import Estimate
from raytune_agents.evaluate.measured import IRRELEVANCE, AnswerRow
from raytune_agents.evaluate.metrics import (
    COST_METRICS,
    LATENCY_METRICS,
    METRICS,
    Metric,
    metric_named,
)
from raytune_agents.evaluate.paired import Difference
from raytune_agents.evaluate.scoreboard import VAL, Board, first_columns, main_metric
from raytune_agents.evaluate.verdict import HEADLINE, change_of, ordered_splits
from raytune_agents.report.canvas import Chart, colour
from raytune_agents.report.charts import intervals
from raytune_agents.report.folder import RunContents
from raytune_agents.report.numbers import (
    change_range,
    estimate_text,
    metric_change,
    metric_interval,
    metric_value,
)
from raytune_agents.report.safe_text import DASH, format_number
from raytune_agents.storage import yaml_beside

PERCENT = "{:.3g} %".format
BASE = "base"
# Public models' figures, in BFCL's categories.
ANCHORS = yaml_beside(__file__, "anchors.yaml")


class Figure(NamedTuple):
    """A chart under its title, with a note beside it."""

    title: str
    chart: Chart
    note: str = ""


@dataclass(frozen=True, slots=True)
class BoardCell:
    """A score and its difference to base as text; `word`: better, worse or ""."""

    value: str
    interval: str = ""
    n: int = 0
    change: str = ""
    range: str = ""
    p: float | None = None
    word: str = ""


GridLine = tuple[str, Sequence[str | float | BoardCell]]


@dataclass
class Grid:
    """A table of the page: lines of a name and its cells; `head` names the column of names too,
    `words` the columns that hold no figures."""

    title: str
    head: Sequence[str]
    lines: Sequence[GridLine]
    lead: str = ""
    words: Sequence[str] = ()


@dataclass
class SplitBoard:
    """One split: `main` metrics of the first table, `more` of them, a cell per arm and metric."""

    split: str
    n: int
    main: list[Metric]
    more: list[Metric]
    cells: dict[str, dict[str, BoardCell]]
    figures: list[Figure] = field(default_factory=list)


def arms_in_order(*names: Iterable[str]) -> list[str]:
    """All arms in the order they are first named, the base and its baselines first."""
    found = dict.fromkeys(name for part in names for name in part)
    return sorted(found, key=lambda name: not (name == BASE or name.startswith(f"{BASE}_")))


def arm_colours(arms: Iterable[str]) -> dict[str, str]:
    """CSS class of every arm; the base is grey."""
    others = [arm for arm in arms if arm != BASE]
    return {BASE: colour(0)} | {arm: colour(i + 1) for i, arm in enumerate(others)}


def scored_splits(run: RunContents) -> list[str]:
    """Every split that was scored, the hardest first."""
    return ordered_splits({s for by in run.scores.values() for s in by})


def hardest_split(run: RunContents) -> str:
    """The split that headlines are of, "" without scores."""
    return next(iter(scored_splits(run)), "")


def repeats(name: str, scores: Mapping[str, Mapping[str, Estimate]]) -> bool:
    """Whether a metric of optimal matching is that of greedy matching in every arm."""
    greedy = name.removesuffix("_optimal")
    return greedy != name and all(by.get(name) == by.get(greedy) for by in scores.values())


def split_board(run: RunContents, split: str, css: Mapping[str, str]) -> SplitBoard:
    scores = {arm: by.get(split, {}) for arm, by in run.scores.items()}
    changes = {arm: run.differences.get(arm, {}).get(split, {}) for arm in run.scores}
    names = dict.fromkeys(m for board in (scores, changes) for by in board.values() for m in by)
    known = sorted(names, key=lambda n: list(METRICS).index(n) if n in METRICS else len(METRICS))
    metrics = {n: metric_named(n, run.metrics) for n in known}
    cells = {
        arm: {
            name: _cell(m, scores[arm].get(name, Estimate()), changes[arm].get(name))
            for name, m in metrics.items()
        }
        for arm in scores
    }
    main = first_columns(scores, metrics, {m for by in changes.values() for m in by})
    more = [m for m in metrics.values() if m not in main and not repeats(m.name, scores)]
    sizes = [c.n for m in main for by in cells.values() if (c := by[m.name]).n]
    board = SplitBoard(split, max(sizes, default=0), main, more, cells)
    board.figures = _figures(run, split, css, main)
    return board


def _cell(metric: Metric, score: Estimate, change: Difference | None) -> BoardCell:
    value = metric_value(metric, score.value)
    interval = metric_interval(metric, score.low, score.high)
    if change is None or change.value is None:
        return BoardCell(value, interval, score.n)
    p = change.p if change.p_holm is None else change.p_holm
    return BoardCell(
        value,
        interval,
        score.n or change.n,
        metric_change(metric, change.value),
        change_range(metric, change.low, change.high),
        p,
        change_of(metric, change),
    )


def _figures(
    run: RunContents, split: str, css: Mapping[str, str], main: list[Metric]
) -> list[Figure]:
    """The charts of a split's first metric and of its difference to base."""
    names = {m.name: m for m in main}
    metric = names.get(main_metric(names)) or next(iter(main), METRICS[HEADLINE])
    share = metric.unit == "share"
    shown: Callable[[float], str] = PERCENT if share else format_number
    scale, unit = (100, "percentage points") if share else (1, metric.label)

    def rows(board: Board[Any]) -> list[tuple[str, str, Any]]:
        cells = {arm: by.get(split, {}).get(metric.name) for arm, by in board.items()}
        return [(arm, css[arm], c) for arm, c in cells.items() if c and c.value is not None]

    level = intervals(
        rows(run.scores), f"{metric.label} on {split}", metric.label, shown, scale=scale
    )
    title = f"Difference to base on {split}"
    change = intervals(rows(run.differences), title, unit, zero=0.0, scale=scale)
    return [Figure(metric.label.capitalize(), level), Figure("Difference to base", change)]


# --- beside the splits ---


def latency_grid(run: RunContents) -> Grid:
    """What a user waits for, by arm and load."""
    lines: list[GridLine] = []
    for arm, by in run.latency.items():
        for load in sorted(by, key=int):
            cells = [by[load].get(m.name, Estimate()) for m in LATENCY_METRICS]
            words = map(estimate_text, LATENCY_METRICS, cells)
            lines.append((arm, [load, *words, max(c.n for c in cells)]))
    head = ["arm", "requests at once", *(m.label for m in LATENCY_METRICS), "requests"]
    lead = "Requests asked one at a time, and so many at once; medians with their intervals."
    return Grid("Latency", head, lines, lead)


def quantized_grid(run: RunContents) -> Grid:
    """An arm by the kind of its weights: share right, time and memory."""
    right, taken = METRICS["exact_match"], METRICS["end_to_end_ms"]
    lines: list[GridLine] = []
    for arm, by in run.quantized.items():
        for kind, cells in by.items():
            names = (right.name, taken.name, "weights_mib")
            score, time, size = (cells.get(name, Estimate()) for name in names)
            words = ["unpacked" if kind == "none" else kind, estimate_text(right, score)]
            words += [metric_value(taken, time.value), f"{format_number(size.value)} MiB"]
            lines.append((arm, [*words, size.n]))
    lead = "The same test rows, one at a time, by transformers; memory is that of the weights."
    head = ["arm", "weights", right.label, taken.label, "memory", "rows"]
    return Grid("Weights in fewer bits", head, lines, lead)


def cost_grid(run: RunContents) -> Grid:
    """What each arm cost to make and to ask; what no machine told is no column."""
    told = {name for by in run.costs.values() for name, value in by.items() if value is not None}
    metrics = [m for m in COST_METRICS if m.name in told]
    lines = [
        (arm, [metric_value(m, by.get(m.name)) for m in metrics]) for arm, by in run.costs.items()
    ]
    energy = str(run.manifests.get("evaluate", {}).get("energy") or "measured")
    lead = "" if energy == "measured" else f"Energy: {energy}."
    head = ["arm", *(m.label for m in metrics)]
    return Grid("What each arm cost", head, lines if metrics else [], lead)


def confidence_grid(run: RunContents) -> Grid:
    """How sure each arm is of its answers on the hardest split, and how far that is to be
    believed."""
    metrics = [METRICS[n] for n in ("exact_match", "confidence", "calibration_error")]
    split = hardest_split(run)
    lines = []
    for arm, by in run.scores.items():
        cells = [by.get(split, {}).get(m.name, Estimate()) for m in metrics]
        if cells[1].value is not None:
            lines.append((arm, [metric_value(m, c.value) for m, c in zip(metrics, cells)]))
    lead = "Confidence: the mean probability of an answer's tokens. Calibration error: 0 is best."
    head = ["arm", *(m.label for m in metrics)]
    return Grid("How sure an arm is of its answers", head, lines, lead)


def overall_grid(run: RunContents) -> Grid:
    """The overall score of every arm that took all suites, and its difference to base."""
    metric = METRICS["overall"]
    lines = []
    for arm, one in run.overall.items():
        ends = metric_interval(metric, one.score.low, one.score.high)
        change = ""
        if one.change.value is not None:
            span = change_range(metric, one.change.low, one.change.high)
            change = f"{metric_change(metric, one.change.value)} ({span})"
        lines.append((arm, [metric_value(metric, one.score.value), ends, change]))
    lead = "The unweighted mean of every suite's main metric, for the arms that took all suites."
    return Grid("Overall", ["arm", "overall", "interval", "difference to base"], lines, lead)


# --- public models ---


def anchor_grid(
    answers: Sequence[AnswerRow], arms: Iterable[str], config: Mapping[str, Any]
) -> Grid:
    """The anchors, then every arm that answered rows of BFCL: the mean of the categories that it
    was asked, with their rows."""
    groups, lines = ANCHORS["groups"], list(ANCHORS["models"].items())
    found: dict[str, dict[str, list[float]]] = {}
    for answer in answers:
        kind, _, category = answer.source.partition("/")
        value = answer.values.get(HEADLINE)
        if kind == "bfcl" and value is not None and answer.split not in (VAL, IRRELEVANCE):
            found.setdefault(answer.arm, {}).setdefault(category, []).append(value)
    for arm in arms:
        cells = [_group(found.get(arm, {}), categories) for categories in groups.values()]
        lines += [(arm, cells)] if set(cells) != {DASH} else []
    lead = f"{ANCHORS['source']}. Only a run that was asked whole categories is on the same scale."
    if trained_on_bfcl(config):
        lead += " This run was trained on other rows of BFCL, so its figures are no BFCL scores."
    return Grid("Public models, for context", ["model", *groups], lines, lead)


def _group(values: Mapping[str, Sequence[float]], categories: Sequence[str]) -> str:
    measured = [values[c] for c in categories if c in values]
    if not measured:
        return DASH
    rows = sum(map(len, measured))
    mean = fmean(map(fmean, measured))
    return f"{mean * 100:.1f} % of {rows} rows in {len(measured)} of {len(categories)} categories"


def trained_on_bfcl(config: Mapping[str, Any]) -> bool:
    """Whether the run's own rows are BFCL's: its figures on other rows of BFCL are then no BFCL
    scores."""
    sources = (config.get("read") or {}).get("sources") or []
    return any(isinstance(s, Mapping) and s.get("path") == "bfcl" for s in sources)
