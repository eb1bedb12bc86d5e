"""OpenTelemetry traces: OTLP as JSON, or spans as the Python SDK prints them.

Read are the attributes of the GenAI semantic conventions (gen_ai.*), of OpenInference (llm.*,
flattened: "llm.input_messages.0.message.role") and of OpenLLMetry ("gen_ai.prompt.0.role", as in
traceloop/openllmetry `opentelemetry-instrumentation-openai`). Most instrumentations leave the
messages out unless they are told to record them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from raytune_agents.readers import spans
from raytune_agents.readers.fields import Fields, object_of
from raytune_agents.readers.sessions import EVENTS, Event
from raytune_agents.readers.strict import as_text, value_of
from raytune_agents.records import Trajectory

MODEL_CALLS = ("chat", "text_completion", "generate_content")
WRAPPED = ("message", "tool_call", "message_content", "tool")  # OpenInference's, around one value
ATTRIBUTES = "attributes"
MAX_INDEX = 100_000  # of a flattened list


def read(row: Event) -> list[Trajectory]:
    """The spans of one trace. Raises RecordError where none says what a model was asked."""
    events = [e | {ATTRIBUTES: _attributes(e.get(ATTRIBUTES))} for e in row[EVENTS]]
    steps = spans.spans_read(_span, events)
    scores, meta = [], {}
    for event in events:
        about = event[ATTRIBUTES]
        scores += _scores(event, about)
        for name in ("session.id", "gen_ai.conversation.id", "gen_ai.agent.name"):
            if about.get(name):
                meta.setdefault(name, as_text(about[name]))
    outcome, word = spans.outcome_of_scores(scores)
    meta |= {"scores": dict(scores)} if scores else {}
    return spans.trajectories_of(steps, row["session"], meta, outcome, word)


# --- attributes -------------------------------------------------------------------------------


def _attributes(value: Any) -> Event:
    """Attributes as plain values: OTLP lists {key, value: {stringValue}}, the SDK prints a map."""
    if isinstance(value, dict):
        return value
    pairs = value if isinstance(value, list) else []
    return {str(p.get("key")): _plain_value(p.get("value")) for p in pairs if isinstance(p, dict)}


def _plain_value(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        return None
    [(kind, inner)] = value.items()
    if kind in ("arrayValue", "array_value"):
        values = object_of(inner).get("values")
        return [_plain_value(v) for v in values] if isinstance(values, list) else []
    if kind in ("kvlistValue", "kvlist_value"):
        return _attributes(object_of(inner).get("values"))
    if kind in ("intValue", "int_value") and isinstance(inner, str):
        return int(inner) if inner.removeprefix("-").isdecimal() else inner
    return inner


def unflattened(attributes: Event, prefix: str) -> list[Any]:
    """The list under "prefix.0.a.b", "prefix.1...", in the order of its numbers."""
    tree: Event = {}
    for name, value in attributes.items():
        if not name.startswith(prefix + "."):
            continue
        *path, last = name[len(prefix) + 1 :].split(".")
        now = tree
        for step in path:
            inner = now.setdefault(step, {})
            now = inner if isinstance(inner, dict) else {}
        now[last] = value
    found = _listed_tree(tree)
    return found if isinstance(found, list) else []


def _listed_tree(tree: Any) -> Any:
    """Maps of numbers as lists, and what only wraps one value without its wrapper."""
    if not isinstance(tree, dict):
        return tree
    if tree and all(k.isdecimal() and int(k) < MAX_INDEX for k in tree):
        return [_listed_tree(tree[k]) for k in sorted(tree, key=int)]
    if len(tree) == 1 and next(iter(tree)) in WRAPPED:
        [inner] = tree.values()
        return _listed_tree(inner)
    return {k: _listed_tree(v) for k, v in tree.items()}


# --- spans ------------------------------------------------------------------------------------


def _span(event: Event) -> spans.Span:
    about = event[ATTRIBUTES]
    base = spans.base_span(event | object_of(event.get("context")), _error(event, about))
    operation, kind = about.get("gen_ai.operation.name"), about.get("openinference.span.kind")
    if operation == "execute_tool" or kind == "TOOL":
        return _tool(base, about)
    if "gen_ai.prompt.0.role" in about:
        return spans.model_span(base, _openllmetry(about))
    if operation in MODEL_CALLS:
        return spans.model_span(base, _gen_ai(about))
    return spans.model_span(base, _openinference(about)) if kind == "LLM" else base


def _gen_ai(about: Event) -> Event:
    names = ("input.messages", "output.messages", "tool.definitions", "system_instructions")
    prompt, answer, tools, system = (value_of(about.get(f"gen_ai.{name}")) for name in names)
    return spans.read_model_call(prompt, answer, tools, system) | _gen_ai_counts(about)


def _gen_ai_counts(about: Event) -> Event:
    names = [("input_tokens", "output_tokens"), ("prompt_tokens", "completion_tokens")]
    counts = (_counts(about, *(f"gen_ai.usage.{name}" for name in pair)) for pair in names)
    return {
        "model": as_text(about.get("gen_ai.response.model", about.get("gen_ai.request.model"))),
        "tokens": next(filter(any, counts), (0, 0)),
    }


def _openllmetry(about: Event) -> Event:
    prompt, answers = (unflattened(about, f"gen_ai.{n}") for n in ("prompt", "completion"))
    functions = unflattened(about, "llm.request.functions")
    named = [Fields(f) for f in functions if isinstance(f, dict)]
    tools = [{n: f(n) for n in ("name", "description")} | {"parameters": _schema(f)} for f in named]
    # of several answers to one request the others are alternatives
    return spans.read_model_call(prompt, answers[:1], tools) | _gen_ai_counts(about)


def _schema(function: Fields) -> Any:
    return value_of(function("parameters", "arguments", "input_schema"))


def _openinference(about: Event) -> Event:
    prompt = unflattened(about, "llm.input_messages")
    answer = unflattened(about, "llm.output_messages")
    asked, answered = ([_turn(t) for t in column] for column in (prompt, answer))
    return spans.read_model_call(asked, answered, flat_tools(about)) | {
        "model": as_text(about.get("llm.model_name")),
        "tokens": _counts(about, "llm.token_count.prompt", "llm.token_count.completion"),
    }


def flat_tools(about: Event) -> list[Any]:
    """The schemas of tools that OpenInference flattened."""
    tools = (t for t in unflattened(about, "llm.tools") if isinstance(t, dict))
    return [value_of(t["json_schema"]) for t in tools if "json_schema" in t]


def _turn(turn: Any) -> Any:
    """OpenInference has the parts of a turn under `contents`."""
    if isinstance(turn, dict) and isinstance(turn.get("contents"), list):
        return {k: v for k, v in turn.items() if k != "contents"} | {"content": turn["contents"]}
    return turn


def _tool(base: spans.Span, about: Event) -> spans.Span:
    name = about.get("gen_ai.tool.name", about.get("tool.name"))
    arguments = about.get("gen_ai.tool.call.arguments")
    if arguments is None:
        arguments = about.get("input.value", about.get("tool.parameters"))
    result = about.get("gen_ai.tool.call.result", about.get("output.value"))
    return spans.tool_span(base, name, arguments, about.get("gen_ai.tool.call.id"), result)


def _counts(about: Event, *names: str) -> tuple[int, ...]:
    return tuple(v if isinstance(v := about.get(n), int) else 0 for n in names)


def _error(event: Event, about: Event) -> str:
    status = object_of(event.get("status"))
    code = status.get("code", status.get("status_code"))
    if code not in (2, "STATUS_CODE_ERROR", "ERROR"):
        return ""
    text = status.get("message", status.get("description")) or about.get("error.type")
    return as_text(text) or "error"


def _scores(event: Event, about: Event) -> Iterator[tuple[str, Any]]:
    """Evaluations: gen_ai.evaluation.result events (their score, else its label)."""
    events = event.get("events")
    events = events if isinstance(events, list) else []
    within = (_attributes(e.get("attributes")) for e in events if isinstance(e, dict))
    for attributes in (about, *within):
        if name := attributes.get("gen_ai.evaluation.name"):
            label = attributes.get("gen_ai.evaluation.score.label")
            yield as_text(name), attributes.get("gen_ai.evaluation.score.value", label)
