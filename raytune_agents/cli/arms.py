"""What a finished evaluation says in a terminal: the verdict, and a table of the arms per split."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from raytune_agents.cli.shared_options import console, table_of
from raytune_agents.evaluate.estimates import Estimate
from raytune_agents.evaluate.metrics import (
    METRICS,
    METRICS_FILE,
    Metric,
    metric_named,
    read_metrics,
)
from raytune_agents.evaluate.paired import Difference
from raytune_agents.evaluate.scoreboard import Board, first_columns, main_metric, read_board
from raytune_agents.evaluate.verdict import VAL, Conclusion, ordered_splits
from raytune_agents.storage import read_json

MOST = 6  # metrics of a table, where the terminal has room for so many
SUITES = 3  # tables; the report has all
TONES = {"better": "green", "worse": "red"}


def print_arms(folder: Path) -> None:
    """The verdict and the arms' tables of a run's evaluate folder; nothing where it has none."""
    if not (folder / "scores.json").is_file():
        return
    scores = read_board(read_json(folder / "scores.json"), Estimate.read)
    gains = read_board(read_json(folder / "differences.json"), Difference.read)
    table = folder / METRICS_FILE
    metrics = METRICS | (read_metrics(read_json(table)) if table.is_file() else {})
    splits = ordered_splits({s for by in scores.values() for s in by} - {VAL})
    for split in splits[:SUITES]:
        console.print(fitting_table(split, scores, gains, metrics))
    if splits[SUITES:]:
        console.print(Text(f"in the report too: {', '.join(splits[SUITES:])}", style="dim"))
    if (folder / "verdict.json").is_file():
        found = Conclusion.read(read_json(folder / "verdict.json"))
        console.print(Text(found.text, style=TONES.get(found.tone, "bold")))
        for words, style in ((found.gate, ""), *((f"lost: {x}", "red") for x in found.lost)):
            if words:
                console.print(Text(words, style=style))


def shown_metrics(
    scores: Board[Estimate], gains: Board[Difference], split: str, metrics: dict[str, Metric]
) -> list[Metric]:
    """The first columns of a split; of a suite of other metrics, those that are compared."""
    found = first_columns({arm: by.get(split, {}) for arm, by in scores.items()}, metrics)
    paired = dict.fromkeys(m for splits in gains.values() for m in splits.get(split, {}))
    return found or [metric_named(name, metrics) for name in paired]


def fitting_table(
    split: str, scores: Board[Estimate], gains: Board[Difference], metrics: dict[str, Metric]
) -> Table:
    """The table of a split with as many metrics as the terminal is wide for."""
    # at the console's own width no table is measured wider than that
    wide = console.options.update(width=sys.maxsize)
    for most in range(MOST, 0, -1):
        table = arms_table(split, scores, gains, metrics, most)
        if Measurement.get(console, wide, table).maximum <= console.width:
            break
    return table


def arms_table(
    split: str,
    scores: Board[Estimate],
    gains: Board[Difference],
    metrics: dict[str, Metric],
    most: int = MOST,
) -> Table:
    """One split: a row per arm that answered it, a column per metric (at most `most`), and the
    difference to base in its main one."""
    # a baseline that a suite has not is no row of dashes
    scores = {arm: by for arm, by in scores.items() if by.get(split)}
    shown = shown_metrics(scores, gains, split, metrics)[:most]
    names = [m.name for m in shown]
    first = main_metric(names) or next(iter(names), "")
    count = max((by.get(split, {}).get(first, Estimate()).n for by in scores.values()), default=0)
    heads = ["arm", *(m.label for m in shown)]
    if first:
        heads.append(f"{metric_named(first, metrics).label} - base")
    rows = []
    for arm, by in scores.items():
        cells = by.get(split, {})
        pair = gains.get(arm, {}).get(split, {}).get(first)
        tokens = cells.get("output_tokens", Estimate()).value
        rows.append(
            [
                arm,
                *(cell_text(cells.get(name)) for name in names),
                *([cell_text(pair, signed=True)] if first else []),
                "-" if tokens is None else f"{tokens:.0f}",
            ]
        )
    return table_of(f"{split}: {count} rows, value [interval]", [*heads, "tokens"], rows)


def cell_text(cell: Estimate | Difference | None, signed: bool = False) -> str:
    """`0.31 [0.24, 0.39]`, or a dash."""
    if cell is None or cell.value is None:
        return "-"
    form = "{:+.2f} [{:+.2f}, {:+.2f}]" if signed else "{:.2f} [{:.2f}, {:.2f}]"
    return form.format(cell.value, cell.low or 0.0, cell.high or 0.0)
