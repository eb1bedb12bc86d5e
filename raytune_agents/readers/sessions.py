"""Logs whose lines are events of a conversation -> one row for each conversation.

Coding agents, trace exporters and recording proxies write a line an event. Events are gathered by
the conversation that they name, over one file; what is no event passes through at once. An event
that names none (a summary, a snapshot) belongs to the conversation it stands in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from raytune_agents.readers.fields import first_object, object_of, objects_among, words_of
from raytune_agents.readers.responses import is_item
from raytune_agents.readers.tabular import Found
from raytune_agents.records import RecordError

Event = dict[str, Any]
Look = Callable[[Event], bool]
EVENTS = "events"  # a gathered row: {EVENTS: [...], "format": ..., "session": ...}
MAX_EVENTS = 2_000_000  # held of one file


class Sign:
    """What a row or an event of a format shows: keys that it must have (with blanks between them),
    and a look at their values."""

    def __init__(
        self,
        format: str,
        keys: str,
        look: Look | None = None,
        weight: int = 1,
        session: str = "",
        reader: str = "",
    ) -> None:
        self.format, self.keys, self.look = format, frozenset(keys.split()), look
        self.weight = weight  # of the look: 3 where the text itself names the format
        self.session = session  # where an event names its conversation, with dots
        self.reader = reader or format  # "file" or "file.function" of this room

    def evidence(self, row: Event) -> int:
        """How much speaks for the format; 0 where it does not fit."""
        if not self.keys <= row.keys() or (self.look is not None and not self.look(row)):
            return 0
        return len(self.keys) + (self.weight if self.look else 0)


# --- what events show -------------------------------------------------------------------------


def inside(key: str, *names: str) -> Look:
    """Whether an object under `key` has one of `names`."""
    return lambda row: any(n in object_of(row.get(key)) for n in names)


def is_pydantic_ai(message: Event) -> bool:
    return message.get("kind") in ("request", "response") and isinstance(message.get("parts"), list)


def is_autogen(message: Event) -> bool:
    """Whether a row is a message of AgentChat or of a model's context."""
    kind = message.get("type")
    known = isinstance(kind, str) and kind.startswith(AUTOGEN_TYPES) and "role" not in message
    return known and "content" in message and ("source" in message or kind == AUTOGEN_TYPES[0])


def is_openhands(event: Event) -> bool:
    """Whether an object is an action or an observation of OpenHands before its SDK."""
    return isinstance(event.get("action"), str) != isinstance(event.get("observation"), str)


def _typed(*types: str) -> Look:
    """Whether an event has one of the types."""
    return lambda event: event.get("type") in types


def _without(key: str) -> Look:
    return lambda event: key not in event


def _one_of(keys: str) -> Look:
    known = keys.split()
    return lambda event: not event.keys().isdisjoint(known)


def _of_claude_code(line: Event) -> bool:
    """Claude Code's events but those of another program that sends whole messages. Each of its
    versions has new kinds of notes: a type in small letters, and no message."""
    kind = line["type"]
    noted = isinstance(kind, str) and NOTE.fullmatch(kind) is not None
    return (CLAUDE_TYPE(line) and "uuid" in line) or (noted and "message" not in line)


def _of_claude_stream(line: Event) -> bool:
    """What Claude Code prints as stream-json: its model's messages are whole ones of the API."""
    message = line.get("message")
    if isinstance(message, dict):
        own = line["type"] == "user" or "model" in message or "id" in message
        return CLAUDE_TURN(line) and own
    return "subtype" in line if CLAUDE_END(line) else CLAUDE_NOTE(line)


def is_sdk_event(event: Any) -> bool:
    """Whether a value is an event of OpenHands' SDK."""
    kind = event.get("kind") if isinstance(event, dict) else None
    return isinstance(kind, str) and kind.endswith(OPENHANDS_KINDS)


def _of_adk(event: Event) -> bool:
    content = event["content"]
    return isinstance(content, dict) and isinstance(content.get("parts"), list)


def _of_gemini_cli(record: Event) -> bool:
    return GEMINI_TYPE(record) and record.keys() <= GEMINI_KEYS


