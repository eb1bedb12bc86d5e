"""OpenHands' events (agent SDK): messages, actions with their calls, observations. Those of the
versions before it: `openhands_history`.

Actions that answer one model call share its `llm_response_id` and are one turn. The system prompt
and the tools stand in the first event. State updates and token counts are no turns.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from raytune_agents.readers.fields import note, object_of
from raytune_agents.readers.openhands_history import between_marks, events_read, of_evaluation
from raytune_agents.readers.parts import flat_text
from raytune_agents.readers.sessions import EVENTS, Event, is_sdk_event
from raytune_agents.readers.shapes import NO_PARAMETERS, read_call, read_tools
from raytune_agents.readers.spans import seen_tools, unread_meta
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turns import episode, turns_of
from raytune_agents.records import Message, RecordError, ToolCall, ToolSpec, Trajectory


def read(row: Event) -> Trajectory:
    """One conversation. Raises RecordError where the agent says nothing."""
    if EVENTS in row:
        read_events = _conversation if any("kind" in e for e in row[EVENTS]) else events_read
        return read_events(row[EVENTS], row["session"])
    history = row["history"]  # a row of an evaluation
    read_events = _conversation if any(map(is_sdk_event, history)) else events_read
    return of_evaluation(row, read_events(history, as_text(row.get("instance_id"))))


def _conversation(events: list[Event], session: str) -> Trajectory:
    turns: list[Message] = []
    tools: tuple[ToolSpec, ...] = ()
    response, unread = None, ""  # of the last turn; why no more of them can be read
    for event in events:
        if event.get("kind") == "SystemPromptEvent":
            tools = read_tools([_bare_tool(t) for t in event.get("tools") or []])
        calls = _calls(event)
        key = event.get("llm_response_id")
        if calls and key and key == response and turns[-1].role == "assistant":
            turns[-1] = replace(turns[-1], tool_calls=turns[-1].tool_calls + calls)
            continue
        try:
            made = _turns(event, calls)
        except RecordError as error:  # answers to a picture cannot be learned without it
            note("event", str(error))
            unread = str(error)
            break
        turns += made
        response = key if calls else response if not made or made[-1].role == "tool" else None
    if not any(t.role == "assistant" for t in turns):
        raise RecordError(unread or "a conversation in which the agent says nothing")
    known = _known_tools(tools, turns)
    return episode(turns, known, source_id=session, meta=unread_meta(unread))


def _known_tools(tools: tuple[ToolSpec, ...], turns: list[Message]) -> tuple[ToolSpec, ...]:
    """The tools that the log lists; it may leave out their parameters, which calls then show."""
    seen = {t.name: t for t in seen_tools(turns)}
    return tuple(
        replace(seen[t.name], description=t.description)
        if t.name in seen and t.parameters == NO_PARAMETERS
        else t
        for t in tools
    ) or tuple(seen.values())


def _turns(event: Event, calls: tuple[ToolCall, ...]) -> list[Message]:
    kind = event.get("kind", "")
    if kind == "SystemPromptEvent":
        prompt = event.get("system_prompt")
        return [Message("system", flat_text(object_of(prompt).get("text", prompt)))]
    if kind == "MessageEvent" and isinstance(event.get("llm_message"), dict):
        said = event["llm_message"]
        kept = ("content", "reasoning_content", "tool_calls")
        return turns_of({"role": said.get("role")} | {k: said[k] for k in kept if said.get(k)})
    if calls:
        content = flat_text(event.get("thought") or "")
        thought = as_text(event.get("reasoning_content")).strip()
        [turn] = turns_of({"role": "assistant", "content": content})
        return [Message("assistant", turn.content.strip(), turn.thought or thought, calls)]
    if event.get("tool_call_id") and ("Observation" in kind or kind.endswith("ErrorEvent")):
        name, key = as_text(event.get("tool_name")), as_text(event["tool_call_id"])
        return [Message("tool", _observed(event), name=name, tool_call_id=key)]
    return []


def _calls(event: Event) -> tuple[ToolCall, ...]:
    call = event.get("tool_call")
    if event.get("kind") != "ActionEvent" or not isinstance(call, dict):
        return ()
    whole = isinstance(call.get("function"), dict)
    kept = ("id", "function") if whole else ("id", "name", "arguments")
    return (read_call({k: call[k] for k in kept if k in call}),)


def _observed(event: Event) -> str:
    """What the model is shown of an observation, as far as the event has it."""
    seen: Any = event.get("observation", event.get("error"))
    if isinstance(seen, dict):
        text = flat_text(seen.get("content", seen.get("output", "")))
        return between_marks(text, object_of(seen.get("metadata")))
    return as_text(seen or event.get("error") or event.get("rejection_reason"))


def _bare_tool(tool: Any) -> Any:
    """A tool as a model is told it: OpenAI's form, or one with its name as `title`."""
    if not isinstance(tool, dict) or "function" in tool:
        return tool
    keys = ("description", "parameters", "input_schema")
    name = tool.get("name") or tool.get("title")
    return {"name": name} | {k: tool[k] for k in keys if k in tool}
