"""Stored measurements -> the tables of scores, differences to base, and robustness.

A row that failed is in no mean. Every table is {arm: {split: {metric: cell}}}; `records` makes it
JSON. Left out: what was asked (`suites`), how a value came about (`scoring` and the other kinds).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from raytune_agents.evaluate.estimates import (
    Estimate,
    JsonRecord,
    Resampling,
    calibration_of,
    macro_mean,
    mean_of,
)
from raytune_agents.evaluate.measured import BASE, AnswerRow, Measured, grouped_rows, values_by_row
from raytune_agents.evaluate.metrics import ANSWER_METRICS, Metric
from raytune_agents.evaluate.paired import Difference, holm_corrected, paired
from raytune_agents.records import JsonObject
from raytune_agents.storage import read_json

Cell = TypeVar("Cell")
Part = TypeVar("Part")
Board = dict[str, dict[str, dict[str, Cell]]]  # {arm: {split: {metric: cell}}}
Cells = dict[str, Estimate]  # {metric: cell}
Scores = Board[Estimate]
Differences = Board[Difference]
COMPARED = tuple(m.name for m in ANSWER_METRICS if m.headline)


@dataclass(frozen=True, slots=True)
class Drop(Difference):
    """What a perturbation does to an arm: perturbed minus clean rows, paired, and both means."""

    clean: float = 0.0
    perturbed: float = 0.0


def records(board: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> JsonObject:
    """The table as JSON values."""
    return {
        arm: {
            split: {metric: cell.record() for metric, cell in cells.items()}
            for split, cells in by.items()
        }
        for arm, by in board.items()
    }


def read_boards(folder: Path) -> tuple[Scores, Differences]:
    """scores.json and differences.json of an evaluate folder."""
    scores = read_json(folder / "scores.json", Scores)
    return scores, read_json(folder / "differences.json", Differences)


def merged_boards(*boards: Board[Cell]) -> Board[Cell]:
    """One table of several; the later ones add metrics to the splits of the earlier ones."""
    out: Board[Cell] = {}
    for board in boards:
        for arm, by in board.items():
            mine = out.setdefault(arm, {})
            for split, cells in by.items():
                mine.setdefault(split, {}).update(cells)
    return out


# --- scores ---


def by_split(rows: Iterable[Measured]) -> dict[tuple[str, str], list[Any]]:
    """{(arm, split): rows that did not fail}, in the order of the rows; a split of which every row
    failed is there, and empty: it must show, not vanish."""
    parts = grouped_rows(rows, lambda r: (r.arm, r.split))
    return {place: [r for r in part if not r.failed] for place, part in parts.items()}


def board_of(parts: Mapping[tuple[str, str], Part], cells: Callable[[Part], Cells]) -> Scores:
    """`cells` of every (arm, split), as a table."""
    out: Scores = {}
    for (arm, split), part in parts.items():
        out.setdefault(arm, {})[split] = cells(part)
    return out


def means(rows: Sequence[Measured], how: Resampling) -> Scores:
    """`mean_values` of every arm and split."""
    return board_of(by_split(rows), lambda part: mean_values(part, how))


def mean_values(rows: Sequence[Measured], how: Resampling) -> Cells:
    """The mean of every value that applies to at least one row."""
    names = dict.fromkeys(name for r in rows for name in r.values)
    cells = {name: mean_of((r.values.get(name) for r in rows), how) for name in names}
    return {name: cell for name, cell in cells.items() if cell.n}


def answer_scores(rows: Sequence[AnswerRow], how: Resampling) -> Scores:
    """`summarise` of every arm and split."""
    return board_of(by_split(rows), lambda part: summarise(part, how))


def summarise(rows: Sequence[AnswerRow], how: Resampling) -> Cells:
    """The means of answers that did not fail; `fault.NAME` is the share of the judged answers with
    that fault, cut ones first."""
    cells = mean_values(rows, how)
    judged = [r for r in rows if r.values.get("exact_match") is not None]
    for fault in fault_counts(judged):
        cells[f"fault.{fault}"] = mean_of((float(r.fault == fault) for r in judged), how)
    # Answers of an endpoint may come without log-probabilities.
    if known := [r for r in judged if r.values.get("confidence") is not None]:
        sure, right = ([r.values[k] or 0.0 for r in known] for k in ("confidence", "exact_match"))
        cells["calibration_error"] = calibration_of(sure, right, how)
    return cells


def fault_counts(rows: Iterable[AnswerRow]) -> dict[str, int]:
    """How many answers carry each fault, `cut` first, then the most frequent; right ones have
    none."""
    found = Counter(r.fault for r in rows if r.fault)
    return dict(sorted(found.items(), key=lambda kv: (kv[0] != "cut", -kv[1], kv[0])))


# --- comparisons ---


def over_common_rows(
    base: Mapping[str, float], arm: Mapping[str, float], how: Resampling
) -> Difference:
    """`paired` over the rows that both have a value for: parameter accuracy, for one, exists only
    where the function was right."""
    ids = sorted(base.keys() & arm.keys())
    one, other = ({i: side[i] for i in ids} for side in (base, arm))
    return paired(one, other, how)


def differences(
    rows: Sequence[Measured],
    names: Sequence[str],
    how: Resampling,
    base: str = BASE,
    uncorrected: Iterable[str] = (),
) -> Differences:
    """Every arm minus `base`, paired by row, Holm-corrected over the arms; `uncorrected` arms are
    compared but count for no correction (they are no claim of ours)."""
    parts = by_split(rows)
    arms = dict.fromkeys(arm for arm, _ in parts if arm != base)
    out: Differences = {arm: {} for arm in arms}
    for split in dict.fromkeys(split for _, split in parts):
        for metric in names:
            both = (base, *arms)
            values = {arm: values_by_row(parts.get((arm, split), []), metric) for arm in both}
            found = {arm: over_common_rows(values[base], values[arm], how) for arm in arms}
            # Holm counts the claims that are made: an arm without rows makes none.
            claims = {a: d for a, d in found.items() if d.n and a not in set(uncorrected)}
            found |= holm_corrected(claims)
            for arm, cell in found.items():
                if cell.n:
                    out[arm].setdefault(split, {})[metric] = cell
    return out


def perturbation_drops(
    clean: Sequence[AnswerRow], perturbed: Sequence[AnswerRow], how: Resampling
) -> Board[Drop]:
    """{arm: {perturbation: {metric: perturbed - clean, paired by row}}}; p_holm is over the
    perturbations."""
    out: Board[Drop] = {}
    for arm, after in grouped_rows(perturbed, lambda r: r.arm).items():
        before = [r for r in clean if r.arm == arm]
        for metric in COMPARED:
            here = values_by_row(before, metric)
            drops: dict[str, Drop] = {}
            for name, noisy in grouped_rows(after, lambda r: r.perturbation).items():
                # By the row that it was made of: its own id is another.
                there = values_by_row(noisy, metric, key="of")
                cell = over_common_rows(here, there, how)
                if cell.n:
                    ids = sorted(here.keys() & there.keys())
                    level, noisy_level = (fmean(side[i] for i in ids) for side in (here, there))
                    drops[name] = Drop(**asdict(cell), clean=level, perturbed=noisy_level)
            for name, drop in holm_corrected(drops).items():
                out.setdefault(arm, {}).setdefault(name, {})[metric] = drop
    return out


# --- what is shown first ---


def first_columns(
    scores: Mapping[str, Mapping[str, Estimate]],
    metrics: Mapping[str, Metric],
    compared: Collection[str] = (),
) -> list[Metric]:
    """The headline metrics that say something: not empty, and no column twice. On rows where no
    call is right exact match is irrelevance, and goes by that name. Of a suite of other metrics,
    those that are `compared`."""
    kept: dict[tuple[Any, ...], Metric] = {}
    for name, metric in metrics.items():
        column = tuple((c.value, c.n) if (c := by.get(name)) else None for by in scores.values())
        if not metric.headline or all(c is None or c[0] is None for c in column):
            continue
        # Equal columns say one thing twice.
        if column not in kept or name == "irrelevance":
            kept[column] = metric
    return list(kept.values()) or [m for name, m in metrics.items() if name in compared]


# --- over all suites ---

VAL = "val"  # chooses the headline arm, so it is no test
MAIN = ("task_completion", "multi_turn_accuracy", "instruction_following", "exact_match")


@dataclass(frozen=True, slots=True)
class Overall(JsonRecord):
    """The unweighted mean of the suites' main metrics, and its difference to the base over the same
    suites and rows."""

    score: Estimate
    change: Estimate
    suites: dict[str, str]  # suite -> its main metric


def main_metric(names: Iterable[str]) -> str:
    """The metric of a suite that its overall score counts, "" where it has none."""
    known = set(names)
    return next((name for name in MAIN if name in known), "")


def overall_scores(rows: Sequence[Measured], how: Resampling) -> dict[str, Overall]:
    """{arm: its overall score} of the arms that were measured on every suite of the base but val;
    `rows`: of every kind that has a main metric."""
    parts = {key: part for key, part in by_split(rows).items() if key[1] != VAL and part}
    suites = {}
    for (arm, split), part in parts.items():
        measured = {name for r in part for name, value in r.values.items() if value is not None}
        if arm == BASE and (name := main_metric(measured)):
            suites[split] = name
    base = {s: values_by_row(parts[BASE, s], name) for s, name in suites.items()}
    out: dict[str, Overall] = {}
    for arm in dict.fromkeys(arm for arm, _ in parts):
        # A mean over fewer suites is no fair one beside the others.
        if not suites or not all((arm, s) in parts for s in suites):
            continue
        mine = {s: values_by_row(parts[arm, s], name) for s, name in suites.items()}
        # In one order: a resample draws by place, and sets have another order in each process.
        gaps = {
            s: [mine[s][i] - base[s][i] for i in sorted(mine[s].keys() & base[s].keys())]
            for s in suites
        }
        change = Estimate() if arm == BASE else macro_mean(gaps, how)
        score = macro_mean({s: v.values() for s, v in mine.items()}, how)
        out[arm] = Overall(score, change, suites)
    return out


def pooled_values(rows: Iterable[Measured], metric: str) -> dict[str, float]:
    """{split/row id: value} over all test suites."""
    return {
        # With the split: one row may be in two suites.
        f"{r.split}/{r.id}": value
        for r in rows
        if not r.failed and r.split != VAL and (value := r.values.get(metric)) is not None
    }
