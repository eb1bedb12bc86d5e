"""OpenHands before its agent SDK: events {action, args} and {observation, content, cause}, as its
app exports them, and as `history` in the output of its evaluations.

A call is what the model wrote, where the event keeps the response; else the action with its
arguments. Calls of one response are one turn. State changes and recalls are no turns, nor is what
the user ran himself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from raytune_agents.readers.fields import Fields, as_list, first_object, note, object_of, words_of
from raytune_agents.readers.outcomes import outcome_of, outcome_score
from raytune_agents.readers.parts import flat_text
from raytune_agents.readers.shapes import read_call, read_tools
from raytune_agents.readers.spans import model_calls, seen_tools, unread_meta
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turns import episode
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, ToolSpec, Trajectory

NO_TURNS, NOT_SAID = words_of("openhands_quiet"), {*words_of("openhands_about")}
Event = JsonObject


@dataclass
class _Run:
    turns: list[Message] = field(default_factory=list)
    tools: tuple[ToolSpec, ...] = ()
    calls: dict[Any, ToolCall] = field(default_factory=dict)  # by the id of their event
    answers: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # response -> model, usage
    response: str = ""  # of the last turn


def of_evaluation(row: Event, made: Trajectory) -> Trajectory:
    """A conversation with what a row of an evaluation says of it: how it ended, and what the agent
    was asked where no event does."""
    fields = Fields(row)
    fields.skip("history", "instance_id")
    outcome, word = outcome_of(fields)
    if outcome is None:
        report = object_of(row.get("report") or object_of(row.get("test_result")).get("report"))
        outcome, word = outcome_score(report.get("resolved")), f"resolved={report.get('resolved')}"
    failed = as_text(fields("error"))
    if outcome is None:
        outcome, word = (0.0, f"error: {failed}") if failed else (None, "")
    turns = made.messages
    if all(t.role != "user" for t in turns) and (asked := as_text(row.get("instruction"))):
        fields.skip("instruction")
        system = sum(t.role == "system" for t in turns[:1])
        turns = (*turns[:system], Message("user", asked), *turns[system:])
    meta = made.meta | fields.rest("instance", "metadata", "metrics")
    about: JsonObject = {"outcome": outcome, "outcome_word": word[:200], "meta": meta}
    return replace(made, messages=turns, **about)


def events_read(history: Any, session: str) -> Trajectory:
    """The conversation of the events. Raises RecordError where the agent says nothing."""
    run, unread = _Run(), ""
    for event in _flat(history):
        try:
            _add(run, event)
        except RecordError as error:  # what follows cannot be learned without it
            note("event", str(error))
            unread = str(error)
            break
    if not any(t.role == "assistant" for t in run.turns):
        raise RecordError(unread or "a conversation in which the agent says nothing")
    meta = model_calls(run.answers.values()) | unread_meta(unread)
    return episode(run.turns, run.tools or seen_tools(run.turns), source_id=session, meta=meta)


def _flat(history: Any) -> Iterable[Event]:
    """The events, of older versions in pairs of an action and its observation."""
    for event in as_list(history):
        yield from _flat(event) if isinstance(event, list) else (event,)


def _add(run: _Run, event: Event) -> None:
    if not isinstance(event, dict) or event.get("action", event.get("observation")) in NO_TURNS:
        return
    if isinstance(event.get("observation"), str):
        _add_seen(run, event)
        return
    source, arguments = event.get("source"), event.get("args", event)
    if not isinstance(arguments, dict):
        raise RecordError(f"an action without arguments: {str(event.get('action'))[:40]}")
    images = arguments.get("image_urls", arguments.get("images_urls"))
    if event.get("action") in ("message", "system"):
        said = source == "agent" or (source is None and arguments.get("wait_for_response"))
        role = "assistant" if said else "user"
        if event["action"] == "system":
            role, run.tools = "system", read_tools(arguments.get("tools"))
        if images:
            raise RecordError("a content part that is no text: image")
        run.turns.append(Message(role, flat_text(arguments.get("content") or "")))
        run.response = ""
    elif source in ("agent", None):
        _add_call(run, event, arguments)


def _add_call(run: _Run, event: Event, arguments: JsonObject) -> None:
    about = object_of(event.get("tool_call_metadata"))
    answer = object_of(about.get("model_response"))
    said = object_of(first_object(answer.get("choices")).get("message"))
    written = said.get("tool_calls")
    key = as_text(about.get("tool_call_id"))
    found = (c for c in written or () if isinstance(c, dict) and c.get("id") == key)
    if (own := next(found, None)) is not None:
        call = read_call({k: own[k] for k in ("id", "function") if k in own})
    else:
        told = {k: v for k, v in arguments.items() if k not in NOT_SAID and v is not None}
        name = as_text(about.get("function_name") or event.get("action"))
        call = read_call({"name": name, "arguments": told, "id": key or as_text(event.get("id"))})
    run.calls[event.get("id")] = call
    response = as_text(answer.get("id"))
    if response and response == run.response:
        at = len(run.turns) - 1
        while run.turns[at].role != "assistant":
            at -= 1
        run.turns[at] = replace(run.turns[at], tool_calls=(*run.turns[at].tool_calls, call))
        return
    content = flat_text(said.get("content") or arguments.get("thought") or "").strip()
    thought = flat_text(said.get("reasoning_content") or "").strip()
    run.turns.append(Message("assistant", content, thought, (call,)))
    run.response = response
    if response:
        run.answers[response] = answer.get("model"), answer.get("usage")


def between_marks(text: str, about: JsonObject) -> str:
    """A command's output as the model is shown it: `about` says what stands around it."""
    return f"{as_text(about.get('prefix'))}{text}{as_text(about.get('suffix'))}"


def _add_seen(run: _Run, event: Event) -> None:
    """What a call gave; nothing where no call of the agent's is its cause."""
    last = run.turns[-1].tool_calls if run.turns else ()
    call = run.calls.get(event["cause"]) if event.get("cause") is not None else None
    if call is None and "cause" not in event and last:
        call = last[-1]
    if call is not None:
        about = object_of(object_of(event.get("extras")).get("metadata"))
        text = between_marks(flat_text(event.get("content") or ""), about)
        run.turns.append(Message("tool", text, name=call.name, tool_call_id=call.id))
