"""tau-bench runs: {task_id, reward, info, traj, trial}; `traj` are OpenAI messages.

The reward may be a fraction. What the user simulator says last (###STOP###) goes to
`meta["after"]`.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.outcomes import score
from raytune_agents.readers.shapes import rest_of, tools_of
from raytune_agents.readers.turns import episode, messages_of
from raytune_agents.records import Trajectory


def read(row: dict[str, Any]) -> Trajectory:
    return episode(
        messages_of(row["traj"]),
        tools_of(row.get("tools")),
        source_id=f"{row['task_id']}.{row.get('trial', 0)}",
        outcome=score(row.get("reward")),
        outcome_word=f"reward={row.get('reward')}",
        meta=rest_of(row, "traj", "reward", "tools"),
    )
