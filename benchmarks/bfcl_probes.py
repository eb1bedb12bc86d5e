"""Predictions near gold, right and wrong ones, by which our checker is held against BFCL's own."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from raytune_agents.evaluate.bfcl_official import decoded
from raytune_agents.records import JsonObject, ToolCall, Trajectory

_FLAT = str.maketrans("", "", " ,./-_*^")


def official_label(official: str) -> str:
    """The official error label in our words: without the name of the function that found it."""
    head, _, tail = official.partition(":")
    if head in ("type_error", "value_error"):
        return official
    return "value_error:unclear" if head in ("dict_checker", "list_dict_checker") else tail


def _other(value: Any, rng: random.Random) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + rng.choice((1, -1, 10))
    if isinstance(value, str):
        return rng.choice((value + "x", value[1:], value[::-1], ""))
    if isinstance(value, list):
        return rng.choice((value[:-1], value[::-1], [*value, *value[:1]], []))
    if isinstance(value, dict):
        key = rng.choice(sorted(value)) if value else ""
        edits = ({k: v for k, v in value.items() if k != key}, {**value, "zz": 1})
        return rng.choice((*edits, {**value, key: _other(value.get(key), rng)}))
    return "x"


def _retyped(value: Any, rng: random.Random) -> Any:
    """The same value as another type."""
    if isinstance(value, bool):
        return rng.choice((int(value), str(value), None))
    if isinstance(value, int):
        return rng.choice((float(value), str(value), [value], bool(value)))
    if isinstance(value, float):
        return rng.choice((int(value), str(value), [value]))
    if isinstance(value, str):
        return rng.choice(([value], 1, None, {"value": value}))
    if isinstance(value, list):
        odd = [str(v) if not isinstance(v, str) else 1 for v in value]
        whole = [int(v) if isinstance(v, float) else v for v in value]
        return rng.choice((odd, whole, value[0] if value else "", json.dumps(value), {"0": value}))
    return rng.choice((json.dumps(value), [value], None))


def _same(value: Any, rng: random.Random) -> Any:
    """The same value in other words: what BFCL is meant to forgive."""
    if isinstance(value, str):
        flat = value.translate(_FLAT)
        return rng.choice((value.upper(), flat, f" {value}. ", value.replace("'", '"')))
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_same(v, rng) if isinstance(v, str) else v for v in value]
    if isinstance(value, dict):
        return {k: _same(v, rng) if isinstance(v, str) else v for k, v in value.items()}
    return value


Calls = list[JsonObject]


def _argument(edit: Callable[[Any, random.Random], Any]) -> Callable[..., Calls]:
    def probe(calls: Calls, row: Trajectory, rng: random.Random) -> Calls:
        spots = [(i, k) for i, c in enumerate(calls) for (args,) in [c.values()] for k in args]
        if spots:
            i, key = rng.choice(spots)
            ((name, args),) = calls[i].items()
            calls[i] = {name: {**args, key: edit(args[key], rng)}}
        return calls

    return probe


def _renamed(calls: Calls, row: Trajectory, rng: random.Random) -> Calls:
    i = rng.randrange(len(calls))
    ((name, args),) = calls[i].items()
    others = [t.name for t in row.tools if t.name != name]
    return [*calls[:i], {rng.choice([*others, name + "_x", name.upper()]): args}, *calls[i + 1 :]]


def _missing(calls: Calls, row: Trajectory, rng: random.Random) -> Calls:
    i = rng.randrange(len(calls))
    ((name, args),) = calls[i].items()
    gone = rng.choice(sorted(args)) if args else ""
    return [*calls[:i], {name: {k: v for k, v in args.items() if k != gone}}, *calls[i + 1 :]]


def _extra(calls: Calls, row: Trajectory, rng: random.Random) -> Calls:
    i = rng.randrange(len(calls))
    ((name, args),) = calls[i].items()
    tool = next((t for t in row.tools if t.name == name), None)
    known = [k for k in (tool.schema.get("properties", {}) if tool else {}) if k not in args]
    return [*calls[:i], {name: {**args, rng.choice([*known, "zz"]): "x"}}, *calls[i + 1 :]]


def _order(calls: Calls, row: Trajectory, rng: random.Random) -> Calls:
    return calls[::-1]


def _count(calls: Calls, row: Trajectory, rng: random.Random) -> Calls:
    return rng.choice(([*calls, calls[0]], calls[:-1], [*calls[:-1], calls[0]]))


PROBES: dict[str, Callable[[Calls, Trajectory, random.Random], Calls]] = {
    "gold": lambda calls, row, rng: calls,
    "value": _argument(_other),
    "type": _argument(_retyped),
    "wording": _argument(_same),
    "name": _renamed,
    "missing": _missing,
    "extra": _extra,
    "order": _order,
    "count": _count,
}


def probes(row: Trajectory, seed: int) -> Iterator[tuple[str, list[ToolCall]]]:
    """The target's calls and one seeded edit of each kind; edits may be right or wrong."""
    target = row.target.tool_calls if row.target else ()
    if not target:
        return
    for kind, probe in PROBES.items():
        calls = probe(decoded(target), row, random.Random(f"{seed}/{row.source_id}/{kind}"))
        yield kind, [ToolCall.of(name, **args) for c in calls for name, args in c.items()]
