"""A tool's parameters as sources write them -> JSON Schema of an object.

Three forms are told apart: an object schema (whatever of `type` and `properties` it leaves out), a
flat map name -> {type, description} or name -> type word, and a list of {name, type, ...}. Words of
other type systems ("List[int], optional", dict, float) become JSON Schema's.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from raytune_agents.calls.schema import LISTS, MAPS, SAYS_NULL, SINGLE, WORDS, local_ref
from raytune_agents.readers.fields import is_null, object_of, words_of
from raytune_agents.readers.strict import value_of
from raytune_agents.records import JsonSchema, RecordError

# --- type words -> JSON Schema ----------------------------------------------------------------

NO_TYPE = re.compile(r"(optional$|required$|defaults?\b)", re.IGNORECASE)
SCHEMA_TYPES = {"string", "integer", "number", "boolean", "array", "object", "null"}


def _split_top(text: str) -> list[str]:
    """Split at commas (and |) outside brackets."""
    parts, level, start = [], 0, 0
    for i, c in enumerate(text):
        level += (c in "[(") - (c in "])")
        if c in ",|" and level == 0:
            parts.append(text[start:i])
            start = i + 1
    return [p.strip() for p in [*parts, text[start:]] if p.strip()]


def _schema_of(word: str, left: int = 8) -> JsonSchema:
    head, _, inner = word.strip().partition("[")
    head = head.strip().rsplit(".", 1)[-1].lower()
    parts = _split_top(inner.rsplit("]", 1)[0]) if inner and left else []
    if head in ("union", "optional"):
        options = [_schema_of(p, left - 1) for p in parts]
        options += [{"type": "null"}] if head == "optional" and parts else []
        return options[0] if len(options) == 1 else {"anyOf": options} if options else {}
    if head == "literal":
        return {"enum": [p.strip("'\"") for p in parts]}
    kind = WORDS.get(head)
    out: JsonSchema = {"type": kind} if kind else {}
    if kind == "array" and parts:
        items = [_schema_of(p, left - 1) for p in parts if p != "..."]
        first = items[0] if items else {}
        out["items"] = first if all(i == first for i in items) else {"anyOf": items}
    elif kind == "object" and len(parts) == 2 and (value := _schema_of(parts[1], left - 1)):
        out["additionalProperties"] = value
    return out


@lru_cache(maxsize=4096)
def type_schema(text: str) -> tuple[JsonSchema, bool]:
    """A source's type word as JSON Schema, and whether it says optional: "List[int], optional".

    An unknown word gives {}: any value. Cached: the schema must not be changed.
    """
    optional = bool(re.search(r"\boptional\b", text, re.IGNORECASE))
    options = [_schema_of(word) for word in _split_top(text) if not NO_TYPE.match(word)]
    schema = {"anyOf": options} if len(options) > 1 else options[0] if options else {}
    return schema, optional


# --- schemas ----------------------------------------------------------------------------------

WRAPPED = ("json", "jsonSchema", "json_schema", "schema", "parameters", "inputSchema")
OBJECT_WORDS = {word for word, kind in WORDS.items() if kind == "object"}
KEYWORDS = frozenset(words_of("schema_keywords"))  # what may stand in a schema of an object
# a keyword of this type tells a schema: a parameter of that name would be an object or a type word
TELLING: dict[str, type] = dict.fromkeys(("required", "anyOf", "oneOf", "allOf"), list)
TELLING |= dict.fromkeys(("minProperties", "maxProperties"), int)
TELLING |= dict.fromkeys(("patternProperties", "definitions", "dependentSchemas"), dict)
TELLING |= {"$ref": str, "$schema": str, "$defs": dict, "additionalProperties": bool}


def clean_schema(node: Any) -> Any:
    """A JSON Schema with other type words (dict, float, tuple, any ...), nulls that a table put in,
    and `required: true` of a property put right.

    Only places that hold schemas are walked: a property may be called "type". Returns `node` itself
    where nothing had to change, so that the source's own text can be kept.
    """
    if not isinstance(node, dict):
        return node
    given, node = node, with_vertex_type(node)
    nulls = {k for k, v in node.items() if v is None}
    if nulls <= SAYS_NULL:  # beside others a null `default` is what a table put in as well
        nulls = set()
    out = {k: v for k, v in node.items() if k not in nulls}
    out |= {k: clean_schema(node[k]) for k in SINGLE if isinstance(node.get(k), dict)}
    for key in MAPS:
        if isinstance(node.get(key), dict):
            left = {k: v for k, v in node[key].items() if not is_null(v) or _says_null(v)}
            out[key] = {k: _subschema(v) for k, v in left.items()}
    for key in (*LISTS, "items"):
        if isinstance(node.get(key), list):
            out[key] = [clean_schema(option) for option in node[key]]
    _put_type_right(out)
    _put_required_right(out, node)
    return given if out == given else out


def with_vertex_type(node: JsonSchema) -> JsonSchema:
    """A schema as Vertex' library dumps it: its `type_` is the type."""
    if "type_" not in node or "type" in node or not isinstance(node["type_"], str | list):
        return node
    return {"type" if key == "type_" else key: value for key, value in node.items()}


