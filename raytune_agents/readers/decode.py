"""One file -> its rows, streaming: jsonl, json, csv, tsv, parquet, each also under gz, zst, bz2,
xz.

Every row comes with where it stood ("name.jsonl:12"); a row that cannot be read comes as a
RecordError with the reason, and the rows around it still come. A file of which nothing more can
be read is a SourceError that names file and line: the step stops instead of losing good rows.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any

from raytune_agents.config import ConfigError
from raytune_agents.readers.strict import MAX_DEPTH, Decoder, check, parse_json, skip
from raytune_agents.records import RecordError

Found = tuple[str, "dict[str, Any] | RecordError"]

MAX_LINE_BYTES = 32 * 2**20  # one row; a longer one is counted and passed over, not held in memory
MAX_DOCUMENT_CHARS = 512 * 2**20  # a .json file that is one object is parsed whole
CHUNK = 2**20
SWELL, FREE_BYTES = 200, 64 * 2**20  # a packed file may swell so far; text swells 3 to 30 times
LINES = (".jsonl", ".ndjson", ".jsonlines")
PACKED = (".gz", ".zst", ".bz2", ".xz")
DATA = (*LINES, ".json", ".csv", ".tsv", ".parquet")


class SourceError(ConfigError):
    """A source that cannot be read at all. The message names it and says what to do."""


def kind_of(path: str) -> tuple[str, str]:
    """(data suffix, packing suffix) of a file name; "" where it has none we read."""
    name = PurePosixPath(path.split("?")[0].rstrip("/")).name.lower()
    packing = next((p for p in PACKED if name.endswith(p)), "")
    name = name.removesuffix(packing)
    return next((d for d in DATA if name.endswith(d)), ""), packing


def filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL and the path in it; pyarrow's own for s3:// and gs:// where
    the package that fsspec wants for them is not installed. Raises OSError, ImportError,
    ValueError."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except ImportError:
        from fsspec.implementations.arrow import ArrowFSWrapper
        from pyarrow import fs

        scheme, _, path = url.partition("://")
        if scheme not in ("s3", "s3a", "gs", "gcs"):
            raise
        bucket, _, inside = path.partition("/")
        system, root = fs.FileSystem.from_uri(f"{scheme.rstrip('a')}://{bucket}")
        return ArrowFSWrapper(system), f"{root}/{inside}".rstrip("/")


def open_bytes(path: str) -> IO[bytes]:
    """The unpacked bytes of a local file or a URL. Raises SourceError."""
    try:
        if "://" in path:
            system, inside = filesystem(path)
            handle = io.BufferedReader(system.open(inside, "rb"), CHUNK)
        else:
            handle = open(path, "rb")  # noqa: SIM115
    except (OSError, ImportError, ValueError) as error:
        raise SourceError(f"{path} cannot be opened: {error}") from None
    packing = kind_of(path)[1]
    if not packing:
        return handle
    if packing == ".gz":
        inner: Any = gzip.GzipFile(fileobj=handle)
    elif packing == ".zst":
        import zstandard

        inner = zstandard.ZstdDecompressor().stream_reader(handle)
    else:
        inner = {".bz2": bz2, ".xz": lzma}[packing].open(handle)
    return io.BufferedReader(Bounded(inner, handle, path))


class Bounded(io.RawIOBase):
    """An unpacked stream that ends in a SourceError where the packed bytes read so far gave more
    than SWELL times as many: a packed bomb, which would fill the disk as rows."""

    def __init__(self, inner: Any, packed: IO[bytes], path: str):
        self.inner, self.packed, self.path, self.count = inner, packed, path, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.inner.read1(len(buffer))  # what is there before a cut
        buffer[: len(data)] = data
        self.count += len(data)
        if self.count > FREE_BYTES + SWELL * self.packed.tell():
            raise SourceError(
                f"{self.path} unpacks to more than {SWELL} times its size; if it is what you want, "
                "unpack it first and name the unpacked file"
            )
        return len(data)

    def close(self) -> None:
        self.inner.close()
        self.packed.close()
        super().close()


def _damage() -> tuple[type[Exception], ...]:
    """What a cut or damaged packed file raises while it is read."""
    import zstandard

    return (EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError)


def _row(where: str, value: Any) -> Found:
    if isinstance(value, dict):
        return where, value
    return where, RecordError(f"the row is a {type(value).__name__}, not an object")


def byte_lines(handle: IO[bytes], name: str) -> Iterator[tuple[str, bytes | RecordError]]:
    """(where, line) for every line that is not blank; long lines and a damaged end are
    RecordErrors.
    """
    number = 0
    while True:
        number += 1
        where = f"{name}:{number}"
        try:
            line = handle.readline(MAX_LINE_BYTES + 1)
            long = len(line) > MAX_LINE_BYTES
            while long and line and not line.endswith(b"\n"):
                line = handle.readline(CHUNK)
        except _damage() as error:
            yield where, RecordError(f"the file is cut or damaged from here on ({error})")
            return
        if not line and not long:
            return
        if long:
            yield where, RecordError(f"longer than {MAX_LINE_BYTES >> 20} MiB")
        elif not line.isspace():
            yield where, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def parse_line(line: bytes) -> Any:
    """The value of one line. Raises RecordError."""
    try:
        return parse_json(line.decode())
    except UnicodeDecodeError as error:
        raise RecordError(f"invalid UTF-8 at byte {error.start}") from None


def json_lines(handle: IO[bytes], name: str) -> Iterator[Found]:
    for where, line in byte_lines(handle, name):
        if isinstance(line, RecordError):
            yield where, line
            continue
        try:
            value = parse_line(line)
        except RecordError as error:
            yield where, error
        else:
            yield _row(where, value)


# --- .json: lines under another name, a list, a dict of rows by id, or one object -------------


def json_file(path: str, name: str) -> Iterator[Found]:
    """Rows of a .json file. A list is read element by element, so its size does not matter."""
    with open_bytes(path) as handle:
        try:
            head = handle.read(CHUNK).removeprefix(b"\xef\xbb\xbf").lstrip()
        except _damage():
            head = b""
    with open_bytes(path) as handle:
        yield from json_lines(handle, name) if _is_lines(head) else _document(handle, name)


def _is_lines(head: bytes) -> bool:
    """Whether the first line is a whole object by itself, as in JSON lines, and is not the only
    one.
    """
    first, newline, rest = head.partition(b"\n")
    if not (first.startswith(b"{") and newline and rest.strip()):
        return False
    try:
        return isinstance(parse_line(first), dict)
    except RecordError as error:
        return not str(error).startswith("not JSON")


class _Text:
    """The text of a file as a window that grows at its end and is cut off at its start."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text, self.at, self.line, self.ended = "", 0, 1, False

    def grow(self) -> None:
        """Read as much again as the window holds."""
        raw = self._handle.read(max(CHUNK, len(self.text)))
        self.ended = not raw
        text = self._utf8.decode(raw, final=self.ended)
        self.text += text

    def peek(self) -> str:
        """The next character that is not white space, or "" at the end; drops what was read."""
        while True:
            end = skip(self.text, self.at)
            self.line += self.text.count("\n", 0, end)
            self.text, self.at = self.text[end:], 0
            if self.text or self.ended:
                return self.text[:1]
            self.grow()

    def value(self) -> Any:
        """The next JSON value. Raises RecordError if it is flawed (and passes it), ValueError if
        none.
        """
        while True:
            decoder = Decoder()
            try:
                value, end = decoder.decode(self.text, self.at)
                if end < len(self.text) or self.ended or self.text[end - 1] in '}]"':
                    break
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos > len(self.text) - 16
                if self.ended or not cut or len(self.text) > MAX_DOCUMENT_CHARS:
                    raise
            self.grow()
        text, self.at = self.text[self.at : end], end
        try:
            text.encode()
        except UnicodeEncodeError:
            raise RecordError("invalid UTF-8") from None
        return check(value, text, decoder.flaw, MAX_DEPTH)


