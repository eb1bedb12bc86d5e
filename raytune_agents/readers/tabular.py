"""Rows of tables: CSV, TSV and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

from raytune_agents.readers import unpack
from raytune_agents.readers.unpack import SourceError, bomb_error, damage_errors, open_bytes
from raytune_agents.records import JsonObject, RecordError

TABLE_BATCH = 256  # rows of a table decoded at once
DECODED_BYTES = 128 * 2**20  # what these may become, were each as large as its column
MAX_COLUMN_BYTES = 2 * 2**30  # of one column in one row group
LARGE_ROW = 2**18  # honest rows are smaller; of these a small file has few
Found = tuple[str, "JsonObject | RecordError"]
TOO_LONG = f"longer than {unpack.MAX_LINE_BYTES >> 20} MiB"


class FileSpan(NamedTuple):
    """A part of a plain file: of JSON lines those that begin from byte `start` on, before `end`; of
    Parquet the row groups from `start` on, before `end`."""

    start: int = 0
    end: int | None = None
    row: int = 1  # the number of its first line or row


WHOLE = FileSpan()


def csv_file(handle: IO[bytes], name: str, delimiter: str) -> Iterator[Found]:
    """Rows of a CSV or TSV with a header line; every value is text."""
    csv.field_size_limit(unpack.MAX_LINE_BYTES)
    text = io.TextIOWrapper(handle, "utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.DictReader(text, delimiter=delimiter, strict=True)
    while True:
        try:
            row = next(reader, None)
            where = f"{name}:{reader.line_num}"
            if row is None:
                return
            "\n".join(v for v in row.values() if isinstance(v, str)).encode()
        except UnicodeEncodeError:
            yield where, RecordError("invalid UTF-8")
        except csv.Error as error:
            yield f"{name}:{reader.line_num}", RecordError(f"not CSV: {error}")
        except damage_errors() as error:
            reason = f"the file is cut or damaged ({error})"
            yield f"{name}:{reader.line_num + 1}", RecordError(reason)
            return
        else:
            if None in row or None in row.values():
                cells = len(reader.fieldnames or [])
                yield where, RecordError(f"not the {cells} cells of the header")
            elif sum(map(len, row.values())) > unpack.MAX_LINE_BYTES:
                yield where, RecordError(TOO_LONG)
            else:
                yield where, row


def parquet_file(path: str, name: str, span: FileSpan = WHOLE) -> Iterator[Found]:
    """Rows of a Parquet file, or of some row groups. A few bytes of it can stand for gigabytes: so
    few rows are decoded at once as the largest column allows, and large rows may add up to SWELL
    times the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_bytes(path) as handle:
            file = pq.ParquetFile(handle)
            groups = range(file.num_row_groups)[span.start : span.end]
            packed, column = _parquet_sizes([file.metadata.row_group(k) for k in groups], name)
            some = max(1, min(TABLE_BATCH, DECODED_BYTES // max(1, column)))
            row, large = span.row - 1, 0
            for batch in file.iter_batches(batch_size=some, row_groups=groups):
                for value, size in _batch_rows(batch):
                    row += 1
                    large += size if size > LARGE_ROW else 0
                    if large > unpack.FREE_BYTES + unpack.SWELL * packed:
                        raise bomb_error(name)
                    yield f"{name}:{row}", value
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{name} is not a whole Parquet file: {error}") from None


def _parquet_sizes(groups: Sequence[Any], name: str) -> tuple[int, int]:
    """(packed bytes of the row groups, unpacked bytes of the largest column chunk). Raises
    SourceError for a chunk that would not fit into memory."""
    chunks = [g.column(i) for g in groups for i in range(g.num_columns)]
    largest = max((c.total_uncompressed_size for c in chunks), default=0)
    if largest > MAX_COLUMN_BYTES:
        raise SourceError(
            f"{name} holds a column of {largest >> 20} MiB in one row group, more than "
            f"{MAX_COLUMN_BYTES >> 20}; write it with smaller row groups"
        )
    return sum(c.total_compressed_size for c in chunks), largest


def _batch_rows(batch: Any) -> Iterator[tuple[JsonObject | RecordError, int]]:
    """The rows of a batch, each with its size, or that of all where they are small: taking rows one
    by one costs more than what stands in most. Each may be as large as all of them, for a
    dictionary's text is stored once."""
    count, size = batch.num_rows, batch.nbytes
    if count > 1 and size * count > min(LARGE_ROW, unpack.MAX_LINE_BYTES):
        for start, length in ((0, count // 2), (count // 2, count - count // 2)):
            yield from _batch_rows(batch.slice(start, length))
        return
    if size > unpack.MAX_LINE_BYTES:
        yield RecordError(TOO_LONG), 0
        return
    try:
        yield from [(row, size) for row in batch.to_pylist(maps_as_pydicts="strict")]
    except (UnicodeDecodeError, KeyError, ValueError) as error:
        if count > 1:  # one of them is bad
            for i in range(count):
                yield from _batch_rows(batch.slice(i, 1))
            return
        twice = not isinstance(error, UnicodeDecodeError)
        yield RecordError("a key stands twice in a map" if twice else "invalid UTF-8"), size
