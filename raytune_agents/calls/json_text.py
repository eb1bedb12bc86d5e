"""Strict JSON: a duplicate key, NaN, an infinite number or nesting below `MAX_DEPTH` is a
ValueError, also for hostile text. Left out: what the value means (`parse`)."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from raytune_agents.records import JsonObject

MAX_DEPTH = 100  # levels of nesting; deeper text is an attack or a loop, not a call
# These match everywhere, if only nothing: `match` never gives None.
SPACE: Any = re.compile(r"\s*")
_COLON = re.compile(r"\s*:\s*")


class NotACall(ValueError):
    """The text can be read, but it does not have the shape of a call."""


def unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    """The pairs as a dict. Raises ValueError where a key occurs twice."""
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key occurs twice")
    return out


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=unique, parse_constant=_refuse, parse_float=_finite)


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            v
            for x in level
            for v in (x.values() if isinstance(x, dict) else x)
            if isinstance(v, dict | list)
        ]
        if not level:
            return False
    return True


def decode(text: str, at: int = 0) -> tuple[Any, int]:
    """The JSON value that starts at `at`, and its end. Raises ValueError, also for hostile text."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if end - at > 2 * MAX_DEPTH and isinstance(value, dict | list):  # only long text can be deep
        brackets = text.count("{", at, end) + text.count("[", at, end)
        if brackets > MAX_DEPTH and _too_deep(value):
            raise ValueError("nested too deeply")
    return value, end


def strict_json(text: str) -> Any:
    """The whole text as one JSON value. Raises ValueError."""
    value, end = decode(text, 0 if text.startswith("{") else SPACE.match(text).end())
    if end != len(text) and SPACE.match(text, end).end() != len(text):
        raise ValueError("text after the JSON value")
    if "\\ud" in text or "\\uD" in text:
        dumps(value).encode()  # a lone surrogate is no text: UnicodeEncodeError is a ValueError
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
