"""`raytune-agents plan CONFIG`: what a run will take, before anything starts; `--provider openai`:
what a hosted tuning job on a finished run's rows would cost."""

from __future__ import annotations

from typing import Annotated

import typer

from raytune_agents.cli.arguments import CONFIG, OVERRIDES, console, said_errors, split_arguments
from raytune_agents.cli.export import labelled_rows
from raytune_agents.config import Config, load


def plan(
    config: CONFIG = None,
    overrides: OVERRIDES = None,
    provider: Annotated[
        str | None, typer.Option(help="openai or gemini: a hosted job on the run's rows")
    ] = None,
) -> None:
    """Placement, tokens, memory, hours, disk and money of a run, or the price of a hosted one."""
    with said_errors():
        tree = load(*split_arguments(config, overrides))
        lines = hosted_lines(tree, provider) if provider else own_lines(tree)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def own_lines(tree: Config) -> list[str]:
    """The plan on the cluster that the config names, or on this machine; Ray is asked and left."""
    from raytune_agents.infra import cluster
    from raytune_agents.pipeline import plan as planner
    from raytune_agents.pipeline.run import preflight

    preflight(tree)
    have = cluster.look(tree.resources)
    return planner.plan(tree, have).lines()


def hosted_lines(tree: Config, provider: str) -> list[str]:
    """Tokens, price by export.prices, and time of tuning a hosted model on the run's rows."""
    from raytune_agents.exports import pricing as hosted
    from raytune_agents.exports import splits

    rows = labelled_rows(tree)
    parts = splits.plain(map(splits.slim, rows), tree.export.val_share, tree.seed)
    train = {"train": parts.files["train"]}
    found = hosted.plan((r for *_, r in splits.chosen(rows, train)), provider, tree.export)
    found.left_out.update(parts.left_out | {"val row": len(parts.files["val"])})
    return found.lines()
