"""What tests of readers look at: a row as it is read, and its calls, roles and label."""

from __future__ import annotations

import json
from typing import Any

from raytune_agents import filters, readers
from raytune_agents.config import LabelConfig
from raytune_agents.records import Trajectory


def read(raw: dict[str, Any]) -> Trajectory:
    return readers.read_row(json.loads(json.dumps(raw)), "x.jsonl:1")[0]


def calls(row: Trajectory) -> list[list[Any]]:
    return [[c.name, json.loads(c.arguments)] for c in row.calls]


def roles(row: Trajectory) -> str:
    return "".join(m.role[0] for m in row.messages)


def kept(row: Trajectory) -> str:
    return filters.label(row, LabelConfig()).reject_reason
