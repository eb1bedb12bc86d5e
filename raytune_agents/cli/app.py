"""raytune-agents: the whole loop, and what stands before and after it.

raytune-agents run jobs/configs/smoke_cpu.yaml name=mine train.learning_rate=5e-4

Starting it loads this room only; a command loads what it needs when it runs.
"""

from __future__ import annotations

import io
import sys
import tomllib
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer

import raytune_agents
from raytune_agents.cli.compare import compare_command
from raytune_agents.cli.deliver import export
from raytune_agents.cli.init_command import init
from raytune_agents.cli.look import report_command, status, trace, trials
from raytune_agents.cli.prepare import capture_command, doctor, plan_command, read_command
from raytune_agents.cli.shared_options import (
    CONFIG,
    OVERRIDES,
    console,
    load_tree,
    printed_errors,
)

if TYPE_CHECKING:
    from raytune_agents.config import Config

FIRST = "First: raytune-agents init --tools my_tools.py --positives good.jsonl; then plan and run."
# {command: {what for: the words after it}}, under its `--help`; TOML, as YAML would be loaded at
# every start
EXAMPLES: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("examples.toml").read_text("utf-8")
)


def example_lines(command: str) -> list[str]:
    """The examples of a command, as they are typed."""
    return [f"raytune-agents {command} {words}" for words in EXAMPLES.get(command, {}).values()]


def epilog(command: str) -> str:
    """What `--help` shows last; one paragraph per line."""
    lines = map(": ".join, zip(EXAMPLES[command], example_lines(command)))
    return "\n\n".join(["Examples", *lines]).replace("[", "\\[")


app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    epilog=FIRST,
)


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(raytune_agents.__version__)
        raise typer.Exit


VERSION = Annotated[
    bool,
    typer.Option("--version", callback=print_version, is_eager=True, help="print it and end"),
]
STEPS = Annotated[
    str | None,
    typer.Option(help="only these: read,generate,label,mix,train,evaluate,tune,report"),
]


@app.callback()
def main_options(version: VERSION = False) -> None:
    """From a few good agent trajectories to a measurably better tool-calling model."""


def run_command(config: CONFIG = None, overrides: OVERRIDES = None, steps: STEPS = None) -> None:
    """The whole loop, or some of its steps; what is done is skipped, a killed run goes on."""
    from raytune_agents.cli.summary import outline_lines, show_summary

    with printed_errors():
        from raytune_agents.runs import STEPS, steps_named

        names = steps_named(STEPS if steps is None else steps.split(","))
        tree = load_tree(config, overrides)
        from raytune_agents.pipeline.run import run_steps
        from raytune_agents.progress import Display

        display = Display(console)

        def announce(config: Config, left: Sequence[str]) -> None:
            for line in outline_lines(config, left):
                display.say(line, style="dim")

        context = run_steps(tree, names, display, announce)
        show_summary(context.run.folder, names)


PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Run": (run_command,),
    "Look": (report_command, compare_command, trace, trials, status),
    "Prepare": (capture_command, init, read_command, doctor, plan_command),
    "Take away": (export,),
}
for _panel, _commands in PANELS.items():
    for _command in _commands:
        _name = _command.__name__.removesuffix("_command")
        app.command(_name, rich_help_panel=_panel, epilog=epilog(_name))(_command)


def main() -> None:
    """Entry point. A traceback is printed without secrets, and what the terminal's encoding lacks
    as `?`: rows are in any language."""
    sys.excepthook = print_redacted
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()


def print_redacted(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    from raytune_agents.redact import redact, visible

    text = "".join(traceback.format_exception(kind, error, trace))
    print(visible(redact(text)), file=sys.stderr, end="")
