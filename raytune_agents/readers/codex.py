"""Codex's session logs: Responses items, with what the program notes beside them.

`event_msg` lines repeat the items for the terminal. A compaction starts the model on a new
context: it ends one conversation and begins the next. The log has no tool list: the tools are
those that are called.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.fields import blank, object_of
from raytune_agents.readers.parts import flat_text
from raytune_agents.readers.responses import item_messages
from raytune_agents.readers.sessions import EVENTS, Event
from raytune_agents.readers.spans import seen_tools, with_source_ids
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turns import episode, with_system
from raytune_agents.records import RecordError, Trajectory

UNSEEN = ("ghost_snapshot", "other")  # items that no model reads


def read(row: Event) -> list[Trajectory]:
    """The conversations of one session. Raises RecordError where none has an answer."""
    parts: list[list[Event]] = [[]]
    about: Event = {}
    system: Any = None
    for event in row[EVENTS]:
        kind, body = event["type"], object_of(event["payload"])
        if kind == "response_item" and body.get("type") not in UNSEEN:
            parts[-1].append(body)
        elif kind == "compacted":
            history = body.get("replacement_history")
            parts.append(list(history) if isinstance(history, list) else _summary(body))
        elif kind == "session_meta":
            instructions = body.get("base_instructions") or body.get("instructions")
            system = instructions.get("text") if isinstance(instructions, dict) else instructions
            about |= {k: body[k] for k in ("cli_version", "originator") if not blank(body.get(k))}
        elif kind == "turn_context" and isinstance(body.get("model"), str):
            about["model"] = body["model"]
        elif kind == "event_msg" and body.get("type") == "token_count":
            about |= _tokens(body)
    found = [_conversation(items, system, about) for items in parts]
    kept = [t for t in found if any(m.role == "assistant" for m in t.messages)]
    if not kept:
        raise RecordError("a session without an answer")
    return with_source_ids(kept, row["session"])


def _conversation(items: list[Event], system: Any, about: Event) -> Trajectory:
    turns = with_system(flat_text(system), item_messages(items, ()))
    return episode(turns, seen_tools(turns), meta=dict(about))


def _summary(body: Event) -> list[Event]:
    """What a compaction told the model in place of what came before."""
    text = as_text(body.get("message"))
    return [{"type": "message", "role": "user", "content": text}] if text else []


def _tokens(body: Event) -> Event:
    """The tokens of the session so far: prompt and answer."""
    total = object_of(body.get("info")).get("total_token_usage")
    if not isinstance(total, dict):
        return {}
    return {"tokens": [total.get("input_tokens", 0), total.get("output_tokens", 0)]}
