"""Faults of one answer: minimal edits of a good row's last turn.

Each fault returns None where it does not apply to the row. Whether the result is truly wrong, and
wrong for the reason named, is proved by `negatives.edit`, not here.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from itertools import combinations
from types import MappingProxyType
from typing import Any

from raytune_agents.agents.worlds import ends_in_world
from raytune_agents.calls.schema import PYTHON, find, schema_of
from raytune_agents.generate.arguments import invented
from raytune_agents.negatives.naming import answer_text
from raytune_agents.negatives.wrong_values import Near, SeenValues, mistyped, other_value
from raytune_agents.records import Arguments, JsonSchema, RecordError, ToolCall, Trajectory
from raytune_agents.storage import yaml_beside

Fault = Callable[[Trajectory, random.Random], Trajectory | None]
NO_VALUES: SeenValues = MappingProxyType({})
PHRASES: dict[str, list[str]] = yaml_beside(__file__, "phrases.yaml")
ArgumentEdit = Callable[[Arguments, Arguments, random.Random], Arguments | None]
MOST_NEEDED = 50  # arguments of a made-up call; a schema may require thousands


def with_target(row: Trajectory, **changes: Any) -> Trajectory:
    """The row with its last turn changed."""
    return replace(row, messages=(*row.prompt, replace(row.answer, **changes)))


def with_call(row: Trajectory, index: int, call: ToolCall) -> Trajectory:
    """The row with one call of its last turn replaced."""
    calls = row.answer.tool_calls
    return with_target(row, tool_calls=(*calls[:index], call, *calls[index + 1 :]))


def _schema(row: Trajectory, name: str) -> JsonSchema:
    return schema_of(find(name, row.tools))


def _kind(schema: JsonSchema) -> str:
    kind = schema.get("type", "string")
    return kind if isinstance(kind, str) else next((k for k in kind if k != "null"), "string")


# --- the function ---------------------------------------------------------------------------------


def invented_call(row: Trajectory, name: str, rng: random.Random, source: Arguments) -> ToolCall:
    """A call that fits its tool's schema: arguments from `source` by name or type, or made up."""
    schema = _schema(row, name)
    properties = schema.get("properties", {})
    left = dict(source)
    arguments = {}
    needed = schema.get("required", []) or list(properties)[:1]
    for key in list(dict.fromkeys(needed))[:MOST_NEEDED]:
        detail = properties.get(key, {})
        same = [k for k in left if k == key or type(left[k]) is PYTHON.get(_kind(detail))]
        if same and "enum" not in detail:
            arguments[key] = left.pop(key if key in same else same[0])
        else:
            arguments[key] = invented(key, detail, rng)
    return ToolCall.of(name, **arguments)


