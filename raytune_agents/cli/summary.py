"""What a command shows of a run when it ends: the arms' scores, the rows of each step, what to look
at next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_agents.cli.arguments import console, say, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    Cell = Mapping[str, Any]  # value, low, high, n
    Scores = Mapping[str, Mapping[str, Mapping[str, Cell]]]  # arm -> split -> metric -> cell

SHOWN = {
    "exact_match": "exact",
    "function_accuracy": "function",
    "parameter_accuracy": "parameters",
    "format_adherence": "format",
    "hallucination_rate": "hallucinated",
}
# metrics of a table with their heads, the one that is compared, the one that counts its rows
ANSWERED = (SHOWN, "exact_match", "format_adherence")
PLAYED = (
    {
        "task_completion": "completed",
        "recovery": "recovered",
        "loop_rate": "loops",
        "error_rate": "errors",
        "steps": "steps",
    },
    "task_completion",
    "task_completion",
)
FOLLOWED = (
    {"instruction_following": "followed", "instructions_all": "all followed"},
    "instruction_following",
    "instruction_following",
)
OTHERS = {  # of splits that are neither answered once nor played
    "multi_turn_accuracy": "all turns",
    "turn_progress": "turns",
    "steps": "steps",
    "perplexity": "perplexity",
    "nll": "nats per token",
}
SOURCES = 30  # rows of the funnel's table


def show_summary(folder: Path, names: Sequence[str]) -> None:
    """The last lines of a command that ran the steps `names` of the run in `folder`."""
    from raytune_agents.runs import STEPS, Manifest
    from raytune_agents.storage import read_json

    if {"evaluate", "report"} & set(names) and (folder / "evaluate" / "scores.json").is_file():
        scores = read_json(folder / "evaluate" / "scores.json")
        differences = read_json(folder / "evaluate" / "differences.json")
        for split in next(iter(scores.values())):
            console.print(arms_table(split, scores, differences))
    manifests = {name: found for name in STEPS if (found := Manifest.load(folder / name))}
    if len(names) > 1:
        for name, manifest in manifests.items():
            say(f"{name:<9} rows: {manifest.rows.counts.line()}")
    if tuple(names) == ("generate",):
        from raytune_agents.report.findings import stages

        for found in stages({"generate": manifests["generate"].model_dump(by_alias=True)}):
            rows = [[str(cell) for cell in row] for row in found["rows"]]
            console.print(table_of(f"funnel of {found['title']}", found["head"], rows))
    if "label" in names and len(names) <= 2 and "label" in manifests:
        console.print(funnel_table(manifests["label"].notes["funnel"]))
    if "report" in names and (folder / "report.html").is_file():
        say(f"report: {folder / 'report.html'}")
        say(f"next: open it; raytune-agents trials {folder}; raytune-agents export, merge")


def cell_text(value: Cell | None, signed: bool = False) -> str:
    """`0.31 [0.24, 0.39]`, or a dash."""
    if not value or value.get("value") is None:
        return "-"
    form = "{:+.2f} [{:+.2f}, {:+.2f}]" if signed else "{:.2f} [{:.2f}, {:.2f}]"
    return form.format(value["value"], value["low"], value["high"])


def arms_table(split: str, scores: Scores, differences: Scores) -> Table:
    """One split: one row per arm, one column per metric, and the difference to base in the first
    of them."""
    by = {arm: splits.get(split, {}) for arm, splits in scores.items()}
    keys = {key for cells in by.values() for key in cells}
    paired = dict.fromkeys(k for gains in differences.values() for k in gains.get(split, {}))
    others = {k: name for k, name in OTHERS.items() if k in keys} or {k: k for k in paired}
    shown, first, size = next(
        (kind for kind in (PLAYED, FOLLOWED, ANSWERED) if kind[1] in keys),
        (others, next((k for k in paired if k in others), ""), next(iter(others), "")),
    )
    count = max((cells.get(size, {}).get("n", 0) for cells in by.values()), default=0)
    what = "tasks" if shown is PLAYED[0] else "rows"
    heads = ("arm", *shown.values(), f"{shown.get(first, '')} - base", "p50 s", "tokens")
    rows = []
    for arm, found in by.items():
        pair = differences.get(arm, {}).get(split, {}).get(first)
        latency = found.get("latency_p50_s", {}).get("value")
        tokens = found.get("output_tokens", {}).get("value")
        rows.append(
            [
                arm,
                *(cell_text(found.get(m)) for m in shown),
                cell_text(pair, signed=True),
                "-" if latency is None else f"{latency:.2f}",
                f"{tokens or 0:.0f}",
            ]
        )
    return table_of(f"{split}: {count} {what}, value (interval)", heads, rows)


def funnel_table(funnel: Mapping[str, Mapping[str, int]]) -> Table:
    """Rows in, rejected by reason, kept: one line per source, the largest first; then all."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="funnel", title_justify="left")
    for head in ("source", "rows in", "rejected", "kept"):
        table.add_column(head, justify="right" if head in ("rows in", "kept") else "left")
    sources = sorted((s for s in funnel if s), key=lambda s: -funnel[s]["in"])
    for source in [*sources[:SOURCES], ""]:
        if not source:
            table.add_section()
        counts = funnel[source]
        reasons = ", ".join(f"{n} {r}" for r, n in counts.items() if r not in ("in", "kept"))
        name = source or f"all {len(sources)} sources"
        table.add_row(Text(name), str(counts["in"]), Text(reasons or "-"), str(counts["kept"]))
    return table
