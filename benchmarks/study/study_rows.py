"""Readers of the study's rows: each says the split that its file was made for, and keeps every
tool of the test rows out of training.

Named in `study.yaml` as `study_rows:train` and so on; `run.py` puts this folder on the path.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from raytune_agents.readers import fireact as react
from raytune_agents.readers import xlam
from raytune_agents.records import RecordError, Trajectory
from raytune_agents.split import gold_tools, tool_key

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@cache
def called(name: str) -> frozenset[str]:
    """Keys of the tools that the rows of a prepared file call."""
    rows = (xlam.read(row) for row in json_lines(DATA / "prepared" / f"{name}.jsonl.gz"))
    return frozenset(tool_key(tool) for row in rows for tool in gold_tools(row))


def train(row: dict[str, Any]) -> Trajectory:
    """A training row without the tools of test_unseen that it offers beside its own."""
    made = xlam.read(row)
    hidden = called("test_unseen_tools") - called("train")
    tools = tuple(t for t in made.tools if tool_key(t.name) not in hidden)
    return replace(made, tools=tools, split="train")


def val(row: dict[str, Any]) -> Trajectory:
    return replace(xlam.read(row), split="val")


def test_seen(row: dict[str, Any]) -> Trajectory:
    return replace(xlam.read(row), split="test_seen")


def test_unseen(row: dict[str, Any]) -> Trajectory:
    """A row of tools that no training row calls. Raises RecordError where one calls such a tool
    under another spelling of its name."""
    made = xlam.read(row)
    if {tool_key(name) for name in gold_tools(made)} & called("train"):
        raise RecordError("a training row calls its tool under another spelling")
    return replace(made, split="test_unseen")


def fireact(row: dict[str, Any]) -> Trajectory:
    """A ReAct run; a success is in a pool of its own, since runs are many times as long as calls:
    of a share by tokens they would take most."""
    made = react.read(row)
    failed = made.outcome is not None and made.outcome < 0.5
    return replace(made, split="train", pool=made.pool if failed else "positive.fireact")
