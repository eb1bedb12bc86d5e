"""A tool's parameter schema, ready for checking: parsed once, kept by its text.

Types may be JSON Schema words (object, number) or BFCL's and Python's (dict, float, any, str).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from jsonschema import ValidationError
from jsonschema.protocols import Validator

from raytune_agents.calls.json_text import dumps, strict_arguments, strict_json
from raytune_agents.calls.validation import bounded_errors, tolerant_validator
from raytune_agents.records import JsonSchema, ToolCall, ToolSpec
from raytune_agents.storage import yaml_beside

# type word -> JSON Schema word; "" = any type
_TYPES: dict[str, str] = yaml_beside(__file__, "types.yaml")
WORDS = {word: kind for kind, words in _TYPES.items() for word in words.split()}
JSON_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}
# BFCL reads "any" (and so a missing type) as text; its variable rule lets other types in
PYTHON = {word: kind for kind, word in JSON_TYPES.items() if word != "null"} | {"": str}
MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = (
    "items additionalProperties not contains if then else propertyNames unevaluatedProperties "
    "unevaluatedItems"
)
SINGLE = tuple(_SINGLE.split())
SAYS_NULL = {"default", "const", "example", "examples"}  # elsewhere null is what a table put in
NULLABLE = ("nullable", "x-nullable")
PythonType = type[Any]  # inside the class `type` is a field


@dataclass(frozen=True, slots=True)
class ParameterType:
    """What BFCL asks of one parameter: the exact Python type, that of list items, int -> float."""

    type: PythonType
    items: PythonType | None = None
    promote: bool = False


ANY = ParameterType(str)


@dataclass(frozen=True, slots=True)
class Shape:
    """A parsed schema. A bad one has `error` set, no parameters, and is `open`."""

    kinds: dict[str, ParameterType]
    required: tuple[str, ...]
    open: bool  # arguments beyond `kinds` are allowed
    error: str = ""


def _word(value: Any) -> str:
    """The JSON Schema word of a type; of a union, the first that is not null; "" = any."""
    if isinstance(value, list):
        value = next((v for v in value if v != "null"), "")
    return WORDS.get(value.lower(), "") if isinstance(value, str) else ""


def json_schema(schema: Any) -> Any:
    """The schema in the words of JSON Schema 2020-12: type words of Python and BFCL (an unknown one
    allows anything), `nullable`, and what older drafts wrote otherwise."""
    if not isinstance(schema, dict):
        return schema
    out: JsonSchema = {}
    for key, value in schema.items():
        if key == "type":
            words = [_word(v) for v in value] if isinstance(value, list) else [_word(value)]
            if words and all(words):
                out[key] = list(dict.fromkeys(words)) if isinstance(value, list) else words[0]
        elif key in MAPS and isinstance(value, dict):
            out[key] = {k: json_schema(v) for k, v in value.items() if isinstance(v, dict | bool)}
        elif (key in LISTS or key == "items") and isinstance(value, list):
            out[key] = [json_schema(v) for v in value]
        elif key in SINGLE:
            if isinstance(value, dict | bool):
                out[key] = json_schema(value)
        elif value is not None or key in SAYS_NULL:
            out[key] = value
    _from_older_drafts(out)
    nullable = says_nullable(out)
    for word in NULLABLE:
        out.pop(word, None)
    return _nullable(out) if nullable else out


def says_nullable(schema: Mapping[str, Any]) -> bool:
    """Whether a schema says null in the words of OpenAPI 3.0 and of Swagger."""
    return any(schema.get(word) in (True, "true", "True") for word in NULLABLE)


def _from_older_drafts(out: JsonSchema) -> None:
    """Draft 4 to 7 and OpenAPI 3.0 in the words of 2020-12, in place."""
    for bound, strict in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        flag = out.get(strict)
        if isinstance(flag, bool):  # draft 4: a flag beside the bound
            del out[strict]
            if flag and bound in out:
                out[strict] = out.pop(bound)
    if isinstance(out.get("items"), list):
        out["prefixItems"] = out.pop("items")
        if isinstance(rest := out.pop("additionalItems", None), dict | bool):
            out["items"] = json_schema(rest)
    dependencies = out.pop("dependencies", None)
    for key, needs in dependencies.items() if isinstance(dependencies, dict) else ():
        word = "dependentRequired" if isinstance(needs, list) else "dependentSchemas"
        out[word] = {**out.get(word, {}), key: json_schema(needs)}
    options = out.get("oneOf")  # of scalars: an integer is a number too
    if (
        isinstance(options, list)
        and "anyOf" not in out
        and not any(
            isinstance(o, dict) and {"properties", "required", "$ref"} & o.keys() for o in options
        )
    ):
        out["anyOf"] = out.pop("oneOf")
    if "required" in out:  # `required: true` says nothing here
        needed = out["required"] if isinstance(out["required"], list) else []
        out["required"] = list(dict.fromkeys(n for n in needed if isinstance(n, str)))
    if "enum" in out:
        _put_enum_right(out)


def _put_enum_right(out: JsonSchema) -> None:
    """An empty enum says nothing; texts of a type that has none are that type's values."""
    values, kind = out["enum"], out.get("type", "string")
    try:
        if "string" not in kind and all(isinstance(v, str) for v in values):
            values = out["enum"] = [strict_json(v.lower()) for v in values]
        elif kind == out.get("type") == "string" and not any(isinstance(v, str) for v in values):
            out["enum"] = [dumps(v) for v in values]  # YAML's numbers and booleans
    except (TypeError, ValueError):
        values = None
    if not isinstance(values, list) or not values:
        del out["enum"]


