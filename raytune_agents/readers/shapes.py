"""What the source formats share: role words, tools and calls of any shape. Plain values in and out.

`fields` has the names that tools and calls go by, `parameters` the forms of their schemas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from raytune_agents.calls.json_text import slice_of
from raytune_agents.calls.schema import Members, find, schema_of, types_of
from raytune_agents.readers import aliases
from raytune_agents.readers.fields import (
    Fields,
    blank,
    fold,
    is_null,
    meanings_of,
    names_of,
    note,
    object_of,
    unread_fields,
    words_of,
)
from raytune_agents.readers.parameters import OBJECT_WORDS, object_schema, parameter_names
from raytune_agents.readers.strict import as_text, dump, raw_items, value_of
from raytune_agents.records import JsonObject, JsonSchema, RecordError, ToolCall, ToolSpec

# what a source calls a turn of calls, of results, or of thoughts: these come in pairs
CALL_ROLES = {a + b for a in words_of("called") for b in words_of("says_call")}
CALL_ROLES |= {*words_of("call_alone")}
_RESULT_ROLES = {a + b for a in words_of("called") for b in words_of("says_result")}
_ROLES = meanings_of("roles")
CALL_ROLES |= {whose + word for whose in words_of("whose_call") for word in CALL_ROLES}
_RESULT_ROLES |= {
    w + word for w in words_of("whose_call") for word in (*_RESULT_ROLES, "observation")
}
THOUGHT_ROLES = {word for word, role in _ROLES.items() if role == "thought"}
ROLES = (
    _ROLES
    | dict.fromkeys(_RESULT_ROLES, "tool")
    | dict.fromkeys(CALL_ROLES | THOUGHT_ROLES, "assistant")
)


def known_role(word: Any) -> str:
    """The role that a source's own word stands for, "" for an unknown one: also as an enum's member
    (ChatRole.USER), and as one of LangChain's chunks."""
    folded = fold(str(word))
    bare = folded.rpartition("role")[2].removeprefix("chat").removesuffix("chunk")
    return ROLES.get(folded) or ROLES.get(bare, "")


def read_role(word: Any) -> str:
    """`known_role`. Raises RecordError on an unknown word."""
    if role := known_role(word):
        return role
    raise RecordError(f"unknown role {str(word)[:40]!r}")


# --- tools ------------------------------------------------------------------------------------

