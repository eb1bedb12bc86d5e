"""Chat turns of any source -> Message: from/value and role/content, loss flags, calls,
observations.

Observations are role "tool": never trained on. What follows the last assistant turn of a finished
run (an environment's last word) goes to `meta["after"]`, so that a trajectory ends on its own
answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from raytune_agents.readers.shapes import call_of, calls_of, role_of
from raytune_agents.readers.strict import text_of, value_of
from raytune_agents.records import Message, RecordError, ToolSpec, Trajectory

LOSS_KEYS = ("loss", "weight", "train", "training", "type")  # `type`: some Agent-FLAN files
THINK = re.compile(r"<think>\n?(.*?)\n?</think>\n*", re.DOTALL)
CALL_WORDS = ("function_call", "tool_call")


def _trained(item: dict[str, Any], role: str) -> bool | None:
    """None = the default; False only where the source says so of an assistant turn."""
    flags = (item[k] for k in LOSS_KEYS if isinstance(item.get(k), bool | int | float))
    return False if role == "assistant" and not next(flags, True) else None


def message_of(item: Any) -> Message:
    """One turn, {role, content} or {from, value}, with its calls, thought and loss flag."""
    if not isinstance(item, dict):
        raise RecordError(f"a message is {type(item).__name__}, not an object")
    word = item.get("role") or item.get("from")
    content = next((item[k] for k in ("content", "value", "text") if item.get(k) is not None), None)
    thought = next((item[k] for k in ("reasoning_content", "thought") if item.get(k)), "")
    if isinstance(content, str) and content.startswith("<think>"):
        found = THINK.match(content)
        if found:
            thought, content = found[1], content[found.end() :]
    if word in CALL_WORDS:
        calls, content = calls_of(content), ""
    else:
        calls = calls_of(item.get("tool_calls"))
        if item.get("function_call"):
            calls = (*calls, call_of(value_of(item["function_call"])))
    role = "assistant" if word in CALL_WORDS else role_of(word)
    return Message(
        role,
        text_of(content if content is not None else item.get("refusal")),
        text_of(thought),
        calls if role == "assistant" else (),
        text_of(item.get("name")),
        text_of(item.get("tool_call_id")),
        _trained(item, role),
    )


def messages_of(value: Any) -> list[Message]:
    """A column of turns: a list, or JSON text of one. Raises RecordError."""
    items = value_of(value)
    if not isinstance(items, list):
        raise RecordError(f"messages are {type(items).__name__}, not a list")
    out: list[Message] = []
    for item in items:
        message = message_of(item)
        shared = out and message.role == "tool" and "from" in item
        out += _parts(message, out[-1]) if shared else (message,)
    return out


def _parts(message: Message, before: Message) -> Iterable[Message]:
    """One observation of several calls, a JSON list of as many texts, is as many observations."""
    if len(before.tool_calls) > 1 and message.content.startswith("["):
        try:
            texts = value_of(message.content)
        except RecordError:
            return (message,)
        if isinstance(texts, list) and len(texts) == len(before.tool_calls):
            return [replace(message, content=text_of(t)) for t in texts]
    return (message,)


def episode(
    messages: Iterable[Message], tools: Iterable[ToolSpec] = (), **fields: Any
) -> Trajectory:
    """A finished run: it ends on its last assistant turn, later turns go to `meta["after"]`."""
    turns = list(messages)
    last = max((i for i, m in enumerate(turns) if m.role == "assistant"), default=len(turns) - 1)
    meta = fields.pop("meta", {})
    if turns[last + 1 :]:
        meta = meta | {"after": [m.content for m in turns[last + 1 :]]}
    return Trajectory(tuple(turns[: last + 1]), tuple(tools), meta=meta, **fields)


def score(value: Any) -> float | None:
    """A reward as an outcome in [0, 1]: booleans, numbers, words; None where it is not known."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("true", "success", "pass", "yes"):
            return 1.0
        if word in ("false", "failure", "fail", "no"):
            return 0.0
        try:
            value = float(word)
        except ValueError:
            return None
    if not isinstance(value, int | float) or value != value:
        return None
    return min(1.0, max(0.0, float(value)))


def with_system(system: Any, messages: list[Message]) -> list[Message]:
    """The turns with a system text in front, where there is one."""
    return [Message("system", text_of(system)), *messages] if system else messages
