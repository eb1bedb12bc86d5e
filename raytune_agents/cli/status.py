"""raytune-agents status RUN: where a run is, from another terminal. Reads the run folder only."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from raytune_agents.runs import STEPS


def last_line(path: Path) -> dict[str, Any]:
    """The last whole line of a metrics.jsonl, {} where there is none."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    return json.loads(lines[-1]) if lines else {}


def note(folder: Path) -> str:
    """What a running step last wrote: its newest arm's training step, else its finished shards."""
    arms = sorted(folder.glob("*/metrics.jsonl"), key=lambda p: p.stat().st_mtime)
    if arms and "of" in (line := last_line(arms[-1])):
        return (
            f"{arms[-1].parent.name}: step {line['step']}/{line['of']}, loss {line['loss']:.3f}, "
            f"{line['tokens_per_s']:.0f} tokens/s"
        )
    shards = list(folder.rglob("rows-*.parquet"))
    return f"{len(shards)} shards on disk" if shards else ""


def states(run: Path, now: float) -> Iterator[tuple[str, str, str, str]]:
    """(step, state, seconds, note) of every step; state is done, running or killed, or waiting.

    A started step without a manifest is running or was killed: the files do not tell which, the
    seconds since its last write do."""
    for name in STEPS:
        folder = run / name
        if (folder / "manifest.json").is_file():
            done = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            rows = done["rows"]
            lost = sum(rows["rejected"].values()) + sum(rows["failed"].values())
            text = f"in {rows['in']} = out {rows['out']} + rejected or failed {lost}"
            yield name, "done", f"{done['seconds']:.0f}", text
        elif (folder / "started.json").is_file():
            begun = json.loads((folder / "started.json").read_text(encoding="utf-8"))["started"]
            wrote = max(f.stat().st_mtime for f in folder.rglob("*"))
            text = f"last write {max(0.0, now - wrote):.0f} s ago"
            more = note(folder)
            yield name, "started", f"{now - begun:.0f}", f"{text}; {more}" if more else text
        else:
            yield name, "waiting", "", ""


def status(run: Annotated[Path, typer.Argument(help="run folder, for example runs/demo")]) -> None:
    """Where a run is: every step's state, seconds, rows or last figures."""
    if not run.is_dir():
        typer.echo(f"{run}: no such run folder; write one under runs/", err=True)
        raise typer.Exit(2)
    table = Table("step", "state", "s", "", title=str(run), title_justify="left")
    for row in states(run, time.time()):
        table.add_row(*row)
    Console(width=None).print(table)
