"""One file -> its rows, streaming: jsonl, json, csv, tsv, parquet, each also under gz, zst, bz2,
xz.

Every row comes with where it stood ("name.jsonl:12"); a row that cannot be read comes as a
RecordError with the reason, and the rows around it still come. A file of which nothing more can
be read is a SourceError that names file and line: the step stops instead of losing good rows.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any

from raytune_agents.calls.json_text import SPACE, decode, encodable
from raytune_agents.readers import unpack
from raytune_agents.readers.exchanges import is_exchange
from raytune_agents.readers.strict import MAX_DEPTH, parse_json
from raytune_agents.readers.tabular import WHOLE, FileSpan, Found, csv_file, parquet_file
from raytune_agents.readers.unpack import SourceError, damage_errors, file_kind, open_bytes
from raytune_agents.records import RecordError


def _row(where: str, value: Any) -> Found:
    if isinstance(value, dict):
        return where, value
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        return where, {"messages": value}  # a conversation that is its turns alone
    return where, RecordError(f"the row is a {type(value).__name__}, not an object")


def byte_lines(
    handle: IO[bytes], name: str, span: FileSpan = WHOLE
) -> Iterator[tuple[str, bytes | RecordError]]:
    """(where, line) for every line that is not blank; long lines and a damaged end are
    RecordErrors. `handle` stands at the start of `span`.
    """
    number = span.row - 1
    while True:
        number += 1
        if span.end is not None and handle.tell() >= span.end:
            return
        where = f"{name}:{number}"
        try:
            line = handle.readline(unpack.MAX_LINE_BYTES + 1)
            long = len(line) > unpack.MAX_LINE_BYTES
            while long and line and not line.endswith(b"\n"):
                line = handle.readline(unpack.CHUNK)
        except damage_errors() as error:
            yield where, RecordError(f"the file is cut or damaged from here on ({error})")
            return
        if not line and not long:
            return
        if long:
            yield where, RecordError(f"longer than {unpack.MAX_LINE_BYTES >> 20} MiB")
        elif not line.isspace():
            yield where, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        elif isinstance(handle, io.BufferedReader):
            number += _skip_blank(handle)


def _skip_blank(handle: io.BufferedReader) -> int:
    """Go behind the blank lines that are in the buffer: a file may be nothing else, and one by one
    they take a minute for each 100 MB. Returns how many they were."""
    try:
        ahead = handle.peek(1)
    except damage_errors():
        return 0  # the next line says so
    blank = ahead[: len(ahead) - len(ahead.lstrip(b" \t\r\n"))]
    whole = handle.read(blank.rfind(b"\n") + 1)
    return whole.count(b"\n")


def parse_line(line: bytes) -> Any:
    """The value of one line. Raises RecordError."""
    try:
        return parse_json(line.decode())
    except UnicodeDecodeError as error:
        raise RecordError(f"invalid UTF-8 at byte {error.start}") from None


def json_lines(handle: IO[bytes], name: str, span: FileSpan = WHOLE) -> Iterator[Found]:
    for where, line in byte_lines(handle, name, span):
        try:
            yield _row(where, parse_line(line)) if isinstance(line, bytes) else (where, line)
        except RecordError as error:
            yield where, error


# --- .json: lines under another name, a list, a dict of rows by id, or one object -------------


def json_file(path: str, name: str) -> Iterator[Found]:
    """Rows of a .json file. A list is read element by element, so its size does not matter."""
    with open_bytes(path) as handle:
        try:
            head = handle.read(unpack.CHUNK).removeprefix(b"\xef\xbb\xbf").lstrip()
        except damage_errors():
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
        self.text, self.at, self.ended = "", 0, False
        self._line, self._counted = 1, 0  # the line at `_counted`

    @property
    def line(self) -> int:
        """The line that `at` stands in."""
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line

    def grow(self) -> None:
        """Read as much again as is left in the window; what was read is cut off."""
        _ = self.line
        left = self.text[self.at :]
        raw = self._handle.read(max(unpack.CHUNK, len(left)))
        self.ended = not raw
        self.text, self.at, self._counted = left + self._utf8.decode(raw, final=self.ended), 0, 0

    def peek(self) -> str:
        """The next character that is not white space, or "" at the end."""
        while True:
            self.at = SPACE.match(self.text, self.at).end()
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self.grow()

    def value(self, most: int) -> Any:
        """The next JSON value. Raises RecordError if it is flawed or longer than `most` characters
        (and passes it), ValueError if there is none.
        """
        while True:
            try:
                value, end = decode(self.text, self.at, MAX_DEPTH)
                if end < len(self.text) or self.ended or self.text[end - 1] in '}]"':
                    break
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos > len(self.text) - 16
                if self.ended or not cut:
                    raise
            except ValueError as error:
                self.pass_over()
                raise RecordError(str(error)) from None
            if len(self.text) - self.at > most:
                self.pass_over()
                raise RecordError(f"longer than {most >> 20} MiB")
            self.grow()
        text, self.at = self.text[self.at : end], end
        if len(text) > most:
            raise RecordError(f"longer than {most >> 20} MiB")
        try:
            text.encode()
            return encodable(value, text)
        except UnicodeEncodeError:
            raise RecordError("invalid UTF-8") from None
        except ValueError as error:
            raise RecordError(str(error)) from None

    def pass_over(self) -> None:
        """Go behind the value at `at` without holding it. Raises ValueError at the end of the
        file."""
        depth, quoted = 0, False
        if word := _WORD.match(self.text, self.at):
            self.at = word.end()
            return
        while True:
            for found in _MARKS.finditer(self.text, self.at):
                mark = found[0]
                if mark == '"':
                    quoted = not quoted
                elif not quoted:
                    depth += 1 if mark in "[{" else -1 if mark in "]}" else 0
                if depth == 0 and not quoted:
                    self.at = found.end()
                    return
            if self.ended:
                raise ValueError("a value does not end")
            # a backslash at the end of the window belongs to what follows
            self.at = len(self.text) - (len(self.text) - len(self.text.rstrip("\\"))) % 2
            self.grow()


_WORD = re.compile(r'[^\s,\[\]{}"]+')  # a number, or NaN
_MARKS = re.compile(r'\\.|["\[\]{}]', re.DOTALL)  # an escaped character is none


def _document(handle: IO[bytes], name: str) -> Iterator[Found]:
    text, index, inside = _Text(handle), 0, False
    try:
        while char := text.peek():
            if char in "\ufeff,]" or (char == "[" and not inside):
                text.at += 1
                inside = {"[": True, "]": False}.get(char, inside)
                continue
            where = f"{name}:{text.line}[{index}]"
            try:
                value = text.value(unpack.MAX_LINE_BYTES if inside else unpack.MAX_DOCUMENT_CHARS)
            except RecordError as error:
                yield where, error
            else:
                yield from _expand(where, value) if not inside else (_row(where, value),)
            index += 1
    except damage_errors() as error:
        reason = f"the file is cut or damaged from here on ({error})"
        yield f"{name}:{text.line}", RecordError(reason)
    except (ValueError, RecursionError) as error:
        if index == 0 and not inside:  # the file is one document: nothing stands behind it
            yield f"{name}:{text.line}", RecordError(f"the file is no JSON to its end ({error})")
            return
        raise SourceError(
            f"{name} line {text.line}: not JSON ({error}); the rows after it cannot be found, so "
            "write it as JSON lines or mend it"
        ) from None
    if inside:
        yield f"{name}:{text.line}", RecordError("the file is cut: the list is not closed")


def _expand(where: str, value: Any) -> Iterator[Found]:
    """One object of a whole file: rows by id, rows under "data", or a row itself."""
    parts = list(value.values()) if isinstance(value, dict) else []
    rows = len(parts) > 1 and all(isinstance(p, dict) for p in parts)
    if rows and set.intersection(*map(set, parts)) and not is_exchange(value):
        for key, part in value.items():
            yield f"{where}.{key}", {"id": key} | part
        return
    key = next((k for k in ("data", "rows", "examples") if parts and k in value), "")
    if key and isinstance(value[key], list):
        for i, part in enumerate(value[key]):
            yield _row(f"{where}.{key}[{i}]", part)
        return
    yield _row(where, value)


def file_rows(path: str, name: str = "") -> Iterator[Found]:
    """The rows of one file, by its suffix; `name` is what `where` calls it. Raises SourceError."""
    name = name or PurePosixPath(path).name
    kind = file_kind(path)[0]
    empty = True
    for found in _by_kind(path, name, kind):
        empty = False
        yield found
    if empty:
        yield name, RecordError("the file holds no rows")


def span_rows(path: str, span: FileSpan) -> Iterator[Found]:
    """The rows of a part of a plain local file, as `file_rows` has them."""
    name = PurePosixPath(path).name
    if file_kind(path)[0] == ".parquet":
        yield from parquet_file(path, name, span)
        return
    with open_bytes(path) as handle:
        handle.seek(span.start)
        yield from json_lines(handle, name, span)


def _by_kind(path: str, name: str, kind: str) -> Iterator[Found]:
    if kind == ".json":
        yield from json_file(path, name)
    elif kind == ".parquet":
        yield from parquet_file(path, name)
    elif kind:
        with open_bytes(path) as handle:
            if kind in unpack.LINES:
                yield from json_lines(handle, name)
            else:
                yield from csv_file(handle, name, "\t" if kind == ".tsv" else ",")
    else:
        raise SourceError(
            f"{path}: a file we do not read; write one that ends in {', '.join(unpack.DATA)} "
            f"(and {', '.join(unpack.PACKED)} after it)"
        )
