"""Glaive function calling v2 as published: `system` holds the tools, `chat` the dialogue in one
text, its turns after USER:, ASSISTANT: and FUNCTION RESPONSE:."""

from __future__ import annotations

import json
import re
from typing import Any

from raytune_agents.readers import conversations
from raytune_agents.records import JsonObject, RecordError, Trajectory

_TURN = re.compile(r"(?:^|\n)\s*(USER|ASSISTANT|FUNCTION RESPONSE):", re.ASCII)
_ROLES = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}


def read(row: JsonObject) -> Trajectory | list[Trajectory]:
    """Raises RecordError where the text has no turns."""
    parts = _TURN.split(row["chat"])
    if len(parts) < 3:
        raise RecordError("chat has no turn that begins with USER:")
    turns = [
        {"role": _ROLES[role], "content": text.replace("<|endoftext|>", "").strip()}
        for role, text in zip(parts[1::2], parts[2::2])
    ]
    tools, rest = _tools(row["system"].removeprefix("SYSTEM:").strip())
    system = [{"role": "system", "content": rest}] if rest else []
    return conversations.read({"messages": [*system, *turns], "tools": tools})


def _tools(system: str) -> tuple[list[Any], str]:
    """The tools that stand one after the other at the end of a system text, and the text before
    them; of a text that only introduces its tools nothing is left."""
    at, tools, decoder = system.find("{"), [], json.JSONDecoder()
    lead = system if at < 0 else system[:at]
    while at >= 0:
        try:
            tool, end = decoder.raw_decode(system, at)
        except ValueError as error:
            raise RecordError(f"a tool in the system text is not JSON: {error}") from None
        tools.append(tool)
        at = system.find("{", end)
    return tools, "" if tools else lead.strip()
