"""raytune-agents trials RUN: the trials of a search as a table, filtered, or as a file."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from raytune_agents.cli.arguments import console, said_errors
from raytune_agents.config import ConfigError

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
SHOWN = ("rank", "trial_id", "stage", "status", "score", "objective", "seed", "reports", "seconds")
LONG = ("error", "tokens", "method", "val_loss")


def trials(
    run: Annotated[Path, typer.Argument(help="run folder, for example runs/demo")],
    where: Annotated[
        list[str] | None,
        typer.Option("--filter", help="column and value, for example 'mix.negative>0.2'"),
    ] = None,
    best: Annotated[int | None, typer.Option(min=1, help="only the best N")] = None,
    failures: Annotated[bool, typer.Option(help="only failed trials, with their errors")] = False,
    csv: Annotated[Path | None, typer.Option(help="write the rows to this CSV file")] = None,
    parquet: Annotated[Path | None, typer.Option(help="write them to this Parquet file")] = None,
) -> None:
    """The trials of a search: table, filters, best, failures; CSV or Parquet."""
    from raytune_agents.tune import tables

    with said_errors():
        rows = chosen(tables.table(tables.load(run)), where or [], best, failures)
    for path, write in ((csv, tables.write_csv), (parquet, tables.write_parquet)):
        if path and rows:
            write(rows, path)
            console.print(f"{len(rows)} trials: {path}", highlight=False, soft_wrap=True)
    if not (csv or parquet):
        console.print(shown(rows, failures) if rows else "no trial fits")


def chosen(
    rows: Sequence[Mapping[str, Any]], where: Sequence[str], best: int | None, failures: bool
) -> list[dict[str, Any]]:
    """The rows that fit, best objective first, with their rank among all. Raises ConfigError for a
    filter that names no column or no comparison."""
    order = sorted(rows, key=lambda r: (r["objective"] is None, -(r["objective"] or 0.0)))
    ranked = [{"rank": i + 1, **r} for i, r in enumerate(order)]
    for text in where:
        keep = condition(text, list(ranked[0]) if ranked else [])
        ranked = [r for r in ranked if keep(r)]
    if failures:
        ranked = [r for r in ranked if r["error"]]
    return [r for r in ranked if r["objective"] is not None][:best] if best else ranked


def condition(text: str, columns: Sequence[str]) -> Callable[[Mapping[str, Any]], bool]:
    """`mix.negative>0.2` -> a test of a row; a row without the value does not fit."""
    parts = re.fullmatch(r"\s*([\w.]+)\s*(<=|>=|!=|<|>|=)\s*(.+?)\s*", text)
    if not parts:
        raise ConfigError(f"--filter {text!r} compares nothing; write for example 'score>=0.4'")
    name, sign, wanted = parts.groups()
    if columns and name not in columns:
        raise ConfigError(f"--filter {text!r}: no column {name}; columns: {', '.join(columns)}")
    try:
        value: Any = json.loads(wanted)
    except json.JSONDecodeError:
        value = wanted
    compare = COMPARE[sign]

    def keep(row: Mapping[str, Any]) -> bool:
        have = row.get(name)
        if have is None:
            return False
        same = isinstance(have, int | float) == isinstance(value, int | float)
        return compare(have, value) if same else compare(str(have), str(value))

    return keep


def shown(rows: Sequence[Mapping[str, Any]], failures: bool) -> Table:
    """Rank, state and scores, then every option and share that differs; errors where asked."""
    columns = [c for c in rows[0] if c in SHOWN]
    other = [c for c in rows[0] if c not in SHOWN and c not in LONG]
    columns += [c for c in other if len({str(r[c]) for r in rows}) > 1 or len(rows) == 1]
    columns += ["error"] if failures else []
    table = Table(title=f"{len(rows)} trials", title_justify="left")
    for c in columns:
        table.add_column(c.removeprefix("train."), justify="left" if c == "error" else "right")
    for row in rows:
        table.add_row(*(cell(row[c]) for c in columns))
    return table


def cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
