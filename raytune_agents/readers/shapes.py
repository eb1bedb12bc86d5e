"""What the source formats share: roles, type words, tools and calls. Plain values in and out."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from raytune_agents.readers.strict import dump, raw_items, text_of, value_of
from raytune_agents.records import RecordError, ToolCall, ToolSpec

ROLES = {
    "system": "system", "developer": "system",
    "human": "user", "user": "user",
    "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bing": "assistant",
    "bard": "assistant", "ai": "assistant", "model": "assistant", "agent": "assistant",
    "function_call": "assistant",
    "tool": "tool", "observation": "tool", "function": "tool", "function_response": "tool",
    "ipython": "tool", "environment": "tool", "function-response": "tool",
}  # fmt: skip


def role_of(word: Any) -> str:
    """The role a source's own word stands for. Raises RecordError on an unknown one."""
    role = ROLES.get(str(word).strip().lower())
    if role is None:
        raise RecordError(f"unknown role {str(word)[:40]!r}")
    return role


# --- type words -> JSON Schema ----------------------------------------------------------------

SCHEMA_TYPES = {"string", "integer", "number", "boolean", "array", "object", "null"}
WORDS = {
    "str": "string", "char": "string", "byte": "integer", "bytes": "string", "date": "string",
    "datetime": "string", "time": "string", "uuid": "string", "enum": "string",
    "int": "integer", "long": "integer", "short": "integer", "bigint": "integer",
    "float": "number", "double": "number", "decimal": "number", "complex": "string",
    "bool": "boolean", "list": "array", "tuple": "array", "set": "array", "sequence": "array",
    "iterable": "array", "arraylist": "array", "ndarray": "array", "dict": "object",
    "hashmap": "object", "hashtable": "object", "map": "object", "mapping": "object",
    "json": "object", "none": "null", "nonetype": "null", "callable": "string", "queue": "array",
    "stack": "array",
} | {word: word for word in SCHEMA_TYPES}  # fmt: skip


def _split_top(text: str) -> list[str]:
    """Split at commas (and |) outside brackets."""
    parts, level, start = [], 0, 0
    for i, c in enumerate(text):
        level += (c in "[(") - (c in "])")
        if c in ",|" and level == 0:
            parts.append(text[start:i])
            start = i + 1
    return [p.strip() for p in [*parts, text[start:]] if p.strip()]


def _schema_of(word: str, left: int = 8) -> dict[str, Any]:
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
    out: dict[str, Any] = {"type": kind} if kind else {}
    if kind == "array" and parts:
        items = [_schema_of(p, left - 1) for p in parts if p != "..."]
        first = items[0] if items else {}
        out["items"] = first if all(i == first for i in items) else {"anyOf": items}
    elif kind == "object" and len(parts) == 2 and (value := _schema_of(parts[1], left - 1)):
        out["additionalProperties"] = value
    return out


@lru_cache(maxsize=4096)
def type_schema(text: str) -> tuple[dict[str, Any], bool]:
    """A source's type word as JSON Schema, and whether it says optional: "List[int], optional".

    An unknown word gives {}: any value. Cached: the schema must not be changed.
    """
    optional = bool(re.search(r"\boptional\b", text, re.IGNORECASE))
    words = [
        w for w in _split_top(text)
        if not re.match(r"(optional$|required$|defaults?\b)", w, re.IGNORECASE)
    ]  # fmt: skip
    options = [_schema_of(w) for w in words]
    schema = {"anyOf": options} if len(options) > 1 else options[0] if options else {}
    return schema, optional


NULLABLE = ("default", "const", "example", "examples")


def clean_schema(node: Any) -> Any:
    """A JSON Schema with other type words (dict, float, tuple, any ...) and `required: true` put
    right.

    Walks properties, items, additionalProperties and anyOf only: a property may be called "type".
    Null members go (tables of unlike schemas have them). Returns `node` itself where nothing had to
    change, so that the source's own text can be kept.
    """
    if not isinstance(node, dict):
        return node
    out = {k: v for k, v in node.items() if v is not None or k in NULLABLE}
    kind = node.get("type")
    if isinstance(kind, str) and kind not in SCHEMA_TYPES:
        del out["type"]
        out = type_schema(kind)[0] | out
    needed = node.get("required")
    if "required" in node and not isinstance(needed, list):
        out.pop("required", None)
    properties = node.get("properties")
    if isinstance(properties, dict):
        out["properties"] = {k: clean_schema(v) for k, v in properties.items() if v is not None}
        inner = [k for k, v in properties.items() if _says_required(v)]
        if inner:
            listed = needed if isinstance(needed, list) else []
            out["required"] = [*listed, *(k for k in inner if k not in listed)]
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            out[key] = clean_schema(node[key])
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(node.get(key), list):
            out[key] = [clean_schema(option) for option in node[key]]
    return node if out == node else out


def _says_required(node: Any) -> bool:
    return isinstance(node, dict) and node.get("required") is True