NO_PARAMETERS = ToolSpec("").parameters
FREE = ("custom", "customtoolcall")  # tools and calls of free text: apply_patch
FREE_PARAMETERS = dump(
    {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
)
MAX_KEPT = 4_000  # characters of a schema whose cleaning is remembered: tools come again and again
_OBJECT = ("properties", "required", "additionalProperties")
WRAPPERS, MANY = names_of("tool_wrapper"), names_of("several_tools")  # what holds one, and several
NATIVE = {fold(word): word for word in words_of("native_tools")}  # Gemini's own, {googleSearch: {}}


def _cleaned(parameters: Any, raw: str) -> str:
    """The text of a cleaned schema: its own where nothing had to change."""
    clean = object_schema(parameters)
    return raw if raw and clean is parameters else dump(clean)


@lru_cache(maxsize=8192)
def _kept(raw: str) -> str:
    return _cleaned(value_of(raw), raw)


def read_tool(item: Any, raw: str = "") -> ToolSpec:
    """One tool of any shape: OpenAI's {type, function}, {name, description, parameters}, flat or
    not; a tool of a provider's own, {type: "web_search"}, is called as its type.

    `raw` is its own text where that is known: the schema's is kept where it is JSON Schema already.
    Raises RecordError.
    """
    if not isinstance(item, dict):
        raise RecordError("a tool without a name")
    outer = Fields(item, "tool")
    inner = outer(WRAPPERS)
    fields = Fields(inner, "tool") if isinstance(inner, dict) else outer
    name = fields(aliases.TOOL_NAME)
    if name is None:
        name = fields.peek("type")
        if str(name).lower() in OBJECT_WORDS:  # a schema that is named by its title
            name = fields("title")
    if not isinstance(name, str) or name == "function":
        raise RecordError("a tool without a name")
    text = _parameters_text(fields, name, raw)
    if text == NO_PARAMETERS and fold(str(outer.peek("type"))) in FREE:
        text = FREE_PARAMETERS
    spec = ToolSpec(name, as_text(fields(aliases.DESCRIPTION)), text)
    for one in {id(f): f for f in (outer, fields)}.values():
        one.rest("type")
    return spec


def _parameters_text(fields: Fields, name: str, source: str) -> str:
    key, value = fields.pair(aliases.PARAMETERS)
    if blank(value) and isinstance(fields.peek("properties"), dict):  # the tool is its schema
        key, value = "", {w: v for w in _OBJECT if (v := fields(w)) is not None}
    needed, optional = fields("required_parameters"), fields("optional_parameters")
    try:
        if blank(value) and (needed or optional):  # ToolBench's two lists
            lists = ((True, needed), (False, optional))
            value = [{"required": flag} | p for flag, listed in lists for p in listed or []]
        text = value.strip() if isinstance(value, str) else ""
        value = value_of(value) if not blank(value) else None
        if isinstance(value, str):  # JSON text of JSON text
            value, text, source = value_of(value), "", ""
        if blank(value):
            return NO_PARAMETERS
        if text:
            raw = text if _is_json(text) else ""
        else:
            raw = slice_of(source, key, value) if source and key else ""
        listed = fields("required")
        if isinstance(listed, list) and isinstance(value, dict):  # beside a flat map
            schema: JsonSchema = object_schema(value)
            return dump(schema | {"required": listed} if schema is not value else schema)
        return _kept(raw) if 0 < len(raw) <= MAX_KEPT else _cleaned(value, raw)
    except RecordError as error:
        raise RecordError(f"parameters of {name[:40]!r}: {error}") from None


def _is_json(text: str) -> bool:
    """Whether a text is JSON, rather than a Python literal."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def listed_objects(value: Any) -> list[tuple[Any, str]]:
    """A column of objects in any wrapping -> (object, its own text where that is known)."""
    if blank(value):
        return []
    if isinstance(value, str):
        text = value.strip()
        if text[:1] == "{":  # one object, or one a line
            text = f"[{_LINES.sub('},{', text)}]"
        try:
            listed = raw_items(text)
            return [pair for item, raw in listed for pair in _unpacked(item, raw)]
        except RecordError as error:
            if not str(error).startswith(("not JSON", "a list of objects")):
                raise
        value = None if text.lower() in NOTHING else value_of(text)
    items = [value] if isinstance(value, dict) else value
    if items is None:  # the text "null" or "nan"
        return []
    if not isinstance(items, list):
        raise RecordError(f"a list of objects was expected, not {type(items).__name__}")
    found = (listed_objects(item) if isinstance(item, str) else _unpacked(item) for item in items)
    return list(chain.from_iterable(found))


def _unpacked(item: Any, raw: str = "") -> list[tuple[Any, str]]:
    """The objects that stand inside one: Gemini's functionDeclarations, {tools: [...]}, a map name
    -> tool."""
    if isinstance(item, dict) and item.get("type") == "namespace":  # of Responses
        return listed_objects(item.get("tools"))
    if not isinstance(item, dict) or "name" in item or blank(item):
        return [] if blank(item) else [(item, raw)]
    if all(str(key).isdigit() for key in item):  # a list by index
        return [(value, "") for value in item.values()]
    inside = Fields(item)(MANY)
    native = [({"type": NATIVE[word]}, "") for key in item if (word := fold(key)) in NATIVE]
    if isinstance(inside, list) or (native and len(native) == len(item)):
        return [*((tool, "") for tool in inside or ()), *native]
    if "type" not in item and all(_is_tool(v) for v in item.values()):
        return [({"name": name} | tool, "") for name, tool in item.items()]
    return [(item, raw)]


def _is_tool(value: Any) -> bool:
    known = isinstance(value, dict) and {"description", "parameters", "properties"} & value.keys()
    return bool(known) and "name" not in value


@lru_cache(maxsize=256)  # the rows of one agent carry the same list
def _tools_of_text(text: str) -> tuple[tuple[ToolSpec, ...], dict[str, str]]:
    with unread_fields() as unread:
        return tuple(read_tool(item, raw) for item, raw in listed_objects(text)), unread


def read_tools(value: Any) -> tuple[ToolSpec, ...]:
    """A `tools` column: a list, JSON text of one, or a list of JSON texts; None is no tools."""
    if isinstance(value, dict) and not _is_tool(value):  # Bedrock's toolConfig: {tools: [...]}
        value = value.get("tools", value)
    if isinstance(value, str) and len(value) < 1 << 16:
        tools, unread = _tools_of_text(value)
        for name, example in unread.items():
            note(name, example)
        return tools
    return tuple(read_tool(item, raw) for item, raw in listed_objects(value))


# --- calls ------------------------------------------------------------------------------------

CALL_WRAPPERS = names_of("call_wrapper")
_LINES = re.compile(r"\}\s*\n\s*\{")
_RECODED = re.compile(r"\s*(?:\"|\{\s*')")
_PAIRS = (
    {"key", "name", "parametername", "argumentname"},
    {"value", "parametervalue", "argumentvalue"},
)
# how sources write "no arguments"
NOTHING = ("", "null", "none", "nan", "{}", "[]", "undefined", "nil", "n/a")


def read_call(item: Any, raw: str = "", tools: Sequence[ToolSpec] = ()) -> ToolCall:
    """One call of any shape: OpenAI's {id, function: {name, arguments}}, {name, arguments} under
    any usual names, {name: arguments}. Arguments that are text are kept as they are.

    An object that was no text loses the nulls that a table put in: see `_without_nulls`.
    """
    if not isinstance(item, dict):
        raise RecordError(f"a call is {type(item).__name__}, not an object")
    outer = Fields(item, "call")
    inner = outer.peek(CALL_WRAPPERS)
    wrapped = isinstance(inner, dict)
    fields = Fields(inner, "call") if wrapped else outer
    if wrapped:
        outer.skip(CALL_WRAPPERS)
    name = fields(aliases.CALL_NAME)
    key, arguments = fields.pair(aliases.ARGUMENTS)
    if wrapped and not key:
        key, arguments = outer.pair(aliases.ARGUMENTS)
    if not isinstance(name, str) and len(item) == 1:  # {name: arguments}
        [(name, arguments)] = item.items()
        fields.skip(name)
    if not isinstance(name, str) or not name:
        raise RecordError("a call without a name")
    if isinstance(arguments, str) and fold(str(outer.peek("type"))) in FREE:
        arguments = {"input": arguments}  # what a model that calls functions would write
    if not key and len(fields.item) > 1:
        arguments = _flat_arguments(fields, name, tools)
    own = slice_of(raw, key, arguments) if raw and key and not isinstance(arguments, str) else ""
    text = _arguments_text(arguments, own, name, tools)
    call_id = as_text(outer(aliases.CALL_ID))
    if wrapped:
        call_id = call_id or as_text(fields(aliases.CALL_ID))
        outer.rest("type", "index")
    fields.rest("type", "index")
    return ToolCall(name.removeprefix("functions."), text, call_id)


def _flat_arguments(fields: Fields, name: str, tools: Sequence[ToolSpec]) -> JsonObject | None:
    """The arguments of a call that names no field for them: those of the tool's own names, or the
    one object that has such names alone. Raises RecordError where they stand among others."""
    known = next((parameter_names(t.parameters) for t in tools if t.name == name), frozenset())
    about = {*aliases.CALL_ID.folded, "type", "index"}
    left = [(word, k) for word, k in fields.left.items() if k in known and word not in about]
    found = {k: fields(word) for word, k in left}
    other = [k for k in fields.left.values() if isinstance(fields.item[k], dict)]
    if not found and len(other) == 1 and known.issuperset(fields.item[other[0]]):
        return fields(fold(other[0]))
    if not found and any({*fields.item[k]} & known for k in other):
        raise RecordError(f"a call of {name[:40]} with its arguments under {other[0][:40]!r}")
    return found or None


def _arguments_text(value: Any, raw: str, name: str, tools: Sequence[ToolSpec]) -> str:
    if isinstance(value, str):
        if value.strip().lower() in NOTHING:
            return "{}"
        if not _RECODED.match(value):
            return value
        value, raw = _recoded(value)
    value = _of_pairs(value) if isinstance(value, list) else value
    if value in (None, "", {}):
        return "{}"
    if isinstance(value, dict) and not raw:  # JSON text has no nulls of a table
        schema = schema_of(find(name, tools))
        return dump(_without_nulls(value, schema, schema))
    return raw or dump(value)


def _without_nulls(value: Any, schema: JsonSchema, root: JsonSchema) -> Any:
    """A value without the null members that its schema does not ask for: a table gives every row
    the members of all rows. A null stays where the schema, of which `root` is the whole, says that
    it may be null or that it must be there."""
    if isinstance(value, list):
        items = object_of(schema.get("items"))
        return [_without_nulls(v, items, root) for v in value]
    if not isinstance(value, dict):
        return value
    members, others = Members(), object_of(schema.get("additionalProperties"))
    members.add(schema, root)
    out: JsonObject = {}
    for key, inner in value.items():
        own = object_of(members.properties.get(key, others))
        if not is_null(inner) or key in members.required or "null" in types_of(own, root):
            out[key] = _without_nulls(inner, own, root)
    return out


def _recoded(text: str) -> tuple[Any, str]:
    """The arguments in a text that is JSON text of JSON text, or a Python literal, and their JSON;
    what cannot be read stays, for the rule `parses` to see."""
    try:
        value = value_of(text)
        value = value_of(value) if isinstance(value, str) and value.strip() else value
    except RecordError:
        return text, text
    return value, dump(value) if value else ""


def _of_pairs(items: list[Any]) -> Any:
    """A map as tables keep it, [[key, value]] or [{key, value}], as an object; else the list."""
    found: JsonObject = {}
    for item in items:
        key, value = _pair(item)
        if not isinstance(key, str) or key in found:
            return items
        found[key] = value
    return found


def _pair(item: Any) -> tuple[Any, Any]:
    """Key and value of a pair; (None, None) of anything else."""
    pair: Any = item if isinstance(item, list | tuple) else ()
    if isinstance(item, dict):
        told = {fold(k): v for k, v in item.items() if k != "type"}
        keys, values = (names & told.keys() for names in _PAIRS)
        if len(told) == 2 and keys and values:
            pair = told[keys.pop()], told[values.pop()]
    return tuple(pair) if len(pair) == 2 else (None, None)


def read_calls(value: Any, tools: Sequence[ToolSpec] = ()) -> tuple[ToolCall, ...]:
    """A column of calls: a list, one call, or JSON text of either; None is no calls."""
    return tuple(read_call(i, raw, tools) for i, raw in listed_objects(value) if not _is_empty(i))


def _is_empty(item: Any) -> bool:
    """Whether every field of a call is empty: how some servers say that there is none."""
    return isinstance(item, dict) and all(map(blank, item.values()))


def rest_of(row: JsonObject, *used: str) -> JsonObject:
    """The fields of `row` that no field of ours holds: they go to `meta`, and are noted as
    unread."""
    out = {k: v for k, v in row.items() if k not in used}
    for key, value in out.items():
        note(str(key), value)
    return out
