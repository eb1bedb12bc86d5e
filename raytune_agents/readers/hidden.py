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
from raytune_agents.records import Message, ToolCall, Trajectory
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
    ignored: Counter[str] = Counter()
    text, shown = ("\n".join(m.content for m in r.messages) for r in (row, hidden))
    found = set()
    for name, value in _named_texts(row):
        # What is hidden by itself is alike everywhere.
        if len(value) >= SHORTEST and hide_private(value, ignored) == value:
            by_name = value not in redact(f'"{name}": "{value}"', ignored)
            if by_name or (value in text and value not in shown):
                found.add(value)
    longest_first = sorted(found, key=lambda value: (-len(value), value))
    return re.compile("|".join(map(re.escape, longest_first))) if found else None


def _named_texts(row: Trajectory) -> Iterator[tuple[str, str]]:
    """Name and text of each argument of the row's calls, those inside others too."""
    for call in row.calls:
        todo: list[tuple[str, Any]] = [("", call.known_args)]
        while todo:
            name, value = todo.pop()
            if isinstance(value, str):
                yield name, value
            elif isinstance(value, dict):
                todo += value.items()
            elif isinstance(value, list):
                todo += [(name, item) for item in value]


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
