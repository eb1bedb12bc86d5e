"""Collected interactions with a human rating: input, output, task_type, rating (JSON lines or CSV).

The outcome is the rating's share of the scale, rating / `rating_max`; a share below `min_rating`
makes the row a failure (pool "negative.rated"). The scale is never guessed: a rating above its
top is a bad row whose reason says what to set.
"""

from __future__ import annotations

from raytune_agents.readers.fields import Fields
from raytune_agents.readers.pairs import with_answer
from raytune_agents.readers.strict import as_text
from raytune_agents.records import JsonObject, RecordError, Trajectory


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
    fields, share = Fields(row), rating / top
    request, answer, tools, key = (fields(n) for n in ("input", "output", "tools", "id"))
    fields.skip("rating")
    return with_answer(request, answer, tools, fields("system")).trajectory(
        fields.rest(),
        source_id=as_text(key),
        outcome=share,
        outcome_word=f"rating={row['rating']}",
        pool="positive" if share >= min_rating else "negative.rated",
    )
