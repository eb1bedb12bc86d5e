"""Duplicates and leakage: accepted rows that say the same, training rows that show a test row.

Rows are labelled `duplicate_of:ID` or `contaminated:SPLIT`, never dropped. A negative is no
duplicate of its positive twin: it has the same query and another answer. Rejected rows take no
part, so a good row never points to a bad survivor. Duplicates are looked for within a split, leaks
across splits.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from raytune_agents.filters import family
from raytune_agents.records import ToolCall, ToolSpec, Trajectory, canonical, content_hash


def folded(text: str) -> str:
    """Unicode NFKC, case-folded, runs of whitespace as one space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def question(row: Trajectory) -> str:
    """The folded text of all user turns before the target."""
    return folded("\n".join(m.content for m in row.prompt if m.role == "user"))


def _call_key(call: ToolCall) -> list[str]:
    try:
        return [call.name, canonical(json.loads(call.arguments))]
    except ValueError:
        return [call.name, call.arguments]


@lru_cache(maxsize=65_536)
def parameter_names(schema: str) -> tuple[str, ...]:
    """Sorted names of the properties of an object schema; () where the text is no such schema."""
    try:
        properties = json.loads(schema).get("properties") or {}
    except (ValueError, AttributeError):
        return ()
    return tuple(sorted(properties))


def tools_signature(tools: Sequence[ToolSpec]) -> list[tuple[str, ...]]:
    """Names and parameter names of the tools, in a fixed order."""
    return sorted((t.name, *parameter_names(t.parameters)) for t in tools)


def exact_key(row: Trajectory) -> str:
    """Hash of (query, calls, tool signature, negative or not); equal keys are exact duplicates.

    The target's text counts where it carries the answer: no structured call, or a negative.
    """
    negative = family(row) == "negative"
    target = row.target
    text = target.content if target and (negative or not target.tool_calls) else ""
    calls = [_call_key(c) for c in row.calls]
    return content_hash(
        [question(row), calls, folded(text), tools_signature(row.tools), negative], 32
    )


def rank(row: Trajectory) -> tuple[float, bool, str]:
    """Sort key of the survivor (smallest wins): quality, then pool positive, then the id."""
    return (-(row.quality or 0.0), family(row) != "positive", row.id)


def mark_duplicates(rows: Sequence[Trajectory]) -> list[Trajectory]:
    """The same rows in order; in each cluster all but the survivor read `duplicate_of:ID`."""
    best: dict[tuple[str, str], Trajectory] = {}
    keys = [(r.split or "train", exact_key(r)) if not r.reject_reason else None for r in rows]
    for row, key in zip(rows, keys):
        if key and (key not in best or rank(row) < rank(best[key])):
            best[key] = row
    return [
        row
        if key is None or row is best[key]
        else replace(row, reject_reason=f"duplicate_of:{best[key].id}")
        for row, key in zip(rows, keys)
    ]


def mark_leaks(
    train_rows: Sequence[Trajectory], eval_rows: Iterable[Trajectory]
) -> list[Trajectory]:
    """Training rows in order; one that asks an evaluation question reads `contaminated:SPLIT`."""
    seen: dict[str, str] = {}
    for row in eval_rows:
        text = question(row)
        if text:
            seen.setdefault(text, row.split or row.source)
    marked = []
    for row in train_rows:
        split = "" if row.reject_reason else seen.get(question(row), "")
        marked.append(replace(row, reject_reason=f"contaminated:{split}") if split else row)
    return marked
