"""Strict JSON: parsed once; what JSON forbids makes a row bad instead of silently changing it.

A duplicate key, NaN, a lone surrogate or absurd nesting is a RecordError whose text is the
counted reason. Text that is JSON inside JSON is sliced, not re-serialised, so schemas and
arguments keep bytes.
"""

from __future__ import annotations

import ast
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from raytune_agents.records import JsonObject, RecordError

MAX_DEPTH = 180  # of a whole row: search trees of ToolBench nest 70 and more
MAX_INNER_DEPTH = 64  # of a tool schema or of arguments: what JSON Schema checkers can recurse into
MAX_DIGITS = 300  # of an integer
MAX_LITERAL_CHARS = 1_000_000  # ast.literal_eval needs about 100 times the text in memory


class Decoder:
    """A JSON decoder that goes on where JSON is flawed and notes the first flaw.

    `decode(text, at)` returns (value, end); `flaw` is "" or the reason the value must not be used.
    Raises ValueError where the text is not JSON at all.
    """

    def __init__(self) -> None:
        self.flaw = ""
        self._scan = json.JSONDecoder(  # type: ignore[attr-defined]
            object_pairs_hook=self._pairs,
            parse_constant=self._constant,
            parse_float=self._float,
            parse_int=self._int,
        ).scan_once

    def _pairs(self, pairs: list[tuple[str, Any]]) -> JsonObject:
        out = dict(pairs)
        if len(out) != len(pairs) and not self.flaw:
            count = Counter(key for key, _ in pairs)
            key = next(key for key, times in count.items() if times > 1)
            self.flaw = f"duplicate key {key[:40]!r}"
        return out

    def _constant(self, word: str) -> float:
        self.flaw = self.flaw or f"{word} is not JSON"
        return float(word)

    def _int(self, word: str) -> int:
        if len(word) > MAX_DIGITS:  # what no double holds, no arithmetic of a checker does
            self.flaw = self.flaw or f"number {word[:20]} does not fit a double"
            return 0
        return int(word)

    def _float(self, word: str) -> float:
        value = float(word)
        if value in (float("inf"), float("-inf")):
            self.flaw = self.flaw or f"number {word[:20]} does not fit a double"
        return value

    def decode(self, text: str, at: int = 0) -> tuple[Any, int]:
        """(value, where it ends). Raises ValueError; `flaw` is of this call alone."""
        self.flaw = ""
        return self.go_on(text, at)

    def go_on(self, text: str, at: int) -> tuple[Any, int]:
        """`decode` that keeps the flaw of earlier calls."""
        try:
            return self._scan(text, at)
        except StopIteration as stop:
            raise json.JSONDecodeError("a JSON value was expected", text, stop.value) from None


_LOCAL = threading.local()


def _decoder() -> Decoder:
    """This thread's decoder: making one costs as much as decoding a small row."""
    if not hasattr(_LOCAL, "decoder"):
        _LOCAL.decoder = Decoder()
    _LOCAL.decoder.flaw = ""
    return _LOCAL.decoder


def depth_of(value: Any) -> int:
    """How deep dicts and lists nest; a scalar is 0. Iterative, so that no input can exhaust the
    stack.
    """
    level, deepest = [value], 0
    while level := [x for x in level if isinstance(x, (dict, list))]:
        deepest += 1
        level = [c for x in level for c in (x.values() if isinstance(x, dict) else x)]
    return deepest


def flawless(value: Any, text: str, flaw: str, depth: int) -> Any:
    """`value`, parsed out of `text`, if nothing is wrong with it. Raises RecordError with the
    reason.
    """
    if not flaw and text.count("[") + text.count("{") > depth and depth_of(value) > depth:
        flaw = f"nested deeper than {depth}"
    if not flaw and ("\\ud" in text or "\\uD" in text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            flaw = "a lone surrogate is not text"
    if flaw:
        raise RecordError(flaw)
    return value


@contextmanager
def _json_errors(depth: int) -> Iterator[None]:
    """What a JSON text can go wrong with, as a RecordError with the reason."""
    try:
        yield
    except RecursionError:
        raise RecordError(f"nested deeper than {depth}") from None
    except json.JSONDecodeError as error:
        raise RecordError(f"not JSON: {error.msg} (character {error.pos})") from None
    except IndexError:
        raise RecordError("not JSON: the text is cut") from None
    except ValueError as error:  # an integer of more than 4,300 digits
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"not JSON: {error}") from None


