"""Logs whose lines are events of a conversation -> one row for each conversation.

Coding agents, trace exporters and recording proxies write a line an event. Events are gathered by
the conversation that they name, over one file; what is no event passes through at once. An event
that names none (a summary, a snapshot) belongs to the conversation it stands in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from raytune_agents.readers.decode import Found
from raytune_agents.readers.responses import is_item
from raytune_agents.records import RecordError

Event = dict[str, Any]
EVENTS = "events"  # a gathered row: {EVENTS: [...], "format": ..., "session": ...}
MAX_EVENTS = 2_000_000  # held of one file


class Part(NamedTuple):
    """An event of a conversation: the format of its log, the conversation's own id (None where the
    event names none), and what is kept of it."""

    format: str
    session: str | None
    event: Event


Parts = Callable[[Event], Iterator[Part]]
CLAUDE_TYPES = (
    "user",
    "assistant",
    "system",
    "summary",
    "file-history-snapshot",
    "progress",
    "queue-operation",
    "attachment",
    "custom-title",
    "last-prompt",
    "ai-title",
)
CODEX_TYPES = ("session_meta", "response_item", "event_msg", "turn_context", "compacted")
OPENHANDS_KINDS = ("Event", "Action", "Observation", "Condensation")


def claude_code(line: Event) -> Iterator[Part]:
    """A line of ~/.claude/projects/PROJECT/SESSION.jsonl."""
    known = isinstance(line.get("type"), str) and line["type"] in CLAUDE_TYPES
    session = line.get("sessionId")
    if known and isinstance(session, str) and ("uuid" in line or "message" not in line):
        yield Part("claude_code", session, line)
    elif known and ("leafUuid" in line or "messageId" in line):
        yield Part("claude_code", None, line)


def codex(line: Event) -> Iterator[Part]:
    """A line of ~/.codex/sessions/.../rollout-*.jsonl."""
    payload = line.get("payload")
    known = isinstance(line.get("type"), str) and line["type"] in CODEX_TYPES
    if known and isinstance(payload, dict) and "timestamp" in line:
        own = payload.get("id") if line["type"] == "session_meta" else None
        yield Part("codex", own if isinstance(own, str) else None, line)


def openhands(event: Event) -> Iterator[Part]:
    """An event of OpenHands' agent SDK: one file an event, a list, or lines."""
    kind = event.get("kind")
    known = isinstance(kind, str) and kind.endswith(OPENHANDS_KINDS) and "source" in event
    if known and "timestamp" in event and "id" in event:
        yield Part("openhands", None, event)


def otlp(line: Event) -> Iterator[Part]:
    """Spans of an OTLP export, each with what its resource and scope say; by trace."""
    for resource in _objects(line.get("resourceSpans", line.get("resource_spans"))):
        for scope in _objects(resource.get("scopeSpans", resource.get("scope_spans"))):
            for span in _objects(scope.get("spans")):
                yield Part("otel", str(span.get("traceId", span.get("trace_id", ""))), span)


def sdk_span(line: Event) -> Iterator[Part]:
    """A span as OpenTelemetry's Python SDK prints it (`to_json`)."""
    context = line.get("context")
    if isinstance(context, dict) and "attributes" in line and "trace_id" in context:
        yield Part("otel", str(context["trace_id"]), line)


def observation(line: Event) -> Iterator[Part]:
    """An observation of Langfuse's export, one a line."""
    if isinstance(line.get("traceId"), str) and "parentObservationId" in line and "type" in line:
        yield Part("langfuse", line["traceId"], line)


def langsmith(line: Event) -> Iterator[Part]:
    """A run of LangSmith's export, with the runs that stand inside it; by trace."""
    known = isinstance(line.get("run_type"), str) and "inputs" in line and "id" in line
    if known and not line.keys().isdisjoint(("trace_id", "dotted_order", "child_runs")):
        yield from _runs(line, str(line.get("trace_id") or line["id"]))


def _runs(run: Event, trace: str) -> Iterator[Part]:
    yield Part("langsmith", trace, run)
    for child in _objects(run.get("child_runs")):
        yield from _runs(child, trace)


def exchange(line: Event) -> Iterator[Part]:
    """A line that `raytune-agents capture` wrote: a request with its answer, or an outcome."""
    if line.get("type") in ("exchange", "outcome") and isinstance(line.get("session"), str):
        yield Part("exchanges", line["session"], line)


def batch(line: Event) -> Iterator[Part]:
    """A line of OpenAI's or Anthropic's batch files; request and answer share `custom_id`."""
    if isinstance(line.get("custom_id"), str) and not line.keys().isdisjoint(BATCH_KEYS):
        yield Part("exchanges", line["custom_id"], line)


def pydantic_ai(line: Event) -> Iterator[Part]:
    """A message of Pydantic AI's history, one a row; newer ones name their conversation."""
    if is_pydantic_ai(line):
        own = line.get("conversation_id")
        yield Part("pydantic_ai", own if isinstance(own, str) else None, line)