def _says_null(node: Any) -> bool:
    """Whether a schema of nulls alone says that a value is null."""
    return isinstance(node, dict) and node.keys() <= SAYS_NULL


def _subschema(node: Any) -> Any:
    """A property may be a bare type word."""
    return type_schema(node)[0] if isinstance(node, str) else clean_schema(node)


def _put_type_right(out: JsonSchema) -> None:
    kind = out.get("type")
    if isinstance(kind, str) and kind not in SCHEMA_TYPES:
        del out["type"]
        found = type_schema(kind)[0] | out
        out.clear()
        out.update(found)
    elif isinstance(kind, list) and not all(map(SCHEMA_TYPES.__contains__, map(str, kind))):
        words = [WORDS.get(str(w).lower()) for w in kind]
        out["type"] = words
        if not words or not all(words):  # a word that may be anything
            del out["type"]


def _put_required_right(out: JsonSchema, node: JsonSchema) -> None:
    """`required: true` beside the type of a property belongs into the list of its parent."""
    needed, properties = node.get("required"), node.get("properties")
    if isinstance(needed, str) and isinstance(properties, dict):  # one name, or JSON text of a list
        needed = value_of(needed) if needed[:1] == "[" else [needed] if needed in properties else 0
        out["required"] = needed
    if isinstance(needed, list) and not all(isinstance(n, str) for n in needed):
        needed = out["required"] = [n for n in needed if isinstance(n, str)]
    if "required" in node and not isinstance(needed, list):
        out.pop("required", None)
    schemas = object_of(properties).items()
    if inner := [k for k, v in schemas if _says_yes(object_of(v).get("required"))]:
        listed = needed if isinstance(needed, list) else []
        out["required"] = [*listed, *(k for k in inner if k not in listed)]


def is_schema(parameters: JsonSchema) -> bool:
    """Whether `parameters` is an object schema rather than a flat map of parameters.

    A keyword counts where its value has the keyword's shape: a parameter may be called "type",
    "required" or "properties" too, and is then an object or a type word.
    """
    kind = parameters.get("type")
    words = kind if isinstance(kind, list) else [kind]
    if any(isinstance(w, str) and w.lower() in OBJECT_WORDS for w in words):
        rest = (v for k, v in parameters.items() if k not in KEYWORDS and not k.startswith("x-"))
        return "properties" in parameters or not any(isinstance(v, dict | str) for v in rest)
    if parameters and parameters.keys() <= {"title", "description", "$comment"}:
        # remarks, unless one describes a parameter or is its type word
        return not any(isinstance(v, dict) or type_schema(str(v))[0] for v in parameters.values())
    properties = parameters.get("properties")
    if isinstance(properties, dict):
        own = all(isinstance(v, dict | bool | None) for v in properties.values())
    else:  # null in a table
        own = "properties" in parameters and properties is None and parameters.keys() <= KEYWORDS
    return own or any(isinstance(parameters.get(word), kind) for word, kind in TELLING.items())