def _document(handle: IO[bytes], name: str) -> Iterator[Found]:
    text, index, inside = _Text(handle), 0, False
    try:
        while char := text.peek().removeprefix("\ufeff") or text.text[:1]:
            where = f"{name}:{text.line}[{index}]"
            if char in "\ufeff,]" or (char == "[" and not inside):
                text.at = 1
                inside = {"[": True, "]": False}.get(char, inside)
                continue
            try:
                value = text.value()
            except RecordError as error:
                yield where, error
            else:
                yield from _expand(where, value) if not inside else (_row(where, value),)
            index += 1
    except _damage() as error:
        yield (
            f"{name}:{text.line}",
            RecordError(f"the file is cut or damaged from here on ({error})"),
        )
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{name} line {text.line}: not JSON ({error}); the rows after it cannot be found, so "
            "write it as JSON lines or mend it"
        ) from None
    if inside:
        yield f"{name}:{text.line}", RecordError("the file is cut: the list is not closed")


def _expand(where: str, value: Any) -> Iterator[Found]:
    """One object of a whole file: rows by id, rows under "data", or a row itself."""
    parts = list(value.values()) if isinstance(value, dict) else []
    if len(parts) > 1 and all(isinstance(p, dict) for p in parts) and set.intersection(
        *(set(p) for p in parts)
    ):  # fmt: skip
        for key, part in value.items():
            yield f"{where}.{key}", {"id": key} | part
        return
    key = next((k for k in ("data", "rows", "examples") if parts and k in value), "")
    if key and isinstance(value[key], list):
        for i, part in enumerate(value[key]):
            yield _row(f"{where}.{key}[{i}]", part)
        return
    yield _row(where, value)


