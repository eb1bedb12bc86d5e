"""Codex's session logs: Responses items, with what the program notes beside them.

`event_msg` lines repeat the items for the terminal; one says that the user took turns back
(`drop_last_n_user_turns` of openai/codex, `codex-rs/core`, Apache-2.0). A compaction starts the
model on a new context: it ends one conversation and begins the next. The log has no tool list: the
tools are those that are called. Before `session_meta` a log began with a bare header, and its items
stood in no envelope; the first version wrote {session, items}.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.fields import blank, fold, note, object_of, readable_start, words_of
from raytune_agents.readers.parts import flat_text
from raytune_agents.readers.responses import RESULTS, item_messages
from raytune_agents.readers.sessions import EVENTS, Event
from raytune_agents.readers.spans import seen_tools, unread_meta, with_source_ids
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turns import episode, with_system
from raytune_agents.records import Message, RecordError, Trajectory

OF_PROGRAM = (  # how messages in the user's place begin that no user wrote
    "<environment_context>",
    "<user_instructions>",
    "# AGENTS.md instructions",
    "<skill>",
    "<user_shell_command>",
    "<turn_aborted>",
    "<subagent_notification>",
)
PRINTED = words_of("codex_printed_types")
UNSEEN = ("ghost_snapshot", "other")  # items that no model reads
KNOWN = ("session_meta", "turn_context", "event_msg", "response_item", "compacted", "mark")


def read(row: Event) -> list[Trajectory]:
    """The conversations of one session. Raises RecordError where none has an answer."""
    parts: list[list[Event]] = [[]]
    about: Event = {}
    system: Any = None
    dropped = 0
    session = object_of(row["session"]) or {"id": row["session"]}
    events = row[EVENTS] if EVENTS in row else [session, *row["items"]]
    for kind, body in map(_opened, events):
        if kind == "response_item" and body.get("type") not in UNSEEN:
            parts[-1].append(body)
        elif kind == "compacted":
            history = body.get("replacement_history")
            kept = [i for i in history if isinstance(i, dict)] if isinstance(history, list) else []
            parts.append(kept or _summary(body))
        elif kind == "session_meta":
            instructions = body.get("base_instructions") or body.get("instructions")
            system = instructions.get("text") if isinstance(instructions, dict) else instructions
            about |= {k: body[k] for k in ("cli_version", "originator") if not blank(body.get(k))}
        elif kind == "turn_context" and isinstance(body.get("model"), str):
            about["model"] = body["model"]
        elif kind == "event_msg" and body.get("type") == "token_count":
            about |= _tokens(body)
        elif kind == "event_msg" and body.get("type") == "thread_rolled_back":
            dropped += _take_back(parts[-1], body.get("num_turns"))
        elif kind not in KNOWN:
            note(f"event.{kind}", body)
    about |= {"abandoned_events": dropped} if dropped else {}
    read_parts = [_start_read(items) for items in parts]
    found = [
        _conversation(items, system, about | unread_meta(error))
        for items, error in read_parts
        if any(m.role == "assistant" for m in items)
    ]
    if not found:
        reason = next((error for _, error in read_parts if error), "")
        raise RecordError(reason or "a session without an answer")
    return with_source_ids(found, as_text(session.get("id")))


def _opened(event: Event) -> tuple[str, Event]:
    """(kind, body) of a line; an older one is its own body. Raises RecordError for one that `codex
    exec --json` printed: neither the prompt nor what was patched is in those."""
    kind, body = as_text(event.get("type")), event.get("payload")
    if kind in PRINTED:
        raise RecordError(
            "what codex exec --json prints has no prompt and no patch; read the log of the same "
            "session, ~/.codex/sessions/**/rollout-*.jsonl with its thread_id in the name"
        )
    if "payload" in event:
        return kind, object_of(body)
    if "record_type" in event:
        return "mark", event
    return ("response_item" if kind else "session_meta"), event


def _take_back(items: list[Event], count: Any) -> int:
    """Drop the last `count` turns of the user with all that followed; how many items they were.
    What the program tells the model in the user's place begins no turn."""
    starts = [
        i
        for i, item in enumerate(items)
        if item.get("role") == "user" and not _text(item).startswith(OF_PROGRAM)
    ]
    if not starts or not isinstance(count, int) or count < 1:
        return 0
    dropped = items[starts[-min(count, len(starts))] :]
    del items[len(items) - len(dropped) :]
    return len(dropped)


def _text(item: Event) -> str:
    """What a message begins with, whatever pictures stand in it."""
    content = item.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    return next((p["text"] for p in map(object_of, parts) if isinstance(p.get("text"), str)), "")


def _start_read(items: list[Event]) -> tuple[list[Message], str]:
    """The turns up to the first item that cannot be read, or that answers a call which is not
    there, and the reason, "" for none."""
    called: set[Any] = set()
    for n, item in enumerate(items):
        kind, key = fold(as_text(item.get("type"))), item.get("call_id")
        if kind in RESULTS and isinstance(key, str) and key not in called:
            turns, error = _start_read(items[:n])
            lost = "" if error else f"the result of a call that is not in the log: {kind}"
            note("turn", lost)
            return turns, error or lost
        called |= {k for k in (key, item.get("id")) if isinstance(k, str)}
    return readable_start(item_messages, items, lambda i: item_messages([i]))


def _conversation(messages: list[Message], system: Any, about: Event) -> Trajectory:
    turns = with_system(flat_text(system), messages)
    return episode(turns, seen_tools(turns), meta=about)


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