def _nullable(schema: JsonSchema) -> JsonSchema:
    """The schema, or null (OpenAPI 3.0 and Gemini)."""
    kind = schema.get("type")
    if kind is None or any(word in schema for word in ("anyOf", "oneOf", "allOf", "const")):
        return {"anyOf": [schema, {"type": "null"}]}
    kinds = kind if isinstance(kind, list) else [kind]
    out = schema | {"type": list(dict.fromkeys([*kinds, "null"]))}
    if "enum" in out and None not in out["enum"]:
        out["enum"] = [*out["enum"], None]
    return out


def _kind(detail: Any) -> ParameterType:
    if not isinstance(detail, dict):
        return ANY
    word = _word(detail.get("type"))
    if word == "array":
        items = detail.get("items")
        inner = _word(items.get("type")) if isinstance(items, dict) else ""
        return ParameterType(list, PYTHON.get(inner) if inner else None)
    return ParameterType(PYTHON.get(word, str), None, word == "number")


def _parsed(parameters: str) -> JsonSchema:
    schema = strict_json(parameters or "{}")
    if not isinstance(schema, dict) or not isinstance(schema.get("properties") or {}, dict):
        raise ValueError("not an object schema")
    return schema


@dataclass(slots=True)
class Members:
    """What an object schema and the schemas that it is composed of say of an object's members."""

    properties: dict[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    open: bool = False  # other members are allowed
    seen: set[tuple[int, bool]] = field(default_factory=set)  # each part is looked at once

    def add(self, schema: Any, root: JsonSchema, needed: bool = True) -> None:
        """Take in a schema; `needed`: it holds in any case, as that of an option does not."""
        if not isinstance(schema, dict) or (id(schema), needed) in self.seen:
            return
        self.seen.add((id(schema), needed))
        found = schema.get("properties")
        for name, detail in found.items() if isinstance(found, dict) else ():
            self.properties.setdefault(name, detail)
        names = schema.get("required")
        if needed and isinstance(names, list):
            self.required += [n for n in names if isinstance(n, str) and n not in self.required]
        self.open |= bool(schema.get("additionalProperties")) or "patternProperties" in schema
        if "$ref" in schema:
            target = local_ref(schema["$ref"], root)
            self.open |= target is None
            self.add(target, root, needed)
        for word in ("allOf", "anyOf", "oneOf", "extends"):
            parts = schema.get(word)
            parts = [parts] if word == "extends" else parts  # of draft 3: one, or a list
            for part in parts if isinstance(parts, list) else ():
                self.add(part, root, needed and word in ("allOf", "extends"))
        for word in ("then", "else"):
            self.add(schema.get(word), root, False)
        for word in ("dependentSchemas", "dependencies"):
            parts = schema.get(word)
            for part in parts.values() if isinstance(parts, dict) else ():
                self.add(part, root, False)


def local_ref(ref: Any, root: Any) -> Any:
    """What a reference within the document names, None where it names nothing there."""
    if not isinstance(ref, str) or not ref.startswith("#"):
        return None
    node = root
    for part in filter(None, ref[1:].split("/")):
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(node, list):
            place = int(key) if re.fullmatch(r"[0-9]{1,6}", key) else len(node)
            node = node[place] if place < len(node) else None
        else:
            node = node.get(key) if isinstance(node, dict) else None
    return node


def types_of(schema: Any, root: Mapping[str, Any]) -> set[str]:
    """The JSON types that a schema allows; empty where it does not say. `root` holds what its
    references name."""
    types: set[str] = set()
    todo, seen = [schema], set[int]()
    while todo:
        node = todo.pop()
        # Each part once: references may name each other in more ways than can be gone.
        if not isinstance(node, Mapping) or id(node) in seen:
            continue
        seen.add(id(node))
        declared = node.get("type")
        words = declared if isinstance(declared, list) else [declared]
        types.update(t for t in words if isinstance(t, str))
        options = node.get("enum", [node["const"]] if "const" in node else [])
        listed = options if isinstance(options, list) else []
        types |= {JSON_TYPES[type(v)] for v in listed if type(v) in JSON_TYPES}
        if says_nullable(node):
            types.add("null")
        for word in ("anyOf", "oneOf", "allOf"):
            todo += node[word] if isinstance(node.get(word), list) else []
        todo.append(local_ref(node.get("$ref"), root))
    return types


def members_of(schema: JsonSchema) -> Members:
    """The members that an object schema knows, also by composition and by references."""
    out = Members()
    out.add(schema, schema)
    listed = "properties" in schema or out.properties or schema.get("additionalProperties") is False
    out.open |= not listed  # {"type": "object"} alone says nothing of them
    return out


@lru_cache(maxsize=8192)
def _schema(parameters: str) -> JsonSchema:
    try:
        return _parsed(parameters)
    except ValueError:
        return {}


def schema_of(tool: ToolSpec | None) -> JsonSchema:
    """The tool's schema, parsed once for each text; {} where it is none, and for no tool. Do not
    change it."""
    return _schema(tool.parameters) if tool else {}


def properties_of(tool: ToolSpec) -> JsonSchema:
    """Name -> schema of the tool's top parameters; {} where it has none. Do not change it."""
    return schema_of(tool).get("properties") or {}


@lru_cache(maxsize=8192)
def shape(parameters: str) -> Shape:
    """The schema text, parsed. Never raises: a bad schema has `error` set and allows anything."""
    try:
        schema = _parsed(parameters)
    except ValueError as error:
        return Shape({}, (), True, f"bad_schema:{type(error).__name__}")
    members = members_of(schema)
    kinds = {name: _kind(detail) for name, detail in members.properties.items()}
    return Shape(kinds, tuple(members.required), members.open)


@lru_cache(maxsize=8192)
def validator(parameters: str) -> Validator | str:
    """The compiled validator of a schema text, or the label of what is wrong with the schema."""
    try:
        return tolerant_validator(json_schema(_parsed(parameters)))
    except Exception as error:  # a stranger's schema may do anything to the library
        return f"bad_schema:{type(error).__name__}"


def find(name: str, tools: Sequence[ToolSpec]) -> ToolSpec | None:
    """The tool of that name, or None."""
    return next((t for t in tools if t.name == name), None)


def _labels(error: ValidationError) -> list[str]:
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
        arguments = strict_arguments(call)
    except ValueError:
        return ["not_json"]
    form, checks = shape(tool.parameters), validator(tool.parameters)
    if isinstance(checks, str):
        return [checks]
    labels = [] if form.open else [f"unexpected:{k}" for k in arguments if k not in form.kinds]
    try:
        for error in bounded_errors(checks, arguments):
            if error.validator != "additionalProperties" or error.absolute_path:
                labels += [x for x in _labels(error) if x not in labels]
    except Exception as error:  # the same, for what only a check of values brings out
        labels.append(f"bad_schema:{type(error).__name__}")
    return labels
