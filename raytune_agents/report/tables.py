"""The report as text: report.md beside the page, and CSV files of every table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from raytune_agents.report import findings
from raytune_agents.report.folder import Run
from raytune_agents.report.text import clip, number, seconds, visible

Table = tuple[Sequence[str], list[Sequence[Any]]]


def cell(value: Any) -> Any:
    """A CSV cell: controls are visible; text a spreadsheet would run gets an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return value
    text = visible(clip(value, 2000))
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def csv_text(table: Table) -> str:
    out = io.StringIO()
    head, rows = table
    csv.writer(out, lineterminator="\n").writerows(
        [head, *([cell(v) for v in row] for row in rows)]
    )
    return out.getvalue()


def _long(table: Mapping[str, Any], keys: Sequence[str]) -> Table:
    """{arm: {split: {metric: {key: value}}}} as one line a cell."""
    rows: list[Sequence[Any]] = [
        [arm, split, metric, *(values.get(k) for k in keys)]
        for arm, by in table.items()
        for split, metrics in by.items()
        for metric, values in metrics.items()
    ]
    return ["arm", "split", "metric", *keys], rows


def _named(table: Table) -> Table:
    """The same with `perturbation` for `split`."""
    head, rows = table
    return ["perturbation" if h == "split" else h for h in head], rows


def _pick(rows: Iterable[Mapping[str, Any]], *names: str) -> Table:
    """The named fields of each row, in this order; "field=title" names the column otherwise."""
    pairs = [name.partition("=")[::2] for name in names]
    return [title or key for key, title in pairs], [[r.get(k) for k, _ in pairs] for r in rows]


def tables(run: Run, context: Mapping[str, Any]) -> dict[str, Table]:
    """File name -> table, for what the run has."""
    points = [
        {"arm": arm, "step": line["step"], "metric": key, "value": value}
        for arm, lines in run.metrics.items()
        for line in lines
        for key, value in line.items()
        if key != "step"
    ]
    where = [
        {"by": table["title"], "name": line["name"], "arm": arm} | cell
        for table in context["details"]
        for line in table["lines"]
        for arm, cell in line["cells"].items()
    ]
    wrong = [a for a in run.answers if not a["exact_match"]]
    steps = ("step", "in", "out", "rejected", "failed", "lost=unaccounted", "seconds")
    groups = ("pool", "split", "fault", "reject_reason", "step", "n=rows")
    trial = ("rank", "name=trial", "status", "score=exact_match", "weights", "config", "error")
    answer = ("arm", "split", "id", "fault", "error", "query", "gold", "answer")
    paired = ("value", "low", "high", "n", "p", "p_holm", "wins", "losses", "detectable")
    found = {
        "funnel": _pick(context["funnel"], *steps),
        "pools": _pick(run.groups, *groups),
        "scores": _long(run.scores, ("value", "low", "high", "n")),
        "differences": _long(run.differences, paired),
        "robustness": _named(_long(run.robustness, ("clean", "perturbed", *paired))),
        "curves": _pick(points, "arm", "step", "metric", "value"),
        "trials": _pick(context["search"]["table"], *trial),
        "where": _pick(where, "by", "name=value", "arm", "hits=right", "n=rows", "low", "high"),
        "errors": _pick(wrong, *answer),
    }
    for table in context["stages"]:
        found[f"stages_{table['title'].partition(',')[0]}"] = table["head"], table["rows"]
    return {name: table for name, table in found.items() if table[1]}


def _md(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    def line(values: Iterable[Any]) -> str:
        safe = (
            visible(str(v))
            .replace("\\", "\\\\")
            .replace("|", "\\|")
            .replace("<", "&lt;")
            .replace("\n", " ")
            for v in values
        )
        return f"| {' | '.join(safe)} |"

    return [line(head), line("---" for _ in head), *map(line, rows), ""]


def _score(cell: Mapping[str, Any]) -> str:
    """value (interval); difference to base"""
    interval = f" ({cell['interval']})" if cell["interval"] else ""
    return f"{cell['value']}{interval}" + (f"; {cell['change']}" if cell["change"] else "")


def _robustness(arms: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = []
    for line in lines:
        cells = [line["cells"].get(arm) for arm in arms]
        texts = [f"{c['change']} ({c['range']})" if c else "" for c in cells]
        rows.append([line["name"], line["rows"], *texts])
    head = "## Robustness: change of exact match in points (interval)"
    return [head, "", *_md(["perturbation", "rows", *arms], rows)] if rows else []


def markdown(run: Run, context: Mapping[str, Any]) -> str:
    """report.md: verdict, arms by split, rows of every step, trials, what it ran on."""
    plain = lambda text: visible(text).replace("<", "&lt;")  # noqa: E731
    verdict, facts = context["verdict"], context["facts"]
    out = [
        f"# {plain(run.name)}",
        "",
        plain(verdict.text),
        "",
        *(f"- {plain(n)}" for n in verdict.notes),
        "",
    ]
    for board in context["boards"]:
        metrics = [*board["main"], *board["more"]]
        out += [f"## {plain(board['split'])}", ""]
        rows = []
        for metric in metrics:
            cells = [by[metric.key] for by in board["cells"].values()]
            rows.append([metric.name, *map(_score, cells)])
        out += _md(["metric", *board["cells"]], rows)
    out += _robustness(list(run.robustness), context["robustness"]["lines"])
    out += ["## Rows of every step", ""]
    out += _md(
        ["step", "in", "out", "rejected", "failed", "time"],
        [
            [
                x["step"],
                *(number(x[k]) for k in ("in", "out", "rejected", "failed")),
                seconds(x["seconds"]),
            ]
            for x in context["funnel"]
        ],
    )
    if context["search"]["table"]:
        out += ["## Trials", ""]
        out += _md(
            ["rank", "trial", "status", "exact match", "weights", "error"],
            [
                [
                    t["rank"],
                    t["name"],
                    t["status"],
                    findings.Metric("exact_match").show(t["score"]),
                    ", ".join(f"{k} {v:.2f}" for k, v in t["weights"].items()),
                    clip(t["error"], 120),
                ]
                for t in context["search"]["table"]
            ],
        )
    out += ["## Run", ""]
    out += _md(
        ["what", "value"],
        [
            ("seed", facts["seed"]),
            *facts["code"].items(),
            *facts["hardware"].items(),
            *facts["versions"].items(),
        ],
    )
    return "\n".join(out)
