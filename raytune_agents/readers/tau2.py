"""tau2-bench runs: one simulation a row, or the whole file {simulations, tasks, info}.

The user simulator has tools of its own there; its calls and their results are not seen by the
agent and go to `meta["user_calls"]`. `reward_info` can be missing: then the outcome is not known.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.outcomes import outcome_score
from raytune_agents.readers.shapes import rest_of
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turns import episode, message_of, with_system
from raytune_agents.records import JsonObject, Message, Trajectory


def read(row: JsonObject) -> Trajectory | list[Trajectory]:
    if "simulations" in row:
        about = (row.get("info") or {}).get("environment_info") or {}
        return [_one(s, about.get("policy")) for s in row["simulations"]]
    return _one(row, None)


def _one(run: JsonObject, policy: str | None) -> Trajectory:
    messages: list[Message] = []
    hidden: list[Any] = []
    for item in run["messages"]:
        own = item["role"] == "user" and item.get("tool_calls")
        if own or item.get("requestor") == "user":
            hidden.append({k: item.get(k) for k in ("role", "content", "tool_calls")})
            if not own or not item.get("content"):
                continue
        if item["role"] != "tool":
            kept = {k: v for k, v in item.items() if k not in ("name", "requestor")}
            messages.append(message_of(kept | {"tool_calls": _calls(item)}))
            continue
        call = item.get("id") or ""
        names = {c.id: c.name for m in messages for c in m.tool_calls}
        content = as_text(item.get("content"))
        messages.append(Message("tool", content, name=names.get(call, ""), tool_call_id=call))
    about = run.get("reward_info") or {}
    reason = as_text(run.get("termination_reason"))
    meta = rest_of(run, "id", "messages") | ({"user_calls": hidden} if hidden else {})
    return episode(
        with_system(policy, messages),
        source_id=as_text(run.get("id")),
        outcome=outcome_score(about.get("reward")),
        outcome_word=f"reward={about.get('reward')}, {reason}" if about else reason,
        meta=meta,
    )


def _calls(item: JsonObject) -> list[Any]:
    """The calls of a turn without tau2's word for who made them."""
    calls = item.get("tool_calls") or []
    return [{k: v for k, v in c.items() if k != "requestor"} for c in calls]
