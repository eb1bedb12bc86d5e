"""OpenAI chat rows: messages + tools, each a list or JSON text of one."""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.shapes import call_of, calls_of, rest_of, role_of, tools_of
from raytune_agents.readers.strict import text_of, value_of
from raytune_agents.records import Message, RecordError, Trajectory

KNOWN = ("role", "content", "tool_calls", "function_call", "name", "tool_call_id", "weight",
         "reasoning_content", "refusal")  # fmt: skip


def message_of(item: Any) -> Message:
    """One chat message; `weight` 0 or 1 is whether it is trained on, `reasoning_content` its
    thought.
    """
    if not isinstance(item, dict):
        raise RecordError(f"a message is {type(item).__name__}, not an object")
    role = role_of(item.get("role"))
    calls = calls_of(item.get("tool_calls"))
    if item.get("function_call"):
        calls = (*calls, call_of(value_of(item["function_call"])))
    weight = item.get("weight")
    return Message(
        role,
        text_of(item.get("content") if item.get("content") is not None else item.get("refusal")),
        text_of(item.get("reasoning_content")),
        calls if role == "assistant" else (),
        text_of(item.get("name")),
        text_of(item.get("tool_call_id")),
        None if weight is None else bool(weight),
    )


def messages_of(value: Any) -> tuple[Message, ...]:
    """A `messages` column."""
    items = value_of(value)
    if not isinstance(items, list):
        raise RecordError(f"messages are {type(items).__name__}, not a list")
    return tuple(message_of(m) for m in items)


def read(row: dict[str, Any]) -> Trajectory:
    return Trajectory(
        messages_of(row["messages"]),
        tools_of(row.get("tools") or row.get("functions")),
        source_id=str(row.get("id", "")),
        meta=rest_of(row, "id", "messages", "tools", "functions"),
    )
