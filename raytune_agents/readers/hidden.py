"""Secrets and private data of recorded conversations, replaced by their kind before a row is kept.

Traces and agents' logs hold what people did not write for others to read. Tools and the ids of rows
stay; a call's arguments stay JSON. A value that its place alone makes a secret ("password: x",
{"password": "x"}) is hidden wherever the row has it, so that request and call still agree.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from raytune_agents.private import hide_private
from raytune_agents.readers.strict import dump
from raytune_agents.records import Message, ToolCall, Trajectory, scalars_in
from raytune_agents.redact import redact, with_texts

Hide = Callable[[str, Counter[str]], str]
SHORTEST = 4  # characters of an argument that is looked for in the rest of the row
KEPT = ("model", "version", "tokens", "seconds", "model_calls", "scores")  # of `meta`


def with_hidden(row: Trajectory) -> Trajectory:
    """The row without secrets and private data; `meta["redacted"]` says how many of each kind there
    were, where there were any."""
    found = _hidden(row, hide_private)
    if secrets := _secrets_by_place(row, found):
        found = _hidden(row, partial(_without, secrets))
    return found


def _hidden(row: Trajectory, hide: Hide) -> Trajectory:
    counts: Counter[str] = Counter()
    turns = tuple(_turn(m, counts, hide) for m in row.messages)
    meta = {k: v if k in KEPT else _hidden_in(v, counts, hide) for k, v in row.meta.items()}
    word = hide(row.outcome_word, counts)
    if not counts:
        return row
    meta["redacted"] = dict(sorted(counts.items()))
    return replace(row, messages=turns, meta=meta, outcome_word=word)


def _secrets_by_place(row: Trajectory, hidden: Trajectory) -> re.Pattern[str] | None:
    """The arguments that are secret by their name, or that a turn had and its hidden form has not;
    None for none."""
    text, shown = ("\n".join(m.content for m in r.messages) for r in (row, hidden))
    found = {
        value
        for name, value in _left_texts(row, hidden)
        if (value in text and value not in shown) or value not in redact(f'"{name}": "{value}"')
    }
    longest_first = sorted(found, key=lambda value: (-len(value), value))
    return re.compile("|".join(map(re.escape, longest_first))) if found else None


def _left_texts(row: Trajectory, hidden: Trajectory) -> Iterator[tuple[str, str]]:
    """Name and text of each argument that is hidden nowhere by itself."""
    for call, after in zip(row.calls, hidden.calls):
        pairs = zip(scalars_in(call.known_args), scalars_in(after.known_args))
        for (path, value), (_, left) in pairs:
            if isinstance(value, str) and value == left and len(value) >= SHORTEST:
                yield path.rpartition(".")[2], value


def _without(secrets: re.Pattern[str], text: str, counts: Counter[str]) -> str:
    """A text without those secrets, and without what is one anywhere."""
    text, found = secrets.subn("[secret]", text)
    counts.update({"secret": found} if found else {})
    return hide_private(text, counts)


def _turn(turn: Message, counts: Counter[str], hide: Hide) -> Message:
    return replace(
        turn,
        content=hide(turn.content, counts),
        thought=hide(turn.thought, counts),
        tool_calls=tuple(_call(c, counts, hide) for c in turn.tool_calls),
    )


def _call(call: ToolCall, counts: Counter[str], hide: Hide) -> ToolCall:
    """Arguments as they were spelt where nothing in them is replaced, else written anew."""
    # in the values, not in the text: a pattern may reach over the quote that ends one
    found: Counter[str] = Counter()
    try:
        arguments = _hidden_in(json.loads(call.arguments), found, hide)
        text = dump(arguments) if found else call.arguments
    except (ValueError, RecursionError):
        text = hide(call.arguments, found)
    counts.update(found)
    return replace(call, arguments=text)


def _hidden_in(value: Any, counts: Counter[str], hide: Hide) -> Any:
    return with_texts(value, lambda text: hide(text, counts))
