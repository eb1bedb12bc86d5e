"""OpenTelemetry traces: OTLP as JSON, spans as an SDK prints them or as a backend exports them
(Phoenix, CloudWatch), and the log records that tell what was said.

What a model's call says is read by `otel_calls`. Most instrumentations leave the messages out
unless they are told to record them. What an agent's span says of its instructions and tools holds
for the calls below it; where no call was recorded, the agents' own spans are the calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from raytune_agents.readers import spans
from raytune_agents.readers.fields import Fields, as_list, blank, object_of, objects_among, words_of
from raytune_agents.readers.otel_calls import Told, choice_turn, told_call
from raytune_agents.readers.parts import flat_text
from raytune_agents.readers.sessions import EVENTS, Event
from raytune_agents.readers.shapes import read_tools
from raytune_agents.readers.strict import as_text, value_or
from raytune_agents.readers.threads import above
from raytune_agents.readers.turns import with_system
from raytune_agents.records import RecordError, ToolSpec, Trajectory

ATTRIBUTES = "attributes"
KIND = words_of("otel_kind")  # attributes that say what a span is of
MODELS, TOOLS, AGENTS = ({*words_of(f"otel_{k}_kinds")} for k in ("model", "tool", "agent"))
CALLS = words_of("otel_call")  # that only a model's call has


def read(row: Event) -> list[Trajectory]:
    """The spans of one trace. Raises RecordError where none says what a model was asked."""
    found = [_seen(e) for e in _with_records([_span_event(e) for e in row[EVENTS]])]
    held = _agents(found)
    steps = list(spans.spans_read(lambda s: _span(s, held), found))
    if not any(s.prompt and s.kind == "model" for s in steps):
        agents = [s for s in found if s.kind == "agent"]
        told = spans.spans_read(lambda s: _model(s.base, s, held), agents)
        steps += [s for s in told if s.prompt]
    scores, meta = [], {}
    for seen in found:
        about = seen.about
        scores += _scores(seen)
        for name in ("session.id", "gen_ai.conversation.id", "gen_ai.agent.name"):
            if about.get(name):
                meta.setdefault(name, as_text(about[name]))
    outcome, word = spans.outcome_of_scores(scores)
    meta |= {"scores": dict(scores)} if scores else {}
    ran = dict(_ran(found))
    return spans.trajectories_of(steps, row["session"], meta, outcome, word, ran=ran)


# --- attributes -------------------------------------------------------------------------------


def _span_event(event: Event) -> Event:
    """A span or a log record with its attributes as a map, its ids at the top."""
    about = dict(_flat("", _attributes(event.get(ATTRIBUTES))))
    if isinstance(event.get("span_kind"), str):  # Phoenix
        about.setdefault("openinference.span.kind", event["span_kind"])
    return event | object_of(event.get("context")) | {ATTRIBUTES: about}


def _attributes(value: Any) -> Event:
    """Attributes as plain values: OTLP lists {key, value: {stringValue}}, the SDK prints a map."""
    if isinstance(value, dict):
        return value
    return {str(p.get("key")): _plain_value(p.get("value")) for p in objects_among(value)}


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Attributes under one name each: exports nest {llm: {input_messages: [...]}}. What a span
    gave as one value stays one."""
    inner = value.items() if isinstance(value, dict) else ()
    if path.startswith("llm.") and isinstance(value, list):
        inner = enumerate(value)
    nested = not path or "." not in path or path.startswith("llm.")
    if not inner or not nested:
        yield path, value
        return
    for key, part in inner:
        yield from _flat(f"{path}.{key}".lstrip("."), part)