CLAUDE_TYPE, CODEX_TYPE = _typed(*words_of("claude_code_types")), _typed(*words_of("codex_types"))
CODEX_PRINTED = _typed(*words_of("codex_printed_types"))
CLAUDE_TURN, CLAUDE_END = _typed("user", "assistant"), _typed("system", "result")
CLAUDE_NOTE = _typed(*words_of("claude_stream_types"))
NOTE = re.compile(r"[a-z]+(-[a-z]+)*")
OPENHANDS_KINDS = ("Event", "Action", "Observation", "Condensation")
AUTOGEN_TYPES = words_of("autogen_types")
GEMINI_TYPE, GEMINI_KEYS = _typed(*words_of("gemini_cli_types")), {*words_of("gemini_cli_message")}
TURN_KEYS = {*words_of("turn_keys")}
LOGS = (
    Sign("claude_code", "type sessionId", _of_claude_code, session="sessionId"),
    Sign("claude_code", "type session_id", _of_claude_stream, session="session_id"),
    Sign("claude_code", "type leafUuid", CLAUDE_TYPE),
    Sign("claude_code", "type messageId", CLAUDE_TYPE),
    Sign("codex", "type payload timestamp", _typed("session_meta"), session="payload.id"),
    Sign("codex", "type payload timestamp", CODEX_TYPE),
    # before session_meta: a header, marks between bare items
    Sign("codex", "id timestamp instructions", _without("type"), session="id"),
    Sign("codex", "record_type", lambda e: e["record_type"] == "state"),
    Sign("codex", "type thread_id", CODEX_PRINTED, session="thread_id"),
    Sign("codex", "type item", CODEX_PRINTED),
    Sign("codex", "type", CODEX_PRINTED),
    Sign("openhands", "kind source timestamp id", is_sdk_event),
    Sign("openhands", "action args source id", lambda e: isinstance(e["args"], dict)),
    Sign("openhands", "observation content source id", lambda e: isinstance(e["observation"], str)),
    Sign("otel", "attributes", lambda e: bool(trace_of(e))),
    Sign("langfuse", "traceId parentObservationId type", None, session="traceId"),
    Sign("langsmith", "run_type", lambda e: is_run(e)),
    Sign("exchanges", "type session", _typed("exchange", "outcome"), session="session"),
    # OpenAI's and Anthropic's batch files
    Sign("exchanges", "custom_id", _one_of("body response params result"), session="custom_id"),
    Sign("pydantic_ai", "kind parts", is_pydantic_ai, session="conversation_id"),
    Sign("autogen", "type content", is_autogen),
    Sign("adk", "author content invocation_id", _of_adk),
    Sign("adk", "author content invocationId", _of_adk),
    Sign("smolagents", "task task_images", _without("steps")),
    Sign("smolagents", "step_number model_output observations", _without("steps")),
    Sign("smolagents", "plan model_output_message", _without("steps")),
    Sign("gemini_cli", "sessionId projectHash", _without("messages"), session="sessionId"),
    Sign("gemini_cli", "$set"),
    Sign("gemini_cli", "$rewindTo"),
    Sign("gemini_cli", "type", _typed("message_update")),
    Sign("gemini_cli", "type id timestamp content", _of_gemini_cli),
    # a turn, or an item, as a row of its own: the file is one conversation
    Sign("openai", "role content", lambda e: isinstance(e["role"], str) and e.keys() <= TURN_KEYS),
    Sign("responses", "type", is_item),
)
OTLP = (
    ("resourceSpans", "scopeSpans", "spans"),
    ("resource_spans", "scope_spans", "spans"),
    ("resourceLogs", "scopeLogs", "logRecords"),
    ("resource_logs", "scope_logs", "log_records"),
)
RUN_KEYS = {"trace_id", "dotted_order", "child_runs"}
CHATS = ("openai", "pydantic_ai", "autogen")  # whose gathered row is one of messages
# whose gathered row is one of events
GATHERED = {log.format for log in LOGS} - {*CHATS, "responses"}


def log_format(event: Event) -> str:
    """The format of the log that an event is of, "" for what is none."""
    return next((log.format for log in LOGS if log.evidence(event)), "")


class Part(NamedTuple):
    """An event of a conversation: the format of its log, the conversation's own id (None where the
    event names none), and what is kept of it."""

    format: str
    session: str | None
    event: Event


def _parts(line: Event) -> list[Part]:
    """The events that a line holds: one, the spans of an OTLP export, or a run of LangSmith's with
    those inside it."""
    if spans := _spans(line):
        return [Part("otel", trace_of(s), s) for s in spans]
    if runs := list(_runs(line)):
        return [Part("langsmith", str(r.get("trace_id") or run_id(runs[0])), r) for r in runs]
    found = next((log for log in LOGS if log.evidence(line)), None)
    if found is None:
        return []
    session: Any = line if found.session else None
    for key in found.session.split("."):
        session = session.get(key) if isinstance(session, dict) else None
    return [Part(found.format, session if isinstance(session, str) else None, line)]


