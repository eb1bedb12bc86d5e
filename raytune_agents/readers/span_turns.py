"""What traces alone write of turns: calls as a turn's text or as a turn each, a tool's name for its
role, alternatives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from raytune_agents.readers.fields import Fields, as_list, object_of
from raytune_agents.readers.strict import as_text, value_or
from raytune_agents.readers.turns import as_one
from raytune_agents.records import JsonObject, Message

RAN = "Calling tools:\n"  # before the calls that smolagents ran


def one_answer(answers: list[Any]) -> list[Any]:
    """Of several answers to one request the others are alternatives, but for calls, each of which
    some programs write as an answer of its own."""
    calls = [a for a in answers if written_calls(a) is not None]
    return calls if len(calls) == len(answers) else answers[:1]


def written_calls(turn: Any) -> list[JsonObject] | None:
    """The calls that a turn's text is, as the API's own objects: in JSON (Koog), or as smolagents
    tells the model what it ran, where code is no JSON."""
    text = object_of(turn).get("content")
    if isinstance(text, list) and len(text) == 1:
        text = object_of(text[0]).get("text")
    text = text.removeprefix(RAN) if isinstance(text, str) else ""
    if text[:2] != "[{" or "function" not in text[:200]:
        return None
    value = value_or(text)
    calls = [c for c in as_list(value) if _is_call(c)]
    return [c | {"function": _with_code(c["function"])} for c in calls] if calls == value else None


def _is_call(call: Any) -> bool:
    function = object_of(object_of(call).get("function"))
    return "id" in object_of(call) and "arguments" in function


def _with_code(function: JsonObject) -> JsonObject:
    """A function whose arguments are a program's text, with that as its argument."""
    text = function["arguments"]
    if not isinstance(text, str) or isinstance(value_or(text), dict):
        return function
    return function | {"arguments": {"code": text}}


def with_named_results(turns: list[Any]) -> list[Any]:
    """Turns in which a tool's name stands for who speaks, as LangGraph's in Langfuse, as results of
    a tool that an earlier turn called."""
    called: set[str] = set()
    out = []
    for turn in turns:
        if isinstance(turn, dict) and turn.get("role") in called and "content" in turn:
            turn = turn | {"role": "tool", "name": turn["role"]}
        out.append(turn)
        for call in as_list(object_of(turn).get("tool_calls")):
            fields = Fields(object_of(object_of(call).get("function")) or object_of(call))
            called.add(as_text(fields.peek("name")))
    return out


def calls_together(messages: Iterable[Message]) -> Iterator[Message]:
    """Calls of one answer that were recorded as a turn each, and its thought, as one turn."""
    now: Message | None = None
    for message in messages:
        goes_on = now and now.role == message.role == "assistant"
        only_thinks = now and not (now.content or now.tool_calls)
        if now and goes_on and (message.tool_calls or only_thinks):
            now = as_one(now, message, message)
            continue
        if now:
            yield now
        now = message
    if now:
        yield now
