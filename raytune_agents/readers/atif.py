"""ATIF, the Agent Trajectory Interchange Format of Harbor and Terminal-Bench, versions 1.0 to 1.8.

A step is what user, system or agent says, with the agent's calls and what came of them. Steps that
were copied from an earlier trajectory, and those that no model made, are context: not trained on.
Sub-agents that stand inside are trajectories of their own. A result that names no call belongs to
the calls of its step, or is the environment's word to the agent. Samples: what Harbor 0.26.0's own
converters make of a Claude Code log and of a mini-swe-agent run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from raytune_agents.readers.conversations import chat_turn, read_as_chat
from raytune_agents.readers.fields import Fields, object_of, readable
from raytune_agents.readers.spans import model_calls
from raytune_agents.readers.strict import as_text
from raytune_agents.records import JsonObject, RecordError, Trajectory

ROLES = {"user": "user", "system": "system", "agent": "assistant"}
# what converters put where the model said nothing beside a call
NO_CONTENT = re.compile(r"Executed \S+( \S+)?( \(no result\))?")


def is_atif(row: JsonObject) -> bool:
    return as_text(row.get("schema_version")).startswith("ATIF")


def read(row: JsonObject) -> list[Trajectory]:
    """{schema_version, agent, steps}, and its sub-agents. Raises RecordError."""
    return readable(_run, _runs(row))


def _runs(row: JsonObject) -> Iterator[JsonObject]:
    yield row
    for inner in row.get("subagent_trajectories") or []:
        yield from _runs(inner)


def _run(row: JsonObject) -> Trajectory:
    fields = Fields(row)
    agent = Fields(object_of(fields("agent")), "agent")
    steps = [Fields(s, "step") for s in fields("steps")]
    model = agent("model_name")
    made = [(s("model_name") or model, s("metrics")) for s in steps if s.peek("source") == "agent"]
    about = model_calls(made) | {"agent": f"{agent('name')} {agent('version')}"}
    turns = [turn for step in steps for turn in _turns(step)]
    chat = {"tools": agent("tool_definitions"), "id": fields("trajectory_id", "session_id")}
    agent.rest()
    fields.skip("subagent_trajectories")
    rest = fields.rest("schema_version", "session_id", "final_metrics", "notes", "agent")
    return read_as_chat(rest | chat, turns, about)


def _turns(step: Fields) -> Iterator[JsonObject]:
    """A step's turn, and what came of its calls."""
    role = ROLES.get(as_text(step("source")))
    if role is None:
        raise RecordError(f"a step of an unknown source: {as_text(step.item.get('source'))[:40]}")
    content, thought = step("message"), step("reasoning_content")
    calls = [{k: v for k, v in c.items() if k != "extra"} for c in step("tool_calls") or []]
    if calls and NO_CONTENT.fullmatch(as_text(content)):
        content = ""
    copied, count = step("is_copied_context"), step("llm_call_count")
    turn = chat_turn(role, content)
    if role == "assistant":
        turn |= {"tool_calls": calls, "reasoning_content": thought if thought != content else None}
        turn |= {"loss": False} if copied or count == 0 else {}
    yield turn
    for result in object_of(step("observation")).get("results") or []:
        yield from _seen(result, bool(calls))
    step.rest("step_id", "timestamp", "reasoning_effort", "metrics", "model_name", "extra")


def _seen(result: Any, called: bool) -> Iterator[JsonObject]:
    fields = Fields(result, "result")
    key, content = fields("source_call_id"), fields("content")
    fields.rest("extra")
    if key or called:
        yield chat_turn("tool", content, tool_call_id=as_text(key))
    elif content:
        yield chat_turn("user", content)
