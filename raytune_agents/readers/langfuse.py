"""Langfuse exports: a trace with its observations and scores, or observations line by line.

Generations are the model calls; their input and output are whatever the framework recorded: turns,
Responses items, or whole bodies. Tools are listed there, or in the attributes that came with them.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers import spans
from raytune_agents.readers.exchanges import answer_turns, model_call_of
from raytune_agents.readers.fields import blank, object_of, words_of
from raytune_agents.readers.otel_calls import flat_tools, told_call
from raytune_agents.readers.sessions import EVENTS, Event
from raytune_agents.readers.shapes import read_tools
from raytune_agents.readers.strict import as_text, value_of
from raytune_agents.records import RecordError, Trajectory

OF_TOOL = words_of("langfuse_tool")


def read(row: Event) -> list[Trajectory]:
    """{trace, observations}, {id, observations, scores} or gathered observations. Raises
    RecordError."""
    trace = row["trace"] if isinstance(row.get("trace"), dict) else row
    observations = row[EVENTS] if EVENTS in row else row.get("observations")
    if not isinstance(observations, list) or not all(isinstance(o, dict) for o in observations):
        raise RecordError("observations are no list of objects; export them with their content")
    listed = [s for s in (trace.get("scores") or []) if isinstance(s, dict)]
    scores = [(as_text(s.get("name")), s.get("stringValue") or s.get("value")) for s in listed]
    outcome, word = spans.outcome_of_scores(scores)
    kept = ("name", "tags", "sessionId", "release")
    about = {k: trace[k] for k in kept if not blank(trace.get(k))}
    about |= {"scores": dict(scores)} if scores else {}
    key = as_text(trace.get("id") or row.get("session"))
    steps = spans.spans_read(_span, observations)
    return spans.trajectories_of(steps, key, about, outcome, word)


def _span(seen: Event) -> spans.Span:
    failed = seen.get("level") == "ERROR"
    base = spans.base_span(seen, as_text(seen.get("statusMessage")) or "error" if failed else "")
    request, answer = (spans.exported_value(seen.get(k)) for k in ("input", "output"))
    if seen.get("type") == "GENERATION":
        call_fields = _recorded_call(seen, answer) or model_call_of(request, answer)
        tools = call_fields.get("tools") or _recorded_tools(seen)
        counts = spans.token_counts(seen.get("usageDetails") or seen.get("usage"))
        call_fields |= {"tools": tools, "model": as_text(seen.get("model")), "tokens": counts}
        return spans.model_span(base, call_fields)
    message = object_of(answer)
    if seen.get("type") == "TOOL" or message.get("type") == "tool":
        name, key = as_text(message.get("name")) or seen.get("name"), message.get("tool_call_id")
        result = message["content"] if message.get("type") == "tool" else answer
        return spans.tool_span(base, name, request, key, result)
    return base


def _attributes(seen: Event) -> Event:
    """The attributes of OpenTelemetry that an observation was made from."""
    about = object_of(spans.exported_value(seen.get("metadata")))
    return found if isinstance(found := about.get("attributes"), dict) else about


def _recorded_call(seen: Event, answer: Any) -> Event:
    """The call as OpenInference's attributes have it: its input may be what Python printed."""
    about = _attributes(seen)
    if "llm.input_messages.0.message.role" not in about:
        return {}
    found = told_call(about)
    own = {} if found.get("answer") else spans.read_model_call(None, answer_turns(answer))
    return found | ({"answer": own["answer"]} if "answer" in own else {})


def _recorded_tools(seen: Event) -> Any:
    """Tools in the attributes that an observation was made from."""
    about = _attributes(seen)
    listed = about.get("gen_ai.tool.definitions", about.get("tools"))
    parameters = about.get("model_request_parameters")  # Pydantic AI's
    if isinstance(parameters, dict):
        parts = (parameters.get(name) for name in ("function_tools", "output_tools"))
        listed = listed or [t for part in parts if isinstance(part, list) for t in part]
    try:
        return read_tools(flat_tools(about) or _bare_tools(value_of(listed)))
    except RecordError:
        return ()


def _bare_tools(listed: Any) -> Any:
    items = listed if isinstance(listed, list) else []
    return [{k: t[k] for k in OF_TOOL if k in t} if isinstance(t, dict) else t for t in items]
