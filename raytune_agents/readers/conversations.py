"""Turns under `conversations` (or `conversation`): the shape most agent sets share.

AgentTuning / AgentInstruct, AgentBank, AgentTraj-L (AgentGym), AgentGen-style planning texts,
Agent-FLAN (`conversation`; `loss`, in some files `type`), NAT (`info.reward`), ETO's SFT rows
(`reward`), Glaive, APIGen-MT and LLaMA-Factory rows (`tools`, `system`, from/value). ReAct text
becomes structured turns.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.react import structure
from raytune_agents.readers.shapes import rest_of, tools_of
from raytune_agents.readers.strict import value_of
from raytune_agents.readers.turns import episode, messages_of, score, with_system
from raytune_agents.records import RecordError, Trajectory

USED = ("id", "item_id", "conversations", "conversation", "tools", "system", "reward")


def read(row: dict[str, Any], react: bool = True) -> Trajectory:
    """One row; with `react`, ReAct text of rows without tools or calls is taken apart."""
    turns = row.get("conversations", row.get("conversation"))
    if turns is None:
        raise RecordError("conversations are null")  # AgentEval rows: tasks without trajectories
    tools = tools_of(row.get("tools"))
    messages = with_system(row.get("system"), messages_of(turns))
    style: dict[str, Any] = {}
    if react and not tools and not any(m.tool_calls for m in messages):
        messages, style = structure(messages)
    info = value_of(row["info"]) if isinstance(row.get("info"), dict | str) else {}
    reward = row.get("reward", info.get("reward") if isinstance(info, dict) else None)
    make = episode if style else Trajectory
    return make(
        tuple(messages),
        tools,
        source_id=str(row.get("id") or row.get("item_id") or ""),
        outcome=score(reward),
        outcome_word="" if reward is None else f"reward={reward}",
        meta=rest_of(row, *USED) | style,
    )