def _plain_value(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        return None
    [(kind, inner)] = value.items()
    if kind in ("arrayValue", "array_value"):
        return [_plain_value(v) for v in as_list(object_of(inner).get("values"))]
    if kind in ("kvlistValue", "kvlist_value"):
        return _attributes(object_of(inner).get("values"))
    if kind in ("intValue", "int_value") and isinstance(inner, str):
        return int(inner) if inner.removeprefix("-").isdecimal() else inner
    return inner


def _with_records(events: list[Event]) -> list[Event]:
    """The spans, each with its log records among its events; records of a span that is not there
    are one."""
    own = [e for e in events if "body" not in e]
    by_id: dict[str, Event] = {key: e for e in own if (key := spans.base_span(e).id)}
    held: dict[str, list[Event]] = {}
    for event in events:
        if "body" in event:
            key = spans.base_span(event).id
            if key not in by_id:
                start = event.get("timeUnixNano", event.get("timestamp"))
                by_id[key] = {"span_id": key, "start_time": start, ATTRIBUTES: {}}
                own.append(by_id[key])
            held.setdefault(key, []).append(event)
    for key, records in held.items():
        by_id[key]["events"] = [*as_list(by_id[key].get("events")), *records]
    return own


def _told(event: Event) -> list[Told]:
    """The events of a span, with what each says: its attributes, and the body of a record."""
    out = []
    for inner in objects_among(event.get("events") or event.get("span_events")):
        about, body = _attributes(inner.get(ATTRIBUTES)), inner.get("body")
        plain = body if isinstance(body, dict) and "kvlistValue" not in body else _plain_value(body)
        fields = Fields(inner)
        name = as_text(fields("name", "event_name") or about.get("event.name"))
        out.append(Told(name, about | object_of(plain)))
    return out


# --- spans ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """A span with what several readers ask of it. `kind`: model, tool, agent, or "" for what is
    none, or does not say; `base`: its ids and times alone."""

    event: Event
    about: Event
    told: list[Told]
    kind: str
    base: spans.Span


def _seen(event: Event) -> _Seen:
    about, told = event[ATTRIBUTES], _told(event)
    return _Seen(event, about, told, _kind(about, told), spans.base_span(event))


def _kind(about: Event, told: list[Told]) -> str:
    words = {str(about[name]).strip('"').casefold() for name in KIND if name in about}
    for kind, known in (("tool", TOOLS), ("model", MODELS), ("agent", AGENTS)):
        if words & known:
            return kind
    if words - {"internal"}:
        return ""
    called = any(not blank(about.get(name)) for name in CALLS)
    answered = any(t.name == "gen_ai.choice" for t in told)
    return "model" if called or answered else ""


def _span(seen: _Seen, held: dict[str, Event]) -> spans.Span:
    base = replace(seen.base, error=_error(seen.event, seen.about))
    if seen.kind == "tool":
        return _tool(base, seen)
    return _model(base, seen, held) if seen.kind == "model" else base


def _model(base: spans.Span, seen: _Seen, held: dict[str, Event]) -> spans.Span:
    """A model's call, with what its agent's span says of all of them."""
    call_fields = told_call(seen.about, seen.told)
    prompt = call_fields.get("prompt", ())
    agent = held.get(base.id, {})
    if prompt and prompt[0].role != "system":
        system = spans.exported_value(_first(agent, "otel_system"))
        turns = with_system(flat_text(system), list(prompt))
        call_fields["prompt"] = tuple(turns)
    if prompt and not call_fields.get("tools"):
        call_fields["tools"] = read_tools(value_or(agent.get("gen_ai.tool.definitions")))
    return spans.model_span(base, call_fields)


def _first(about: Event, thing: str) -> Any:
    """The first attribute of those that say a thing which holds something."""
    return next((about[n] for n in words_of(thing) if not blank(about.get(n))), None)


def _agents(found: list[_Seen]) -> dict[str, Event]:
    """A span's id -> the attributes of the nearest agent's span that holds it, or that it is."""
    bases = {s.base.id: s.base.parent for s in found if s.base.id}
    own = {s.base.id: s.about for s in found if s.kind == "agent"}
    nearest = {key: key for key in own}
    return {key: own.get(key) or own.get(above(key, bases, nearest), {}) for key in bases}


def _tool(base: spans.Span, seen: _Seen) -> spans.Span:
    """A tool's call; older events say what it was given, and what it gave."""
    about = seen.about
    told = {t.name: t.body for t in seen.told}
    asked = told.get("gen_ai.tool.message", {})
    arguments = _first(about, "otel_tool_arguments")
    result = _first(about, "otel_tool_result")
    if arguments is None:
        arguments = asked.get("content")
    if result is None and "gen_ai.choice" in told:
        result = flat_text(choice_turn(told["gen_ai.choice"])["content"])
    if isinstance(result, str) and result[:1] == '"':  # a text as JSON
        result = spans.exported_value(result)
    named = object_of(spans.exported_value(arguments))
    for inner in ("kwargs", "inputs"):
        if isinstance(named.get(inner), dict) and named.keys() <= CALL_KEYS:
            arguments = named[inner]
    key = _first(about, "otel_tool_id") or asked.get("id")
    name = _first(about, "otel_tool_name") or seen.event.get("name")
    return spans.tool_span(base, name, arguments, key, result)


def _ran(found: list[_Seen]) -> Iterator[tuple[str, ToolSpec]]:
    """(name, tool) of those whose spans say what arguments they take."""
    for seen in found:
        about = seen.about
        schema = value_or(about.get("gen_ai.tool.json_schema"))
        if seen.kind == "tool" and isinstance(schema, dict):
            name = about.get("gen_ai.tool.name")
            text = about.get("gen_ai.tool.description")
            with suppress(RecordError):  # then as its calls show it
                [tool] = read_tools([{"name": name, "description": text, "parameters": schema}])
                yield tool.name, tool


# of what tracers write of a Python function's call, or of a LangChain tool's
CALL_KEYS = {*words_of("otel_call_keys")}


def _error(event: Event, about: Event) -> str:
    status = object_of(event.get("status"))
    code = status.get("code", status.get("status_code"))
    if code not in (2, "STATUS_CODE_ERROR", "ERROR"):
        return ""
    text = status.get("message", status.get("description")) or about.get("error.type")
    return as_text(text) or "error"


def _scores(seen: _Seen) -> Iterator[tuple[str, Any]]:
    """Evaluations: gen_ai.evaluation.result events (their score, else its label)."""
    for attributes in (seen.about, *(t.body for t in seen.told)):
        if name := attributes.get("gen_ai.evaluation.name"):
            label = attributes.get("gen_ai.evaluation.score.label")
            yield as_text(name), attributes.get("gen_ai.evaluation.score.value", label)
