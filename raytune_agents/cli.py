"""raytune-agents: the whole loop, or one step of it.

raytune-agents run jobs/configs/smoke_cpu.yaml name=mine train.learning_rate=5e-4
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from raytune_agents.commands.compare import compare
from raytune_agents.commands.status import status
from raytune_agents.commands.trace import trace
from raytune_agents.config import ConfigError, load
from raytune_agents.runs import STEPS

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="From a few good agent trajectories to a measurably better tool-calling model.",
)
console = Console(width=None if sys.stdout.isatty() else 150)
errors = Console(stderr=True, soft_wrap=True)

CONFIG = Annotated[
    str | None, typer.Argument(help="YAML file; without it every option has its default")
]
OVERRIDES = Annotated[list[str] | None, typer.Argument(help="section.option=value ...")]
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


def split_arguments(
    config: str | None, overrides: list[str] | None
) -> tuple[str | None, list[str]]:
    """`CONFIG` may be left out: then the first word is an override."""
    words = list(overrides or [])
    if config is not None and "=" in config and not Path(config).exists():
        return None, [config, *words]
    return config, words


def go(
    names: tuple[str, ...],
    config: str | None,
    overrides: list[str] | None,
    work: Callable[..., Any] | None = None,
) -> None:
    """Load, run (`work` instead of the steps), print the table; a ConfigError prints as it is and
    exits with 2."""
    try:
        tree = load(*split_arguments(config, overrides))
        from raytune_agents.pipeline import run_steps
        from raytune_agents.progress import Display

        context = (work or run_steps)(tree, names, Display(console))
    except (ConfigError, FileNotFoundError) as error:
        errors.print(str(error), style="red", highlight=False, markup=False)
        raise typer.Exit(2) from None
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
    if (folder / "report.html").is_file() and "report" in names:
        console.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)


def cell(value: dict | None, signed: bool = False) -> str:
    """`0.31 [0.24, 0.39]`, or a dash."""
    if not value or value.get("value") is None:
        return "-"
    form = "{:+.2f} [{:+.2f}, {:+.2f}]" if signed else "{:.2f} [{:.2f}, {:.2f}]"
    return form.format(value["value"], value["low"], value["high"])


def arms_table(split: str, scores: dict, differences: dict) -> Table:
    """One split: a row an arm, a column a metric, and the difference to base in exact match."""
    rows = max(
        (
            m.get("format_adherence", {}).get("n", 0)
            for m in (a.get(split, {}) for a in scores.values())
        ),
        default=0,
    )
    table = Table(title=f"{split}: {rows} rows, value (interval)", title_justify="left")
    table.add_column("arm")
    for column in (*SHOWN.values(), "exact - base", "p50 s", "tokens"):
        table.add_column(column, justify="right", no_wrap=True)
    for arm, splits in scores.items():
        found = splits.get(split, {})
        pair = differences.get(arm, {}).get(split, {}).get("exact_match")
        latency, tokens = found.get("latency_p50_s", {}), found.get("output_tokens", {})
        table.add_row(
            arm,
            *(cell(found.get(m)) for m in SHOWN),
            cell(pair, signed=True),
            f"{latency.get('value') or 0:.2f}",
            f"{tokens.get('value') or 0:.0f}",
        )
    return table


@app.command()
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
    from raytune_agents.pipeline import stored

    for wanted, work in ((rescore, stored.rescore), (official, stored.official)):
        if wanted:
            go(("evaluate",), config, overrides, work)


for _name in STEPS:
    _command = evaluate if _name == "evaluate" else _step_command(_name)
    app.command(name=_name, help=HELP[_name])(_command)
app.command()(compare)
app.command()(trace)
app.command()(status)


@app.command()
def model(config: CONFIG = None, overrides: OVERRIDES = None) -> None:
    """Prepare the model: download it, or convert the embedded one into the cache."""
    try:
        tree = load(*split_arguments(config, overrides))
        from raytune_agents import models

        console.print(f"model: {models.resolve(tree.model)}", highlight=False, soft_wrap=True)
    except ConfigError as error:
        errors.print(str(error), style="red", highlight=False, markup=False)
        raise typer.Exit(2) from None


def main() -> None:
    """Entry point. Ctrl-C exits with 130."""
    try:
        app()
    except KeyboardInterrupt:
        errors.print("stopped; the same command goes on from here")
        sys.exit(130)
