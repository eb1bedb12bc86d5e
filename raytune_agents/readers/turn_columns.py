"""Where a row's turns stand, if not under the usual names: in any one member that is a list of
turns, JSON text of one, or an object that holds one (LangGraph's `values`)."""

from __future__ import annotations

from typing import Any

from raytune_agents.readers import aliases
from raytune_agents.readers.fields import Fields, Names, fold
from raytune_agents.readers.sessions import is_autogen, is_pydantic_ai
from raytune_agents.readers.shapes import known_role
from raytune_agents.readers.strict import objects_of
from raytune_agents.readers.turn_fields import unwrapped_turn
from raytune_agents.records import JsonObject

HOLDS = aliases.CONTENT + aliases.CALLS + Names("data kwargs")  # what a turn says, or wraps
MOST_TEXT = 4_000_000  # characters of JSON text that are looked into


def with_messages(row: JsonObject) -> JsonObject:
    """The row with its turns under `messages`, where one member alone holds any and an answer is
    among them; else the row itself."""
    found = [
        (key, rest, turns)
        for key, value in row.items()
        if fold(str(key)) not in aliases.TOOLS.every
        for rest, turns in _held(value)
    ]
    if len(found) != 1:
        return row
    [(key, rest, turns)] = found
    return {k: v for k, v in row.items() if k != key} | rest | {"messages": turns}


def _held(value: Any) -> list[tuple[JsonObject, list[Any]]]:
    """(what stands beside them, turns): at most one."""
    if turns := turns_in(value):
        return [({}, turns)]
    if not isinstance(value, dict):
        return []
    found = [
        (k, turns)
        for k, v in value.items()
        if fold(str(k)) in aliases.TURNS.every and (turns := turns_in(v))
    ]
    return [
        ({k: v for k, v in value.items() if k != key}, turns)
        for key, turns in (found if len(found) == 1 else ())
    ]


def turns_in(value: Any, every: bool = False) -> list[Any]:
    """The turns that a value is, or is JSON text of; [] where it is none, or no one asks or
    answers, unless `every` list of turns will do."""
    if isinstance(value, str) and len(value) > MOST_TEXT:
        return []
    if isinstance(value, dict) and all(isinstance(v, list) for v in value.values()):  # columns
        even = len({len(v) for v in value.values()}) == 1
        value = [dict(zip(value, turn)) for turn in zip(*value.values())] if even else []
    turns = objects_of(value)
    if all(map(is_pydantic_ai, turns)) or all(map(is_autogen, turns)):
        return turns
    roles = [_role(t) for t in turns]
    return turns if all(roles) and (every or {"assistant", "user"} <= set(roles)) else []


def _role(turn: JsonObject) -> str:
    fields = Fields(unwrapped_turn(turn))
    word = fields.peek(aliases.ROLE) or fields.peek("type")  # LangChain's turns have a type
    return known_role(word) if fields.have(HOLDS) else ""
