"""Nulls that a table puts into arguments: it gives every row the members of all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raytune_agents.readers.fields import is_null
from raytune_agents.records import Arguments, JsonSchema, ToolSpec


def argument_schema(name: str, tools: Sequence[ToolSpec]) -> JsonSchema:
    """The schema of a tool's parameters, {} where it is not known."""
    try:
        return next((t.schema for t in tools if t.name == name), {})
    except ValueError:
        return {}


def without_nulls(arguments: Arguments, schema: JsonSchema) -> Arguments:
    """Arguments without the null members that their schema does not ask for.

    A table gives every row the members of all rows, null where a row has none. A null stays where
    the schema says that it may be null or that it must be there.
    """
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    needed = schema.get("required")
    out: Arguments = {}
    for key, value in arguments.items():
        own = properties.get(key)
        own = own if isinstance(own, dict) else {}
        required = isinstance(needed, list) and key in needed
        if not is_null(value) or required or _may_be_null(own):
            out[key] = _lean(value, own)
    return out


def _lean(value: Any, schema: JsonSchema) -> Any:
    if isinstance(value, dict):
        return without_nulls(value, schema)
    if isinstance(value, list):
        items = schema.get("items")
        return [_lean(v, items if isinstance(items, dict) else {}) for v in value]
    return value


def _may_be_null(schema: JsonSchema) -> bool:
    kind = schema.get("type")
    options = [o for k in ("anyOf", "oneOf") for o in schema.get(k) or [] if isinstance(o, dict)]
    return (
        kind == "null"
        or (isinstance(kind, list) and "null" in kind)
        or schema.get("nullable", schema.get("x-nullable")) in (True, "true", "True")
        or (isinstance(schema.get("enum"), list) and None in schema["enum"])
        or any(_may_be_null(o) for o in options)
    )