def object_schema(parameters: Any) -> JsonSchema:
    """Parameters of any form as an object schema; the very same object where it is one already.

    Raises RecordError where it cannot be told what the parameters are.
    """
    if isinstance(parameters, list):
        return flat_schema(_named(parameters))
    if not isinstance(parameters, dict):
        raise RecordError(f"parameters are {type(parameters).__name__}, not an object")
    if str(parameters.get("type_")).lower() in OBJECT_WORDS:
        parameters = with_vertex_type(parameters)
    for word in WRAPPED:  # Bedrock: {json: schema}, the AI SDK: {jsonSchema: schema}
        inner = parameters.get(word)
        if isinstance(inner, str) and inner.lstrip()[:1] == "{":
            inner = value_of(inner)
        alone = not any(isinstance(v, dict | list) for k, v in parameters.items() if k != word)
        if isinstance(inner, dict) and alone and (word == "json" or "properties" in inner):
            return object_schema(inner)
    if parameters == {"type": "null"}:
        return {"type": "object", "properties": {}}
    if not is_schema(parameters):
        return flat_schema(parameters)
    if isinstance(listed := parameters.get("properties"), str):  # JSON text of them
        return object_schema(parameters | {"properties": value_of(listed)})
    clean = clean_schema(parameters)
    changes: JsonSchema = {}
    target = local_ref(clean.get("$ref"), clean)
    # one that stands among its own parts: templates look for its properties
    if isinstance(target, dict) and "$ref" not in target and "properties" not in clean:
        kept = {k: v for k, v in clean.items() if k != "$ref"}
        return object_schema(kept | clean_schema(target))
    if "properties" in parameters and "properties" not in clean:
        changes["properties"] = {}  # null in a table: no parameters
    if isinstance(clean.get("properties"), list):
        needed = clean.get("required")
        required = {"required": needed} if isinstance(needed, list) else {}
        return flat_schema(_named(clean["properties"])) | required
    if not isinstance(clean.get("properties", {}), dict):
        raise RecordError("properties are no object")
    if clean.get("type") != "object":
        changes["type"] = "object"
    return clean | changes if changes else clean


OF_ITEM = ("name", "schema", "in", "parameter_name")


def _named(items: list[Any]) -> JsonSchema:
    """[{name, type, ...}] as a flat map; OpenAPI's items have their type under `schema`."""
    out = {}
    for item in items:
        if isinstance(item, dict) and item.keys() == {"key", "value"}:  # a table's map
            item = {"name": item["key"]} | item["value"]
        if isinstance(item, dict) and "name" not in item:
            item = {"name": item.get("parameter_name")} | item
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise RecordError("a parameter without a name")
        own = item["schema"] if isinstance(item.get("schema"), dict) else {}
        out[item["name"]] = own | {k: v for k, v in item.items() if k not in OF_ITEM}
    return out


def flat_schema(parameters: JsonSchema) -> JsonSchema:
    """A flat map name -> {type, description, default} as an object schema.

    A parameter is required unless its type says optional, it has a default, or it says required:
    false.
    """
    properties, required = {}, []
    # keywords may stand beside the parameters: {"type": "object", "city": {...}, "required": [...]}
    mixed = any(isinstance(info, dict) for info in parameters.values())
    listed = parameters.get("required")
    for name, info in parameters.items():
        word = name == "type" and isinstance(info, str) and info.lower() in OBJECT_WORDS
        if info is None or word or (mixed and name in KEYWORDS and not isinstance(info, dict)):
            continue
        info = {"type": info} if isinstance(info, str) else info
        if not isinstance(info, dict):
            raise RecordError(f"parameter {name[:40]!r} is {type(info).__name__}, not an object")
        kind, optional = type_schema(_word_of(info.get("type")))
        rest = {k: v for k, v in info.items() if k not in ("type", "required", "optional")}
        properties[name] = kind | clean_schema(rest)
        says = (info.get("optional"), info.get("nullable"))  # smolagents' word
        optional = optional or "default" in info or any(map(_says_yes, says))
        if _says_yes(info.get("required", not optional)):
            required.append(name)
    if isinstance(listed, list):
        required = listed
    schema = {"type": "object", "properties": properties}
    return schema | ({"required": required} if required else {})


def _says_yes(flag: Any) -> bool:
    return flag is True or (isinstance(flag, str) and flag.lower() in ("true", "yes"))


def _word_of(kind: Any) -> str:
    return " | ".join(map(str, kind)) if isinstance(kind, list) else str(kind or "")


@lru_cache(maxsize=8192)
def parameter_names(parameters: str) -> frozenset[str]:
    """The names of an object schema's properties; none where the text is no such schema."""
    try:
        properties = json.loads(parameters).get("properties")
    except (ValueError, AttributeError):
        return frozenset()
    return frozenset(properties) if isinstance(properties, dict) else frozenset()
