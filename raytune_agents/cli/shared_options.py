"""What commands share: their arguments, the console, and how an error or a signal ends them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.table import Table
from rich.text import Text

from raytune_agents.progress import SafeConsole
from raytune_agents.redact import redact, visible

if TYPE_CHECKING:
    from raytune_agents.config import Config


console = SafeConsole(width=None if sys.stdout.isatty() else 150)
errors = SafeConsole(stderr=True, soft_wrap=True)
WRONG, INTERRUPTED, TERMINATED = 2, 130, 143  # exit codes; the last two as shells have them
FILE_ERRORS = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)

CONFIG = Annotated[
    str | None,
    typer.Argument(help="YAML file, or a run's folder; without it every option has its default"),
]
OVERRIDES = Annotated[list[str] | None, typer.Argument(help="section.option=value ...")]
RUN = Annotated[str, typer.Argument(help="run folder, or the name of one under runs/")]


def load_tree(config: str | None, overrides: list[str] | None, *more: str) -> Config:
    """The config of a command line: of a YAML file, or of a run by its folder or name. CONFIG may
    be left out: then the first word is an override. Raises ConfigError."""
    from raytune_agents.config import load_config

    words = [*(overrides or []), *more]
    if config is not None and "=" in config and not Path(config).exists():
        words = [config, *words]
        config = None
    for folder in (Path(config), Path("runs") / config) if config else ():
        if (stored := folder / "config.json").is_file():
            tree, at = load_config(stored), folder.resolve()
            # A folder that was moved wins over the place in its config; one in a bucket is a copy.
            here = [] if "://" in tree.runs_dir else [f"name={at.name}", f"runs_dir={at.parent}"]
            return load_config(stored, [*here, *words])
    return load_config(config, words)


def run_folder(run: str) -> Path:
    """The folder of a run, given by its path or by its name under runs/. Raises ConfigError."""
    for folder in (Path(run).expanduser(), Path("runs") / run):
        if folder.is_dir():
            return folder
    refuse(f"RUN={run!r} is no run folder; write its path, for example runs/demo")


def say(text: Any, style: str | None = None) -> None:
    """One line on the console, as it is."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def printed_errors() -> Iterator[None]:
    """What the user can mend (a ConfigError, a file that is not there or cannot be written, a bad
    loss, an engine or teacher that stays down, a lost node) prints as it is and exits with 2;
    Ctrl-C with 130, SIGTERM with 143, and what was finished stays."""
    from raytune_agents.config import ConfigError

    signals: list[int] = []

    def stop(number: int, frame: Any) -> None:
        signals.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except ConfigError as error:
        fail(str(error))
    except Exception as error:  # what is no fault of the code's shows no traceback
        if lost_to_cluster(error):
            fail(f"Ray: {error}\nthe same command goes on from here")
        if isinstance(error, OSError) and error.filename is not None:
            fail(f"{error.filename}: {error.strerror}; write another path")
        if not isinstance(error, (*FILE_ERRORS, *user_errors())):
            raise
        fail(str(error))
    except KeyboardInterrupt:
        errors.print("stopped; the same command goes on from here", highlight=False)
        status = TERMINATED if signals else INTERRUPTED
        cluster: Any = sys.modules.get("raytune_agents.infra.cluster")
        if cluster and "ray" in sys.modules and cluster.head_is_gone():
            sys.stdout.flush()
            os._exit(status)  # what Ray does at the end would look for its head
        raise typer.Exit(status) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def refuse(text: str) -> NoReturn:
    """Raises ConfigError, which a command loads only where it refuses something."""
    from raytune_agents.config import ConfigError

    raise ConfigError(text)


def refuse_unused(options: Mapping[str, object], why: str) -> None:
    """Raises ConfigError where one of these options was written: what else was asked uses none."""
    for option, value in options.items():
        if value is not None and value is not False and value != "":
            refuse(f"{option} {why}")


def fail(text: str) -> None:
    """Say what is wrong, without secrets, and end the command."""
    errors.print(redact(text), style="red", highlight=False, markup=False)
    raise typer.Exit(WRONG) from None


def lost_to_cluster(error: Exception) -> bool:
    """Whether a process, a node or the cluster was lost; an error of code that ran there is not."""
    ray: Any = sys.modules.get("ray.exceptions")
    return bool(ray) and isinstance(error, ray.RayError) and not isinstance(error, ray.RayTaskError)


def user_errors() -> tuple[type[RuntimeError], ...]:
    """The errors of a run that its user can mend. Those of the engine are known only where it was
    loaded."""
    from raytune_agents.runs import BadLoss

    client: Any = sys.modules.get("raytune_agents.inference.client")
    return (BadLoss, client.EngineDown) if client else (BadLoss,)


def table_of(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1
) -> Table:
    """A rich table whose first `left` columns stand on the left, the others, numbers, right."""
    # as texts, since the name of a folder or a pool may look like markup
    table = Table(title=Text(title, "table.title") if title else None, title_justify="left")
    for k, head in enumerate(heads):
        table.add_column(Text(head), justify="left" if k < left else "right", no_wrap=k >= left)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table
