"""xLAM function calling (60k): query, tools, answers; the last two are JSON text.

`parameters` is a flat map with Python type words there, or JSON Schema in sets that follow the
shape.
"""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.shapes import calls_of, rest_of, tools_of
from raytune_agents.readers.strict import text_of
from raytune_agents.records import Message, RecordError, Trajectory


def read(row: dict[str, Any]) -> Trajectory:
    query = row["query"]
    if not isinstance(query, str):
        raise RecordError(f"query is {type(query).__name__}, not text")
    calls = calls_of(row["answers"])
    target = Message("assistant", text_of(row.get("answer_text")), tool_calls=calls)
    return Trajectory(
        (Message("user", query), target),
        tools_of(row["tools"]),
        source_id=str(row.get("id", "")),
        gold="" if calls else "[]",
        meta=rest_of(row, "id", "query", "answers", "tools", "answer_text"),
    )
