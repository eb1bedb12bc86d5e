"""Google ADK: sessions with their events, events line by line, and evaluation sets.

An event holds one content of parts, as Gemini has them. Agents that run side by side have branches:
each that nothing goes on from is a conversation, with what stood before it. Events that a rewind
took back, chunks of a stream and bare changes of state are no turns. A case of an evaluation set is
a conversation with the calls that are expected, in one turn where not each has a result; an answer
after calls without results is not trained on, and at the end it stands in `meta`. Samples:
google/adk-python `contributing/samples/tools/parallel_functions/tests` and
`tests/integration/fixture`, Apache-2.0; a session of ADK 2.13.0, run for the tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from raytune_agents.readers.conversations import read_as_chat
from raytune_agents.readers.fields import Fields, blank, names_of, object_of, readable
from raytune_agents.readers.parts import flat_text
from raytune_agents.readers.sessions import EVENTS
from raytune_agents.readers.spans import model_calls
from raytune_agents.readers.strict import as_text
from raytune_agents.records import JsonObject, RecordError, Trajectory

OF_EVENT = names_of("adk_event")
MOST_BRANCHES = 100  # each is read once more from the start
SIGNATURE = ("thought_signature", "thoughtSignature")  # of use to its provider alone


@dataclass(frozen=True, slots=True)
class _Step:
    """An event as far as a conversation needs it."""

    turn: JsonObject | None
    invocation: str
    branch: str  # "root.child", of agents that run side by side
    rewinds: str  # the invocation that it takes back, with all that followed
    model: Any
    usage: Any


def read(row: JsonObject) -> list[Trajectory]:
    """{app_name, events}, gathered events, or {eval_cases}. Raises RecordError."""
    fields = Fields(row)
    if cases := fields("eval_cases"):
        found = readable(_case, (c for c in cases if c.get("conversation")))
        if not found:
            raise RecordError("an evaluation set without a conversation")
        fields.rest("eval_set_id", "name", "description", "creation_timestamp")
        return found
    steps = _kept(_step(e) for e in fields(EVENTS))
    key = as_text(fields("id", "session"))
    about = fields.rest("format", "user_id", "last_update_time", "app_name")
    about = {k: v for k, v in about.items() if not blank(v)}

    def conversation(branch: str) -> Trajectory:
        own = [s for s in steps if not s.branch or f"{branch}.".startswith(f"{s.branch}.")]
        named = {"id": f"{key}/{branch}".strip("/")}
        turns, made = [s.turn for s in own if s.turn], model_calls((s.model, s.usage) for s in own)
        return read_as_chat(about | named, turns, made)

    return readable(conversation, _branches(steps))


def _step(event: JsonObject) -> _Step:
    fields = Fields(event, "event")
    author, partial = fields("author"), fields("partial")
    turn = None if partial else _turn(fields("content"), "user" if author == "user" else "model")
    actions = fields("actions")
    rewinds = Fields(actions).peek("rewind_before_invocation_id") if actions else None
    invocation, branch = as_text(fields("invocation_id")), as_text(fields("branch"))
    model, usage = fields("model_version"), fields("usage_metadata")
    fields.rest(OF_EVENT)
    return _Step(turn, invocation, branch, as_text(rewinds), model, usage)


def _turn(content: Any, role: str) -> JsonObject | None:
    """A content as a chat turn; None where it holds nothing."""
    if not isinstance(content, dict):
        return None
    fields = Fields(content, "content")
    parts = [
        {k: v for k, v in p.items() if v is not None and k not in SIGNATURE}
        for p in fields("parts") or []
    ]
    parts = [p for p in parts if p]
    return {"role": fields("role") or role, "parts": parts} if parts else None


def _kept(steps: Iterable[_Step]) -> list[_Step]:
    """The steps without those that a rewind took back."""
    kept: list[_Step] = []
    for step in steps:
        if step.rewinds:
            ids = [s.invocation for s in kept]
            kept = kept[: ids.index(step.rewinds)] if step.rewinds in ids else kept
        kept.append(step)
    return kept


def _branches(steps: list[_Step]) -> list[str]:
    """The branches that no other goes on from; "" where there is none. Raises RecordError."""
    named = dict.fromkeys(s.branch for s in steps if s.turn)
    within = {b[:i] for b in named for i, c in enumerate(b) if c == "."}
    within |= {""} if any(named) else set()
    leaves = [b for b in named if b not in within]
    if len(leaves) > MOST_BRANCHES:
        raise RecordError(f"more than {MOST_BRANCHES} agents side by side")
    return leaves


# --- evaluation sets --------------------------------------------------------------------------


def _case(case: JsonObject) -> Trajectory:
    """A case's invocations, one after the other; their `app_details` list the tools."""
    fields = Fields(case, "case")
    turns: list[JsonObject] = []
    agents: JsonObject = {}
    for invocation in fields("conversation"):
        invoked = Fields(invocation, "invocation")
        turns += _invoked(invoked)
        agents |= Fields(object_of(invoked("app_details")))("agent_details") or {}
        invoked.rest("invocation_id", "creation_timestamp")
    declared = [Fields(a) for a in agents.values() if isinstance(a, dict)]
    tools = [t for a in declared for t in a("tool_declarations") or []]
    instructions = declared[0]("instructions") if len(declared) == 1 else None
    row = {"id": fields("eval_id"), "tools": tools, "instructions": instructions}
    row |= fields.rest("creation_timestamp", "session_input", "final_session_state")
    unseen = turns.pop() if turns and turns[-1].get("loss") is False else None
    about = {"final_response": flat_text(unseen["parts"])} if unseen else {}
    return read_as_chat(row, turns, about)


def _invoked(invocation: Fields) -> Iterator[JsonObject]:
    """The turns of one invocation: what the user says, the expected calls, the answer."""
    between = Fields(object_of(invocation("intermediate_data")), "intermediate_data")
    events = [(e.get("content"), "model") for e in between("invocation_events") or []]
    calls = [{"function_call": c} for c in between("tool_uses") or []]
    results = [{"function_response": r} for r in between("tool_responses") or []]
    between.rest()
    # nothing else says which call came after which result
    steps = [[p] for pair in zip(calls, results) for p in pair]
    steps = steps if len(calls) == len(results) else [calls, results]
    used = [({"parts": s}, "user" if i % 2 else "model") for i, s in enumerate(steps)]
    contents = [(invocation("user_content"), "user"), *events, *used]
    yield from filter(None, (_turn(content, role) for content, role in contents))
    if final := _turn(invocation("final_response"), "model"):
        # an answer to results that nobody saw would teach to make them up
        yield final | ({"loss": False} if calls and not results else {})
