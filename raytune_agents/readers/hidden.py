"""Secrets and private data of recorded conversations, replaced by their kind before a row is kept.

Traces and agents' logs hold what people did not write for others to read. Tools and the ids of rows
stay; a call's arguments stay JSON.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from raytune_agents.private import hide_private
from raytune_agents.readers.strict import dump
from raytune_agents.records import Message, ToolCall, Trajectory
from raytune_agents.redact import with_texts

KEPT = ("model", "version", "tokens", "seconds", "model_calls", "scores")  # of `meta`


def with_hidden(row: Trajectory) -> Trajectory:
    """The row without secrets and private data; `meta["redacted"]` says how many of each kind there
    were, where there were any."""
    counts: Counter[str] = Counter()
    turns = tuple(_turn(m, counts) for m in row.messages)
    meta = {k: v if k in KEPT else _hidden_in(v, counts) for k, v in row.meta.items()}
    word = hide_private(row.outcome_word, counts)
    if not counts:
        return row
    meta["redacted"] = dict(sorted(counts.items()))
    return replace(row, messages=turns, meta=meta, outcome_word=word)


def _turn(turn: Message, counts: Counter[str]) -> Message:
    return replace(
        turn,
        content=hide_private(turn.content, counts),
        thought=hide_private(turn.thought, counts),
        tool_calls=tuple(_call(c, counts) for c in turn.tool_calls),
    )


def _call(call: ToolCall, counts: Counter[str]) -> ToolCall:
    """Arguments as they were spelt where nothing in them is replaced, else written anew."""
    # in the values, not in the text: a pattern may reach over the quote that ends one
    found: Counter[str] = Counter()
    try:
        arguments = _hidden_in(json.loads(call.arguments), found)
        text = dump(arguments) if found else call.arguments
    except (ValueError, RecursionError):
        text = hide_private(call.arguments, found)
    counts.update(found)
    return replace(call, arguments=text)


def _hidden_in(value: Any, counts: Counter[str]) -> Any:
    return with_texts(value, lambda text: hide_private(text, counts))
