"""The report as text: report.md beside the page, and CSV files of every table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from raytune_agents.evaluate.scoreboard import Board
from raytune_agents.exports.card import markdown_table
from raytune_agents.records import JsonObject
from raytune_agents.redact import no_formula, visible
from raytune_agents.report.boards import BoardCell, Grid, SplitBoard
from raytune_agents.report.folder import RunContents
from raytune_agents.report.safe_text import clip, format_number, seconds

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]


def cell(value: Any) -> Any:
    """A CSV cell: controls are visible; text a spreadsheet would run gets an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return value
    return no_formula(visible(clip(value, 2000)))


def csv_text(table: Table) -> str:
    out = io.StringIO()
    head, rows = table
    csv.writer(out, lineterminator="\n").writerows(
        [[cell(v) for v in row] for row in (head, *rows)]
    )
    return out.getvalue()


def _flat(board: Board[Any]) -> Iterator[JsonObject]:
    """{arm: {split: {metric: cell}}} as one row per cell."""
    for arm, by in board.items():
        for split, cells in by.items():
            for metric, made in cells.items():
                yield {"arm": arm, "split": split, "metric": metric} | made.record()


def _pick(rows: Iterable[Mapping[str, Any]], *names: str) -> Table:
    """The named fields of each row, in this order; "field=title" names the column otherwise."""
    pairs = [name.partition("=")[::2] for name in names]
    return [title or key for key, title in pairs], [[r.get(k) for k, _ in pairs] for r in rows]


def report_tables(run: RunContents, context: Mapping[str, Any]) -> dict[str, Table]:
    """File name -> table, for what the run has."""
    points = [
        {"arm": arm, "step": line["step"], "metric": key, "value": value}
        for arm, lines in run.curves.items()
        for line in lines
        for key, value in line.items()
        if key != "step"
    ]
    where = [
        {"by": title, "name": line.name, "arm": arm} | made.record()
        for title, lines in context["details"].items()
        for line in lines
        for arm, made in line.cells.items()
    ]
    wrong = [a.record() for a in run.answers if not a.right]
    costs = [
        {"arm": arm, "cost": name, "value": value}
        for arm, by in run.costs.items()
        for name, value in by.items()
    ]
    rows = ("rows_in=in", "rows_out=out", "rejected", "failed", "lost=unaccounted")
    groups = ("pool", "split", "fault", "reject_reason", "step", "n=rows")
    trial = ("rank", "name=trial", "status", "score=exact_match", "weights", "config", "error")
    shares = ("by", "name=value", "arm", "value=share_right", "n=rows", "low", "high")
    answer = ("arm", "split", "id", "fault", "error", "query", "gold", "answer")
    estimate = ("metric", "value", "low", "high", "n")
    paired = ("p", "p_holm", "wins", "losses", "detectable")
    drop = ("metric", "clean", "perturbed", *estimate[1:], *paired)
    found = {
        "funnel": _pick(map(asdict, context["funnel"]), "step", *rows, "seconds"),
        "pools": _pick(map(asdict, run.groups), *groups),
        "scores": _pick(_flat(run.scores), "arm", "split", *estimate),
        "differences": _pick(_flat(run.differences), "arm", "split", *estimate, *paired),
        "robustness": _pick(_flat(run.robustness), "arm", "split=perturbation", *drop),
        "latency": _pick(_flat(run.latency), "arm", "split=requests_at_once", *estimate),
        "quantized": _pick(_flat(run.quantized), "arm", "split=weights", *estimate),
        "costs": _pick(costs, "arm", "cost", "value"),
        "curves": _pick(points, "arm", "step", "metric", "value"),
        "trials": _pick(map(asdict, context["search"].table), *trial),
        "where": _pick(where, *shares),
        "errors": _pick(wrong, *answer),
    }
    for grid in context["stages"]:
        lines = [[name, *cells] for name, cells in grid.lines]
        found[f"stages_{grid.title.partition(',')[0]}"] = grid.head, lines
    return {name: table for name, table in found.items() if table[1]}


def _cell_text(made: BoardCell | str | float) -> str:
    """value (interval); difference to base (interval)"""
    if not isinstance(made, BoardCell):
        return made if isinstance(made, str) else format_number(made)
    interval = f" ({made.interval})" if made.interval else ""
    return f"{made.value}{interval}" + (f"; {made.change} ({made.range})" if made.change else "")


def _grid(grid: Grid) -> list[str]:
    if not grid.lines:
        return []
    rows = [grid.head, *([name, *map(_cell_text, cells)] for name, cells in grid.lines)]
    head, *lines = ([_plain(v).replace("\\", "\\\\") for v in row] for row in rows)
    title = [f"## {_plain(grid.title)}", ""] if grid.title else []
    return [*title, markdown_table(head, lines), ""]


def _plain(text: str) -> str:
    return visible(text).replace("<", "&lt;")


def markdown(run: RunContents, context: Mapping[str, Any]) -> str:
    """report.md: the overview, arms by split, latency and costs, rows of every step, trials, what
    it ran on."""
    seen, gate = run.conclusion, context["gate"]
    first = [f"# {run.name}", "", seen.text, ""]
    first += [f"**{gate}**", ""] if gate else []
    first += [f"- gained: {x}" for x in seen.gained] + [f"- lost: {x}" for x in seen.lost]
    first += [*(f"- {note}" for note in seen.notes), ""]
    asked = [(question, [q.answer, q.note]) for question, q in context["questions"].items()]
    steps = [
        (x.step, [x.rows_in, x.rows_out, x.rejected, x.failed, seconds(x.seconds)])
        for x in context["funnel"]
    ]
    grids = [
        Grid("", ["question", "answer", ""], asked),
        *map(_board_grid, context["boards"]),
        *(context["overall"], *context["grids"], context["robustness"]),
        Grid("Rows of every step", ["step", "in", "out", "rejected", "failed", "time"], steps),
        context["search"].grid,
        Grid("Run", ["what", "value"], [(k, [v]) for k, v in context["facts"].items()]),
    ]
    return "\n".join([*map(_plain, first), *(line for grid in grids for line in _grid(grid))])


def _board_grid(board: SplitBoard) -> Grid:
    """A line per metric, a column per arm."""
    lines = [
        (metric.label, [cells[metric.name] for cells in board.cells.values()])
        for metric in (*board.main, *board.more)
    ]
    return Grid(board.split, ["metric", *board.cells], lines)
