"""What good examples look like: tools, calls a turn, arguments, dialogue length, phrasing.

`analyse` counts these in any rows. A spec carries such a profile (`init --positives` writes it), or
else that of its own examples; `generate` draws by it mixed half and half with even shares, so that
a few examples steer but never narrow.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from raytune_agents.agents.phrasing import clauses_of, join_of, taken_apart, value_marks
from raytune_agents.agents.word_banks import leaves
from raytune_agents.calls.validation import accepted_values, accepts
from raytune_agents.config import BaseConfig
from raytune_agents.records import Message, Trajectory, finish

if TYPE_CHECKING:
    from raytune_agents.agents import AgentSpec

EVEN = 0.5  # weight of even shares
TOP = 20  # frames and leading verbs kept
VALUES = 20  # values kept of each argument
LONGEST = 80  # characters of a text that may be said again
IN_BRACKETS = re.compile(r"\([a-z][\w -]*: ", re.I)


class Argument(BaseConfig):
    given: float = Field(ge=0, le=1, description="share of the tool's calls that give it")
    numbers: list[float] = Field([], description="smallest, median and largest number")
    texts: dict[str, int] = Field({}, description="the most frequent texts -> count")


class Profile(BaseConfig):
    rows: int = Field(0, ge=0, description="rows counted")
    tools: dict[str, float] = Field({}, description="tool -> share of all calls")
    calls: dict[str, float] = Field({}, description="most calls of a turn -> share of rows")
    kinds: dict[str, float] = Field({}, description="pool whose shape a row has -> share of rows")
    optional: float | None = Field(
        None, ge=0, le=1, description="share of their tools' optional arguments that calls give"
    )
    arguments: dict[str, dict[str, Argument]] = Field({}, description="tool -> argument -> values")
    turns: list[float] = Field([], description="least, median and most messages of a row")
    words: list[float] = Field([], description="least, median and most words of a request")
    frames: dict[str, int] = Field({}, description="request without its wish -> count")
    verbs: dict[str, int] = Field({}, description="words that lead an order -> count")
    joins: dict[str, int] = Field({}, description="what joins two wishes of a request -> count")
    clauses: dict[str, dict[str, dict[str, int]]] = Field(
        {}, description="tool -> argument -> its clause -> count"
    )
    marks: dict[str, int] = Field({}, description="quotation mark before texts ('' none) -> count")
    brackets: int = Field(0, ge=0, description="requests with values as in a form, (beds: 2)")
    english: bool = Field(True, description="whether its requests are in English")
    wordings: float = Field(
        0.5, ge=0, le=1, description="share of requests in the spec's own wordings, if it has any"
    )

    def calls_of(self, tool: str) -> float:
        """About how many of the rows' calls are of a tool."""
        each = sum(int(n) * share for n, share in self.calls.items())
        return self.rows * max(1.0, each) * self.tools.get(tool, 0.0)


def kind_of(row: Trajectory) -> str:
    """The pool of `generate` whose rows have this row's shape, by turns, results and calls."""
    users = sum(m.role == "user" for m in row.messages)
    if any(m.role == "tool" for m in row.messages):
        return "dialogue" if users > 1 else "react"
    if users > 1:
        return "gradual" if users > 2 else "followup"
    if not row.calls:
        return "notool"
    return "parallel" if most_calls(row) > 1 else "tflan"


def most_calls(row: Trajectory) -> int:
    """The most calls that one turn makes."""
    return max((len(m.tool_calls) for m in row.messages if m.role == "assistant"), default=0)


def count_shares(counts: Mapping[Any, int]) -> dict[str, float]:
    """Counts -> shares that sum to 1, most frequent first; {} for nothing."""
    total = sum(counts.values())
    return {str(k): round(n / total, 4) for k, n in sorted(counts.items(), key=lambda i: -i[1])}


def top(texts: Iterable[str]) -> dict[str, int]:
    """The most frequent texts that are not empty -> count."""
    return dict(Counter(filter(None, texts)).most_common(TOP))


def quantiles(numbers: Sequence[float]) -> list[float]:
    """Minimum, median and maximum (nearest rank); [] for nothing."""
    ordered = sorted(numbers)
    return [ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1]] if ordered else []


def argument(values: Sequence[Any], calls: int) -> Argument:
    """What is known of an argument that `calls` calls of its tool could have given."""
    flat = [leaf for v in values for leaf in leaves(v)]
    numeric = flat and all(isinstance(v, int | float) and not isinstance(v, bool) for v in flat)
    short = (v for v in flat if isinstance(v, str) and 0 < len(v) <= LONGEST and v.isprintable())
    texts = Counter(v for v in short if not set("{}") & set(v))
    return Argument(
        given=round(len(values) / calls, 4),
        numbers=quantiles(flat) if numeric else [],
        texts=dict(texts.most_common(VALUES)),
    )


