"""AutoGen's saved work: a TaskResult's messages (AgentChat), and the states of agents and teams.

Each agent's own messages are its answers and everyone else's are requests to it, as the agents see
them: a team gives one conversation per agent that a model speaks for. A summary of results or a
handoff is the program's word, no answer. A state holds what the model itself was shown
(`llm_context`). Samples: AutoGen 0.7.5, run for the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from raytune_agents.readers.conversations import read_as_chat
from raytune_agents.readers.fields import as_list, names_of, note, note_rest, object_of, readable
from raytune_agents.readers.spans import model_calls
from raytune_agents.readers.strict import as_text, value_of
from raytune_agents.records import JsonObject, RecordError, Trajectory

TOOL_CALLS, TOOL_RESULTS = "ToolCallRequestEvent", "ToolCallExecutionEvent"
THOUGHT, CHUNK = "ThoughtEvent", "ModelClientStreamingChunkEvent"
OF_PROGRAM = ("ToolCallSummaryMessage", "HandoffMessage")
MOST_AGENTS = 100  # each is read once more from the start
PEOPLE = ("user", "user_proxy")
CONTEXT = {
    "SystemMessage": "system",
    "UserMessage": "user",
    "AssistantMessage": "assistant",
    "FunctionExecutionResultMessage": "tool",
}  # of `autogen_core.models`
ASIDE = names_of("autogen")


def read(row: JsonObject) -> list[Trajectory]:
    """{messages, stop_reason}, or a state of an agent or a team. Raises RecordError."""
    row = row | ({"messages": value_of(row["messages"])} if "messages" in row else {})
    if "messages" not in row:
        found = readable(lambda context: _context(*context), _contexts(row, ""))
    elif all(m.get("type") in CONTEXT for m in row["messages"]):
        found = [_context("", row["messages"], row)]
    else:
        messages = [m for m in row["messages"] if m.get("type") != CHUNK]
        agents = _agents(messages)
        found = readable(lambda a: _conversation(row, messages, a, len(agents) > 1), agents)
    if not found:
        raise RecordError("a conversation without an answer")
    return found


def _agents(messages: list[JsonObject]) -> list[str]:
    """The sources that a model speaks for, in their order: those with tokens or calls of their
    own; where none has any, all that are no person. Raises RecordError."""
    named = dict.fromkeys(as_text(m.get("source")) for m in messages)
    own = (m for m in messages if m.get("models_usage") or m.get("type") == TOOL_CALLS)
    by_model = {as_text(m.get("source")) for m in own}
    agents = [a for a in named if (a in by_model if by_model else a not in PEOPLE)]
    if len(agents) > MOST_AGENTS:
        raise RecordError(f"more than {MOST_AGENTS} agents in one conversation")
    return agents


def _conversation(
    row: JsonObject, messages: list[JsonObject], agent: str, named: bool
) -> Trajectory:
    """What one agent was shown and said; `named` says which in `meta`."""
    turns: list[JsonObject] = []
    thought = ""
    for message in messages:
        own = message.get("source") == agent
        if own:
            note_rest(message, "message", ASIDE)
        if own and message.get("type") == THOUGHT:
            thought = as_text(message.get("content"))
        for turn in _turns(message, own):
            if thought and turn["role"] == "assistant":
                turn, thought = turn | {"reasoning_content": thought}, ""
            turns.append(turn)
    own_calls = (m.get("models_usage") for m in messages if m.get("source") == agent)
    about = model_calls((None, usage) for usage in own_calls)
    return read_as_chat(row, turns, about | ({"agent": agent} if named else {}))


def _turns(message: JsonObject, own: bool) -> Iterator[JsonObject]:
    """The turn that a message is to an agent; none where the agent is not shown it, or has seen
    what it says."""
    kind, content = as_text(message.get("type")), message.get("content")
    if own and kind == TOOL_CALLS:
        yield {"role": "assistant", "tool_calls": content}
    elif own and kind == TOOL_RESULTS:
        yield {"role": "tool", "content": content}
    elif own and kind.endswith("Event") and kind != THOUGHT:
        note(f"message.{kind}", content)
    elif not kind.endswith("Event") and not (own and kind in OF_PROGRAM):
        text = content if isinstance(content, list) else as_text(content)
        yield {"role": "assistant" if own else "user", "content": text}


def _contexts(state: Any, agent: str) -> Iterator[tuple[str, list[JsonObject]]]:
    """(agent, the messages of its model's context) in a state, however deep teams nest."""
    if not isinstance(state, dict):
        return
    messages = as_list(object_of(state.get("llm_context")).get("messages"))
    if any(m.get("type") == "AssistantMessage" for m in messages):
        yield agent, messages
    for key in ("agent_state", "inner_team_state"):
        yield from _contexts(state.get(key), agent)
    for name, one in object_of(state.get("agent_states")).items():
        yield from _contexts(one, name)


def _context(agent: str, messages: list[JsonObject], row: JsonObject | None = None) -> Trajectory:
    turns = []
    for message in messages:
        note_rest(message, "message", ASIDE)
        role, content = CONTEXT.get(as_text(message.get("type"))), message.get("content")
        if role is None:
            raise RecordError(f"a message of an unknown type: {as_text(message.get('type'))[:40]}")
        column = "tool_calls" if role == "assistant" and isinstance(content, list) else "content"
        turns.append({"role": role, column: content, "reasoning_content": message.get("thought")})
    return read_as_chat(row or {}, turns, {"agent": agent} if agent else {})
