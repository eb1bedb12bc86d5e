"""tau-bench and tau2-bench runs.

tau-bench: {task_id, reward, info, traj, trial}; `traj` are OpenAI messages. The reward may be a
fraction. What the user simulator says last (###STOP###) goes to `meta["after"]`.

tau2-bench: one simulation a row, or the whole file {simulations, tasks, info}. The user simulator
has tools of its own there; its calls and their results are not seen by the agent and go to
`meta["user_calls"]`. `reward_info` can be missing: then the outcome is not known.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.outcomes import outcome_score
from raytune_agents.readers.shapes import read_tools, rest_of
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turns import episode, message_of, messages_of, with_system
from raytune_agents.records import JsonObject, Message, Trajectory


def tau_bench(row: JsonObject) -> Trajectory:
    return episode(
        messages_of(row["traj"]),
        read_tools(row.get("tools")),
        source_id=f"{row['task_id']}.{row.get('trial', 0)}",
        outcome=outcome_score(row.get("reward")),
        outcome_word=f"reward={row.get('reward')}",
        meta=rest_of(row, "traj", "reward", "tools"),
    )


def tau2(row: JsonObject) -> Trajectory | list[Trajectory]:
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
            calls = item.get("tool_calls") or []
            kept["tool_calls"] = [{k: v for k, v in c.items() if k != "requestor"} for c in calls]
            messages.append(message_of(kept))
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
