"""ToolACE: the tools stand as JSON in the system text, calls as Python text `[f(a="b"), ...]`."""

from __future__ import annotations

from typing import Any

from raytune_agents.calls import parse
from raytune_agents.readers.shapes import rest_of, tools_of
from raytune_agents.readers.strict import Decoder, text_of
from raytune_agents.readers.turns import messages_of
from raytune_agents.records import Message, RecordError, Trajectory


def read(row: dict[str, Any]) -> Trajectory:
    system = text_of(row["system"])
    tools, listed = _tools(system)
    messages = [_turn(m) for m in messages_of(row["conversations"])]
    if not tools:
        raise RecordError("no list of tools in the system text")
    return Trajectory(
        (Message("system", system.replace(listed, "").strip()), *messages),
        tools_of(listed),
        source_id=text_of(row.get("id")),
        meta=rest_of(row, "id", "system", "conversations"),
    )


def _tools(system: str) -> tuple[list[Any], str]:
    """The first JSON list of objects in the text, and its own text."""
    at = system.find("[{")
    while at >= 0:
        try:
            value, end = Decoder().decode(system, at)
        except (ValueError, RecursionError):
            at = system.find("[{", at + 1)
            continue
        return value, system[at:end]
    return [], ""


def _turn(message: Message) -> Message:
    """A turn that is a list of Python calls, with its calls; names may hold spaces there."""
    text = message.content.strip()
    if message.role == "assistant" and text.startswith("[") and text.endswith(")]"):
        found = parse(text)
        if found.calls:
            return Message("assistant", tool_calls=found.calls, loss=message.loss)
    return message
