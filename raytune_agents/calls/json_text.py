"""Strict JSON: a duplicate key, NaN, a number that no double holds, half of a surrogate pair or
absurd nesting is a ValueError, also for hostile text; what is no JSON at all, a JSONDecodeError.
Left out: what the value means (`parse`)."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

from raytune_agents.records import Arguments, JsonObject, ToolCall

MAX_DEPTH = 100  # levels of nesting; deeper text is an attack or a loop, not a call
MAX_DIGITS = 300  # of an integer: what no double holds, no arithmetic of a checker does
# These match everywhere, if only nothing: `match` never gives None.
SPACE: Any = re.compile(r"\s*")
_COLON = re.compile(r"\s*:\s*")


class NotACall(ValueError):
    """The text can be read, but it does not have the shape of a call."""


def unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    """The pairs as a dict. Raises ValueError where a key occurs twice."""
    out = dict(pairs)
    if len(out) != len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"duplicate key {key[:40]!r}")
    return out


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number {text[:20]} does not fit a double")
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"number {text[:20]} does not fit a double")
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=unique, parse_constant=_refuse, parse_float=_finite, parse_int=_integer
)


def depth_of(value: Any) -> int:
    """How deep dicts and lists nest; a scalar is 0. Iterative, so that no input can exhaust the
    stack."""
    level, deepest = [value], 0
    while level := [x for x in level if isinstance(x, dict | list)]:
        deepest += 1
        level = [c for x in level for c in (x.values() if isinstance(x, dict) else x)]
    return deepest


def decode(text: str, at: int = 0, depth: int = MAX_DEPTH) -> tuple[Any, int]:
    """The JSON value that starts at `at`, and its end. Raises ValueError, also for hostile text."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except RecursionError:
        raise ValueError(f"nested deeper than {depth}") from None
    if end - at > 2 * depth and isinstance(value, dict | list):  # only long text can be deep
        brackets = text.count("{", at, end) + text.count("[", at, end)
        if brackets > depth and depth_of(value) > depth:
            raise ValueError(f"nested deeper than {depth}")
    return value, end


def encodable(value: Any, source: str) -> Any:
    """The value that was read of a text. Raises ValueError where it holds what is no text."""
    if "\\ud" in source or "\\uD" in source:
        try:
            dumps(value).encode()
        except UnicodeEncodeError:
            raise ValueError("a lone surrogate is not text") from None
    return value


def strict_json(text: str, depth: int = MAX_DEPTH) -> Any:
    """The whole text as one JSON value. Raises ValueError."""
    value, end = decode(text, 0 if text.startswith("{") else SPACE.match(text).end(), depth)
    if end != len(text) and SPACE.match(text, end).end() != len(text):
        raise json.JSONDecodeError("text after the value", text, end)
    return encodable(value, text)


def strict_arguments(call: ToolCall) -> Arguments:
    """A call's arguments. Raises ValueError where they are no JSON object."""
    value = strict_json(call.arguments or "{}")
    if not isinstance(value, dict):
        raise ValueError(f"arguments of {call.name!r} are not an object")
    return value


def slice_of(text: str, key: str, value: Any) -> str:
    """The bytes of `value` under `key` in the JSON object `text`."""
    quoted = f'"{key}"'
    at = text.find(quoted)
    while at >= 0:
        colon = _COLON.match(text, at + len(quoted))
        if colon:
            found, end = decode(text, colon.end())
            if found == value:
                return text[colon.end() : end]
        at = text.find(quoted, at + 1)
    return dumps(value)  # the key itself was written with escapes


def dumps(value: Any) -> str:
    """JSON text as calls carry it. Raises ValueError for a number that JSON lacks."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
