"""Negative-aware training (NAT, arXiv 2402.11651): successes and failures are both answers to
learn, told apart by a marker in the user turn that holds the question. Inference shows the positive
marker.

Loss and trainer are those of `sft`; only the prompt text differs.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.chat import Chat
from raytune_agents.config import NatSection, TrainSection
from raytune_agents.records import Trajectory
from raytune_agents.train import sft

trainer = sft.trainer


def failed(row: Trajectory) -> bool:
    """Whether the row is a failure: it names a fault, or its known outcome is below one half."""
    return bool(row.fault) or (row.outcome is not None and row.outcome < 0.5)


def marker(row: Trajectory, section: NatSection) -> str:
    """The marker of a training row."""
    return section.negative if failed(row) else section.positive


def columns(
    row: Trajectory, chat: Chat, section: TrainSection, twins: dict[str, Trajectory]
) -> list[dict[str, Any]]:
    """`sft` columns with the row's marker in its question."""
    return sft.columns(row, chat, section, twins, marker(row, section.nat))
