"""OpenAI fine-tuning chat rows: messages, tools, parallel_tool_calls, weight 0 or 1 a turn.

OpenAI takes function names of letters, digits, "_" and "-", at most 64; others are renamed
throughout the row. Call ids are made where the row has none. A thought has no place of its own
there: it is written in front of the text. axolotl's rows are the same turns with `train` flags
and the thought apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from raytune_agents.calls.results import in_call_order
from raytune_agents.records import (
    Arguments,
    JsonObject,
    JsonSchema,
    Message,
    RecordError,
    ToolCall,
    ToolSpec,
    Trajectory,
)

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
NO_NAMES: Mapping[str, str] = MappingProxyType({})  # names stay


def renamed(row: Trajectory) -> dict[str, str]:
    """Tool name -> the name the provider takes; different names stay different."""
    names = [t.name for t in row.tools] + [c.name for c in row.calls]
    out = {n: n for n in names if NAME.fullmatch(n)}
    for name in names:
        if name not in out:
            base = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:60] or "tool"
            used, new, i = set(out.values()), base, 2
            while new in used:
                new, i = f"{base}_{i}", i + 1
            out[name] = new
    return out


def linked(messages: tuple[Message, ...], complete: bool = False) -> list[Message]:
    """The turns with an id on every call and on every observation, which stand in the order of
    their calls. `complete`: with an empty observation for every call that has none before the next
    turn, as providers want it; the calls of the last turn need none.

    Raises RecordError for an observation that follows no call.
    """
    out: list[Message] = []
    waiting: list[ToolCall] = []
    made = 0
    for m in in_call_order(messages):
        if m.role == "tool":
            if not waiting:
                raise RecordError("an observation that follows no call")
            call = min(waiting, key=lambda c: (c.id != m.tool_call_id, c.name != m.name))
            waiting.remove(call)
            m = replace(m, tool_call_id=call.id)
        elif m.tool_calls or complete:
            lacking = waiting if complete else []
            out += [Message("tool", "", name=c.name, tool_call_id=c.id) for c in lacking]
            numbered = enumerate(m.tool_calls, made + 1)
            waiting = [c if c.id else replace(c, id=f"call_{i}") for i, c in numbered]
            made, m = made + len(waiting), replace(m, tool_calls=tuple(waiting))
        out.append(m)
    return list(in_call_order(out)) if complete else out


def message(m: Message, names: Mapping[str, str] = NO_NAMES, thought: bool = False) -> JsonObject:
    """One turn as OpenAI writes it; with `thought`, the thought stands apart as
    reasoning_content.
    """
    content = m.content if thought else "\n".join(p for p in (m.thought, m.content) if p)
    out: JsonObject = {"role": m.role}
    if content or not m.tool_calls:
        out["content"] = content
    if thought and m.thought:
        out["reasoning_content"] = m.thought
    if m.tool_calls:
        out["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": name, "arguments": c.arguments}}
            for c, name in ((c, names.get(c.name, c.name)) for c in m.tool_calls)
        ]
    if m.role == "tool":
        out["tool_call_id"] = m.tool_call_id
    elif m.name:
        out["name"] = m.name
    return out


def distinct_tools(tools: tuple[ToolSpec, ...]) -> list[ToolSpec]:
    """The tools without repetitions. Raises RecordError where two differ but share a name."""
    found: dict[str, ToolSpec] = {}
    for tool in tools:
        if found.setdefault(tool.name, tool) != tool:
            raise RecordError(f"two tools are called {tool.name[:40]!r}")
    return list(found.values())


def schema_of_tool(tool: ToolSpec) -> JsonSchema:
    """The tool's schema. Raises RecordError where its text is none."""
    try:
        found = tool.schema
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RecordError(f"parameters of {tool.name[:40]!r} are no schema")
    return found


def object_arguments(call: ToolCall) -> Arguments:
    """The call's arguments. Raises RecordError where their text is no object."""
    try:
        return call.args
    except ValueError:
        raise RecordError(f"arguments of {call.name[:40]!r} are not an object") from None


def tool_column(row: Trajectory, names: Mapping[str, str] = NO_NAMES) -> JsonObject:
    """The column of the row's tools, under the names that a provider takes; {} without tools."""
    listed = distinct_tools(row.tools)
    for tool in listed:
        schema_of_tool(tool)
    found = [replace(t, name=names.get(t.name, t.name)).openai() for t in listed]
    return {"tools": found} if found else {}


def write(row: Trajectory) -> JsonObject:
    """Raises RecordError where the last turn is not an assistant turn that is trained on."""
    if row.target is None or not any(m.trained for m in row.messages):
        raise RecordError("no assistant turn to train on at the end")
    names = renamed(row)
    messages = []
    for m in linked(row.messages, complete=True):
        out = message(m, names)
        if m.role == "assistant" and m.loss is False:
            out["weight"] = 0
        messages.append(out)
    parallel = any(len(m.tool_calls) > 1 for m in row.messages)
    listed = tool_column(row, names)
    return {"messages": messages} | listed | ({"parallel_tool_calls": parallel} if listed else {})


def axolotl(row: Trajectory) -> JsonObject:
    """axolotl's chat_template rows; set `message_field_training: train`, `roles_to_train: []`."""
    messages = [message(m, thought=True) | {"train": m.trained} for m in linked(row.messages)]
    return {"messages": messages} | tool_column(row)