def parse_json(text: str, depth: int = MAX_DEPTH) -> Any:
    """The value of JSON text. Raises RecordError with the reason where it is not clean JSON."""
    decoder = _decoder()
    with _json_errors(depth):
        value, end = decoder.decode(text, skip(text, 0))
        if skip(text, end) != len(text):
            raise json.JSONDecodeError("text after the value", text, end)
    return flawless(value, text, decoder.flaw, depth)


def dump(value: Any) -> str:
    """JSON text of a parsed value. Raises RecordError on NaN and the like."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecordError(f"cannot be written as JSON: {error}") from None


_SPACE: Any = re.compile(r"[ \t\r\n]*")  # matches everywhere, if only nothing
_COLON = re.compile(r"[ \t\r\n]*:[ \t\r\n]*")
_NEXT = re.compile(r"[ \t\r\n]*([,}\]])[ \t\r\n]*")


def skip(text: str, at: int) -> int:
    """The position of the next character that is not white space."""
    return _SPACE.match(text, at).end()


def _step(pattern: re.Pattern[str], text: str, at: int, wanted: str) -> re.Match[str]:
    found = pattern.match(text, at)
    if found is None or found[0].strip(" \t\r\n") not in wanted:
        raise json.JSONDecodeError(f"one of {wanted} was expected", text, at)
    return found


def _raw_object(text: str, at: int, decoder: Decoder) -> tuple[JsonObject, dict[str, str], int]:
    """(values, their own texts, where the object that starts at `at` ends)."""
    values: JsonObject = {}
    raws: dict[str, str] = {}
    at = skip(text, at + 1)
    if text[at] == "}":
        return values, raws, at + 1
    while True:
        if text[at] != '"':
            raise json.JSONDecodeError("a key was expected", text, at)
        key, at = decoder.go_on(text, at)
        at = _step(_COLON, text, at, ":").end()
        value, end = decoder.go_on(text, at)
        if key in values:
            decoder.flaw = decoder.flaw or f"duplicate key {key[:40]!r}"
        values[key], raws[key] = value, text[at:end]
        found = _step(_NEXT, text, end, ",}")
        at = found.end()
        if found[1] == "}":
            return values, raws, found.start(1) + 1


def raw_items(text: str) -> list[tuple[JsonObject, dict[str, str]]]:
    """JSON text of a list of objects -> (object, its members' own texts) for each.

    Raises RecordError; its text begins with "not JSON" where the text is no JSON at all.
    """
    decoder, depth = _decoder(), MAX_INNER_DEPTH + 2
    items: list[tuple[JsonObject, dict[str, str]]] = []
    with _json_errors(depth):
        at = skip(text, 0)
        if text[at : at + 1] == "[":
            at = skip(text, at + 1)
            more = text[at] != "]"
            end = at + 1
            while more and text[at] == "{":
                values, raws, at = _raw_object(text, at, decoder)
                items.append((values, raws))
                found = _step(_NEXT, text, at, ",]")
                at, end, more = found.end(), found.start(1) + 1, found[1] == ","
            if not more and skip(text, end) == len(text):
                flawless([v for v, _ in items], text, decoder.flaw, depth)
                return items
    parse_json(text, depth)  # says what is wrong with it, or else:
    raise RecordError("a list of objects was expected")


def value_of(value: Any) -> Any:
    """A column that is either a value, JSON text of it, or a Python literal of it.

    Raises RecordError where the text is neither, or is a literal longer than MAX_LITERAL_CHARS.
    """
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value, MAX_INNER_DEPTH)
    except RecordError as error:
        if not str(error).startswith("not JSON") or len(value) > MAX_LITERAL_CHARS:
            raise
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        raise RecordError(f"neither JSON nor a Python literal: {value[:40]!r}") from None


def as_text(value: Any) -> str:
    """A value as text: None is "", text is itself, other values are JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else dump(value)
