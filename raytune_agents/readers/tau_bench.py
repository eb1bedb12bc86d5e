"""tau-bench runs: {task_id, reward, info, traj, trial}; `traj` are OpenAI messages.

The reward may be a fraction. What the user simulator says last (###STOP###) goes to
`meta["after"]`.
"""

from __future__ import annotations

from raytune_agents.readers.outcomes import outcome_score
from raytune_agents.readers.shapes import read_tools, rest_of
from raytune_agents.readers.turns import episode, messages_of
from raytune_agents.records import JsonObject, Trajectory


def read(row: JsonObject) -> Trajectory:
    return episode(
        messages_of(row["traj"]),
        read_tools(row.get("tools")),
        source_id=f"{row['task_id']}.{row.get('trial', 0)}",
        outcome=outcome_score(row.get("reward")),
        outcome_word=f"reward={row.get('reward')}",
        meta=rest_of(row, "traj", "reward", "tools"),
    )
