"""What a span says of a model's call, in each convention that programs write.

GenAI's attributes, its older events (one a message, on the span or as log records), OpenLLMetry's
and OpenInference's flattened lists, the AI SDK's attributes, and bodies of requests and answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from raytune_agents.readers import spans
from raytune_agents.readers.exchanges import model_call_of
from raytune_agents.readers.fields import Fields, as_list, blank, object_of, objects_among, words_of
from raytune_agents.readers.langsmith import langchain_call
from raytune_agents.readers.parts import is_parts
from raytune_agents.readers.sessions import Event
from raytune_agents.readers.span_turns import one_answer
from raytune_agents.readers.strict import as_text, value_of

WRAPPED = ("message", "tool_call", "message_content", "tool")  # OpenInference's, around one value
MAX_INDEX = 100_000  # of a flattened list
MESSAGE = re.compile(r"gen_ai\.(system|user|assistant|tool)\.message")
BODIES = tuple(pair.split("&") for pair in words_of("otel_bodies"))  # of a request, of its answer


class Told(NamedTuple):
    """An event of a span: its name, and what it says."""

    name: str
    body: Event


def told_call(about: Event, events: Iterable[Told] = ()) -> Event:
    """The fields of a model call's Span from a span's attributes and events; {} where they say
    nothing of it. Raises RecordError."""
    told = list(events)
    for event in told:
        if event.name.startswith("gen_ai.") and not _is_message(event.name):
            about = event.body | about  # one event has the attributes of the whole call
    for found in (
        _gen_ai(about),
        _told(about, told),
        _in_a_record(told),
        _openllmetry(about),
        _openinference(about),
        _ai_sdk(about),
        _bodies(about),
    ):
        if found:
            return found | {k: v for k, v in _counts_of(about).items() if v}
    return {}


def _read(prompt: Any, answer: Any, tools: Any = None, system: Any = None) -> Event:
    if blank(prompt) and blank(answer):
        return {}
    return spans.read_model_call(prompt, answer, tools, system)


def _counts_of(about: Event) -> Event:
    """Model and tokens, where an attribute says them."""
    models = (as_text(about.get(name)) for name in words_of("otel_model"))
    pairs = zip(words_of("otel_prompt_tokens"), words_of("otel_answer_tokens"), strict=True)
    counts = (tuple(_count(about.get(name)) for name in pair) for pair in pairs)
    return {"model": next(filter(None, models), ""), "tokens": next(filter(any, counts), None)}


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


# --- GenAI ------------------------------------------------------------------------------------


def _gen_ai(about: Event) -> Event:
    names = ("input.messages", "output.messages", "tool.definitions", "system_instructions")
    prompt, answer, tools, system = (value_of(about.get(f"gen_ai.{name}")) for name in names)
    return _read(prompt, answer, tools, system)


def _is_message(name: str) -> bool:
    return name == "gen_ai.choice" or MESSAGE.fullmatch(name) is not None


def _told(about: Event, told: list[Told]) -> Event:
    """One event a message; also as one attribute with a list of them (Pydantic AI's first)."""
    more = objects_among(spans.exported_value(about.get("events")))
    told = [*told, *(Told(as_text(e.get("event.name")), e) for e in more)]
    prompt, answer = [], []
    for name, body in told:
        role = MESSAGE.fullmatch(name)
        if role is not None:
            prompt.append(_turn_of(role[1], body))
        elif name == "gen_ai.choice" and not _count(body.get("index")):  # others are alternatives
            answer.append(choice_turn(body))
    return _read(prompt, answer, value_of(about.get("gen_ai.tool.definitions")))


def _in_a_record(told: list[Told]) -> Event:
    """A log record of AWS's distribution of OpenTelemetry, with all messages of a call; those of
    LangChain's are the bodies of the call, with each text once more."""
    for event in told:
        parts = (object_of(event.body.get(name)).get("messages") for name in ("input", "output"))
        asked, answered = ([m for m in p if isinstance(m, dict)] if p else [] for p in parts)
        if asked and answered:
            request, answer = (said(column[0].get("content")) for column in (asked, answered))
            if "messages" in object_of(request) or "generations" in object_of(answer):
                return langchain_call(request, answer)
            return _read(*([_plain_turn(m) for m in column] for column in (asked, answered)))
    return {}


def _plain_turn(message: Event) -> Event:
    """A turn of a record, whose content has the attributes of an event."""
    inner = message.get("content")
    if isinstance(inner, dict):
        inner = inner.get("content", inner.get("message"))
    return {"role": message.get("role"), "content": said(inner)}


def _turn_of(role: str, body: Event) -> Event:
    body = body | object_of(spans.exported_value(body.get("gen_ai.event.content")))
    turn: Event = {"role": role, "content": said(body.get("content"))}
    turn |= {k: body[k] for k in ("tool_calls", "name") if not blank(body.get(k))}
    return turn | ({"tool_call_id": body["id"]} if role == "tool" and body.get("id") else {})


def choice_turn(body: Event) -> Event:
    """The turn of an answer's event."""
    body = body | object_of(spans.exported_value(body.get("gen_ai.event.content")))
    message = said(body.get("message", body.get("content")))
    turn = message if isinstance(message, dict) else {"content": message}
    turn = {"role": "assistant"} | turn | {"content": said(turn.get("content"))}
    why = body.get("finish_reason")
    return turn | ({"finish_reason": why} if isinstance(why, str) else {})


def said(text: Any) -> Any:
    """Content of an event: an object, or the JSON text of one or of parts; else as it is."""
    value = spans.exported_value(text)
    return value if isinstance(value, dict) or is_parts(value) else text


# --- flattened lists --------------------------------------------------------------------------


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
    return as_list(_listed_tree(tree))


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


def _openllmetry(about: Event) -> Event:
    prompt, answers = (unflattened(about, f"gen_ai.{n}") for n in ("prompt", "completion"))
    named = [Fields(f) for f in objects_among(unflattened(about, "llm.request.functions"))]
    tools = [{n: f(n) for n in ("name", "description")} | {"parameters": _schema(f)} for f in named]
    return _read(prompt, one_answer(answers), tools)


def _schema(function: Fields) -> Any:
    return value_of(function("parameters", "arguments", "input_schema"))


def _openinference(about: Event) -> Event:
    prompt = unflattened(about, "llm.input_messages")
    answer = unflattened(about, "llm.output_messages")
    asked, answered = ([_turn(t) for t in column] for column in (prompt, answer))
    if answered and not asked:  # an agent's run, whose prompt is the span's input
        asked = about.get("input.value")
    return _read(asked, answered, flat_tools(about))


def flat_tools(about: Event) -> list[Any]:
    """The schemas of tools that OpenInference flattened."""
    tools = objects_among(unflattened(about, "llm.tools"))
    return [found for t in tools if (found := value_of(t.get("json_schema")))]


def _turn(turn: Any) -> Any:
    """OpenInference has the parts of a turn under `contents`."""
    if isinstance(turn, dict) and isinstance(turn.get("contents"), list):
        return {k: v for k, v in turn.items() if k != "contents"} | {"content": turn["contents"]}
    return turn


# --- others -----------------------------------------------------------------------------------


def _ai_sdk(about: Event) -> Event:
    """Vercel's AI SDK: what went to the provider, and what came back."""
    prompt = value_of(about.get("ai.prompt.messages"))
    if blank(prompt):  # of the SDK's own function, around the calls
        given = object_of(spans.exported_value(about.get("ai.prompt")))
        prompt = given.get("messages") or given.get("prompt")
    tools = about.get("ai.prompt.tools")
    tools = [value_of(t) for t in tools] if isinstance(tools, list) else value_of(tools)
    calls, thought = about.get("ai.response.toolCalls"), about.get("ai.response.reasoning")
    text = about.get("ai.response.text", about.get("ai.response.object"))
    if blank(prompt) or (blank(text) and blank(calls)):
        return {}
    answer = {"role": "assistant", "content": as_text(text), "tool_calls": value_of(calls)}
    return _read(prompt, [answer | {"reasoning": as_text(thought)}], tools)


def _bodies(about: Event) -> Event:
    for asked, answered in BODIES:
        request, answer = (spans.exported_value(about.get(name)) for name in (asked, answered))
        if not blank(request) and not blank(answer):
            if object_of(answer).get("generations") is not None:
                return langchain_call(request, answer)
            return model_call_of(request, answer)
    return {}