def flat_schema(parameters: dict[str, Any]) -> dict[str, Any]:
    """A flat map name -> {type, description, default} as an object schema.

    A parameter is required unless its type says optional, it has a default, or it says required:
    false.
    """
    properties, required = {}, []
    for name, info in parameters.items():
        info = {"type": info} if isinstance(info, str) else info
        if not isinstance(info, dict):
            raise RecordError(f"parameter {name[:40]!r} is {type(info).__name__}, not an object")
        rest = {k: v for k, v in info.items() if k not in ("type", "required")}
        if "properties" in info or "items" in info:
            rest = {k: v for k, v in clean_schema(info).items() if k not in ("type", "required")}
        kind, optional = type_schema(str(info.get("type", "")))
        properties[name] = kind | rest
        if info.get("required", not (optional or "default" in info)):
            required.append(name)
    return {"type": "object", "properties": properties} | (
        {"required": required} if required else {}
    )


def is_schema(parameters: dict[str, Any]) -> bool:
    """Whether `parameters` is an object schema rather than a flat map of parameters."""
    return isinstance(parameters.get("type"), str) and (
        isinstance(parameters.get("properties"), dict) or len(parameters) == 1
    )


# --- tools and calls --------------------------------------------------------------------------

NO_PARAMETERS = ToolSpec("").parameters
MAX_KEPT = 4_000  # characters of a schema whose cleaning is remembered: tools come again and again


def _cleaned(parameters: dict[str, Any], raw: str) -> str:
    """The text of a cleaned schema: its own where nothing had to change."""
    clean = clean_schema(parameters)
    return raw if raw and clean is parameters else dump(clean)


@lru_cache(maxsize=8192)
def _kept(raw: str) -> str:
    return _cleaned(value_of(raw), raw)


def tool_of(item: Any, raw: str = "") -> ToolSpec:
    """One tool of any shape: OpenAI's {type, function}, {name, description, parameters}, flat or
    not.

    `raw` is the parameters' own text where known; it is kept when they are JSON Schema already.
    """
    function = item.get("function", item) if isinstance(item, dict) else item
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RecordError("a tool without a name")
    parameters = function.get("parameters")
    if parameters is None:
        parameters = function.get("inputSchema") or function.get("input_schema") or {}
    parameters = value_of(parameters)
    if not isinstance(parameters, dict):
        raise RecordError(f"parameters of {function['name'][:40]!r} are not an object")
    if not parameters:
        text = NO_PARAMETERS
    elif is_schema(parameters):
        short = 0 < len(raw) <= MAX_KEPT
        text = _kept(raw) if short else _cleaned(parameters, raw)
    else:
        schema = flat_schema(parameters)
        if isinstance(function.get("required"), list):
            schema["required"] = function["required"]
        text = dump(schema)
    return ToolSpec(function["name"], text_of(function.get("description")), text)


def _sliced(item: dict[str, Any], raws: dict[str, str], key: str) -> tuple[dict[str, Any], str]:
    """An object and the text that its `key` had, also inside `function`."""
    if isinstance(item.get("function"), dict):
        [(_, raws)] = raw_items(f"[{raws['function']}]")
    return item, raws.get(key, "")


def _listed(value: Any, key: str) -> list[tuple[Any, str]]:
    """A column of objects in any wrapping -> (object, the text that its `key` had, or "")."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        text = value.strip()
        try:
            listed = raw_items(text if text[:1] == "[" else f"[{text}]")
            return [_sliced(item, raws, key) for item, raws in listed]
        except RecordError as error:
            if not str(error).startswith(("not JSON", "a list of objects")):
                raise
        value = value_of(value)
    items = [value] if isinstance(value, dict) else value
    if not isinstance(items, list):
        raise RecordError(f"a list of objects was expected, not {type(items).__name__}")
    out: list[tuple[Any, str]] = []
    for item in items:
        out += _listed(item, key) if isinstance(item, str) else [(item, "")]
    return out


@lru_cache(maxsize=256)  # the rows of one agent carry the same list
def _tools_of_text(text: str) -> tuple[ToolSpec, ...]:
    return tuple(tool_of(item, raw) for item, raw in _listed(text, "parameters"))


def tools_of(value: Any) -> tuple[ToolSpec, ...]:
    """A `tools` column: a list, JSON text of one, or a list of JSON texts; None is no tools."""
    if isinstance(value, str) and len(value) < 1 << 16:
        return _tools_of_text(value)
    return tuple(tool_of(item, raw) for item, raw in _listed(value, "parameters"))


def call_of(item: Any, raw: str = "") -> ToolCall:
    """One call of any shape: OpenAI's {id, function: {name, arguments}} or {name, arguments}."""
    if not isinstance(item, dict):
        raise RecordError(f"a call is {type(item).__name__}, not an object")
    function = item.get("function", item)
    name = function.get("name", function.get("tool")) if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise RecordError("a call without a name")
    arguments = function.get("arguments", function.get("parameters", {}))
    if isinstance(arguments, str):
        text = arguments or "{}"
    else:
        text = raw or dump({} if arguments is None else arguments)
    return ToolCall(name, text, str(item.get("id") or ""))


def calls_of(value: Any) -> tuple[ToolCall, ...]:
    """A column of calls: a list, one call, or JSON text of either; None is no calls."""
    return tuple(call_of(item, raw) for item, raw in _listed(value, "arguments"))


def rest_of(row: dict[str, Any], *used: str) -> dict[str, Any]:
    """The fields of `row` that no field of ours holds: they go to `meta`."""
    return {k: v for k, v in row.items() if k not in used}