def is_pydantic_ai(message: Event) -> bool:
    return message.get("kind") in ("request", "response") and isinstance(message.get("parts"), list)


def autogen(line: Event) -> Iterator[Part]:
    """A message of AutoGen's, one a row: the file is one conversation."""
    if is_autogen(line):
        yield Part("autogen", None, line)


def is_autogen(message: Event) -> bool:
    """Whether a row is a message of AgentChat or of a model's context."""
    kind = message.get("type")
    known = isinstance(kind, str) and kind.startswith(AUTOGEN_TYPES) and "role" not in message
    return known and "content" in message and ("source" in message or kind == AUTOGEN_TYPES[0])


def adk(line: Event) -> Iterator[Part]:
    """An event of Google ADK's, one a row."""
    content = line.get("content")
    known = isinstance(content, dict) and isinstance(content.get("parts"), list)
    if known and "author" in line and not line.keys().isdisjoint(("invocation_id", "invocationId")):
        yield Part("adk", None, line)


def smolagents(line: Event) -> Iterator[Part]:
    """A step of smolagents' memory, one a row."""
    if any(keys <= line.keys() for keys in SMOLAGENTS_KEYS) and "steps" not in line:
        yield Part("smolagents", None, line)


def gemini_cli(line: Event) -> Iterator[Part]:
    """A record of Gemini CLI's session: its head, a message, or a change of one."""
    if {"sessionId", "projectHash"} <= line.keys() and "messages" not in line:
        yield Part("gemini_cli", str(line["sessionId"]), line)
    elif (
        "$set" in line
        or "$rewindTo" in line
        or line.get("type") == "message_update"
        or (
            line.get("type") in GEMINI_TYPES
            and {"id", "timestamp", "content"} <= line.keys() <= (GEMINI_KEYS)
        )
    ):
        yield Part("gemini_cli", None, line)


def turn(line: Event) -> Iterator[Part]:
    """A turn as a row of its own: the file is one conversation (mini-swe-agent before 2.0)."""
    if isinstance(line.get("role"), str) and line.keys() <= TURN_KEYS and "content" in line:
        yield Part("openai", None, line)


def item(line: Event) -> Iterator[Part]:
    """An OpenAI Responses item as a row of its own."""
    if is_item(line):
        yield Part("responses", None, line)


TURN_KEYS = {
    "role",
    "content",
    "tool_calls",
    "tool_call_id",
    "name",
    "extra",
    "timestamp",
    "reasoning_content",
}
BATCH_KEYS = {"body", "response", "params", "result"}
AUTOGEN_TYPES = (
    "FunctionExecutionResultMessage",
    "TextMessage",
    "ToolCall",
    "ThoughtEvent",
    "MultiModalMessage",
    "StopMessage",
    "HandoffMessage",
    "StructuredMessage",
    "UserMessage",
    "AssistantMessage",
    "SystemMessage",
    "MemoryQueryEvent",
    "UserInputRequestedEvent",
    "ModelClientStreamingChunkEvent",
    "Select",
    "Code",
)
SMOLAGENTS_KEYS = (
    {"task", "task_images"},
    {"step_number", "model_output", "observations"},
    {"plan", "model_output_message"},
)
GEMINI_TYPES = ("user", "gemini", "info", "error", "warning")
GEMINI_KEYS = {
    "id",
    "timestamp",
    "type",
    "content",
    "thoughts",
    "tokens",
    "model",
    "toolCalls",
    "displayContent",
}
CHATS = ("openai", "pydantic_ai", "autogen")  # whose gathered row is one of messages
LOGS: tuple[Parts, ...] = (
    claude_code,
    codex,
    openhands,
    otlp,
    sdk_span,
    observation,
    langsmith,
    exchange,
    batch,
    pydantic_ai,
    autogen,
    adk,
    smolagents,
    gemini_cli,
    turn,
    item,
)


def _objects(value: Any) -> list[Event]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


Held = dict[tuple[str, "str | None"], tuple[str, list[Event]]]


def gathered(rows: Iterable[Found]) -> Iterator[Found]:
    """`rows` of one file with the events of each conversation as one row, at the place of its
    first one, after all other rows. Raises nothing; linear in the file."""
    held: Held = {}
    now: dict[str, str | None] = {}  # format -> the conversation that its last event named
    count = 0
    for where, row in rows:
        parts = [] if isinstance(row, RecordError) else _parts(row)
        if not parts:
            yield where, row
        # one line of an exporter holds spans of several traces
        for format, session, event in parts:
            now[format] = now.get(format) if session is None else session
            count += 1
            _, events = held.setdefault((format, now[format]), (where, []))
            if count <= MAX_EVENTS:
                events.append(event)
            elif count == MAX_EVENTS + 1:
                yield where, RecordError(f"more than {MAX_EVENTS} events in one file; split it")
    yield from _rows(held)


def _parts(row: Event) -> list[Part]:
    for parts in LOGS:
        if found := list(parts(row)):
            return found
    return []


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
