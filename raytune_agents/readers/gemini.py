"""Gemini tuning rows: contents of parts (text, functionCall, functionResponse),
systemInstruction.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.shapes import rest_of, tools_of
from raytune_agents.readers.strict import dump, text_of
from raytune_agents.records import Message, RecordError, ToolCall, Trajectory

USED = ("id", "systemInstruction", "system_instruction", "contents", "tools")
ROLES = {"user": "user", "model": "assistant", "function": "tool"}


def read(row: dict[str, Any]) -> Trajectory:
    system = row.get("systemInstruction") or row.get("system_instruction")
    messages = [Message("system", _texts(system["parts"]))] if system else []
    for content in row["contents"]:
        messages += _turns(content)
    declared = [f for t in row.get("tools") or [] for f in t.get("functionDeclarations", [])]
    tools = tools_of([f | {"parameters": _lower(f.get("parameters"))} for f in declared])
    return Trajectory(
        tuple(messages), tools, source_id=text_of(row.get("id")), meta=rest_of(row, *USED)
    )


def _texts(parts: list[dict[str, Any]]) -> str:
    return "".join(text_of(p["text"]) for p in parts if "text" in p and not p.get("thought"))


def _turns(content: dict[str, Any]) -> list[Message]:
    role = ROLES.get(content.get("role", "user"))
    if role is None:
        raise RecordError(f"unknown role {content['role']!r}")
    parts = content["parts"]
    if role == "assistant":
        asked = [p["functionCall"] for p in parts if "functionCall" in p]
        calls = tuple(ToolCall(c["name"], dump(c.get("args") or {})) for c in asked)
        thought = "".join(text_of(p.get("text")) for p in parts if p.get("thought"))
        return [Message(role, _texts(parts), thought, calls)]
    return [_part(p) for p in parts]


def _part(part: dict[str, Any]) -> Message:
    """A part of the user's side: an observation or a text."""
    seen = part.get("functionResponse")
    if seen:
        return Message("tool", _result(seen.get("response")), name=seen["name"])
    return Message("user", text_of(part["text"]))


def _result(response: Any) -> str:
    only = isinstance(response, dict) and list(response) == ["result"]
    return text_of(response["result"] if only else response)


def _lower(schema: Any) -> Any:
    """Gemini's type words (STRING) as JSON Schema's (string)."""
    if isinstance(schema, list):
        return [_lower(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, str):
            out[key] = value.lower()
        elif key == "properties":
            out[key] = {k: _lower(v) for k, v in value.items()}
        else:
            out[key] = _lower(value) if key in ("items", "anyOf") else value
    return out
