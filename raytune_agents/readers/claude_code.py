"""Claude Code's session logs: one event a line, each pointing to the one before it; and what
`claude -p --output-format stream-json` prints, which points to nothing and ends on a result.

A reply is written in several lines of one message id, one a content block. A prompt that the user
took back, or a reply that was made again, leaves a branch behind: of such siblings the last one
counts. A compaction starts the model on a new context, so it ends one conversation and begins the
next; a sub-agent's events are one of their own. The log has no system prompt and no tool list: the
tools are those that are called. No one says whether the work was good; a result says where a run
ended on an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from raytune_agents.readers.fields import note, object_of, objects_among
from raytune_agents.readers.sessions import EVENTS, Event
from raytune_agents.readers.spans import UNREAD, seen_tools, unread_meta, with_source_ids
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turns import as_one, episode, turns_of
from raytune_agents.records import JsonObject, Message, RecordError, Trajectory

TURN_TYPES = ("user", "assistant")


def read(row: Event) -> list[Trajectory]:
    """The conversations of one session. Raises RecordError where none has an answer."""
    log = row[EVENTS] if EVENTS in row else row["loglines"]  # a session on the web, exported
    events = _linked(_once(log))
    left = _abandoned(events)
    live = [e for i, e in enumerate(events) if i not in left]
    title = next((as_text(e["summary"]) for e in log if e.get("summary")), "")
    meta: JsonObject = {"title": title} if title else {}
    meta |= {"abandoned_events": len(left)} if left else {}
    found, reasons = [], []
    parts = _parts(live)
    last = max((i for i, (agent, _) in enumerate(parts) if not agent), default=0)
    failure = _failure(log)
    for i, (_, part) in enumerate(parts):
        turns, about = _conversation(part)
        reasons += about.get("errors", [])
        if any(t.role == "assistant" for t in turns):
            made = episode(turns, seen_tools(turns), meta=meta | about)
            failed = failure and i == last
            found.append(replace(made, outcome=0.0, outcome_word=failure) if failed else made)
    if not found:
        reason = reasons[0].removeprefix(UNREAD) if reasons else ""
        raise RecordError(reason or "a session without an answer")
    return with_source_ids(found, as_text(row.get("session", row.get("id"))))


def _failure(log: Iterable[Event]) -> str:
    """How the last run of a printed stream failed, "" where it did not, or where none says."""
    results = [e for e in log if e.get("type") == "result"]
    if not results or results[-1].get("is_error") is not True:
        return ""
    return f"is_error=True, {as_text(results[-1].get('subtype'))}"


def _once(events: Iterable[Event]) -> list[Event]:
    """Each event once, its ids as texts: a resumed session repeats those before it. A printed
    stream names a sub-agent by the call that started it."""
    seen: dict[Any, Event] = {}
    for i, event in enumerate(events):
        ids = {key: as_text(event.get(key)) for key in ("uuid", "parentUuid")}
        agent = as_text(event.get("parent_tool_use_id"))
        own: Event = {"isSidechain": True, "agentId": agent} if agent else {}
        seen.setdefault(ids["uuid"] or i, event | ids | own)
    return list(seen.values())


def _linked(events: list[Event]) -> list[Event]:
    """The turns and compactions, each pointing to the one before it: what the program notes of its
    progress stands in the chain between them."""
    notes = [e for e in events if e.get("type") not in TURN_TYPES and not _compacts(e)]
    above = {e["uuid"]: e["parentUuid"] for e in notes if e["uuid"]}

    def before(key: str) -> str:
        passed = []
        while key in above:  # what was passed is taken out, so that a cycle ends
            passed.append(key)
            key = above.pop(key)
        above.update(dict.fromkeys(passed, key))
        return key

    kept = (e for e in events if e.get("type") in TURN_TYPES or _compacts(e))
    return [e | {"parentUuid": before(e["parentUuid"])} for e in kept]


def _compacts(event: Event) -> bool:
    return event.get("subtype") == "compact_boundary" or event.get("isCompactSummary") is True


def _kind(event: Event) -> str:
    """What siblings compete for: one prompt, one reply; results of parallel calls do not."""
    message = event.get("message")
    if not isinstance(message, dict):
        return ""
    if event.get("type") == "assistant":
        return as_text(message.get("id")) or "reply"
    parts = objects_among(message.get("content"))
    return "" if any(p.get("type") == "tool_result" for p in parts) else "prompt"


def _abandoned(events: list[Event]) -> set[int]:
    """The places of events below a sibling that did not last. A cycle has no root and is kept."""
    children: dict[Any, list[int]] = {}
    for i, event in enumerate(events):
        if event.get("parentUuid"):
            children.setdefault(event["parentUuid"], []).append(i)
    left: set[int] = set()
    for siblings in children.values():
        kinds = {i: _kind(events[i]) for i in siblings if not events[i].get("isSidechain")}
        # calls made side by side fork the chain too: their results are siblings that all count
        prompts = [i for i, kind in kinds.items() if kind == "prompt"]
        replies = [i for i in kinds if events[i].get("type") == "assistant"]
        lasting = kinds[replies[-1]] if replies else ""
        stack = prompts[:-1] + [i for i in replies if kinds[i] != lasting]
        while stack:
            at = stack.pop()
            if at not in left:
                left.add(at)
                stack += children.get(events[at].get("uuid"), [])
    return left


def _parts(events: list[Event]) -> list[tuple[str, list[Event]]]:
    """(agent, "" for the main one; its events) of each agent, and anew at each compaction."""
    agents: dict[str, list[list[Event]]] = {}
    roots: dict[Any, str] = {}
    for event in events:
        agent = ""
        if event.get("isSidechain"):  # its agent's id, else the first event of its chain
            known = roots.get(event.get("parentUuid"))
            agent = as_text(event.get("agentId")) or known or as_text(event.get("uuid"))
            roots[event.get("uuid")] = agent
        parts = agents.setdefault(agent, [[]])
        if _compacts(event) and parts[-1]:
            parts.append([])
        parts[-1].append(event)
    return [(agent, part) for agent, parts in agents.items() for part in parts]


def _conversation(events: list[Event]) -> tuple[list[Message], Event]:
    """The turns of one conversation, and what is known of it. It ends before a turn that cannot be
    read, as a screenshot: answers to that cannot be learned without it."""
    turns: list[Message] = []
    replies: dict[str, int] = {}  # message id -> its turn
    unread = 0
    about: Event = {}
    for at, event in enumerate(events):
        message = object_of(event.get("message"))
        # the summary after a compaction is the model's new prompt, though no user sees it
        unseen = event.get("isVisibleInTranscriptOnly") and not event.get("isCompactSummary")
        if event.get("type") not in TURN_TYPES or unseen:
            continue
        # the program's own words in the model's place
        synthetic = event.get("isApiErrorMessage") or message.get("model") == "<synthetic>"
        if message.get("content") is None or synthetic:
            unread += 1
            continue
        key = as_text(message.get("id")) if event["type"] == "assistant" else ""
        try:
            made = turns_of({"role": event["type"], "content": message["content"]})
        except RecordError as error:
            note("event", str(error))
            about |= unread_meta(str(error))
            unread += len(events) - at
            break
        if key in replies and key and len(made) == 1:
            first = turns[replies[key]]  # blocks of one reply are one turn
            turns[replies[key]] = as_one(first, made[0], first)
            continue
        if key:
            replies[key] = len(turns)
        turns += made
        _count(about, event, message)
    return turns, about | ({"unread_events": unread} if unread else {})


def _count(about: Event, event: Event, message: Event) -> None:
    """Model, version and tokens of a reply, once a message."""
    for name, value in (("model", message.get("model")), ("version", event.get("version"))):
        if isinstance(value, str):
            about.setdefault(name, value)
    usage = object_of(message.get("usage"))
    if isinstance(usage.get("output_tokens"), int):
        counts = [n for k, n in usage.items() if k.endswith("input_tokens") and isinstance(n, int)]
        prompt, answer = about.get("tokens", [0, 0])
        about["tokens"] = [prompt + sum(counts), answer + usage["output_tokens"]]
