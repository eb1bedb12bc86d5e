"""Agent-FLAN rows: `conversation` with loss flags (in some files `type`), text alone.

Tools, calls and observations that our own writer put into tags (<tools>, <tool_call>,
<tool_response>) come back as what they are.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from raytune_agents.calls import parse
from raytune_agents.readers import conversations
from raytune_agents.readers.shapes import tools_of
from raytune_agents.records import Message, ToolSpec, Trajectory

TOOLS = re.compile(r"(?:^|\n\n)<tools>(\[.*\])</tools>$", re.DOTALL)
SEEN = re.compile(r"<tool_response>\n(.*)\n</tool_response>", re.DOTALL)


def read(row: dict[str, Any]) -> Trajectory:
    made = conversations.read(row, react=False)
    messages = list(made.messages)
    found = TOOLS.search(messages[0].content) if messages and messages[0].role == "system" else None
    turns = tuple(_turn(m) for m in messages)
    if not found and turns == made.messages:
        return conversations.read(row)
    tools: tuple[ToolSpec, ...] = ()
    if found:
        tools, text = tools_of(found[1]), messages[0].content[: found.start()]
        turns = ((replace(messages[0], content=text),) if text else ()) + turns[1:]
    return replace(made, messages=turns, tools=tools)


def _turn(m: Message) -> Message:
    if m.role == "user" and (found := SEEN.fullmatch(m.content)):
        return Message("tool", found[1])
    if m.role == "assistant" and m.content.endswith("</tool_call>"):
        said = parse(m.content)
        if said.calls:
            text = m.content[: m.content.index("<tool_call>")].removesuffix("\n")
            return replace(m, content=text, tool_calls=said.calls)
    return m
