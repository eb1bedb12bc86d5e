"""What counts as right for a row: BFCL's gold `[{name: {argument: [allowed, ...]}}]`.

"" among the allowed values means that the argument may be left out. A row without gold of its own
takes its target's calls, and there an optional argument that equals its schema's default may be
said or left out: the tool does the same. Gold that a source wrote stays as it is, so that BFCL's
rows are scored by BFCL's own rules; what is trained as wrong is judged by `tolerant` gold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from raytune_agents.calls.coerce import typed
from raytune_agents.calls.json_text import strict_arguments
from raytune_agents.calls.schema import (
    ANY,
    ParameterType,
    find,
    local_ref,
    schema_of,
    shape,
    types_of,
)
from raytune_agents.records import Arguments, JsonObject, ToolCall, ToolSpec, Trajectory, canonical

Allowed = dict[str, list[Any]]  # argument -> its allowed values
LEFT_OUT = ""  # among the allowed values: the argument may be left out
REFERENCES = 8  # that lead from one to the next
NO_DEFAULTS: Mapping[str, Any] = MappingProxyType({})


def beginning_of(value: Any) -> str:
    """A value as a message shows it."""
    return repr(value)[:120]


def arguments_of(calls: Iterable[ToolCall]) -> list[Arguments]:
    """The strictly parsed arguments of every call. Raises ValueError."""
    return list(map(strict_arguments, calls))


def exact_gold(calls: Iterable[ToolCall]) -> list[dict[str, Allowed]]:
    """Gold that these calls alone meet, each argument as it is. Raises ValueError."""
    return [{c.name: {k: [v] for k, v in c.args.items()}} for c in calls]


def gold_pairs(gold: list[JsonObject]) -> list[tuple[str, Allowed]]:
    """Gold as (name, {argument: allowed}) pairs. Raises ValueError where it has another shape."""
    pairs = []
    for entry in gold if isinstance(gold, list) else [gold]:
        if not isinstance(entry, dict) or len(entry) != 1:
            raise ValueError(
                f"gold entry {beginning_of(entry)} is not {{name: {{argument: [allowed]}}}}"
            )
        ((name, arguments),) = entry.items()
        values = arguments.values() if isinstance(arguments, dict) else (None,)
        if not all(isinstance(allowed, list) for allowed in values):
            raise ValueError(
                f"gold of {name!r} does not give a list of allowed values for each argument"
            )
        pairs.append((name, arguments))
    return pairs


# --- defaults ---


def _defaults(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Arguments:
    """The defaults of an object schema's optional properties; text where a number is due is read
    as one."""
    found, properties = {}, schema.get("properties")
    required = schema.get("required")
    for name, detail in properties.items() if isinstance(properties, dict) else ():
        detail = _resolved(detail, root)
        if "default" in detail:
            value, types = detail["default"], types_of(detail, root)
            found[name] = typed(value, types) if isinstance(value, str) and types else value
    return {k: v for k, v in found.items() if not (isinstance(required, list) and k in required)}


def _resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with what its reference names, its own words over that; {} for what is none."""
    found = schema if isinstance(schema, dict) else {}
    for _ in range(REFERENCES):
        if "$ref" not in found:
            break
        target = local_ref(found["$ref"], root)
        own = {k: v for k, v in found.items() if k != "$ref"}
        found = (target if isinstance(target, dict) else {}) | own
    return found


@lru_cache(maxsize=8192)
def defaults_of(tool: ToolSpec | None) -> Mapping[str, Any]:
    """Optional argument -> its default; empty for no tool and a schema that is none."""
    schema = schema_of(tool)
    return MappingProxyType(_defaults(schema, schema))


