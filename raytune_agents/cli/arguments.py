"""What commands share: CONFIG with overrides, and how an error ends a command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from raytune_agents.config import ConfigError
from raytune_agents.inference.engine import EngineDown
from raytune_agents.redact import redact
from raytune_agents.runs import BadLoss

console = Console(width=None if sys.stdout.isatty() else 150)
errors = Console(stderr=True, soft_wrap=True)

CONFIG = Annotated[
    str | None, typer.Argument(help="YAML file; without it every option has its default")
]
OVERRIDES = Annotated[list[str] | None, typer.Argument(help="section.option=value ...")]


def split_arguments(
    config: str | None, overrides: list[str] | None
) -> tuple[str | None, list[str]]:
    """`CONFIG` may be left out: then the first word is an override."""
    words = list(overrides or [])
    if config is not None and "=" in config and not Path(config).exists():
        return None, [config, *words]
    return config, words


@contextmanager
def said_errors() -> Iterator[None]:
    """A ConfigError, a file that is not there, a bad loss or an engine (or teacher) that stays down
    prints as it is and exits with 2."""
    try:
        yield
    except (ConfigError, FileNotFoundError, BadLoss, EngineDown) as error:
        errors.print(redact(str(error)), style="red", highlight=False, markup=False)
        raise typer.Exit(2) from None
