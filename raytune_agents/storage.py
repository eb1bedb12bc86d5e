"""Files that are whole or not there: text, JSON, JSON lines and Parquet tables of trajectories.

Every file is written under a temporary name in its folder, synced to the disk, and renamed. A
reader (and a run that goes on after a power cut) sees the old file or the new one, never half."""

from __future__ import annotations

import heapq
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from raytune_agents.config.base import ConfigError
from raytune_agents.records import JsonObject, Trajectory, from_row, to_table
from raytune_agents.redact import redact

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
PARTIAL = ".tmp"  # how the name of a file ends that is being written
# what bytes of another file, or values of another shape, raise; pyarrow's are of these too
DAMAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(NotImplementedError, RecursionError, OSError),
)
WHY_CHARS = 200  # of what is wrong in a file
GROUP_ROWS = 4096  # one row group of a Parquet file: what a worker takes at a time
FILE_ROWS, FILE_BYTES = 20_000, 1 << 26  # one Parquet file of rows


def partial_name(path: Path) -> Path:
    """A name that no other thread, process or machine writes to."""
    return path.with_name(f"{path.name}.{os.urandom(4).hex()}{PARTIAL}")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends; after an error nothing is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = partial_name(path)
    try:
        yield work
        # Before the rename: after a power cut the new name could else stand on an empty file.
        sync(work)
        os.replace(work, path)
        sync(path.parent)  # the rename itself
    finally:
        work.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `path` when the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = partial_name(path)
    work.mkdir()
    try:
        yield work
        for file in work.rglob("*"):
            sync(file)
        # A folder cannot be replaced in one step: killed here, there is none, and it is made again.
        shutil.rmtree(path, ignore_errors=True)
        os.replace(work, path)
        sync(path.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def sync(path: Path) -> None:
    """Ask the kernel to bring a file (or a folder's list of names) to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # some network and FUSE file systems sync no folders
        if not path.is_dir():
            raise
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    with whole_file(path) as work:
        work.write_text(text, encoding="utf-8")


def filled(template: Path, filters: JsonObject | None = None, **values: Any) -> str:
    """The text of a Jinja file with these values and, beside Jinja's own, filters."""
    import jinja2

    form = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    form.filters |= filters or {}
    return form.from_string(template.read_text(encoding="utf-8")).render(values)


def yaml_beside(module: str, name: str) -> Any:
    """What a YAML file of the package holds, `name` as seen from the folder of the module's
    `__file__`."""
    import yaml

    text = (Path(module).parent / name).read_text(encoding="utf-8")
    # libyaml reads it nine times as fast; an installation from source may lack it
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def write_json(path: Path, value: Any) -> None:
    """Write JSON, without secrets."""
    write_text(path, redact(json.dumps(value, indent=1, ensure_ascii=False, default=str)))


@cache
def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """What reads a value of this type; made once, as that is slow."""
    return TypeAdapter(kind)


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """For a block that only takes apart what a file of a run holds. Raises ConfigError, which names
    the file, where it holds something else; what the system says of the path passes through."""
    try:
        yield
    except ConfigError:
        raise
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        why = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            why = ": ".join(filter(None, (" ".join(map(str, first["loc"])), first["msg"])))
        elif isinstance(error, KeyError):
            why = f"it has no {why}"
        why = " ".join(why.split())[:WHY_CHARS]
        raise ConfigError(
            f"{path} is damaged: {why}; remove its step's folder, run again"
        ) from None


def read_json(path: Path, kind: Any = Any) -> Any:
    """A JSON file as a value of this type. Raises ConfigError where it was damaged."""
    with damage_named(path):
        value = json.loads(path.read_text(encoding="utf-8"))
        return value if kind is Any else adapter_of(kind).validate_python(value)


def append_jsonl(path: Path, value: Any) -> None:
    """Append one line, without secrets; a line that a killed writer left cut stays by itself."""
    with path.open("ab+") as file:
        cut = False
        if file.tell():
            file.seek(-1, os.SEEK_END)
            cut = file.read(1) != b"\n"
        line = redact(json.dumps(value, default=str))
        file.write(f"{chr(10) * cut}{line}\n".encode())


def whole_lines(path: Path) -> tuple[list[JsonObject], int]:
    """The objects of a file of JSON lines, none where it is absent, and how many lines are broken.
    A last line that is not written to its end is left out, and not counted."""
    found, broken = [], 0
    if not path.is_file():
        return found, broken
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    for line in lines:
        try:
            # A line without its newline may still be in the making, but if it is JSON it is whole.
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            found.append(value)
        else:
            broken += bool(line.strip()) and line.endswith("\n")
    return found, broken


def read_jsonl(path: Path) -> list[JsonObject]:
    """The objects of `whole_lines`; broken lines are counted in the log."""
    found, broken = whole_lines(path)
    if broken:
        log.warning("%s: %d lines cannot be read and are left out", path, broken)
    return found


def written_at(path: Path) -> float:
    """When a file was last written, in seconds since 1970; 0 where it is gone by now."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def newest_write(folder: Path) -> float:
    """When a file below the folder was last written; 0 where there is none. What is removed while
    it looks (temporary files of a run under way) is left out."""
    return max(map(written_at, files_below(folder)), default=0.0)


def files_below(folder: Path) -> Iterator[Path]:
    """The files of a folder at any depth, of a run under way too: os.walk passes over a folder that
    vanishes meanwhile, where rglob raises."""
    return (Path(place, name) for place, _, names in os.walk(folder) for name in names)


# --- rows ---


def write_table(path: Path, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    with whole_file(path) as work:
        pq.write_table(table, work, row_group_size=GROUP_ROWS, write_page_checksum=True)


def read_table(path: Path, **options: Any) -> pa.Table:
    """A Parquet file, or its `columns` and the rows that pass its `filters`. Raises ConfigError
    where it was damaged."""
    import pyarrow.parquet as pq

    # opened here, as pyarrow takes a folder for a data set
    with damage_named(path), path.open("rb") as file:
        return pq.read_table(file, **options)


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    """The table with other values in a column that it has."""
    import pyarrow as pa

    at = table.schema.get_field_index(name)
    field = table.schema.field(at)
    return table.set_column(at, field, pa.array(values, field.type))


def write_rows(path: Path, rows: Iterable[Trajectory]) -> None:
    write_table(path, to_table(rows))


def row_groups(files: Iterable[Path]) -> list[JsonObject]:
    """The row groups of Parquet files, in order, as {"file", "group", "rows"}: items for Ray Data
    whose workers read them one by one."""
    import pyarrow.parquet as pq

    out = []
    for file in files:
        about = pq.read_metadata(file)
        for k in range(about.num_row_groups):
            out.append({"file": str(file), "group": k, "rows": about.row_group(k).num_rows})
    return out


def bunched(folder: Path, out: Path) -> list[JsonObject]:
    """The Parquet files of a folder in their order as {"files", "out"}: those that together are one
    file of at most FILE_ROWS rows and FILE_BYTES in `out`; a larger file is alone."""
    import pyarrow.parquet as pq

    items: list[JsonObject] = []
    rows = size = 0
    for file in sorted(folder.glob("*.parquet")):
        about = pq.read_metadata(file)
        own = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
        rows, size = rows + about.num_rows, size + own
        if not items or rows > FILE_ROWS or size > FILE_BYTES:
            name = f"rows-{len(items):05d}.parquet"
            items.append({"files": [], "out": str(out / name)})
            rows, size = about.num_rows, own
        items[-1]["files"].append(str(file))
    return items


def joined_table(item: JsonObject, columns: list[str] | None = None) -> pa.Table:
    """The files of an item of `bunched` as one table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pa.concat_tables(pq.read_table(file, columns=columns) for file in item["files"])


class RowFiles:
    """Tables, in order -> STEM-00000.parquet, STEM-00001.parquet ... of at most about FILE_ROWS
    rows or FILE_BYTES, so that neither writer nor reader holds more at once."""

    def __init__(self, folder: Path, stem: str = "rows"):
        self.folder, self.stem = folder, stem
        self.rows = self.files = 0
        self._parts: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        self._parts.append(table)
        self.rows += len(table)
        held = sum(map(len, self._parts)), sum(t.nbytes for t in self._parts)
        if held[0] >= FILE_ROWS or held[1] >= FILE_BYTES:
            self.close()

    def close(self) -> None:
        """Write what is held."""
        import pyarrow as pa

        if self._parts:
            path = self.folder / f"{self.stem}-{self.files:05d}.parquet"
            write_table(path, pa.concat_tables(self._parts))
            self._parts, self.files = [], self.files + 1


@dataclass(frozen=True)
class StoredRows:
    """The trajectories of the Parquet files directly in `folder`, in file order; with `matches`
    (table -> mask [rows]) those alone for which it is true. Every iteration reads them anew and
    holds a batch at a time."""

    folder: Path
    matches: Callable[[pa.Table], Any] | None = None

    def __iter__(self) -> Iterator[Trajectory]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for file in sorted(self.folder.glob("*.parquet")):
            with damage_named(file):
                for batch in pq.ParquetFile(file).iter_batches(batch_size=1024):
                    table = pa.Table.from_batches([batch])
                    table = table.filter(self.matches(table)) if self.matches else table
                    yield from map(from_row, table.to_pylist())


def read_rows(folder: Path) -> list[Trajectory]:
    """All trajectories of the Parquet files directly in `folder`, in file order."""
    return list(StoredRows(folder))


def first_by_id(rows: Iterable[Trajectory], most: int | None = None) -> list[Trajectory]:
    """The rows by id, the `most` first ones; no more are held at a time."""
    by_id = attrgetter("id")
    return sorted(rows, key=by_id) if most is None else heapq.nsmallest(most, rows, key=by_id)