def same_value(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 5 is 5.0 but not true, text in any case."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) and isinstance(other, str):
        return one.casefold() == other.casefold()
    return bool(one == other)


def without_defaults(call: ToolCall, tool: ToolSpec | None) -> Arguments:
    """A call's arguments but those that equal their default, at any depth. Raises ValueError."""
    schema = schema_of(tool)
    return _stripped(call.args, schema, schema)


def key_without_defaults(call: ToolCall, tools: Sequence[ToolSpec]) -> str:
    """What equal calls share, a default said or left out being one. Raises ValueError."""
    return canonical([call.name, without_defaults(call, find(call.name, tools))])


def _stripped(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """A value without the members that equal their default."""
    if isinstance(value, list):
        items = _resolved(schema.get("items"), root)
        return [_stripped(v, items, root) for v in value] if items else value
    if not isinstance(value, dict) or not isinstance(schema.get("properties"), dict):
        return value
    defaults, out = _defaults(schema, root), {}
    for key, inner in value.items():
        detail = _resolved(schema["properties"].get(key), root)
        left = _stripped(inner, detail, root)
        if key not in defaults or not same_value(left, _stripped(defaults[key], detail, root)):
            out[key] = left
    return out


def with_defaults(
    allowed: Allowed, defaults: Mapping[str, Any], kinds: Mapping[str, ParameterType] = NO_DEFAULTS
) -> Allowed:
    """The allowed values, where a default may also be left out, or be said though it was not."""
    out = dict(allowed)
    for name, default in defaults.items():
        default_values = _allowed(default, kinds.get(name, ANY))
        values = out.get(name)
        if values is None:
            out[name] = [*default_values, LEFT_OUT]
        elif LEFT_OUT not in values and any(same_value(v, default_values[0]) for v in values):
            out[name] = [*values, LEFT_OUT]
    return out


# --- rows ---


def _allowed(value: Any, kind: ParameterType, detail: Any = None) -> list[Any]:
    """A known value as BFCL's list of allowed values: dicts list those of each key; `detail` is the
    value's schema, whose own defaults count too."""
    if kind.type is dict and isinstance(value, dict):
        return [_entries(value, detail)]
    if kind.items is dict and isinstance(value, list):
        items = detail.get("items") if isinstance(detail, dict) else None
        return [[_entries(x, items) if isinstance(x, dict) else x for x in value]]
    return [float(value) if kind.promote and type(value) is int else value]


def _entries(value: JsonObject, detail: Any) -> Allowed:
    schema = detail if isinstance(detail, dict) else {}
    return with_defaults({k: [v] for k, v in value.items()}, _defaults(schema, schema))


@lru_cache(maxsize=4096)
def _gold_text(text: str) -> list[tuple[str, Allowed]]:
    return gold_pairs(json.loads(text))


def gold_of(row: Trajectory) -> list[dict[str, Allowed]]:
    """The row's gold; where it has none, its target's calls, each argument as written, but a
    default said or left out.

    No gold and a target without calls: [], no call is right. Raises ValueError where the gold text
    or the target's arguments are not JSON.
    """
    if row.gold:
        return json.loads(row.gold)
    calls = row.target.tool_calls if row.target else ()
    gold = []
    for call, arguments in zip(calls, arguments_of(calls)):
        tool = find(call.name, row.tools)
        kinds = shape(tool.parameters).kinds if tool else {}
        details = schema_of(tool).get("properties", {})
        allowed = {
            k: _allowed(v, kinds.get(k, ANY), details.get(k) if k in kinds else None)
            for k, v in arguments.items()
        }
        gold.append({call.name: with_defaults(allowed, defaults_of(tool), kinds)})
    return gold


def gold_calls(row: Trajectory) -> list[tuple[str, Allowed]]:
    """`gold_of` as pairs, parsed once for each gold text. Do not change the result."""
    if row.gold:
        return _gold_text(row.gold)
    if row.target is None:
        raise ValueError("the row has neither gold nor an assistant turn to take it from")
    return gold_pairs(gold_of(row))


def needs_no_call(row: Trajectory) -> bool:
    """Whether no call is right, as far as the row says."""
    if row.gold:
        return row.gold == "[]"
    return row.target is not None and not row.target.tool_calls


def tolerant_gold(row: Trajectory) -> str:
    """The row's gold as text, with defaults said or left out whoever wrote it: what an answer must
    break before it is trained on as wrong. Raises ValueError."""
    gold = []
    for name, allowed in gold_pairs(gold_of(row)):
        tool = find(name, row.tools)
        kinds = shape(tool.parameters).kinds if tool else {}
        gold.append({name: with_defaults(allowed, defaults_of(tool), kinds)})
    return json.dumps(gold, ensure_ascii=False)
