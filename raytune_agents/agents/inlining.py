"""A schema with its references and compositions written out, as generation and prompts want it.

References of a document can name each other without end, and a YAML alias can stand for a billion
values: what is written out is bounded. The levels of nesting are cut until the schema is small
enough; what lies below is `{"type": "object"}`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from raytune_agents.calls.schema import JSON_TYPES, LISTS, MAPS, SINGLE, local_ref
from raytune_agents.config import ConfigError
from raytune_agents.records import JsonSchema

MAX_NODES = 400  # schemas and listed values of one parameter or body
MAX_ENUM = 200  # values of an enum; one of more is any value of its type
MAX_LEVELS = 10  # of nested schemas, references among them
COMPOSED = 0.25  # levels of what `allOf` takes in: it stands on the same one
MAX_OPTIONS = 32  # of two compositions, each of one with each of the other
MAX_VALUES = 1_000_000  # of a whole document, each alias counted as often as it is used
NOISE = (
    *("xml", "discriminator", "externalDocs", "definitions"),
    *("$defs", "$schema", "$id", "$comment"),
)
ANY_TYPE = ["string", "number", "boolean", "object", "array"]


class TooMany(Exception):
    """The schema is larger than MAX_NODES at this many levels."""


def check_size(tree: Any, path: str) -> None:
    """Raises ConfigError for a document of more values than MAX_VALUES: an alias bomb."""
    stack, values = [tree], 0
    while stack:
        item = stack.pop()
        values += 1
        if values > MAX_VALUES:
            raise ConfigError(
                f"{path} holds more than {MAX_VALUES:,} values once its aliases are written out; "
                "give the tools alone"
            )
        if isinstance(item, dict):
            stack += item.values()
        elif isinstance(item, list):
            stack += item


def inlined(schema: Any, document: Any) -> Any:
    """The schema without `$ref`, `allOf` and null options; loops, far references and what lies too
    deep are objects. Raises TooMany where even its first level is too large."""
    for levels in range(MAX_LEVELS, 0, -1):
        try:
            return _Writer(document).write(schema, levels, ())
        except TooMany:
            if levels == 1:
                raise
    return schema


class _Writer:
    def __init__(self, document: Any) -> None:
        self.document, self.nodes = document, 0

    def write(self, node: Any, levels: float, inside: tuple[int, ...]) -> Any:
        """A schema; `inside`: the ids of the references that it lies in."""
        if not isinstance(node, dict):
            return node
        node, inside = self.followed(node, inside)
        if isinstance(node.get("enum"), list) and len(node["enum"]) > MAX_ENUM:
            node = {k: v for k, v in node.items() if k != "enum"}
        self.nodes += 1 + sum(len(v) for v in node.values() if isinstance(v, list))
        if self.nodes > MAX_NODES:
            raise TooMany
        if levels <= 0:
            return _stub(node)
        out = {k: v for k, v in node.items() if k not in NOISE and not str(k).startswith("x-")}
        for key, value in out.items():
            if key in MAPS and isinstance(value, dict):
                out[key] = {k: self.write(v, levels - 1, inside) for k, v in value.items()}
            elif key in SINGLE and isinstance(value, dict):
                out[key] = self.write(value, levels - 1, inside)
            elif key in LISTS and isinstance(value, list):
                deeper = levels - (COMPOSED if key == "allOf" else 1)
                out[key] = [self.write(v, deeper, inside) for v in value]
        return simple(out)

    def followed(
        self, node: JsonSchema, inside: tuple[int, ...]
    ) -> tuple[JsonSchema, tuple[int, ...]]:
        """The schema that a reference names, with what stands beside it."""
        while "$ref" in node:
            target = local_ref(node["$ref"], self.document)
            beside = {k: v for k, v in node.items() if k != "$ref"}
            if not isinstance(target, dict) or id(target) in inside:
                return {"type": "object", **beside}, inside
            node, inside = {**target, **beside}, (*inside, id(target))
        return node, inside


def _stub(node: JsonSchema) -> JsonSchema:
    """A schema without what it is made of."""
    kind = node.get("type") or ("array" if "items" in node else "object")
    scalar = kind not in ("array", "object") and not isinstance(kind, list)
    kept = ("description", *(("enum", "format", "const") if scalar or "enum" in node else ()))
    return {"type": kind} | {k: node[k] for k in kept if k in node}


def simple(schema: JsonSchema) -> JsonSchema:
    """One level of a schema: `allOf` merged, null options left out, one option alone taken in."""
    out = dict(schema)
    kind = out.get("type")
    if isinstance(kind, list) and len(kinds := [k for k in kind if k != "null"]) == 1:
        out["type"] = kinds[0]
    out.pop("nullable", None)
    inside: JsonSchema = {}
    for part in out.pop("allOf", None) or []:
        inside = _both(inside, _unconditional(part)) if isinstance(part, dict) else inside
    out = _both(inside, out) if inside else out
    for word in ("oneOf", "anyOf"):
        if not isinstance(out.get(word), list):
            continue
        left = [o for o in out.pop(word) if isinstance(o, dict) and o.get("type") != "null"]
        left = [o for i, o in enumerate(left) if o not in left[:i]]
        if len(left) == 1:
            out = _both(left[0], out)
        elif left:
            out = _both({"anyOf": left}, out)
    return out


def _unconditional(part: JsonSchema) -> JsonSchema:
    """A part of a composition with what its `then` and `else` add as what may be there: several
    conditions are none that one schema can say."""
    added = [part[word] for word in ("then", "else") if isinstance(part.get(word), dict)]
    for more in added:
        part = _both({"properties": more.get("properties") or {}}, part)
    return {k: v for k, v in part.items() if not added or k not in ("if", "then", "else")}


def _both(part: JsonSchema, own: JsonSchema) -> JsonSchema:
    """Two schemas that hold together; where they differ, `own` is nearer."""
    out = part | own
    if "properties" in part or "properties" in own:
        out["properties"] = {**(part.get("properties") or {}), **(own.get("properties") or {})}
    options = [s["anyOf"] for s in (part, own) if isinstance(s.get("anyOf"), list)]
    one, other = ([o for o in some if isinstance(o, dict)] for some in (*options, [], [])[:2])
    if one and other:
        few = len(one) * len(other) <= MAX_OPTIONS
        out["anyOf"] = [_both(a, b) for a in one for b in other] if few else [*one, *other]
    elif options:
        out["anyOf"] = one or other
    needed = [*(part.get("required") or []), *(own.get("required") or [])]
    return out | ({"required": list(dict.fromkeys(needed))} if needed else {})


# --- the parameters of a body -----------------------------------------------------------------


def body_members(schema: JsonSchema) -> tuple[dict[str, JsonSchema], list[str]]:
    """(properties, required) of an inlined object schema: those of its options too, of which only
    what each option requires is required."""
    properties: dict[str, list[JsonSchema]] = {}
    needed = _collect(schema, properties)
    return {name: _union(found) for name, found in properties.items()}, needed


def _collect(schema: JsonSchema, into: dict[str, list[JsonSchema]]) -> list[str]:
    for name, detail in (schema.get("properties") or {}).items():
        detail = detail if isinstance(detail, dict) else {}
        if detail.get("readOnly") is not True:  # what the server fills in itself
            into.setdefault(name, []).append(detail)
    needed = [n for n in schema.get("required") or [] if n in into]
    more = (schema.get("dependentSchemas") or {}).values()
    for part in (schema.get("then"), schema.get("else"), *more):  # never needed in any case
        if isinstance(part, dict):
            _collect(part, into)
    options = [o for o in schema.get("anyOf") or [] if isinstance(o, dict)]
    each = [_collect(option, into) for option in options]
    common = [n for n in each[0] if all(n in names for names in each)] if each else []
    return list(dict.fromkeys([*needed, *common]))


def _union(found: list[JsonSchema]) -> JsonSchema:
    """One property as several options have it: their values together, or any of them."""
    different = [s for i, s in enumerate(found) if s not in found[:i]]
    if len(different) == 1:
        return different[0]
    listed = (s.get("enum") or ([s["const"]] if "const" in s else []) for s in different)
    values = [v for some in listed for v in some]
    if values and all({"enum", "const"} & s.keys() for s in different):
        rest = {k: v for k, v in different[0].items() if k not in ("enum", "const")}
        return rest | {"enum": list(dict.fromkeys(values))}
    return {"anyOf": different}


def with_type(schema: JsonSchema) -> JsonSchema:
    """The schema with the type that its other words or its default imply; one that says nothing may
    be any."""
    if not isinstance(schema, dict) or {"type", "anyOf"} & schema.keys():
        return schema if isinstance(schema, dict) else {"type": ANY_TYPE}
    words = {
        "object": ("properties", "additionalProperties"),
        "array": ("items",),
        "string": ("format", "pattern", "minLength", "maxLength"),
        "number": ("minimum", "maximum", "multipleOf"),
    }
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if values:
        kinds = sorted({JSON_TYPES.get(type(v), "object") for v in values})
        return {"type": kinds[0] if len(kinds) == 1 else kinds, **schema}
    shown = type(schema.get("default", schema.get("example")))
    implied = {bool: "boolean", int: "integer", float: "number"}.get(shown)
    implied = next((t for t, keys in words.items() if any(k in schema for k in keys)), implied)
    return {"type": implied or ANY_TYPE, **schema}


def unique_names(names: Iterator[str]) -> Iterator[str]:
    """The names, a number after each that came before."""
    taken: Counter[str] = Counter()  # name -> its last number
    for name in names:
        fresh, i = name, max(2, taken[name] + 1)
        while fresh in taken:
            fresh, i = f"{name}_{i}", i + 1
        taken[name] = i - 1
        taken[fresh] += 0
        yield fresh