# --- tables -----------------------------------------------------------------------------------


def csv_file(handle: IO[bytes], name: str, delimiter: str) -> Iterator[Found]:
    """Rows of a CSV or TSV with a header line; every value is text."""
    csv.field_size_limit(MAX_LINE_BYTES)
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
        except _damage() as error:
            yield (
                f"{name}:{reader.line_num + 1}",
                RecordError(f"the file is cut or damaged ({error})"),
            )
            return
        else:
            if None in row or None in row.values():
                yield (
                    where,
                    RecordError(f"not the {len(reader.fieldnames or [])} cells of the header"),
                )
            else:
                yield where, row


def parquet_file(path: str, name: str) -> Iterator[Found]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_bytes(path) as handle:
            row = 0
            for batch in pq.ParquetFile(handle).iter_batches(batch_size=256):
                for value in _batch_rows(batch):
                    row += 1
                    yield f"{name}:{row}", value
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{name} is not a whole Parquet file: {error}") from None


def _batch_rows(batch: Any) -> Iterator[dict[str, Any] | RecordError]:
    for i in range(batch.num_rows):
        try:
            yield batch.slice(i, 1).to_pylist()[0]
        except UnicodeDecodeError:
            yield RecordError("invalid UTF-8")


def file_rows(path: str, name: str = "") -> Iterator[Found]:
    """The rows of one file, by its suffix; `name` is what `where` calls it. Raises SourceError."""
    name = name or PurePosixPath(path).name
    kind = kind_of(path)[0]
    empty = True
    for found in _by_kind(path, name, kind):
        empty = False
        yield found
    if empty:
        yield name, RecordError("the file holds no rows")


def _by_kind(path: str, name: str, kind: str) -> Iterator[Found]:
    if kind == ".json":
        yield from json_file(path, name)
    elif kind == ".parquet":
        yield from parquet_file(path, name)
    elif kind:
        with open_bytes(path) as handle:
            if kind in LINES:
                yield from json_lines(handle, name)
            else:
                yield from csv_file(handle, name, "\t" if kind == ".tsv" else ",")
    else:
        raise SourceError(
            f"{path}: a file we do not read; write one that ends in {', '.join(DATA)} "
            f"(and {', '.join(PACKED)} after it)"
        )
