"""OpenAI chat rows: messages + tools, each a list or JSON text of one (Orca AgentInstruct,
When2Call SFT).

axolotl's chat rows are the same with a `train` flag a turn. OpenHands trajectories (SWE-Gym) say
`resolved`; other sets say `reward`.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.calls import parse
from raytune_agents.readers.react import structure
from raytune_agents.readers.shapes import rest_of, tools_of
from raytune_agents.readers.turns import episode, messages_of, score
from raytune_agents.records import Message, Trajectory

USED = ("id", "uuid", "instance_id", "messages", "tools", "functions", "resolved", "reward")


def read(row: dict[str, Any]) -> Trajectory:
    tools = tools_of(row.get("tools") or row.get("functions"))
    messages = [with_calls(m) for m in messages_of(row["messages"])]
    style: dict[str, Any] = {}
    if not tools and not any(m.tool_calls or m.role == "tool" for m in messages):
        messages, style = structure(messages)
    word = next((k for k in ("resolved", "reward") if row.get(k) is not None), "")
    make = episode if style else Trajectory
    return make(
        tuple(messages),
        tools,
        source_id=str(next((row[k] for k in USED[:3] if row.get(k) is not None), "")),
        outcome=score(row[word]) if word else None,
        outcome_word=f"{word}={row[word]}" if word else "",
        meta=rest_of(row, *USED) | style,
    )


def with_calls(message: Message) -> Message:
    """An assistant turn whose text is `<TOOLCALL>[...]</TOOLCALL>` (When2Call), with its calls."""
    text = message.content.strip()
    if message.role == "assistant" and text.startswith("<TOOLCALL>"):
        found = parse(text.removeprefix("<TOOLCALL>").removesuffix("</TOOLCALL>"))
        if found.calls:
            return Message("assistant", "", message.thought, found.calls, loss=message.loss)
    return message
