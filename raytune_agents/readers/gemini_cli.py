"""Gemini CLI's sessions (`~/.gemini/tmp/*/chats/session-*`): one JSON document before version 0.40,
one record per line since.

A message of the model holds its calls with what came back, and what each tool is for. Lines write a
message anew when it has grown, set fields of it, or rewind to one. The log has no tool list: the
tools are those that are called. Sample: yoavf/ai-sessions `examples/`, MIT; the lines are as Harbor
0.26.0 reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from raytune_agents.readers.conversations import chat_turn, read_as_chat
from raytune_agents.readers.fields import Fields, names_of, note_rest, object_of
from raytune_agents.readers.sessions import EVENTS, Event
from raytune_agents.readers.spans import model_calls
from raytune_agents.readers.strict import as_text
from raytune_agents.records import JsonObject, Trajectory

BLANK = re.compile(r"\A(\\n|\s)+")  # some thoughts begin with written line ends
OF_MESSAGE, OF_CALL = names_of("gemini_cli_message"), names_of("gemini_cli_call")


def read(row: Event) -> Trajectory:
    """{sessionId, messages}, or gathered records. Raises RecordError."""
    fields = Fields(row)
    messages = _lasting(row[EVENTS]) if EVENTS in row else fields("messages")
    key = as_text(fields("sessionId", "session"))
    turns = [turn for m in messages for turn in _turns(m)]
    about = model_calls((m.get("model"), m.get("tokens")) for m in messages)
    aside = (EVENTS, "format", "projectHash", "startTime", "lastUpdated", "kind", "messages")
    found = read_as_chat(fields.rest(*aside) | {"id": key}, turns, about)
    made = (call for m in messages for call in m.get("toolCalls") or [])
    purposes = {call.get("name"): as_text(call.get("description")) for call in made}
    tools = tuple(replace(t, description=purposes.get(t.name, "")) for t in found.tools)
    return replace(found, tools=tools)


def _lasting(records: Iterable[Event]) -> list[Event]:
    """The messages as the last record of each left them, without those that a rewind took back."""
    kept: dict[str, Event] = {}
    for record in records:
        key = as_text(record.get("id"))
        if "$rewindTo" in record:
            ids = list(kept)
            back = record["$rewindTo"]
            kept = {i: kept[i] for i in ids[: ids.index(back)]} if back in ids else {}
        elif record.get("type") == "message_update" and key in kept:
            kept[key] = kept[key] | {k: v for k, v in record.items() if k != "type"}
        elif "content" in record:
            kept[key] = kept.get(key, {}) | record
    return list(kept.values())


def _turns(message: Event) -> Iterator[JsonObject]:
    """A message's turns; none for what the program says."""
    kind, content = message.get("type"), message.get("content")
    note_rest(message, "message", OF_MESSAGE)
    if kind == "user" and not _are_results(content):
        yield chat_turn("user", content)
    if kind != "gemini":
        return
    calls = message.get("toolCalls") or []
    made = [{"id": c.get("id"), "name": c.get("name"), "arguments": c.get("args")} for c in calls]
    thoughts = "\n".join(_thought(t) for t in message.get("thoughts") or [])
    yield chat_turn("assistant", content, reasoning_content=thoughts, tool_calls=made)
    for call in calls:
        note_rest(call, "call", OF_CALL)
        key, name = call.get("id"), call.get("name")
        yield chat_turn("tool", _result(call), tool_call_id=key, name=name)


def _are_results(content: Any) -> bool:
    """Whether a user's message only repeats what calls gave."""
    parts = content if isinstance(content, list) else []
    return bool(parts) and all("functionResponse" in object_of(p) for p in parts)


def _thought(thought: Event) -> str:
    said = BLANK.sub("", as_text(thought.get("description")))
    return f"{as_text(thought.get('subject'))}: {said}"


def _result(call: Event) -> Any:
    """What a call gave: the response of its function, else that it was cancelled."""
    for part in call.get("result") or []:
        if isinstance(answer := object_of(part).get("functionResponse"), dict):
            return answer.get("response")
    return as_text(call.get("status"))
