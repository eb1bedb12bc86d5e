"""Strict JSON: parsed once; what JSON forbids makes a row bad instead of silently changing it.

A duplicate key, NaN, a lone surrogate or absurd nesting is a RecordError whose text is the
counted reason. Text that is JSON inside JSON is sliced, not re-serialised, so schemas and
arguments keep bytes.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from raytune_agents.records import RecordError

MAX_DEPTH = 180  # of a whole row: search trees of ToolBench nest 70 and more
MAX_INNER_DEPTH = 64  # of a tool schema or of arguments: what JSON Schema checkers can recurse into
MAX_LITERAL_CHARS = 1_000_000  # ast.literal_eval needs about 100 times the text in memory


class Decoder:
    """A JSON decoder that goes on where JSON is flawed and notes the first flaw.

    `decode(text, at)` returns (value, end); `flaw` is "" or the reason the value must not be used.
    Raises ValueError where the text is not JSON at all.
    """

    def __init__(self) -> None:
        self.flaw = ""
        self._scan = json.JSONDecoder(
            object_pairs_hook=self._pairs, parse_constant=self._constant, parse_float=self._float
        ).scan_once

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) != len(pairs) and not self.flaw:
            keys = [k for k, _ in pairs]
            key = next(k for k in keys if keys.count(k) > 1)
            self.flaw = f"duplicate key {key[:40]!r}"
        return out

    def _constant(self, word: str) -> float:
        self.flaw = self.flaw or f"{word} is not JSON"
        return float(word)

    def _float(self, word: str) -> float:
        value = float(word)
        if value in (float("inf"), float("-inf")):
            self.flaw = self.flaw or f"number {word[:20]} does not fit a double"
        return value

    def decode(self, text: str, at: int = 0) -> tuple[Any, int]:
        self.flaw = ""
        try:
            return self._scan(text, at)
        except StopIteration as stop:
            raise json.JSONDecodeError("a JSON value was expected", text, stop.value) from None


def depth_of(value: Any) -> int:
    """How deep dicts and lists nest; a scalar is 0. Iterative, so that no input can exhaust the
    stack.
    """
    level, deepest = [value], 0
    while level := [x for x in level if isinstance(x, (dict, list))]:
        deepest += 1
        level = [c for x in level for c in (x.values() if isinstance(x, dict) else x)]
    return deepest


def check(value: Any, text: str, flaw: str, depth: int) -> Any:
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


def parse_json(text: str, depth: int = MAX_DEPTH) -> Any:
    """The value of JSON text. Raises RecordError with the reason where it is not clean JSON."""
    decoder = Decoder()
    try:
        value, end = decoder.decode(text, skip(text, 0))
        if skip(text, end) != len(text):
            raise json.JSONDecodeError("text after the value", text, end)
    except RecursionError:
        raise RecordError(f"nested deeper than {depth}") from None
    except json.JSONDecodeError as error:
        raise RecordError(f"not JSON: {error.msg} (character {error.pos})") from None
    except ValueError as error:  # an integer of more than 4,300 digits
        raise RecordError(f"not JSON: {error}") from None
    return check(value, text, decoder.flaw, depth)


def dump(value: Any) -> str:
    """JSON text of a parsed value. Raises RecordError on NaN and the like."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecordError(f"cannot be written as JSON: {error}") from None


_SPACE = re.compile(r"[ \t\r\n]*")


def skip(text: str, at: int) -> int:
    """The position of the next character that is not white space."""
    return _SPACE.match(text, at).end()


def raw_items(text: str) -> Iterator[dict[str, tuple[Any, str]]]:
    """JSON text of a list of objects -> key -> (value, the value's own text) for each object."""
    parse_json(text, MAX_INNER_DEPTH + 2)  # clean as a whole: the walk below need not check again
    scan = json.JSONDecoder().scan_once
    at = skip(text, 0)
    if text[at : at + 1] != "[":
        raise RecordError("a JSON list was expected")
    at = skip(text, at + 1)
    while text[at] != "]":
        if text[at] != "{":
            raise RecordError("a list of objects was expected")
        item: dict[str, tuple[Any, str]] = {}
        at = skip(text, at + 1)
        while text[at] != "}":
            key, at = scan(text, at)
            start = skip(text, skip(text, at) + 1)
            value, end = scan(text, start)
            item[key] = (value, text[start:end])
            at = skip(text, end)
            if text[at] == ",":
                at = skip(text, at + 1)
        yield item
        at = skip(text, at + 1)
        if text[at] == ",":
            at = skip(text, at + 1)


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


def text_of(value: Any) -> str:
    """Message content as text: None is "", parts are their texts, other values are JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(p, dict) and "text" in p for p in value):
        return "".join(str(p["text"]) for p in value)
    return dump(value)
