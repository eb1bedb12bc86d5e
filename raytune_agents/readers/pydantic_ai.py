"""Pydantic AI's message histories (`result.all_messages_json()`): requests and responses of parts.

A request holds what the user asks and what tools return, a response what the model says. The
instructions of the last request hold for the whole, as they do there. A retry that answers a call
is the call's result. Samples: histories of Pydantic AI 2.68.0, run for the tests; 0.x and 1.x write
`retry-prompt` for a retry.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from raytune_agents.readers.conversations import chat_turn, read_as_chat
from raytune_agents.readers.fields import Names, names_of, note, note_rest
from raytune_agents.readers.spans import model_calls
from raytune_agents.readers.strict import as_text, value_of
from raytune_agents.records import JsonObject, Trajectory

OF_CALL = ("tool_name", "args", "tool_call_id")
RETURNS = ("tool-return", "builtin-tool-return")
RETRIES = ("retry-prompt", "retry-feedback")
ASIDE = names_of("pydantic_ai")
OF_PART = ASIDE + Names("content tool_name tool_call_id")
CUT = ("incomplete", "interrupted")


def read(row: JsonObject) -> Trajectory:
    """{messages: [{kind: request | response, parts}]}. Raises RecordError."""
    messages = value_of(row["messages"])
    turns = [turn for m in messages for turn in _turns(m)]
    instructions = [m["instructions"] for m in messages if m.get("instructions")]
    about = model_calls((m.get("model_name"), m.get("usage")) for m in messages)
    own = {"instructions": instructions[-1]} if instructions else {}
    return read_as_chat(row | own, turns, about)


def _turns(message: JsonObject) -> Iterator[JsonObject]:
    note_rest(message, "message", ASIDE)
    parts = message["parts"]
    if message["kind"] == "request":
        yield from (turn for part in parts for turn in _request_turns(part))
        return
    content = [_bare_part(part) for part in parts]
    ended = "incomplete" if message.get("state") in CUT else message.get("finish_reason")
    yield chat_turn("assistant", content, finish_reason=ended)


def _request_turns(part: JsonObject) -> Iterator[JsonObject]:
    """The turn of a request's part."""
    kind, content, name = part.get("part_kind"), part.get("content"), part.get("tool_name")
    note_rest(part, "part", OF_PART)
    if kind == "system-prompt":
        yield chat_turn("system", content)
    elif kind == "user-prompt":
        yield chat_turn("user", _typed(content))
    elif kind in RETRIES and name is None:
        yield chat_turn("user", as_text(content))
    elif kind in RETURNS + RETRIES:
        if kind in RETRIES:  # as the model is shown it
            content = f"{as_text(content)}\n\nFix the errors and try again."
        yield chat_turn("tool", content, name=name, tool_call_id=part.get("tool_call_id"))
    else:
        note(f"part.{kind}", content)


def _typed(content: Any) -> Any:
    """The user's content, whose parts name their type as `kind`."""
    if not isinstance(content, list):
        return content
    return [
        {"type": p.get("kind")} | {k: v for k, v in p.items() if k != "kind"}
        if isinstance(p, dict)
        else p
        for p in content
    ]


def _bare_part(part: JsonObject) -> JsonObject:
    """A response's part without what its provider says about it."""
    note_rest(part, "part", OF_PART + Names("args"))
    return {k: part[k] for k in ("part_kind", "content", *OF_CALL) if k in part}
