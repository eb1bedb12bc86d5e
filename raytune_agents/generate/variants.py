"""The user's own rows with other values: swapped in request and call together, style kept.

A value is swapped only where the request says it, and written as the old one was ("8 May", "two",
"2 pm"), so the text around it stays what a person wrote. Whether the new row is as grounded as the
old one is checked, not assumed. Rows with observations are left alone: other values would make them
untrue.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raytune_agents.agents import AgentSpec, ToolConfig
from raytune_agents.agents.analyse import Argument, Profile, most_calls
from raytune_agents.filters import grounding
from raytune_agents.generate.actions import verb_words
from raytune_agents.generate.arguments import is_drawable, parameters_of, sample_known
from raytune_agents.generate.codes import NoValue
from raytune_agents.generate.frames import EVEN_HABITS, PRIOR_ROWS, drawn, weighed
from raytune_agents.generate.kind_table import bank_of
from raytune_agents.generate.own_words import as_good, call_keys, recast, said_text, whole_text
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.ways_said import day_of, written_alike
from raytune_agents.generate.wordlists import pattern, phrases
from raytune_agents.records import Arguments, Message, ToolCall, Trajectory, derive

TRIES = 8
JOINED = 0.15  # share of rows that join two of the user's requests, where they join any
SUBJECT = "(i|we|he|she|they)"


@dataclass(frozen=True)
class ValueSpan:
    """Where a value of a call stands: the call's index, its argument, and the text that says it."""

    call: int
    name: str
    text: str


def value_spans(row: Trajectory) -> list[ValueSpan]:
    """Every value of the row's calls that its user says."""
    texts = [m.content for m in row.messages if m.role == "user"]
    out = []
    for i, call in enumerate(row.calls):
        for name, value in call.args.items():
            text = said_text(value, texts)
            if text and len(text) > (0 if text.isdigit() else 1):
                out.append(ValueSpan(i, name, text))
    return out


def usable(row: Trajectory) -> bool:
    """Whether other values can be put into a row: calls, no observations, a value that is said."""
    try:
        seen = any(m.role == "tool" for m in row.messages)
        return bool(row.calls) and not seen and bool(value_spans(row))
    except ValueError:  # arguments that are no object
        return False


def _cased(text: str, old: str) -> str:
    """The new text in the case of the old one."""
    if old.islower() and not re.search(r"[@/\d]", text):
        return text.lower()
    return text


def _new_values(
    tool: ToolConfig,
    names: Sequence[str],
    args: Mapping[str, Any],
    text: str,
    spec: AgentSpec,
    rng: random.Random,
) -> Arguments:
    """Other values for some arguments, those of the user's other rows first. Raises NoValue."""
    habits = spec.habits.arguments.get(tool.name, {})
    params = {p.name: p for p in parameters_of(tool)}
    drawable = [
        p.name
        for p in params.values()
        if p.name in names and is_free(p, args[p.name], text) and is_drawable(tool, p, habits)
    ]
    fixed = {k: v for k, v in args.items() if k not in drawable and v is not None}
    if not drawable:
        raise NoValue(f"{tool.name}: no other values are known")
    made, _ = sample_known(tool, [*drawable, *fixed], rng, spec.habits, fixed)
    return {
        k: made[k]
        for k in drawable
        if made[k] != args[k]
        and is_alike(made[k], args[k])
        and _is_of(params[k], made[k], args[k], habits)
    }


def _is_plain(value: Any) -> bool:
    """Whether a value is plain words, "high": neither a name nor a number."""
    return isinstance(value, str) and re.fullmatch(r"[a-z][a-z -]*", value) is not None


def _is_of(p: Parameter, new: Any, old: Any, habits: Mapping[str, Argument]) -> bool:
    """Whether a value suits the argument: a plain word of a list, which the user's rows do not
    give ("month"), only where the old one is of that list too."""
    if not _is_plain(new) or p.kind == "choice":
        return True
    known = p.name in habits and new in habits[p.name].texts
    return known or str(old).lower() in {str(v).lower() for v in bank_of(p.sense)}


