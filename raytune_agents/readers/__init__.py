"""Readers: a row of any known source format -> Trajectory. One small file a format.

`sources.rows` finds the rows, `detect` tells their format by their keys, `read_row` makes
trajectories. A user's own reader is "module:function", with the same contract: (row) ->
Trajectory or a list of them; RecordError (or any plain error) makes the row a counted bad row.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from raytune_agents.readers import bfcl, openai, xlam
from raytune_agents.readers.files import SourceError
from raytune_agents.readers.sources import rows as list_raw
from raytune_agents.records import RecordError, Trajectory, finish

__all__ = ["READERS", "SourceError", "detect", "list_raw", "read_row", "resolve"]

Reader = Callable[[dict[str, Any]], "Trajectory | list[Trajectory]"]

READERS: dict[str, Reader] = {
    "bfcl": bfcl.read,
    "xlam": xlam.read,
    "openai": openai.read,
}

# format -> keys a row must have; the first that fits wins, so the narrow ones stand first
SIGNS: tuple[tuple[str, frozenset[str]], ...] = tuple(
    (name, frozenset(keys.split()))
    for name, keys in [
        ("bfcl", "id question function"),
        ("xlam", "query tools answers"),
        ("openai", "messages"),
    ]
)


def detect(row: dict[str, Any]) -> str:
    """The format of a row by its keys. Raises RecordError where no known format has them."""
    for name, keys in SIGNS:
        if keys <= row.keys():
            return name
    raise RecordError(f"no known format has the keys {', '.join(map(str, row))[:120]}")


def resolve(name: str) -> Reader:
    """The reader of a format name or of "module:function". Raises SourceError naming the known
    ones.
    """
    if name in READERS:
        return READERS[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise SourceError(
            f"read.sources.format={name!r} is unknown; write auto, module:function or one of "
            + ", ".join(sorted(READERS))
        )
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SourceError(f"read.sources.format={name!r} cannot be imported: {error}") from None


def read_row(raw: dict[str, Any], where: str, format: str = "auto") -> list[Trajectory]:
    """The trajectories of one raw row, with source, ids and pool set. Raises RecordError(reason).

    `where` is what `list_raw` said: "file:line". A known outcome below one half puts the row in
    the pool "negative.observed"; a reader may name a narrower pool itself.
    """
    if not isinstance(raw, dict):
        raise RecordError(f"the row is a {type(raw).__name__}, not an object")
    name = detect(raw) if format == "auto" else format
    reader = resolve(name)
    try:
        read = reader(raw)
        return [_place(t, name, where) for t in (read if isinstance(read, list) else [read])]
    except RecordError:
        raise
    except Exception as error:  # the one row boundary: whatever a strange row does to a reader
        reason = str(error).splitlines()[0][:120] if str(error) else ""
        raise RecordError(f"{name}: {type(error).__name__} {reason}".rstrip()) from None


def _place(row: Trajectory, name: str, where: str) -> Trajectory:
    file, _, line = where.rpartition(":")
    failed = row.outcome is not None and row.outcome < 0.5 and row.pool == "positive"
    source = file if file.startswith(f"{name}/") else f"{name}/{file or where}"
    changes = {
        "source": row.source or source,
        "source_id": row.source_id or line,
        "step": "read",
        "pool": "negative.observed" if failed else row.pool,
    }
    return finish(replace(row, **changes))
