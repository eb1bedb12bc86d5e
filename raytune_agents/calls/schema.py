"""A tool's parameter schema, ready for checking: parsed once, kept by its text.

Types may be JSON Schema words (object, number) or BFCL's and Python's (dict, float, any, str).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema
from referencing import Registry
from referencing.exceptions import Unresolvable

from raytune_agents.calls.json_text import strict_json
from raytune_agents.records import ToolCall, ToolSpec

# type word -> JSON Schema word; "" = any type
WORDS = {
    **dict.fromkeys(("string", "str", "char"), "string"),
    **dict.fromkeys(("integer", "int", "long", "short", "byte", "bigint"), "integer"),
    **dict.fromkeys(("number", "float", "double"), "number"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("array", "list", "tuple", "arraylist"), "array"),
    **dict.fromkeys(("object", "dict", "hashmap", "hashtable"), "object"),
    "null": "null", "any": "",
}  # fmt: skip
# BFCL reads "any" (and so a missing type) as text; its variable rule lets other types in
PYTHON = {"string": str, "integer": int, "number": float, "boolean": bool, "array": list,
          "object": dict, "": str}  # fmt: skip
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE = ("items", "additionalProperties", "not", "contains", "if", "then", "else", "propertyNames")
PythonType = type[Any]  # inside the class `type` is a field


@dataclass(frozen=True, slots=True)
class Kind:
    """What BFCL asks of one parameter: the exact Python type, that of list items, int -> float."""

    type: PythonType
    items: PythonType | None = None
    promote: bool = False


ANY = Kind(str)


@dataclass(frozen=True, slots=True)
class Shape:
    """A parsed schema. A bad one has `error` set, no parameters, and is `open`."""

    kinds: dict[str, Kind]
    required: tuple[str, ...]
    open: bool  # arguments beyond `kinds` are allowed
    error: str = ""


def _word(value: Any) -> str:
    """The JSON Schema word of a type; of a union, the first that is not null; "" = any."""
    if isinstance(value, list):
        value = next((v for v in value if v != "null"), "")
    return WORDS.get(value.lower(), "") if isinstance(value, str) else ""


def json_schema(schema: Any) -> Any:
    """The schema with every type word in JSON Schema's own words; unknown words allow anything."""
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type":
            words = [_word(v) for v in value] if isinstance(value, list) else [_word(value)]
            if all(words):
                out[key] = words if isinstance(value, list) else words[0]
        elif key in _MAPS and isinstance(value, dict):
            out[key] = {k: json_schema(v) for k, v in value.items()}
        elif key in _LISTS and isinstance(value, list):
            out[key] = [json_schema(v) for v in value]
        elif key in _ONE:
            out[key] = json_schema(value)
        elif key != "required" or isinstance(
            value, list
        ):  # `required: true` on a parameter says nothing here
            out[key] = value
    return out


def _kind(detail: Any) -> Kind:
    if not isinstance(detail, dict):
        return ANY
    word = _word(detail.get("type"))
    if word == "array":
        items = detail.get("items")
        inner = _word(items.get("type")) if isinstance(items, dict) else ""
        return Kind(list, PYTHON.get(inner) if inner else None)
    return Kind(PYTHON.get(word, str), None, word == "number")


def _parsed(parameters: str) -> dict[str, Any]:
    schema = strict_json(parameters or "{}")
    if not isinstance(schema, dict) or not isinstance(schema.get("properties", {}), dict):
        raise ValueError("not an object schema")
    return schema


@lru_cache(maxsize=8192)
def _schema(parameters: str) -> dict[str, Any]:
    try:
        return _parsed(parameters)
    except ValueError:
        return {}


def schema_of(tool: ToolSpec) -> dict[str, Any]:
    """The tool's schema, parsed once for each text; {} where it is none. Do not change it."""
    return _schema(tool.parameters)


@lru_cache(maxsize=8192)
def shape(parameters: str) -> Shape:
    """The schema text, parsed. Never raises: a bad schema has `error` set and allows anything."""
    try:
        schema = _parsed(parameters)
    except ValueError as error:
        return Shape({}, (), True, f"bad_schema:{type(error).__name__}")
    kinds = {name: _kind(detail) for name, detail in schema.get("properties", {}).items()}
    required = schema.get("required")
    required = required if isinstance(required, list) else []
    is_open = bool(schema.get("additionalProperties")) or "patternProperties" in schema
    return Shape(kinds, tuple(r for r in required if isinstance(r, str)), is_open)


@lru_cache(maxsize=8192)
def validator(parameters: str) -> jsonschema.Draft202012Validator | str:
    """The compiled validator of a schema text, or the label of what is wrong with the schema."""
    try:
        clean = json_schema(_parsed(parameters))
        jsonschema.Draft202012Validator.check_schema(clean)
    except (ValueError, RecursionError, jsonschema.SchemaError) as error:
        return f"bad_schema:{type(error).__name__}"
    return jsonschema.Draft202012Validator(clean, registry=Registry())  # no $ref is ever fetched


def find(name: str, tools: Sequence[ToolSpec]) -> ToolSpec | None:
    """The tool of that name, or None."""
    return next((t for t in tools if t.name == name), None)


def _labels(error: jsonschema.ValidationError) -> list[str]:
    path = ".".join(str(p) for p in error.absolute_path)
    if error.validator == "required" and isinstance(error.instance, dict):
        missing = [k for k in error.validator_value if k not in error.instance]
        return [f"missing_required:{f'{path}.{k}' if path else k}" for k in missing]
    return [f"{error.validator}:{path}"]


def schema_errors(call: ToolCall, tools: Sequence[ToolSpec]) -> list[str]:
    """What is wrong with a call, [] where it fits its tool's schema.

    Labels: unknown_tool, not_json, bad_schema:why, missing_required:arg, unexpected:arg, type:arg,
    and jsonschema's own words for the rest (enum:arg, minimum:arg); nested places are dotted.
    """
    tool = find(call.name, tools)
    if tool is None:
        return ["unknown_tool"]
    try:
        arguments = strict_json(call.arguments or "{}")
    except ValueError:
        return ["not_json"]
    if not isinstance(arguments, dict):
        return ["not_json"]
    form, checks = shape(tool.parameters), validator(tool.parameters)
    if isinstance(checks, str):
        return [checks]
    labels = [] if form.open else [f"unexpected:{k}" for k in arguments if k not in form.kinds]
    try:
        for error in checks.iter_errors(arguments):
            if error.validator != "additionalProperties" or error.absolute_path:
                labels += [x for x in _labels(error) if x not in labels]
    except Unresolvable:
        labels.append("bad_schema:Unresolvable")
    return labels