def is_free(p: Parameter, value: Any, text: str) -> bool:
    """Whether another value leaves the sentence true: not for what somebody does, for a word after
    an article ("the city"), nor for a plain word of a list, which others speak of ("my brakes
    squeal"), unless its noun stands beside it ("high priority")."""
    # "in euros (EUR)": no other code stands behind the word
    if isinstance(value, str) and value.isupper() and f"({value})" in text:
        return False
    if day_of(value) and pattern("day_word").search(text):
        return False  # "Friday 8 May"
    # "I found food at home": no other reason follows the "I".
    if isinstance(value, str) and re.search(rf"\b{SUBJECT} {re.escape(value)}", text, re.I):
        return False
    if re.search(rf"\b(the|an?|my|our|this) {re.escape(str(value).lower())}\b", text):
        return False
    if not _is_plain(value) or p.kind != "choice":
        return True
    noun = re.escape(p.noun.split()[-1]) if p.noun else "(?!)"
    escaped = re.escape(value)
    return bool(re.search(rf"\b{escaped} {noun}|\b{noun}( is| of|:)? {escaped}", text, re.I))


def is_alike(new: Any, old: Any) -> bool:
    """Whether a value has the form of another: an age range "20-23" is no IP address."""
    if not isinstance(new, str) or not isinstance(old, str):
        same_number = (new == 1) == (old == 1)  # "1 night" is no "6 night"
        return not isinstance(new, str) and not isinstance(old, str) and same_number
    small = old[:1].islower() or new[:1].islower()
    if small and len(old.split()) != len(new.split()):
        return False  # "now" is no "October the fifth"
    if len(old.split()) > 3 and len(new.split()) > 2:
        return True  # a sentence may look as it likes
    forms = [re.sub(r"[^\W\d_]+", "a", re.sub(r"[\s',]+", "", t.lower())) for t in (new, old)]
    forms = [set(re.sub(r"\d+", "0", form)) for form in forms]
    return forms[0] == forms[1] and abs(len(new.split()) - len(old.split())) <= 2


def _swapped_text(text: str, swaps: Mapping[str, str]) -> str:
    """The text with all old words replaced at once, the longest first."""
    # One pass, or a new value that holds an old one would be swapped again; the longest first, or
    # "York" would be found in "York Avenue".
    old = sorted(swaps, key=len, reverse=True)
    pattern = "|".join(map(whole_text, old))
    return re.sub(pattern, lambda m: swaps[m[0]], text) if old else text


def variant(row: Trajectory, spec: AgentSpec, rng: random.Random) -> Trajectory | None:
    """The row with other values where others fit, None where it would be no good row."""
    tools = {t.name: t for t in spec.tools}
    found, calls = value_spans(row), [c.args for c in row.calls]
    swaps: dict[str, str] = {}
    values: dict[str, Any] = {}
    for i, call in enumerate(row.calls):
        mine = [p for p in found if p.call == i]
        if call.name not in tools or not mine:
            continue
        try:
            new = _new_values(
                tools[call.name], [p.name for p in mine], calls[i], row.query, spec, rng
            )
        except NoValue:
            continue
        for p in mine:
            if p.name in new and p.text not in swaps:
                if not (way := written_alike(new[p.name], calls[i][p.name], p.text)):
                    continue
                swaps[p.text], values[p.text] = _cased(way, p.text), new[p.name]
    for p in found:  # a text that is said once may stand for a value of both calls
        if p.text not in swaps:
            continue
        old = calls[p.call][p.name]
        if type(old) is not type(values[p.text]):
            return None
        calls[p.call][p.name] = swaps[p.text] if old == p.text else values[p.text]
    made = iter(
        [replace(c, arguments=json.dumps(a, ensure_ascii=False)) for c, a in zip(row.calls, calls)]
    )
    messages = tuple(
        replace(
            m,
            content=_swapped_text(m.content, swaps),
            tool_calls=tuple(next(made) for _ in m.tool_calls),
        )
        for m in row.messages
    )
    meta = {k: v for k, v in row.meta.items() if k in ("ask", "refuse")}
    said = list(swaps.values()) or [p.text for p in found]
    meta |= {"wording": "own", "anchors": {str(i): v for i, v in enumerate(said)}}
    out = derive(
        row,
        messages=messages,
        pool="synthetic.variant",
        step="generate.variant",
        outcome=1.0,
        gold="",
        source=f"agent/{spec.name}",
        split="train",
        meta=meta,
    )
    return out if as_good(out, row) else None


