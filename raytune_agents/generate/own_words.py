"""The user's own rows in other words: one value less, one more, another sentence around the wish.

What the row says stays provable from its text, as in the row itself (`as_good`). Left out on
purpose: other values (`variants`).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from raytune_agents.agents import AgentSpec
from raytune_agents.agents.analyse import Profile
from raytune_agents.agents.phrasing import Phrasing, clause_in, taken_apart
from raytune_agents.agents.wording import SLOT
from raytune_agents.calls import schema_errors
from raytune_agents.filters import grounding
from raytune_agents.generate.actions import verb_words
from raytune_agents.generate.arguments import parameters_of, sample_known
from raytune_agents.generate.clauses import clause_of
from raytune_agents.generate.codes import NoValue
from raytune_agents.generate.frames import framed
from raytune_agents.generate.grammar import PREPOSITIONS
from raytune_agents.generate.known_wording import known_clause
from raytune_agents.generate.surface import spoken
from raytune_agents.generate.ways_said import ways_said
from raytune_agents.generate.wordlists import pattern
from raytune_agents.records import Options, ToolCall, Trajectory, derive

REFRAMED = 0.5  # share of rows whose wish stands in another frame
SHORTENED = 0.3  # share of rows that go without an optional value
EXTENDED = 0.3  # share of rows that have another one


def whole_text(text: str) -> str:
    """The pattern of a text that is no part of a word, a number or an address: not the "a.com" of
    "me@a.com"."""
    return rf"(?<![\w.@/-]){re.escape(text)}(?![\w@]|[.-]\w)"


def said_text(value: Any, texts: Sequence[str]) -> str:
    """The text by which a value is said, in the case that it is said in; the longest of all ways,
    so that "8 May 2026" is more than "8 May"; "" where it is not said."""
    for way in sorted(ways_said(value), key=len, reverse=True):
        for text in texts:  # a day has 70 ways: most are seen to be missing without an expression
            if way.isascii() and way.lower() not in text.lower():
                continue
            if found := re.search(whole_text(way), text, re.I):
                return found[0]
    return ""


def call_keys(row: Trajectory) -> list[tuple[str, str]]:
    return [(c.name, c.arguments) for c in row.calls]


def as_good(new: Trajectory, old: Trajectory) -> bool:
    """Whether the new row's calls fit their tools, differ from each other as the old row's do, and
    are as grounded."""
    if any(schema_errors(c, new.tools) for c in new.calls):
        return False
    if len(set(call_keys(new))) < len(set(call_keys(old))):
        return False  # two ids became one
    return len(grounding.check_values(new)[1]) <= len(grounding.check_values(old)[1])


def recast(row: Trajectory, spec: AgentSpec, rng: random.Random) -> Trajectory:
    """The row in other words, or as it is."""
    change = rng.random()
    if change < SHORTENED:
        row = shortened(row, rng)
    elif change < SHORTENED + EXTENDED:
        row = extended(row, spec, rng)
    return reframed(row, rng, spec.habits) if rng.random() < REFRAMED else row


def shortened(row: Trajectory, rng: random.Random) -> Trajectory:
    """The row without one of its optional values and the words that say it; the row itself where
    none can go."""
    if [m.role for m in row.messages if m.role != "system"] != ["user", "assistant"]:
        return row
    schemas = {t.name: t.schema for t in row.tools}
    free = [
        (i, name)
        for i, call in enumerate(row.calls)
        for name in call.args
        if len(call.args) > 1 and name not in schemas[call.name].get("required", [])
    ]
    for i, name in rng.sample(free, len(free)):
        args = row.calls[i].args
        value = args.pop(name)
        if isinstance(value, bool | list | dict):
            continue
        found = clause_in(row.query, value, f"{row.calls[i].name} {name}", str(value).isdigit())
        calls = [*row.calls]
        calls[i] = replace(calls[i], arguments=json.dumps(args, ensure_ascii=False))
        left = row.query[: found.start()] + row.query[found.end() :] if found else ""
        left = re.sub(r"[ ,;:-]+(?=[.?!]*$)", "", left)  # "whitefly on B-7, about a 4"
        if 2 * len(left.split()) < len(row.query.split()):
            continue  # "is Dishyum" of "is Dishyum at the cinema" asks nothing
        if found and not any(said_text(v, [found[0]]) for c in calls for v in c.args.values()):
            return _reworded(row, left, calls)
    return row


def _one_sentence(row: Trajectory) -> Phrasing:
    """The row's request taken apart, empty where it says more than its frame and wish."""
    taken = taken_apart(row.query)
    return taken if SLOT.sub(lambda _: taken.wish, taken.frame) == row.query else Phrasing()


def extended(row: Trajectory, spec: AgentSpec, rng: random.Random) -> Trajectory:
    """The row of one sentence with one more optional value, in a clause of its own; the row itself
    where no clause is known or the new one would begin like another."""
    tool = next((t for t in spec.tools if t.name == row.calls[0].name), None)
    ends = re.search(r"\}([.?!]*)$", _one_sentence(row).frame)
    if tool is None or len(row.calls) > 1 or ends is None or not spec.habits.english:
        return row
    args, body = row.calls[0].args, row.query.removesuffix(ends[1])
    free = [p for p in parameters_of(tool) if not (p.required or p.name in args or p.items)]
    for p in rng.sample(free, len(free)):
        try:
            made, scene = sample_known(tool, [*args, p.name], rng, spec.habits, args)
        except NoValue:
            continue
        value = made[p.name]
        clause = known_clause(tool.name, p, value, rng, spec.habits) or clause_of(p, value, rng)
        first = clause.partition(" ")[0]
        if not re.fullmatch(PREPOSITIONS, first) or f" {first} " in body:
            continue
        said = spoken(p, value, scene, rng)
        calls = [replace(row.calls[0], arguments=json.dumps(made, ensure_ascii=False))]
        new = _reworded(row, f"{body} {clause.replace(p.slot, said)}{ends[1]}", calls)
        if as_good(new, row):
            return new
    return row


def reframed(row: Trajectory, rng: random.Random, habits: Profile) -> Trajectory:
    """The row's one English order in another of the frames that the user's rows have; any other row
    as it is."""
    taken = _one_sentence(row)
    first, _, rest = taken.wish.partition(" ")
    if taken.form != "order" or first.lower() not in verb_words() or len(row.calls) > 1:
        return row
    if pattern("stated").match(taken.wish):
        return row
    return _reworded(row, framed(f"{first.lower()} {rest}", rng, (), habits)[1], row.calls)


def _reworded(row: Trajectory, text: str, calls: Sequence[ToolCall]) -> Trajectory:
    """A row of one turn with another request and its calls."""
    new: dict[str, Options] = {"user": {"content": text}, "assistant": {"tool_calls": tuple(calls)}}
    messages = tuple(replace(m, **new.get(m.role, {})) for m in row.messages)
    said = {k: v for k, v in row.meta.get("anchors", {}).items() if v in text}
    return derive(row, messages=messages, outcome=1.0, gold="", meta=row.meta | {"anchors": said})