def is_event(row: Event | RecordError) -> bool:
    """Whether a row is part of a conversation that `gathered` puts together."""
    return not isinstance(row, RecordError) and bool(_parts(row))


def trace_of(span: Event) -> str:
    """The id of the trace that a span, or a log record, of OpenTelemetry is of; "" for others."""
    if not isinstance(span.get("attributes"), dict | list):
        return ""
    for named in (span, object_of(span.get("context"))):
        found = named.get("traceId", named.get("trace_id"))
        if isinstance(found, str) and found:
            return found
    return ""


def _spans(line: Event) -> list[Event]:
    """The spans and log records that a line is, or holds: an OTLP export, or a list of them."""
    if "context.trace_id" in line:  # a row of Phoenix's table
        return [_of_table(line)]
    if trace_of(line):
        return [line]
    out: list[Event] = []
    for resources, scopes, items in OTLP:
        held = [s for r in objects_among(line.get(resources)) for s in objects_among(r.get(scopes))]
        out += [span for scope in held for span in objects_among(scope.get(items))]
    if out:
        return out
    for value in (*line.values(), *object_of(line.get("data")).values()):
        if trace_of(first_object(value)):
            return objects_among(value)
    return []


def _of_table(row: Event) -> Event:
    """A span whose attributes and ids are columns of a table."""
    about = {k: v for k, v in row.items() if k.startswith("attributes.") and v is not None}
    return {k: v for k, v in row.items() if "." not in k} | {
        "trace_id": row["context.trace_id"],
        "span_id": row.get("context.span_id"),
        "attributes": {k.removeprefix("attributes."): v for k, v in about.items()},
    }


def is_run(line: Event) -> bool:
    """Whether an object is a run of LangSmith's, or what its SDK sends later of one."""
    if not run_id(line) or line.keys().isdisjoint(RUN_KEYS):
        return False
    return line.keys() >= {"run_type", "inputs"} or line.keys() >= {"dotted_order", "outputs"}


def run_id(run: Event) -> str:
    """A run's id, which may stand in its place among the runs of a trace alone."""
    found = run.get("id", run.get("run_id"))
    order = str(run.get("dotted_order") or "").rpartition(".")[2]
    return found if isinstance(found, str) else order.partition("Z")[2]


def _runs(line: Event) -> Iterator[Event]:
    """The runs that a line is, or holds: with those inside it, an answer of the API, or what the
    SDK sends: {post: [...], patch: [...]}."""
    if is_run(line):
        yield line
        for child in objects_among(line.get("child_runs")):
            yield from _runs(child)
        return
    for value in line.values():
        if is_run(first_object(value)):
            for run in objects_among(value):
                yield from _runs(run)


Held = dict[tuple[str, "str | None"], tuple[str, list[Event]]]


def gathered(rows: Iterable[Found]) -> Iterator[Found]:
    """`rows` of one file with the events of each conversation as one row, at the place of its
    first one, after all other rows. Raises nothing; linear in the file."""
    held: Held = {}
    now: dict[str, str | None] = {}  # format -> the conversation that its last event named
    count = 0
    for where, row in rows:
        parts = [] if isinstance(row, RecordError) else _parts(row)
        if not parts and "codex" in now and isinstance(row, dict) and "payload" in row:
            parts = [Part("codex", None, row)]  # a note of a kind that a later version has
        if not parts:
            yield where, row
        # one line of an exporter holds spans of several traces
        for format, session, event in parts:
            if format == "responses" and "codex" in now:  # the bare items of an older log
                format = "codex"
            now[format] = now.get(format) if session is None else session
            count += 1
            _, events = held.setdefault((format, now[format]), (where, []))
            if count <= MAX_EVENTS:
                events.append(event)
            elif count == MAX_EVENTS + 1:
                yield where, RecordError(f"more than {MAX_EVENTS} events in one file; split it")
    yield from _rows(held)


def _rows(held: Held) -> Iterator[Found]:
    """What named no conversation goes before the first that is named, where there is one."""
    named = {format for format, session in held if session is not None}
    loose = {f: held[f, None][1] for f in named if (f, None) in held}
    for (format, session), (where, events) in held.items():
        if session is not None:
            yield where, _row_of(format, session, loose.pop(format, []) + events)
        elif format not in named:
            yield where, _row_of(format, "", events)


def _row_of(format: str, session: str, events: list[Event]) -> Event:
    """The gathered row; turns and items as their own formats have them."""
    if format in CHATS:
        return {"messages": events} | ({"id": session} if session else {})
    if format == "responses":
        return {"input": [], "output": events}
    return {EVENTS: events, "format": format, "session": session}
