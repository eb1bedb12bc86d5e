"""raytune-agents: the whole loop, or one step of it.

raytune-agents run jobs/configs/smoke_cpu.yaml name=mine train.learning_rate=5e-4
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from raytune_agents.cli.analyse import analyse
from raytune_agents.cli.arguments import (
    CONFIG,
    OVERRIDES,
    console,
    errors,
    said_errors,
    split_arguments,
)
from raytune_agents.cli.compare import compare
from raytune_agents.cli.doctor import doctor
from raytune_agents.cli.examples import epilog, examples
from raytune_agents.cli.export import export
from raytune_agents.cli.init import init, schema
from raytune_agents.cli.plan import plan
from raytune_agents.cli.status import status
from raytune_agents.cli.trace import trace
from raytune_agents.cli.trials import trials
from raytune_agents.config import load
from raytune_agents.redact import redact
from raytune_agents.runs import STEPS

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="From a few good agent trajectories to a measurably better tool-calling model.",
)
HELP = {
    "read": "Sources -> trajectories, split by tool name.",
    "generate": "Synthetic positives, mined failures, edited negatives.",
    "label": "Rules, duplicates and leaks write a reject reason.",
    "mix": "Choose the training rows of every arm.",
    "train": "Train every arm with Ray Train.",
    "evaluate": "Base and arms answer the test rows; scores with intervals.",
    "tune": "Search mix and hyper-parameters with Ray Tune.",
    "report": "One offline HTML page on the run.",
}
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
    "nll": "nats a token",
}


def go(
    names: tuple[str, ...],
    config: str | None,
    overrides: list[str] | None,
    work: Callable[..., Any] | None = None,
) -> None:
    """Load, run (`work` instead of the steps), print the table; a ConfigError prints as it is and
    exits with 2."""
    with said_errors():
        tree = load(*split_arguments(config, overrides))
        from raytune_agents.pipeline.run import run_steps
        from raytune_agents.progress import Display

        context = (work or run_steps)(tree, names, Display(console))
    summary(context.run.folder, names)


def summary(folder: Path, names: tuple[str, ...]) -> None:
    """The last lines: the arms' table, rows in = out + rejected + failed, the report's path."""
    from raytune_agents.runs import read_json

    if {"evaluate", "report"} & set(names) and (folder / "evaluate" / "scores.json").is_file():
        scores = read_json(folder / "evaluate" / "scores.json")
        differences = read_json(folder / "evaluate" / "differences.json")
        for split in next(iter(scores.values())):
            console.print(arms_table(split, scores, differences))
    if len(names) > 1:
        for name in STEPS:
            manifest = folder / name / "manifest.json"
            if manifest.is_file():
                rows = read_json(manifest)["rows"]
                rejected, failed = sum(rows["rejected"].values()), sum(rows["failed"].values())
                console.print(
                    f"{name:<9} rows: in {rows['in']} = out {rows['out']} + rejected {rejected} + "
                    f"failed {failed}",
                    highlight=False,
                )
    if names == ("generate",):
        from raytune_agents.report.findings import stages

        for table in stages({"generate": read_json(folder / "generate" / "manifest.json")}):
            console.print(stage_table(table))
    if names == ("label",):
        console.print(funnel_table(read_json(folder / "label" / "manifest.json")["funnel"]))
    if (folder / "report.html").is_file() and "report" in names:
        console.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)


def cell(value: dict | None, signed: bool = False) -> str:
    """`0.31 [0.24, 0.39]`, or a dash."""
    if not value or value.get("value") is None:
        return "-"
    form = "{:+.2f} [{:+.2f}, {:+.2f}]" if signed else "{:.2f} [{:.2f}, {:.2f}]"
    return form.format(value["value"], value["low"], value["high"])


def arms_table(split: str, scores: dict, differences: dict) -> Table:
    """One split: a row an arm, a column a metric, and the difference to base in the first one."""
    by = {arm: splits.get(split, {}) for arm, splits in scores.items()}
    keys = {key for cells in by.values() for key in cells}
    paired = dict.fromkeys(k for gains in differences.values() for k in gains.get(split, {}))
    others = {k: name for k, name in OTHERS.items() if k in keys} or {k: k for k in paired}
    shown, first, size = next(
        (kind for kind in (PLAYED, FOLLOWED, ANSWERED) if kind[1] in keys),
        (others, next((k for k in paired if k in others), ""), next(iter(others), "")),
    )
    rows = max((cells.get(size, {}).get("n", 0) for cells in by.values()), default=0)
    what = "tasks" if shown is PLAYED[0] else "rows"
    table = Table(title=f"{split}: {rows} {what}, value (interval)", title_justify="left")
    table.add_column("arm")
    for column in (*shown.values(), f"{shown.get(first, '')} - base", "p50 s", "tokens"):
        table.add_column(column, justify="right", no_wrap=True)
    for arm, found in by.items():
        pair = differences.get(arm, {}).get(split, {}).get(first)
        latency, tokens = found.get("latency_p50_s", {}), found.get("output_tokens", {})
        table.add_row(
            arm,
            *(cell(found.get(m)) for m in shown),
            cell(pair, signed=True),
            f"{latency['value']:.2f}" if latency.get("value") is not None else "-",
            f"{tokens.get('value') or 0:.0f}",
        )
    return table


def stage_table(found: dict[str, Any]) -> Table:
    """Rows tried, those that fell out at each stage, those kept: a line a pool."""
    table = Table(title=f"funnel of {found['title']}", title_justify="left")
    for k, head in enumerate(found["head"]):
        table.add_column(head, justify="right" if k else "left")
    for row in found["rows"]:
        table.add_row(*map(str, row))
    return table


def funnel_table(funnel: dict[str, dict[str, int]], limit: int = 30) -> Table:
    """Rows in, rejected by reason, kept: a line a source, the `limit` largest; all in the last."""
    table = Table(title="funnel", title_justify="left")
    for head in ("source", "rows in", "rejected", "kept"):
        table.add_column(head, justify="right" if head in ("rows in", "kept") else "left")
    sources = sorted((s for s in funnel if s), key=lambda s: -funnel[s]["in"])
    for source in [*sources[:limit], ""]:
        if not source:
            table.add_section()
        counts = funnel[source]
        reasons = ", ".join(f"{n} {r}" for r, n in counts.items() if r not in ("in", "kept"))
        name = source or f"all {len(sources)} sources"
        table.add_row(Text(name), str(counts["in"]), Text(reasons or "-"), str(counts["kept"]))
    return table


@app.command(epilog=epilog("run"))
def run(config: CONFIG = None, overrides: OVERRIDES = None) -> None:
    """The whole loop: read, generate, label, mix, train, evaluate, tune, report."""
    go(STEPS, config, overrides)


def _step_command(name: str):
    def command(config: CONFIG = None, overrides: OVERRIDES = None) -> None:
        go((name,), config, overrides)

    command.__name__ = name
    return command


def evaluate(
    config: CONFIG = None,
    overrides: OVERRIDES = None,
    rescore: Annotated[bool, typer.Option(help="score stored answers, no engine")] = False,
    official: Annotated[bool, typer.Option(help="BFCL's own score files of them")] = False,
) -> None:
    """Base and arms answer the test rows; or their stored answers are scored again."""
    if not rescore and not official:
        return go(("evaluate",), config, overrides)
    from raytune_agents.pipeline import rescore as stored

    for wanted, work in ((rescore, stored.rescore), (official, stored.official)):
        if wanted:
            go(("evaluate",), config, overrides, work)


def read(
    config: CONFIG = None,
    overrides: OVERRIDES = None,
    explain: Annotated[str | None, typer.Option(help="show how a source is read; no run")] = None,
) -> None:
    """Sources -> trajectories, split by tool name."""
    if explain is None:
        return go(("read",), config, overrides)
    from raytune_agents import readers

    with said_errors():
        console.print(readers.explain(explain))


def generate(
    config: CONFIG = None,
    overrides: OVERRIDES = None,
    preview: Annotated[int, typer.Option(help="show this many rows of every pool, write none")] = 0,
) -> None:
    """Synthetic positives, mined failures, edited negatives; or a look at them."""
    if not preview:
        return go(("generate",), config, overrides)
    from raytune_agents.cli.preview import preview as show

    with said_errors():
        show(load(*split_arguments(config, overrides)), preview, console)


_COMMANDS: dict[str, Callable[..., None]] = {
    "read": read,
    "generate": generate,
    "evaluate": evaluate,
}
for _name in STEPS:
    app.command(name=_name, help=HELP[_name], epilog=epilog(_name))(
        _COMMANDS.get(_name) or _step_command(_name)
    )
for _command in (compare, trace, status, init, analyse, schema, export, plan, doctor, trials):
    app.command(epilog=epilog(_command.__name__))(_command)


app.command()(examples)


@app.command()
def model(config: CONFIG = None, overrides: OVERRIDES = None) -> None:
    """Prepare the model: download it, or convert the embedded one into the cache."""
    with said_errors():
        tree = load(*split_arguments(config, overrides))
        from raytune_agents import models

        console.print(f"model: {models.resolve(tree.model)}", highlight=False, soft_wrap=True)


@app.command(epilog=epilog("merge"))
def merge(run: str, arm: str, out: str) -> None:
    """RUN ARM OUT: the arm's adapter merged into its base, as safetensors for any engine."""
    with said_errors():
        from raytune_agents.cli import merge as command

        console.print(f"merged: {command.merge(run, arm, out)}", highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point. Ctrl-C exits with 130; a traceback is printed without secrets."""
    sys.excepthook = lambda *error: print(
        redact("".join(traceback.format_exception(*error))), file=sys.stderr, end=""
    )
    try:
        app()
    except KeyboardInterrupt:
        errors.print("stopped; the same command goes on from here")
        sys.exit(130)
