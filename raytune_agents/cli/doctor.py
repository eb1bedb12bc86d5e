"""`raytune-agents doctor CONFIG`: would it run? Stops at the first thing to mend."""

from __future__ import annotations

import shutil

import typer

from raytune_agents.cli.arguments import (
    CONFIG,
    OVERRIDES,
    console,
    errors,
    said_errors,
    split_arguments,
)
from raytune_agents.config import load
from raytune_agents.redact import redact


def doctor(config: CONFIG = None, overrides: OVERRIDES = None) -> None:
    """Config, data, package, placement, versions, disk, parity, one row, one training step."""
    with said_errors():
        tree = load(*split_arguments(config, overrides))
    from ray.exceptions import RayError
    from ray.train import TrainingFailedError

    from raytune_agents.inference import engine
    from raytune_agents.infra import cluster
    from raytune_agents.pipeline.context import Context
    from raytune_agents.pipeline.doctor import Doctor
    from raytune_agents.progress import Display

    tree = tree.model_copy(update={"name": f"{tree.name}.doctor"})  # a folder that goes again
    context = Context(tree, Display(console))
    try:
        for name, check in Doctor(tree, context).checks():
            try:
                console.print(f"ok    {name}: {check()}", highlight=False, markup=False)
            except (ValueError, OSError, RuntimeError, RayError, TrainingFailedError) as error:
                said = redact(f"mend  {name}: {error}")
                errors.print(said, style="red", highlight=False, markup=False)
                raise typer.Exit(1) from None
    finally:
        if "resources" in context.__dict__:
            engine.stop()
            cluster.disconnect()
        shutil.rmtree(context.run.folder, ignore_errors=True)
