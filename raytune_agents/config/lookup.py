"""Names that people write: a user's own `module:function`, and the known name nearest to a wrong
one."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from raytune_agents.config.base import ConfigError
from raytune_agents.records import OWN_CODE


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "known are") -> str:
    """`did you mean NAME?`, or, where none is near, `otherwise` and all of them."""
    names = list(known)
    near = get_close_matches(name, names, 1)
    return f"did you mean {near[0]}?" if near else f"{otherwise} {', '.join(names)}"


# option -> the arguments that its function is called with
CALLED_WITH = {
    "read.sources.format": "row",
    "label.rules": "row",
    "label.embed": "texts",
    "negatives.faults": "row, rng",
    "generate.teacher.client": "chat, sampling",
    "train.grpo.rewards": "answer, row",
    "evaluate.metrics": "answer, row",
    "export.format": "row",
}
_imported: dict[str, int] = {}  # module of a user -> time of its file, as it was imported


def _import_current(module: str) -> ModuleType:
    """The module; anew where its file was edited since: notebooks and Ray's workers live on."""
    found = importlib.import_module(module)
    file = Path(getattr(found, "__file__", None) or "")
    changed_ns = file.stat().st_mtime_ns if file.is_file() else 0
    if _imported.setdefault(module, changed_ns) != changed_ns:
        _imported[module] = changed_ns
        found = importlib.reload(found)
    return found


def user_object(
    path: str, option: str, write: str = "", error: type[ConfigError] = ConfigError
) -> Any:
    """The function, class or object that "module:name" names. Raises `error`, which names the
    option and says what to `write`; also for a function that takes other arguments."""
    module, colon, name = path.partition(":")
    also = f", {write}" if write else ""
    if not (module and colon and name):
        raise error(f"{option}={path!r} is unknown; write module:function{also}")
    try:
        found = getattr(_import_current(module), name)
        if not callable(found) and not is_dataclass(found):  # which a method, or a metric, may be
            raise TypeError(f"it is a {type(found).__name__}")
        if option in CALLED_WITH and callable(found):
            check_call(found, option)
        return found
    except OWN_CODE as cause:  # the import of a user's module may raise anything
        raise error(
            f"{option}={path!r} cannot be loaded ({cause}); write module:function of an installed "
            f"package, or of a file in the folder you run in{also}"
        ) from None


def check_call(function: Callable[..., Any], option: str) -> None:
    """Raises TypeError for a function that does not take what the option calls it with."""
    try:
        takes = inspect.signature(function)
    except ValueError:  # one of C's says nothing
        return
    called_with = CALLED_WITH[option]
    try:
        takes.bind(*called_with.split(", "))
    except TypeError:
        raise TypeError(f"it is called with ({called_with}) and takes {takes}") from None