def joined_requests(
    one: Trajectory, two: Trajectory, rng: random.Random, habits: Profile = EVEN_HABITS
) -> Trajectory | None:
    """Two single requests as one, with both calls; None where they are not of one turn or the same
    call twice."""
    for row in (one, two):
        if [m.role for m in row.messages if m.role != "system"] != ["user", "assistant"]:
            return None
    keys = {*call_keys(one), *call_keys(two)}
    if len(keys) < len(one.calls) + len(two.calls) or one.query == two.query:
        return None
    first = one.query.strip()
    first = first if first[-1:] in ".?!" else f"{first}."
    second = two.query.strip()
    joins = weighed(phrases()["dialogue"]["joins"], habits.joins)
    sentences = {j: w for j, w in joins.items() if j.startswith(". ")}
    join = drawn(sentences, rng) if habits.english else ". "
    word = re.match(r"[A-Z][a-z]+\b(?!-)", second)
    if word and (word[0].lower() in verb_words() or pattern("begins").match(second)):
        second = second[:1].lower() + second[1:]  # no name and no code
    tools = tuple({t.name: t for t in (*one.tools, *two.tools)}.values())
    calls: tuple[ToolCall, ...] = (*one.answer.tool_calls, *two.answer.tool_calls)
    messages = (
        *[m for m in one.messages if m.role == "system"],
        Message("user", f"{first}{join[1:]}{second}"),
        Message("assistant", tool_calls=calls),
    )
    said = [*one.meta["anchors"].values(), *two.meta["anchors"].values()]
    anchors = {str(i): v for i, v in enumerate(said)}
    return derive(
        one, two, messages=messages, tools=tools, outcome=1.0, meta=one.meta | {"anchors": anchors}
    )


def value_variants(
    spec: AgentSpec, rows: Sequence[Trajectory], n: int, seed: int
) -> list[Trajectory]:
    """At most `n` rows made of the user's own, as many of each, with different requests."""
    good = [r for r in rows if usable(r)]
    # what a row does not say, other values may make untrue
    good = [r for r in good if not grounding.check_values(r)[1]] or good
    out: dict[str, Trajectory] = {}
    for index in range(n if good else 0):
        for row in _tries(spec, good, index, seed):
            if row.query not in out:
                out[row.query] = row
                break
    return list(out.values())


def _tries(
    spec: AgentSpec, good: Sequence[Trajectory], index: int, seed: int
) -> Iterator[Trajectory]:
    several = sum(most_calls(row) > 1 for row in good)
    joining = JOINED * (PRIOR_ROWS + several) / (PRIOR_ROWS + len(good))
    for attempt in range(TRIES):
        # A seed per try: more rows wanted of an agent leave its earlier ones as they were.
        rng = random.Random(f"{seed}/{spec.name}/variant/{index}/{attempt}")
        old = good[index % len(good)]
        row = variant(old, spec, rng)
        row = recast(row, spec, rng) if row is not None else None
        if row is None or row.query == old.query:
            continue
        other = variant(rng.choice(good), spec, rng) if rng.random() < joining else None
        both = joined_requests(row, other, rng, spec.habits) if other is not None else None
        yield both or row
