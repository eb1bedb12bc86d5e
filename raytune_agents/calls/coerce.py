"""Text -> the value that a tool's schema asks for: XML dialects write every argument as bare text.

As vLLM's parsers do (vllm/tool_parsers/utils.py, coerce_to_schema_type), but a text that Jinja made
of a Python value (`True`, `None`) counts too, and a parameter without a type takes what JSON says.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from raytune_agents.calls.json_text import dumps, strict_json, unique
from raytune_agents.calls.pythonic import MAX_PYTHONIC
from raytune_agents.calls.schema import JSON_TYPES, find, json_schema, schema_of, types_of
from raytune_agents.records import Arguments, ToolCall, ToolSpec

_ORDER = ("null", "integer", "number", "boolean", "object", "array")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def typed(text: str, types: set[str]) -> Any:
    """The text as a value of the first of `types` that it fits; else as text."""
    word = text.strip()
    for kind in _ORDER:
        if kind not in types:
            continue
        if kind == "null":
            if word.lower() in ("null", "none"):
                return None
        elif kind == "boolean":
            if word.lower() in _BOOLEANS:
                return _BOOLEANS[word.lower()]
        else:
            value = _value(word, or_python=kind in ("object", "array"))
            if type(value) in JSON_TYPES and (
                JSON_TYPES[type(value)] == kind or (kind == "number" and type(value) is int)
            ):
                return value
    if "string" in types:
        return text
    value = _value({"True": "true", "False": "false", "None": "null"}.get(word, word))
    return text if value is _BROKEN or isinstance(value, str) else value


_BROKEN = object()


def _value(text: str, or_python: bool = False) -> Any:
    """The value of JSON text, or of a Python literal that JSON can hold: what Jinja makes of an
    object; else _BROKEN."""
    try:
        return strict_json(text)
    except ValueError:
        if not or_python or len(text) > MAX_PYTHONIC:
            return _BROKEN
    try:
        return strict_json(dumps(ast.literal_eval(text)))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _BROKEN


def call_of(
    name: str, pairs: Sequence[tuple[str, Any]], tools: Sequence[ToolSpec], trim: bool = False
) -> ToolCall:
    """A call of arguments that were written as text; without a known tool they stay text. What is
    no text is a value already.

    `trim`: one line break at each end is markup. Raises ValueError where one is given twice."""
    tool = find(name, tools)
    root = schema_of(tool)
    properties = root.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    values: Arguments = {}
    for key, text in unique(list(pairs)).items():
        if not isinstance(text, str):
            values[key] = text
            continue
        if trim:
            text = text.removeprefix("\n").removesuffix("\n")
        types = types_of(json_schema(properties.get(key)), root) if tool else {"string"}
        values[key] = typed(text, types)
    return ToolCall(name, dumps(values))