def wrong_function(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """Another candidate is called, with the arguments that fit it."""
    calls = row.answer.tool_calls
    others = [t.name for t in row.tools if t.name not in {c.name for c in calls}]
    if not calls or not others:
        return None
    i = rng.randrange(len(calls))
    return with_call(row, i, invented_call(row, rng.choice(others), rng, calls[i].args))


def hallucinated_function(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """The called name is not in the list, but looks as if it could be."""
    calls = row.answer.tool_calls
    if not calls:
        return None
    i = rng.randrange(len(calls))
    name = calls[i].name
    stem = re.split(r"[._]", name)[-1]
    names = [form.format(name=name, stem=stem) for form in PHRASES["function_names"]]
    names.append(re.sub(r"_(\w)", lambda m: m[1].upper(), name))
    known = {t.name for t in row.tools}
    name = rng.choice([n for n in names if n not in known])
    return with_call(row, i, replace(calls[i], name=name))


# --- arguments ------------------------------------------------------------------------------------


def _of_one_call(edit: ArgumentEdit) -> Fault:
    """A fault that edits the arguments of one call; `edit` gives None where it finds nothing."""

    @wraps(edit)
    def fault(row: Trajectory, rng: random.Random) -> Trajectory | None:
        calls = row.answer.tool_calls
        for i in rng.sample(range(len(calls)), len(calls)):
            changed = edit(calls[i].args, _schema(row, calls[i].name), rng)
            if changed is not None:
                return with_call(row, i, ToolCall.of(calls[i].name, **changed))
        return None

    return fault


def _drop(names: list[str], args: Arguments, rng: random.Random) -> Arguments | None:
    if not names:
        return None
    lost = rng.choice(names)
    return {k: v for k, v in args.items() if k != lost}


@_of_one_call
def missing_required(args: Arguments, schema: JsonSchema, rng: random.Random) -> Arguments | None:
    """A required argument is left out."""
    return _drop([k for k in args if k in schema.get("required", [])], args, rng)


@_of_one_call
def missing_optional_needed(
    args: Arguments, schema: JsonSchema, rng: random.Random
) -> Arguments | None:
    """An optional argument that the request asks for is left out."""
    return _drop([k for k in args if k not in schema.get("required", [])], args, rng)


@_of_one_call
def extra_argument(args: Arguments, schema: JsonSchema, rng: random.Random) -> Arguments | None:
    """An argument is added that the request does not ask for, or that the tool does not know."""
    properties = schema.get("properties", {})
    unused = [k for k in properties if k not in args]
    if unused and rng.random() < 0.5:
        key = rng.choice(unused)
        return args | {key: invented(key, properties[key], rng)}
    key = rng.choice([k for k in PHRASES["unknown_arguments"] if k not in properties | args])
    made_up = {"timeout": 30, "limit": 10, "verbose": True}
    return args | {key: made_up.get(key) or invented(key, {"type": "string"}, rng)}


@_of_one_call
def wrong_argument_name(
    args: Arguments, schema: JsonSchema, rng: random.Random
) -> Arguments | None:
    """An argument goes under a name that the tool does not have."""
    if not args:
        return None
    key = rng.choice(list(args))
    names = [form.format(name=key) for form in PHRASES["argument_names"]]
    names.append(key.split("_")[0] if "_" in key else f"target_{key}")
    new = rng.choice([n for n in names if n not in schema.get("properties", {}) | args])
    return {(new if k == key else k): v for k, v in args.items()}


@_of_one_call
def wrong_type(args: Arguments, schema: JsonSchema, rng: random.Random) -> Arguments | None:
    """One value is right but of a wrong type."""
    for key in rng.sample(list(args), len(args)):
        changed = mistyped(args[key], rng)
        if changed is not None:
            return args | {key: changed}
    return None


@_of_one_call
def swapped_values(args: Arguments, schema: JsonSchema, rng: random.Random) -> Arguments | None:
    """Two values of one type change places."""
    two = combinations(args, 2)
    pairs = [(a, b) for a, b in two if type(args[a]) is type(args[b]) and args[a] != args[b]]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    return args | {a: args[b], b: args[a]}


def wrong_value(
    row: Trajectory, rng: random.Random, seen: SeenValues = NO_VALUES
) -> Trajectory | None:
    """One value is another of the same type that could stand there; `seen` has those that other
    rows give the same parameter."""
    calls = row.answer.tool_calls
    for i in rng.sample(range(len(calls)), len(calls)):
        args, properties = calls[i].args, _schema(row, calls[i].name).get("properties", {})
        for key in rng.sample(list(args), len(args)):
            near = Near(seen.get((calls[i].name, key), ()), row.query)
            changed = other_value(args[key], properties.get(key, {}), rng, near)
            if changed is not None and changed != args[key]:
                return with_call(row, i, ToolCall.of(calls[i].name, **(args | {key: changed})))
    return None


# --- the text -------------------------------------------------------------------------------------


Written = Callable[[Trajectory], str]  # a row -> its last turn as the model would write it


def in_our_form(row: Trajectory) -> str:
    """The last turn in the form of our template."""
    return answer_text(row.answer)


def _cut(text: str, part: str) -> str:
    """The text without the last occurrence of a part."""
    head, found, tail = text.rpartition(part)
    return head + tail if found else text


MARKS = re.compile(r"</?[\w|=.]+>|<\|[\w]+\|>|\[/?[A-Z_]+\]")  # the marks of a dialect


def malformed_json(
    row: Trajectory, rng: random.Random, written: Written = in_our_form
) -> Trajectory | None:
    """The call is there but cannot be read: what the model writes for it is broken in one place.
    The turn carries the broken text. `written` says how the model writes: in its dialect."""
    if not row.answer.tool_calls:
        return None
    try:
        text = written(row)
    except RecordError:  # the template has no such turn
        return None
    breaks = [_cut(text, part) for part in ("}}", "}", '"', ": ", ", ", "]")]
    breaks += [_cut(text, mark) for mark in set(MARKS.findall(text))]
    breaks += [text.replace('"', "'", 2), text[: -rng.randint(2, 3)]]
    end = re.search(r"(?:</?[\w|=.]+>|\s)*$", text)
    breaks.append(text[: end.start() - rng.randint(1, 3)] if end else text)  # cut within the call
    return with_target(row, content=rng.choice(sorted(set(breaks) - {text})), tool_calls=())


def wrong_format(
    row: Trajectory, rng: random.Random, written: Written = in_our_form
) -> Trajectory | None:
    """The text can be read but is not a call: other keys (of our form alone), or a call buried in
    prose."""
    if len(row.answer.tool_calls) != 1:
        return None
    call = row.answer.tool_calls[0]
    name = json.dumps(call.name)
    forms = [f'I will use {{"name": {name}, "arguments": {call.arguments}}} for this.']
    if written is in_our_form:
        forms += [
            f'<tool_call>{{"tool": {name}, "input": {call.arguments}}}</tool_call>',
            f"<tool_call>{{{name}: {call.arguments}}}</tool_call>",
            f'<tool_call>{{"name": {name}, "arguments": [{call.arguments}]}}</tool_call>',
        ]
    content = "\n".join(filter(None, (row.answer.content, rng.choice(forms))))
    return with_target(row, content=content, tool_calls=())


# --- the number of calls --------------------------------------------------------------------------


def missing_call(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """One of several calls is left out."""
    calls = row.answer.tool_calls
    if len(calls) < 2:
        return None
    lost = rng.randrange(len(calls))
    return with_target(row, tool_calls=calls[:lost] + calls[lost + 1 :])


def extra_call(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """A call is added that nobody asked for."""
    calls = row.answer.tool_calls
    if not calls or not row.tools:
        return None
    extra = invented_call(row, rng.choice(row.tools).name, rng, {})
    at = rng.randint(0, len(calls))
    return with_target(row, tool_calls=(*calls[:at], extra, *calls[at:]))


def repeated_call(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """A call is written twice."""
    calls = row.answer.tool_calls
    if not calls:
        return None
    i = rng.randrange(len(calls))
    return with_target(row, tool_calls=(*calls[: i + 1], *calls[i:]))


def answered_directly(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """A tool is needed, but the turn claims a result instead of calling it."""
    if not row.answer.tool_calls:
        return None
    values = [v for v in row.answer.tool_calls[0].args.values() if isinstance(v, str)]
    about = f" for {values[0]}" if values else ""
    text = rng.choice(PHRASES["answered_directly"]).format(about=about)
    return with_target(row, content=text, tool_calls=())


def _made_up(row: Trajectory, rng: random.Random) -> Trajectory | None:
    if row.answer.tool_calls or not row.tools:
        return None
    call = invented_call(row, row.meta.get("near") or rng.choice(row.tools).name, rng, {})
    return with_target(row, content="", thought="", tool_calls=(call,))


def unneeded_call(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """No call is right here, but a tool is called with made-up arguments."""
    special = {"ask", "refuse"} & set(row.meta) or ends_in_world(row)
    return None if special else _made_up(row, rng)


def should_ask_violated(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """A required value is missing; instead of a question comes a call with an invented one."""
    return _made_up(row, rng) if row.meta.get("ask") else None


def should_refuse_violated(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """No tool can do what is asked; instead of a refusal comes a call."""
    return _made_up(row, rng) if row.meta.get("refuse") else None
