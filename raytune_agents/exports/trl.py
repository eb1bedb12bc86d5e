"""TRL columns: prompt + completion, prompt + chosen + rejected, prompt + completion + label.

Conversational: every part is a list of messages, the completion is the last assistant turn.
Arguments are objects there, because chat templates want them so.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from raytune_agents.exports.openai import linked, message, object_arguments, tool_column
from raytune_agents.records import JsonObject, Message, RecordError, Trajectory


def _message(m: Message) -> JsonObject:
    out = message(m, thought=True)
    out.setdefault("content", "")
    for call, made in zip(m.tool_calls, out.get("tool_calls", ())):
        made["function"]["arguments"] = object_arguments(call)
    if m.role == "tool" and m.name:
        out["name"] = m.name
    return out


def _parts(row: Trajectory) -> tuple[list[JsonObject], list[JsonObject], JsonObject]:
    if row.target is None or not row.target.trained:
        raise RecordError("no assistant turn to train on at the end")
    turns = [_message(m) for m in linked(row.messages)]
    return turns[:-1], turns[-1:], tool_column(row)


def write(row: Trajectory) -> JsonObject:
    """SFT columns."""
    prompt, completion, listed = _parts(row)
    return {"prompt": prompt, "completion": completion} | listed


def write_labelled(row: Trajectory) -> JsonObject:
    """KTO columns: the label is False for rows of the pool negative.*"""
    return write(row) | {"label": not row.pool.startswith("negative")}


def _compared(m: Message) -> tuple[Any, ...]:
    return m.role, m.content, m.thought, tuple((c.name, c.arguments) for c in m.tool_calls)


def pair(chosen: Trajectory, rejected: Trajectory) -> JsonObject:
    """Preference columns. The prompt is what both rows begin with, at most up to the chosen's
    target.

    Raises RecordError where one of them does not end on an assistant turn of its own.
    """
    ours, theirs = (linked(r.messages) for r in (chosen, rejected))
    alike = (_compared(a) == _compared(b) for a, b in zip(ours[:-1], theirs[:-1]))
    same = sum(1 for _ in takewhile(bool, alike))
    if not same or chosen.target is None or rejected.target is None:
        raise RecordError("the pair has no prompt in common or no answer")
    return {
        "prompt": [_message(m) for m in ours[:same]],
        "chosen": [_message(m) for m in ours[same:]],
        "rejected": [_message(m) for m in theirs[same:]],
    } | tool_column(chosen)
