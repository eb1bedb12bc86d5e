"""What the good examples look like, and how closely generation follows them.

`analyse` counts task patterns in any rows: tools, calls an answer, arguments, dialogue length,
phrasing. `tasks` draws tools, optional arguments and styles by these shares mixed half and half
with even ones, so that a few examples steer but never narrow.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raytune_agents.agents import AgentSpec
from raytune_agents.agents.values import leaves
from raytune_agents.records import Message, Trajectory, finish

EVEN = 0.5  # weight of even shares
TOP = 5  # values shown of each argument


@dataclass(frozen=True)
class Profile:
    """Shares and quantiles of a set of rows; every share is in [0, 1]."""

    rows: int = 0
    tools: dict[str, float] = field(default_factory=dict)  # tool -> share of all calls
    calls: dict[str, float] = field(default_factory=dict)  # calls in the last turn -> share of rows
    given: dict[str, dict[str, float]] = field(default_factory=dict)  # tool -> argument -> share
    values: dict[str, dict[str, Any]] = field(default_factory=dict)  # tool -> argument -> summary
    turns: dict[str, float] = field(default_factory=dict)  # quantiles of messages a row
    words: dict[str, float] = field(default_factory=dict)  # quantiles of words a request
    styles: dict[str, float] = field(default_factory=dict)  # style -> share of requests
    openings: dict[str, int] = field(default_factory=dict)  # first word of requests -> count


def style_of(text: str) -> str:
    """Which of the styles of `tasks.STYLES` a request is nearest to, by its words."""
    if re.match(r"(hey|hi|hello|ok|morning)\b", text, re.I) or re.search(r"\bthanks\b", text, re.I):
        return "chatty"
    if re.search(r"\b(please|could you|would you|grateful)\b", text, re.I):
        return "polite"
    return "plain" if re.search(r"[.?!]$", text.strip()) else "terse"


def shares(counts: Mapping[Any, int]) -> dict[str, float]:
    """Counts -> shares that sum to 1, most frequent first; {} for nothing."""
    total = sum(counts.values())
    return {str(k): round(n / total, 4) for k, n in sorted(counts.items(), key=lambda i: -i[1])}


def quantiles(numbers: Sequence[float]) -> dict[str, float]:
    """Minimum, median and maximum (nearest rank); {} for nothing."""
    ordered = sorted(numbers)
    if not ordered:
        return {}
    return {"min": ordered[0], "median": ordered[(len(ordered) - 1) // 2], "max": ordered[-1]}


def _summary(values: list[Any]) -> dict[str, Any]:
    """Numbers as a range, other values as the most frequent ones with their count."""
    flat = [leaf for v in values for leaf in leaves(v)]
    if flat and all(isinstance(v, int | float) and not isinstance(v, bool) for v in flat):
        return quantiles(flat)
    return dict(Counter(map(str, flat)).most_common(TOP))


def analyse(rows: Iterable[Trajectory]) -> Profile:
    """The task patterns of rows. Calls whose arguments are no JSON object count as tools only."""
    rows = list(rows)
    tools, openings = Counter(), Counter()
    seen: dict[str, dict[str, list[Any]]] = {}
    for row in rows:
        openings.update(word.lower() for word in row.query.split()[:1])
        for call in row.calls:
            tools[call.name] += 1
            try:
                args = call.args
            except ValueError:
                continue
            for name, value in args.items():
                seen.setdefault(call.name, {}).setdefault(name, []).append(value)
    return Profile(
        rows=len(rows),
        tools=shares(tools),
        calls=shares(Counter(len(r.target.tool_calls) if r.target else 0 for r in rows)),
        given={t: {a: len(v) / tools[t] for a, v in args.items()} for t, args in seen.items()},
        values={t: {a: _summary(v) for a, v in args.items()} for t, args in seen.items()},
        turns=quantiles([len(r.messages) for r in rows]),
        words=quantiles([len(r.query.split()) for r in rows]),
        styles=shares(Counter(style_of(r.query) for r in rows)),
        openings=dict(openings.most_common(TOP)),
    )


def examples(spec: AgentSpec) -> list[Trajectory]:
    """The spec's own examples as rows."""
    out = []
    for i, example in enumerate(spec.examples):
        calls = tuple(c.call for c in example.calls)
        messages = (
            Message("user", example.request),
            Message("assistant", "" if calls else example.answer, tool_calls=calls),
        )
        out.append(
            finish(
                Trajectory(
                    messages=messages, tools=spec.toolspecs, outcome=1.0, split="train",
                    gold="" if calls else "[]", source=f"agent/{spec.name}",
                    source_id=f"{spec.name}-example-{i}", step="generate.examples",
                )
            )
        )  # fmt: skip
    return out


def mixed(names: Sequence[str], wanted: Mapping[str, float]) -> list[float]:
    """A weight for each name: half even, half as wanted; all even where none is wanted."""
    total = sum(wanted.get(n, 0.0) for n in names)
    even = EVEN if total else 1.0
    return [even / len(names) + (1 - even) * wanted.get(n, 0.0) / (total or 1.0) for n in names]
