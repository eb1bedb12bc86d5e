"""What of a row is compared: its question, its calls, its tools, as canonical text and keys."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from raytune_agents.calls.gold import without_defaults
from raytune_agents.calls.schema import find
from raytune_agents.filters.shape import call_key, row_family
from raytune_agents.readers.parameters import parameter_names
from raytune_agents.records import ToolCall, ToolSpec, Trajectory, canonical, content_hash

SHORTEST_ANSWER = 40  # characters of an answer in words that are compared, at least
# zero-width spaces and joiners, soft hyphens
_UNSEEN = str.maketrans("", "", "\u00ad\u200b\u200c\u200d\u2060\ufeff")


def folded(text: str) -> str:
    """Unicode NFKC, case-folded, runs of whitespace as one space, nothing that has no width."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_UNSEEN)
    return " ".join(text.casefold().split())


def request_text(row: Trajectory) -> str:
    """The folded text of all user turns before the target."""
    return folded("\n".join(m.content for m in row.prompt if m.role == "user"))


def near_text(row: Trajectory) -> str:
    """What near duplicates share: the question, and where no call answers as much of the target's
    text: rows that a bot refuses in the same words are as different as their questions."""
    target, request = row.target, request_text(row)
    if target is None or target.tool_calls:
        return request
    return f"{request}\n{folded(target.content)[: max(len(request), SHORTEST_ANSWER)]}"


def tools_signature(tools: Sequence[ToolSpec]) -> list[tuple[str, ...]]:
    """Names and parameter names of the tools, in a fixed order."""
    return sorted((t.name, *sorted(parameter_names(t.parameters))) for t in tools)


def exact_key(row: Trajectory) -> str:
    """Hash of (query, calls, tool signature, negative or not); equal keys are exact duplicates.

    The target's text counts where it carries the answer: no structured call, or a negative.
    """
    negative = row_family(row) == "negative"
    target = row.target
    text = target.content if target and (negative or not target.tool_calls) else ""
    calls = [key for m in row.messages for key in sorted(map(call_key, m.tool_calls))]
    parts = [request_text(row), calls, folded(text), tools_signature(row.tools), negative]
    return content_hash(parts, 32)


def comparable(value: Any) -> Any:
    """A JSON value for loose comparison: text folded, 5.0 = 5; booleans stay themselves."""
    if isinstance(value, str):
        return folded(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {k: comparable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [comparable(v) for v in value]
    return value


def plain_calls(row: Trajectory) -> list[list[Any]]:
    """[name, arguments] of every call for loose comparison, those of one turn in a fixed order,
    without arguments that equal their default; arguments that do not parse stand for themselves."""

    def plain(call: ToolCall) -> list[Any]:
        try:
            return [call.name, comparable(without_defaults(call, find(call.name, row.tools)))]
        except ValueError:
            return [call.name, call.arguments]

    turns = (sorted(map(plain, m.tool_calls), key=canonical) for m in row.messages)
    return [call for calls in turns for call in calls]


def group_key(row: Trajectory) -> str:
    """Hash of what near duplicates must have in common: split, negative or not, plain calls."""
    negative = row_family(row) == "negative"
    return content_hash([row.split or "train", negative, plain_calls(row)], 16)


def situation_key(row: Trajectory) -> str:
    """Hash of what contradicting rows have in common: all that is said before the answer (system
    text, requests, observations, earlier answers in words) and the tools with their parameters."""
    turns = [[m.role, folded(m.content)] for m in row.prompt]
    return content_hash([turns, tools_signature(row.tools)], 16)


def calls_key(row: Trajectory) -> str:
    """Hash of the calls, whatever their order, with defaults said or left out."""
    return content_hash(sorted(plain_calls(row), key=canonical), 16)


def key_bits(key: str) -> int:
    """The first 64 bits of a hexadecimal key, as an unsigned integer."""
    return int(key[:16], 16)
