"""`raytune-agents export CONFIG --format NAME --out FOLDER`: a run's rows for another trainer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from raytune_agents.cli.arguments import CONFIG, OVERRIDES, console, said_errors, split_arguments
from raytune_agents.config import Config, load
from raytune_agents.mirror import local_folder

if TYPE_CHECKING:
    from raytune_agents.runs import StoredRows


def labelled_rows(config: Config) -> StoredRows:
    """The rows that the run's label step wrote. Raises FileNotFoundError where it has not run."""
    from raytune_agents.runs import MANIFEST, StoredRows

    folder = local_folder(config.runs_dir) / config.name / "label"
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
    hub: Annotated[Path | None, typer.Option(help="folders for the hub")] = None,
    serve: Annotated[Path | None, typer.Option(help="folder of a Ray Serve app")] = None,
) -> None:
    """Accepted rows of a run as train and validation files of another format, with a card."""
    from raytune_agents.exports.files import write_files
    from raytune_agents.train import nat

    given = {"format": format, "preset": preset, "scale": scale}
    with said_errors():
        path, words = split_arguments(config, overrides)
        words += [f"export.{k}={v}" for k, v in given.items() if v is not None]
        tree = load(path, words)
        if place := hub or serve:
            return folder_of(tree, place, bool(hub))
        section = tree.export
        marker = partial(nat.marker, section=tree.train) if markers else None
        folder = out or local_folder(tree.runs_dir) / tree.name / "export" / section.format
        summary = write_files(labelled_rows(tree), folder, section, tree.seed, marker)
    show(summary, folder)


def folder_of(tree: Config, out: Path, hub: bool) -> None:
    """Write the hub's folders, or those to serve from; say which commands go on with them."""
    from raytune_agents.cli.hub import write_hub
    from raytune_agents.cli.serve import write_serve
    from raytune_agents.infra import cluster

    if hub:
        said, what = write_hub(tree, labelled_rows(tree), out), "nothing was sent. To push:"
    else:
        said, what = write_serve(tree, cluster.look(tree.resources), out), "to serve:"
    console.print(f"written: {out}; {what}", highlight=False)
    for line in said:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


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