def _optional(rows: Sequence[Trajectory]) -> float | None:
    free = given = 0
    for row in rows:
        schemas = {t.name: t.schema for t in row.tools}
        for call in row.calls:
            schema = schemas.get(call.name, {})
            spare = {*schema.get("properties", {})} - {*schema.get("required", ())}
            free, given = free + len(spare), given + len(spare & {*call.known_args})
    return round(given / free, 4) if free else None


def analyse(rows: Iterable[Trajectory]) -> Profile:
    """The task patterns of rows. Calls whose arguments are no JSON object count as tools only."""
    rows = list(rows)
    tools = Counter()
    seen: dict[str, dict[str, list[Any]]] = {}
    for row in rows:
        for call in row.calls:
            tools[call.name] += 1
            for name, value in call.known_args.items():
                seen.setdefault(call.name, {}).setdefault(name, []).append(value)
    phrased = [taken_apart(r.query) for r in rows]
    clauses: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for tool, name, clause in (found for r in rows for found in clauses_of(r)):
        clauses[tool][name].append(clause)
    return Profile(
        rows=len(rows),
        tools=count_shares(tools),
        calls=count_shares(Counter(map(most_calls, rows))),
        kinds=count_shares(Counter(map(kind_of, rows))),
        optional=_optional(rows),
        arguments={
            tool: {name: argument(values, tools[tool]) for name, values in args.items()}
            for tool, args in seen.items()
        },
        turns=quantiles([len(r.messages) for r in rows]),
        words=quantiles([len(r.query.split()) for r in rows]),
        frames=top(p.frame for p in phrased),
        verbs=top(p.lead for p in phrased),
        joins=top(join_of(r.query) for r in rows if most_calls(r) > 1),
        clauses={
            tool: {name: top(found) for name, found in named.items()}
            for tool, named in clauses.items()
        },
        marks=dict(Counter(mark for r in rows for mark in value_marks(r))),
        brackets=sum(bool(IN_BRACKETS.search(r.query)) for r in rows),
    )


def examples(spec: AgentSpec) -> list[Trajectory]:
    """The spec's own examples as rows."""
    out = []
    for i, example in enumerate(spec.examples):
        calls = tuple(c.call for c in example.calls)
        answer = Message("assistant", "" if calls else example.answer, tool_calls=calls)
        row = Trajectory(
            (Message("user", example.request), answer),
            spec.toolspecs,
            outcome=1.0,
            split="train",
            gold="" if calls else "[]",
            source=f"agent/{spec.name}",
            source_id=f"{spec.name}-example-{i}",
            step="generate.examples",
        )
        out.append(finish(row))
    return out


# --- drawing by a profile -------------------------------------------------------------------------


def mixed(names: Sequence[str], wanted: Mapping[str, float]) -> list[float]:
    """A weight for each name: half even, half as wanted; all even where none is wanted."""
    total = sum(wanted.get(n, 0.0) for n in names)
    even = EVEN if total else 1.0
    return [even / len(names) + (1 - even) * wanted.get(n, 0.0) / (total or 1.0) for n in names]


def grain(numbers: Sequence[float]) -> float:
    """The roundest step that all the numbers are multiples of: 0.5 for 1.5 and 3."""
    steps = (1000.0, 500.0, 100.0, 50.0, 10.0, 5.0, 1.0, 0.5, 0.25, 0.1, 0.05)
    return next((s for s in steps if all(round(n / s, 6) % 1 == 0 for n in numbers)), 0.01)


def like(known: Argument | None, schema: Mapping[str, Any], rng: random.Random) -> list[Any]:
    """Every second time what an argument should be like, as hints for `values.value`; else []: a
    text of the examples by its frequency (all of them for the items of an array), or a number
    between the smallest and the largest, near the median. Only what the schema allows."""
    if known is None or rng.random() < EVEN:
        return []
    many = schema.get("type") == "array"
    allowed = schema.get("items", {}) if many else schema
    if known.texts:
        texts = accepted_values(allowed, known.texts)
        if many:
            return texts if len(texts) >= schema.get("minItems", 1) else []
        return rng.choices(texts, [known.texts[t] for t in texts]) if texts else []
    if known.numbers and not many:
        low, median, high = known.numbers
        sample = rng.triangular(low, high, median)
        step = grain(known.numbers)
        found = round(round(sample / step) * step, 2)
        found = int(found) if found.is_integer() else found
        return [found] if accepts(allowed, found) else []
    return []
