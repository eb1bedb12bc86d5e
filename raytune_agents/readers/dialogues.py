"""API-Bank and ToolTalk: dialogues in which API steps stand beside what is said.

API-Bank has API turns of their own (or, in its training rows, `expected_output` "API-Request:
[...]"); ToolTalk lists the calls made before an assistant's words under `apis`. Every call is
followed by its result as a tool turn.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from raytune_agents.calls import parse
from raytune_agents.readers.shapes import read_role, rest_of
from raytune_agents.readers.strict import as_text, dump
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, Trajectory


def _seen(name: str, result: Any, error: Any) -> Message:
    return Message("tool", as_text(result) if not error else dump({"exception": error}), name=name)


def api_bank(row: JsonObject) -> Trajectory:
    if "turns" not in row:
        return _request(row)
    messages: list[Message] = []
    for turn in row["turns"]:
        if turn["role"] != "API":
            messages.append(Message(read_role(turn["role"]), as_text(turn["text"])))
            continue
        call = ToolCall(turn["api_name"], dump(turn["param_dict"]))
        last = messages[-1] if messages else Message("user")
        if last.role == "assistant" and not last.tool_calls:
            messages[-1] = replace(last, tool_calls=(call,))
        else:
            messages.append(Message("assistant", tool_calls=(call,)))
        result = turn.get("result") or {}
        messages.append(_seen(call.name, result.get("output"), result.get("exception")))
    key = as_text(row.get("file"))
    return Trajectory(tuple(messages), source_id=key, meta=rest_of(row, "file", "turns"))


def _request(row: JsonObject) -> Trajectory:
    text = as_text(row.get("expected_output", row.get("output")))
    calls = parse(text.split("API-Request:", 1)[-1].strip()).calls
    if "API-Request:" in text and not calls:
        raise RecordError(f"the API request cannot be parsed: {text[:60]!r}")
    target = Message("assistant", "" if calls else text, tool_calls=calls)
    system = Message("system", as_text(row["instruction"]))
    key = f"{row.get('file', '')}.{row.get('id', '')}".strip(".")
    meta = rest_of(row, "instruction", "input", "output", "expected_output")
    turns = (system, Message("user", as_text(row["input"])), target)
    return Trajectory(turns, source_id=key, meta=meta)


def tooltalk(row: JsonObject) -> Trajectory:
    messages: list[Message] = []
    for turn in row["conversation"]:
        for step in turn.get("apis") or []:
            request = step["request"]
            call = ToolCall(request["api_name"], dump(request["parameters"]))
            messages.append(Message("assistant", tool_calls=(call,)))
            messages.append(_seen(call.name, step.get("response"), step.get("exception")))
        messages.append(Message(read_role(turn["role"]), as_text(turn["text"])))
    meta = rest_of(row, "conversation", "conversation_id")
    return Trajectory(tuple(messages), source_id=as_text(row["conversation_id"]), meta=meta)
