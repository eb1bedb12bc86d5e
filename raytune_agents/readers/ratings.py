"""Collected interactions with a human rating: input, output, task_type, rating (JSON lines or CSV).

The outcome is the rating's share of the scale, rating / `rating_max`; a share below `min_rating`
makes the row a failure (pool "negative.rated"). The scale is never guessed: a rating above its
top is a bad row whose reason says what to set.
"""

from __future__ import annotations

from raytune_agents.readers.in_text import with_calls
from raytune_agents.readers.shapes import read_tools, rest_of
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.turns import message_of, messages_of
from raytune_agents.records import JsonObject, Message, RecordError, Trajectory


def read(row: JsonObject, min_rating: float = 0.8, rating_max: float = 1.0) -> Trajectory:
    top = float(row.get("rating_max") or rating_max)
    try:
        rating = float(row["rating"])
    except (TypeError, ValueError):
        raise RecordError(f"rating {row['rating']!r} is not a number") from None
    if not 0 <= rating <= top:
        raise RecordError(
            f"rating {rating:g} is outside the scale 0 to {top:g}; set read.sources.rating_max"
        )
    tools = read_tools(row.get("tools"))
    request = row["input"]
    prompt = (
        messages_of(request) if isinstance(request, list) else [Message("user", as_text(request))]
    )
    output = row["output"]
    turns = isinstance(output, dict) and "role" in output
    target = message_of(output if turns else {"role": "assistant", "content": output})
    target = with_calls(target, tools)
    share = rating / top
    return Trajectory(
        (*prompt, target),
        tools,
        source_id=as_text(row.get("id")),
        outcome=share,
        outcome_word=f"rating={row['rating']}",
        pool="positive" if share >= min_rating else "negative.rated",
        meta=rest_of(row, "id", "input", "output", "rating", "tools"),
    )
