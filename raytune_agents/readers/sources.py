"""A source of the config -> (where, row): the installed BFCL, files, folders, globs, URLs, hub
sets.

Streaming: one row is held at a time. A row that cannot be read comes as a RecordError, so that
rows in = rows out + rows quarantined holds from the first byte on.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from raytune_agents.config import SourceConfig
from raytune_agents.readers import bfcl
from raytune_agents.readers.decode import Found, file_rows
from raytune_agents.readers.nestful_package import SETS, package_files, package_rows
from raytune_agents.readers.sessions import gathered
from raytune_agents.readers.unpack import SourceError, file_kind, filesystem
from raytune_agents.records import RecordError
from raytune_agents.redact import redact

CLOSED = re.compile(r"gated|401|403|authenticat|private|doesn't exist on the Hub", re.IGNORECASE)
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[\w.-]+)?(:[\w.-]*){0,2}")


def list_raw(source: SourceConfig) -> Iterator[Found]:
    """(where, row) for every row of `source`, at most `limit` good ones. Raises SourceError."""
    good = 0
    for where, row in _all(source):
        yield where, row
        good += not isinstance(row, RecordError)
        if good == source.limit:
            return


def _all(source: SourceConfig) -> Iterator[Found]:
    if source.path == "bfcl":
        return bfcl.bfcl_rows(source.categories)
    if is_packaged(source.path):
        return package_rows(source.path)
    if is_hub(source.path):
        return hub_rows(source.path)
    paths = files(source.path)
    # up to a slash it is a folder, also of URLs
    shared = os.path.commonprefix(paths).rfind("/") + 1  # noqa: RUF071
    return chain.from_iterable(gathered(file_rows(p, redact(p[shared:]))) for p in paths)


def is_packaged(path: str) -> bool:
    """Whether a path names a set of nestful-wrapper, and no file."""
    return path in SETS and not Path(path).exists()


def files(path: str) -> list[str]:
    """The data files of a path, folder, glob or URL, sorted. Raises SourceError where there is
    none.
    """
    if is_packaged(path):
        return [str(p) for p in package_files(path)]
    if "://" in path:
        out = _remote_files(path)
    elif Path(path).is_file():
        return [path]
    elif Path(path).is_dir():
        found = [p for p in _below(Path(path)) if p.is_file()]
        out = [p.as_posix() for p in found if not _is_hidden(p.relative_to(path))]
    else:
        out = [p for p in glob.glob(path, recursive=True) if Path(p).is_file()]
    data = sorted(p for p in out if file_kind(p)[0])
    if not data:
        found = f"{len(out)} files, none of a kind we read"
        what = found if out else "no such file, folder or glob"
        raise SourceError(
            f"read.sources.path={path!r}: {what}; write a .jsonl, .json, .csv, .tsv or .parquet "
            "file (also .gz, .zst), a folder of them, a URL, a hub id such as owner/name, or bfcl, "
            "nestful, complexfuncbench"
        )
    return data


def _below(folder: Path) -> Iterator[Path]:
    """The files of a folder at any depth, of one that a link leads to as well, each folder once."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()  # a link back: its files are there by another name
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(place, name) for name in names)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _remote_files(url: str) -> list[str]:
    try:
        system, inner = filesystem(url)
        if file_kind(url)[0] and not glob.has_magic(url):
            return [url]
        out = system.glob(inner) if glob.has_magic(inner) else system.find(inner)
    except (OSError, ImportError, ValueError) as error:
        raise SourceError(f"read.sources.path={url!r} cannot be listed: {error}") from None
    return [system.unstrip_protocol(p) for p in out]


# --- hub sets ---------------------------------------------------------------------------------


def is_hub(path: str) -> bool:
    """Whether a path names a hub set, and nothing on this disk."""
    return bool(HUB_ID.fullmatch(path)) and not file_kind(path)[0] and not Path(path).exists()


def hub_files(path: str) -> list[str]:
    """The URLs of a hub set's JSON, CSV or Parquet files, [] of one that `datasets` must read.
    Raises SourceError."""
    with _hub_errors(path):
        _, parts = _hub_parts(path)
    urls = [url for part in parts.values() for url in part]
    return urls if all(parts.values()) else []


def hub_rows(path: str) -> Iterator[Found]:
    """Rows of a hub set `owner/name[@revision][:config[:split]]` through `datasets`, streaming.

    A set made of JSON, CSV or Parquet files is read file by file by us: files of one set may
    disagree in their columns (Agent-FLAN's do), which a single table cannot hold.
    """
    with _hub_errors(path):
        builder, parts = _hub_parts(path)
        for part, urls in parts.items():
            for url in urls:
                yield from gathered(file_rows(url))
            rows = () if urls else builder.as_streaming_dataset(split=part)
            for number, row in enumerate(rows, 1):
                yield f"{part}:{number}", row


def _hub_parts(path: str) -> tuple[Any, dict[str, list[str]]]:
    """The builder of a hub set, and the URLs of each of its splits, [] of one whose files are not
    all of a kind that we read."""
    import datasets

    name, config, split = (*path.split(":"), "", "")[:3]
    name, _, revision = name.partition("@")
    builder = datasets.load_dataset_builder(name, config or None, revision=revision or None)
    data_files: dict[str, Any] = builder.config.data_files or {}
    known = [split] if split else map(str, data_files or builder.info.splits or ["train"])
    parts = {part: [str(url) for url in data_files.get(part, [])] for part in known}
    return builder, {k: u if all(file_kind(x)[0] for x in u) else [] for k, u in parts.items()}


@contextmanager
def _hub_errors(path: str) -> Iterator[None]:
    try:
        yield
    except SourceError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(_hub_reason(path, error)) from None


def _hub_reason(path: str, error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    if CLOSED.search(text):
        return (
            f"hub set {path!r} is gated, private or not there; accept its terms on its page, then "
            f"set HF_TOKEN to a token that may read it ({str(error).splitlines()[0][:200]})"
        )
    return (
        f"hub set {path!r} cannot be read ({text[:300]}); write a local file, or check the network"
    )
