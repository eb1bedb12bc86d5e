"""Gemini tuning rows: contents of parts, systemInstruction, functionDeclarations.

Types are written in Gemini's words (STRING), and of a schema only what Gemini's Schema object
knows. Observations of one turn are one content; neighbouring turns of one side are merged,
because sides must take turns. Gemini trains on every model turn: a row with an untrained one is
refused.
"""

from __future__ import annotations

import json
import re
from typing import Any

from raytune_agents.exports.openai import distinct_tools, linked, object_arguments, schema_of_tool
from raytune_agents.records import JsonObject, JsonSchema, Message, RecordError, Trajectory

NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}", re.ASCII)
_KNOWN = (
    "type format title description nullable enum items properties required anyOf default minItems "
    "maxItems minLength maxLength minimum maximum pattern example propertyOrdering"
)
KNOWN = frozenset(_KNOWN.split())


def schema(node: Any) -> JsonSchema:
    """A JSON Schema as Gemini's Schema object: unknown keys dropped, types in capitals."""
    if not isinstance(node, dict):
        return {}
    out: JsonSchema = {}
    for key, value in node.items():
        if key not in KNOWN:
            continue
        if key == "type":
            words = value if isinstance(value, list) else [value]
            kinds = [w for w in words if w != "null"]
            out["type"] = str(kinds[0] if kinds else "string").upper()
            if len(kinds) < len(words):
                out["nullable"] = True
        elif key == "properties":
            out[key] = {k: schema(v) for k, v in value.items()} if isinstance(value, dict) else {}
        elif key == "items":
            out[key] = schema(value)
        elif key == "anyOf":
            out[key] = [schema(v) for v in value] if isinstance(value, list) else []
        else:
            out[key] = value
    return out


def _parts(m: Message) -> list[JsonObject]:
    if m.role == "tool":  # without an id: it stands in the order of its call, and bears its name
        try:
            value = json.loads(m.content)
        except ValueError:
            value = None
        whole = isinstance(value, dict) and list(value) != ["result"]
        # Only where the object gives the same text again: what is read back must be the row.
        same = whole and json.dumps(value, ensure_ascii=False) == m.content
        seen = value if same else {"result": m.content}
        return [{"functionResponse": {"name": m.name, "response": seen}}]
    parts: list[JsonObject] = [{"text": m.thought, "thought": True}] if m.thought else []
    parts += [{"text": m.content}] if m.content or not m.tool_calls else []
    calls = ({"name": c.name, "args": object_arguments(c)} for c in m.tool_calls)
    return parts + [{"functionCall": call} for call in calls]


def write(row: Trajectory) -> JsonObject:
    messages = linked(row.messages, complete=True)
    if row.target is None:
        raise RecordError("no assistant turn at the end")
    if any(m.role == "assistant" and not m.trained for m in messages):
        raise RecordError("an untrained assistant turn: Gemini trains on every one")
    bad = next((t.name for t in row.tools if not NAME.fullmatch(t.name)), None)
    if bad is not None:
        raise RecordError(f"Gemini takes no function name like {bad[:40]!r}")
    out: JsonObject = {}
    if messages[0].role == "system":
        out["systemInstruction"] = {"role": "system", "parts": [{"text": messages[0].content}]}
        messages = messages[1:]
    out["contents"] = _contents(messages)
    declared = [
        {"name": t.name, "description": t.description, "parameters": schema(schema_of_tool(t))}
        for t in distinct_tools(row.tools)
    ]
    return out | ({"tools": [{"functionDeclarations": declared}]} if declared else {})


def _contents(messages: list[Message]) -> list[JsonObject]:
    contents: list[JsonObject] = []
    before = ""
    for m in messages:
        if m.role == "system":
            raise RecordError("a system turn after the first")
        side = "model" if m.role == "assistant" else "user"
        if m.role == before or (contents and contents[-1]["role"] == side):
            contents[-1]["parts"] += _parts(m)
        else:
            contents.append({"role": side, "parts": _parts(m)})
        before = m.role
    if contents and contents[0]["role"] != "user":
        raise RecordError("the first turn is not the user's")
    return contents
