"""`raytune-agents plan CONFIG --provider openai`: what a hosted tuning job would cost."""

from __future__ import annotations

from typing import Annotated

import typer

from raytune_agents.commands.arguments import (
    CONFIG,
    OVERRIDES,
    console,
    said_errors,
    split_arguments,
)
from raytune_agents.commands.export import labelled_rows
from raytune_agents.config import load


def plan(
    config: CONFIG = None,
    overrides: OVERRIDES = None,
    provider: Annotated[str, typer.Option(help="openai or gemini")] = "openai",
) -> None:
    """Tokens, price by export.prices, and time of tuning a hosted model on the run's rows."""
    from raytune_agents.exports import plan as hosted
    from raytune_agents.exports import splits

    with said_errors():
        tree = load(*split_arguments(config, overrides))
        rows = labelled_rows(tree)
        parts = splits.plain(map(splits.slim, rows), tree.export.val_share, tree.seed)
        train = {"train": parts.files["train"]}
        found = hosted.plan((r for *_, r in splits.chosen(rows, train)), provider, tree.export)
    found.left_out.update(parts.left_out | {"val row": len(parts.files["val"])})
    for line in found.lines():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
