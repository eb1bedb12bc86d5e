"""Seal-Tools and NESTFUL: one request, several calls, later ones using the results of earlier ones.

Seal-Tools writes tools and answer as Python literals inside the prompt; `responses` (API_call_0
...) are the names of results, NESTFUL's `label` (var1, used as $var1.key$) likewise: they become
the call's id.
"""

from __future__ import annotations

from raytune_agents.readers.shapes import read_call, read_tools, rest_of
from raytune_agents.readers.strict import as_text, value_of
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, Trajectory


def seal_tools(row: JsonObject) -> Trajectory:
    asked, answered = (as_text(t["value"]) for t in row["conversations"][:2])
    _, listed, rest = asked.partition("api_list = [")
    tools_text, told, rest = rest.partition("\ntask_instruction = ")
    query, ends, _ = rest.rpartition("\nOutput:")
    if not (listed and told and ends):
        raise RecordError("no api_list and task_instruction in the prompt")
    tools = [_tool(t) for t in value_of("[" + tools_text.rstrip())]
    calls = tuple(_call(c) for c in value_of(answered))
    query = query.rstrip()
    query = query[1:-1] if query[:1] in ("'", '"') else query
    return Trajectory(
        (Message("user", query), Message("assistant", tool_calls=calls)),
        read_tools(tools),
        source_id=as_text(row.get("id")),
        meta=rest_of(row, "id", "conversations"),
    )


def _tool(item: JsonObject) -> JsonObject:
    return {
        "name": item["api_name"],
        "description": item.get("api_description", ""),
        "parameters": item.get("parameters", {}),
        "required": item.get("required", []),
    }


def _call(item: JsonObject) -> ToolCall:
    names = item.get("responses") or [""]
    return read_call({"name": item["api"], "arguments": item["parameters"], "id": names[0]})


def nestful(row: JsonObject) -> Trajectory:
    steps = value_of(row["output"])
    calls = tuple(read_call(_step(s)) for s in steps)
    return Trajectory(
        (Message("user", as_text(row["input"])), Message("assistant", tool_calls=calls)),
        read_tools(row.get("tools")),
        source_id=as_text(row.get("sample_id")),
        meta=rest_of(row, "input", "output", "tools", "sample_id"),
    )


def _step(item: JsonObject) -> JsonObject:
    named = {k: v for k, v in item.items() if k != "label"}
    return named | {"id": as_text(item.get("label")).lstrip("$")}
