"""xLAM function calling (60k) and Hammer's test sets: query, tools, answers.

In xLAM the last two are JSON text; Hammer's answers say {tool, parameters}, its query may be turns.
`parameters` is a flat map with Python type words there, or JSON Schema in sets that follow the
shape.
"""

from __future__ import annotations

from raytune_agents.readers.shapes import read_calls, read_tools, rest_of
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turn_columns import turns_in
from raytune_agents.readers.turns import messages_of, with_system
from raytune_agents.records import JsonObject, Message, Trajectory


def read(row: JsonObject) -> Trajectory:
    query = turns_in(row["query"], every=True) or row["query"]
    prompt = [Message("user", query)] if isinstance(query, str) else messages_of(query)
    tools = read_tools(row["tools"])
    calls = read_calls(row["answers"], tools)
    target = Message("assistant", tool_calls=calls)
    return Trajectory(
        (*with_system(row.get("system"), prompt), target),
        tools,
        source_id=as_text(row.get("id")),
        gold="" if calls else "[]",
        meta=rest_of(row, "id", "query", "answers", "tools", "system"),
    )
