"""A model's answers beside the expected call: user_query, expected_response, actual_response.

The answer is judged by our own checker; `tools_json` holds the gold call there, not a tool list.
"""

from __future__ import annotations

from raytune_agents.calls import compare, parse
from raytune_agents.calls.gold import exact_gold
from raytune_agents.readers.fields import words_of
from raytune_agents.readers.shapes import rest_of
from raytune_agents.readers.strict import as_text, dump
from raytune_agents.records import JsonObject, Message, RecordError, Trajectory

USED = words_of("model_failures")


def read(row: JsonObject) -> Trajectory:
    wanted = parse(as_text(row["expected_response"]))
    if wanted.error or not wanted.calls:
        raise RecordError(f"the expected call cannot be read ({wanted.error or 'no call'})")
    gold = exact_gold(wanted.calls)
    text = as_text(row["actual_response"])
    answer = parse(text)
    verdict = compare(answer.calls, gold, ())
    right = not answer.error and verdict.ok
    return Trajectory(
        (Message("user", as_text(row["user_query"])), Message("assistant", text)),
        source_id=as_text(row.get("example_id")),
        gold=dump(gold),
        outcome=float(right),
        outcome_word="right" if right else answer.error or verdict.error,
        meta=rest_of(row, *USED),
    )
