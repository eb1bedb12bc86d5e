"""`raytune-agents trace ROW_ID RUN`: where a row came from and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from raytune_agents.report import lineage
from raytune_agents.report.text import clip, visible


def trace(
    row_id: Annotated[str, typer.Argument(help="id of a row, or how it starts")],
    run: Annotated[Path, typer.Argument(help="folder of a run, for example runs/demo")],
) -> None:
    """Where a row came from: parents, steps, seeds, verdicts; who trained on it and answered it."""
    try:
        found = lineage.trace(run, row_id)
    except lineage.UnknownRow as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(2) from None
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for depth, row in enumerate(found.rows):
        console.print(f"{'row' if not depth else 'from'} {row.id}  {row.pool}  {row.split}")
        config = f", config {row.config_hash}" if row.config_hash else ""
        console.print(f"     step {row.step or 'read'}, seed {row.seed}{config}")
        console.print(visible(f"     source {row.source} {row.source_id}"))
        console.print(visible(f"     {lineage.verdict(row)}"))
        console.print(visible(f"     request: {clip(row.query, 300)}"))
        calls = ", ".join(f"{c.name}({c.arguments})" for c in row.calls)
        console.print(visible(f"     calls: {clip(calls, 300) or 'none'}"))
    for name in found.missing:
        console.print(f"from {name}  (in no file of this run)")
    for arm, times in found.trained.items():
        console.print(f"trained on by {arm}: {times} times")
    for answer in found.answers:
        good = answer["exact_match"]
        word = "not scored" if good is None else "right" if good else answer["fault"] or "wrong"
        text = visible(clip(answer["answer"] or answer["failed"], 200))
        console.print(f"answered by {answer['arm']}: {word}: {text}")
