"""What a finished evaluation says in a terminal: the verdict, and a table of the arms per split."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from raytune_agents.cli.shared_options import console, table_of
from raytune_agents.evaluate.estimates import Estimate
from raytune_agents.evaluate.metrics import Metric, metric_named, metrics_of_run
from raytune_agents.evaluate.paired import Difference
from raytune_agents.evaluate.scoreboard import (
    VAL,
    Differences,
    Scores,
    first_columns,
    main_metric,
    read_boards,
)
from raytune_agents.evaluate.verdict import Conclusion, ordered_splits
from raytune_agents.storage import read_json

MOST = 6  # metrics of a table, where the terminal has room for so many
SUITES = 3  # tables; the report has all
TONES = {"better": "green", "worse": "red"}


def print_arms(folder: Path) -> None:
    """The verdict and the arms' tables of a run's evaluate folder; nothing where it has none."""
    if not (folder / "scores.json").is_file():
        return
    scores, gains = read_boards(folder)
    metrics = metrics_of_run(folder)
    splits = ordered_splits({s for by in scores.values() for s in by} - {VAL})
    for split in splits[:SUITES]:
        console.print(arms_table(split, scores, gains, metrics))
    if splits[SUITES:]:
        console.print(Text(f"in the report too: {', '.join(splits[SUITES:])}", style="dim"))
    if (folder / "verdict.json").is_file():
        found = read_json(folder / "verdict.json", Conclusion)
        console.print(Text(found.text, style=TONES.get(found.tone, "bold")))
        for words, style in ((found.gate, ""), *((f"lost: {x}", "red") for x in found.lost)):
            if words:
                console.print(Text(words, style=style))


def arms_table(
    split: str, scores: Scores, gains: Differences, metrics: Mapping[str, Metric]
) -> Table:
    """One split: a row per arm that answered it, a column per metric, as many as the terminal is
    wide for, and the difference to base in its main one."""
    # a baseline that a suite has not is no row of dashes
    cells = {arm: by[split] for arm, by in scores.items() if by.get(split)}
    changes = {arm: by.get(split, {}) for arm, by in gains.items()}
    compared = dict.fromkeys(name for by in changes.values() for name in by)
    known = {name: metric_named(name, metrics) for name in (*metrics, *compared)}
    columns = first_columns(cells, known, compared)
    # at the console's own width no table is measured wider than that
    wide = console.options.update(width=sys.maxsize)
    for most in range(MOST, 0, -1):
        table = table_of_metrics(split, columns[:most], cells, changes)
        if Measurement.get(console, wide, table).maximum <= console.width:
            break
    return table


def table_of_metrics(
    split: str,
    columns: Sequence[Metric],
    cells: Mapping[str, Mapping[str, Estimate]],
    changes: Mapping[str, Mapping[str, Difference]],
) -> Table:
    """The metrics and the tokens of each arm, and the difference of the first main metric."""
    named = {m.name: m for m in columns}
    first = main_metric(named) or next(iter(named), "")
    heads = ["arm", *(m.label for m in columns)]
    heads += [f"{named[first].label} - base"] if first else []
    rows = []
    for arm, by in cells.items():
        row = [arm, *(cell_text(by.get(name)) for name in named)]
        row += [cell_text(changes.get(arm, {}).get(first), signed=True)] if first else []
        tokens = by.get("output_tokens", Estimate()).value
        rows.append([*row, "-" if tokens is None else f"{tokens:.0f}"])
    count = max((by.get(first, Estimate()).n for by in cells.values()), default=0)
    return table_of(f"{split}: {count} rows, value [interval]", [*heads, "tokens"], rows)


def cell_text(cell: Estimate | Difference | None, signed: bool = False) -> str:
    """`0.31 [0.24, 0.39]`, or a dash."""
    if cell is None or cell.value is None:
        return "-"
    form = "{:+.2f} [{:+.2f}, {:+.2f}]" if signed else "{:.2f} [{:.2f}, {:.2f}]"
    return form.format(cell.value, cell.low or 0.0, cell.high or 0.0)
