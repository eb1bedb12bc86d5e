"""`raytune-agents export CONFIG --format NAME --out FOLDER`: a run's rows for another trainer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from raytune_agents.commands.arguments import (
    CONFIG,
    OVERRIDES,
    console,
    said_errors,
    split_arguments,
)
from raytune_agents.config import Config, load

if TYPE_CHECKING:
    from raytune_agents.runs import StoredRows


def labelled_rows(config: Config) -> StoredRows:
    """The rows that the run's label step wrote. Raises FileNotFoundError where it has not run."""
    from raytune_agents.runs import MANIFEST, StoredRows

    folder = Path(config.runs_dir).expanduser() / config.name / "label"
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(f"{folder} has no finished rows: run `raytune-agents label` first")
    return StoredRows(folder)


def export(
    config: CONFIG = None,
    overrides: OVERRIDES = None,
    out: Annotated[Path | None, typer.Option(help="folder; default RUN/export/FORMAT")] = None,
    format: Annotated[str | None, typer.Option(help="openai, gemini, sharegpt, ...")] = None,
    preset: Annotated[str | None, typer.Option(help="none or agent_flan")] = None,
    scale: Annotated[float | None, typer.Option(help="size of the preset")] = None,
    markers: Annotated[bool, typer.Option(help="wrong answers too, with NAT's markers")] = False,
) -> None:
    """Accepted rows of a run as train and validation files of another format, with a card."""
    from raytune_agents.exports.files import write_files

    given = {"format": format, "preset": preset, "scale": scale}
    with said_errors():
        path, words = split_arguments(config, overrides)
        words += [f"export.{k}={v}" for k, v in given.items() if v is not None]
        tree = load(path, words)
        section = tree.export
        nat = tree.train.nat
        marks = (nat.positive, nat.negative) if markers else None
        folder = out or Path(tree.runs_dir).expanduser() / tree.name / "export" / section.format
        summary = write_files(labelled_rows(tree), folder, section, tree.seed, marks)
    show(summary, folder)


def show(summary: dict[str, Any], folder: Path) -> None:
    """The files, and rows in = out + left out by reason."""
    table = Table("file", "rows", "bytes", "calls", "tools")
    for name, about in summary["files"].items():
        table.add_row(name, *(str(about[k]) for k in ("rows", "bytes", "calls", "tools")))
    console.print(table)
    left, made = summary["left_out"], summary["rows_out"]
    line = f"rows: in {summary['rows_in']} = out {made} + left out {sum(left.values())}"
    console.print(line, highlight=False)
    for reason, count in left.items():
        console.print(f"  left out {count} {reason}", style="dim", highlight=False, markup=False)
    for kind, count in summary["missing"].items():
        console.print(f"  missing {count} {kind}", style="dim", highlight=False, markup=False)
    for name, reasons in summary["would_be_refused"].items():
        line = f"  {summary['format']} would refuse {name}: {'; '.join(reasons)}"
        console.print(line, style="red", highlight=False, markup=False)
    console.print(f"written: {folder}", highlight=False, soft_wrap=True)
