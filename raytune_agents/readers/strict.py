"""Strict JSON: parsed once; what JSON forbids makes a row bad instead of silently changing it.

A duplicate key, NaN, a lone surrogate or absurd nesting is a RecordError whose text is the
counted reason. Text that is JSON inside JSON is sliced, not re-serialised, so schemas and
arguments keep bytes.
"""

from __future__ import annotations

import ast
import json
from dataclasses import fields
from typing import Any

from raytune_agents.calls.json_text import decode, dumps, strict_json
from raytune_agents.records import JsonObject, RecordError, Trajectory

MAX_DEPTH = 180  # of a whole row: search trees of ToolBench nest 70 and more
MAX_INNER_DEPTH = 64  # of a tool schema or of arguments: what JSON Schema checkers can recurse into
MAX_LITERAL_CHARS = 1_000_000  # ast.literal_eval needs about 100 times the text in memory


def parse_json(text: str, depth: int = MAX_DEPTH) -> Any:
    """The value of JSON text. Raises RecordError with the reason, which begins with "not JSON"
    where the text is none at all."""
    try:
        return strict_json(text, depth)
    except json.JSONDecodeError as error:
        raise RecordError(f"not JSON: {error.msg} (character {error.pos})") from None
    except ValueError as error:
        raise RecordError(str(error)) from None


def dump(value: Any) -> str:
    """JSON text of a parsed value. Raises RecordError on NaN and the like."""
    try:
        return dumps(value)
    except (TypeError, ValueError) as error:
        raise RecordError(f"cannot be written as JSON: {error}") from None


def raw_items(text: str) -> list[tuple[JsonObject, str]]:
    """JSON text of a list of objects -> (object, its own text) for each.

    Raises RecordError; its text begins with "not JSON" where the text is no JSON at all.
    """
    values = parse_json(text, MAX_INNER_DEPTH + 2)
    if not isinstance(values, list) or not all(isinstance(v, dict) for v in values):
        raise RecordError("a list of objects was expected")
    items, end = [], text.index("[")
    for value in values:
        at = text.index("{", end)
        end = decode(text, at)[1]
        items.append((value, text[at:end]))
    return items


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


def value_or(value: Any, otherwise: Any = None) -> Any:
    """`value_of`, or `otherwise` where the text is no value."""
    try:
        return value_of(value)
    except RecordError:
        return otherwise


def objects_of(value: Any) -> list[JsonObject]:
    """A list of objects, or JSON text of one; [] for anything else, and for one that holds more."""
    if isinstance(value, str) and value.lstrip()[:2] == "[{":
        value = value_or(value)
    listed = isinstance(value, list) and all(isinstance(v, dict) for v in value)
    return value if listed else []


def as_text(value: Any) -> str:
    """A value as text: None is "", text is itself, other values are JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else dump(value)


def check_record(row: Trajectory) -> None:
    """Raises RecordError where a user's reader put another value where text, or JSON text, belongs:
    no file holds it."""
    if not isinstance(row, Trajectory):
        raise RecordError(f"the reader gives a {type(row).__name__}, not a Trajectory")
    calls = (call for message in row.messages for call in message.tool_calls)
    parts: list[Any] = [row, *row.messages, *row.tools, *calls]
    for part in parts:
        for item in fields(part):
            value, name = getattr(part, item.name), f"{type(part).__name__}.{item.name}"
            if item.type == "str" and not isinstance(value, str):
                kind = type(value).__name__
                raise RecordError(f"{name} is a {kind}, not text; json.dumps makes text of objects")
    if not all(isinstance(parse_json(tool.parameters), dict) for tool in row.tools):
        raise RecordError("ToolSpec.parameters is no JSON object")
