"""Trajectory -> any writer -> JSON -> the reader of that format -> the same Trajectory.

What a format cannot carry (exports.LOSES) is taken off both sides by name; nothing else is.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raytune_agents import exports, readers
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory

# "<" opens the tags of the text formats (<think>, <tool_call>); those cannot be told from content,
# nor can the text of a call of one of the row's tools, whose names are lower case here
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="<[("), min_size=1, max_size=30)
TEXT |= st.sampled_from(['{"result": "x"}', '["a", "b"]', "Thought: a\nAction: F[x]", "[F(a=1)]"])
ANSWERS = TEXT.filter(lambda t: bool(t.strip()))  # no reader lets a blank answer be trained on
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXT
    | st.floats(-1e6, 1e6, allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@st.composite
def schemas(draw) -> str:
    """An object schema in the words that all formats know, with odd spacing now and then."""
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    kinds = [
        {"type": "string", "description": "a text"},
        {"type": "integer", "default": 3},
        {"type": "array", "items": {"type": "number"}},
        {"type": "object", "properties": {"type": {"type": "boolean"}}},
        {"type": "string", "enum": ["a", "b"]},
    ]
    properties = {n: draw(st.sampled_from(kinds)) for n in names}
    schema = {"type": "object", "properties": properties, "required": names[:1]}
    return json.dumps(schema, indent=draw(st.sampled_from([None, 1])))


@st.composite
def calls(draw, names: list[str]) -> ToolCall:
    arguments = json.dumps(draw(st.dictionaries(NAMES, VALUES, max_size=3)),
                           ensure_ascii=draw(st.booleans()))  # fmt: skip
    return ToolCall(draw(st.sampled_from(names)), arguments)


@st.composite
def trajectories(draw) -> Trajectory:
    """Turns with parallel calls, observations, thoughts, a system text and untrained turns."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    tools = tuple(ToolSpec(n, draw(TEXT), draw(schemas())) for n in names)
    messages = [Message("system", draw(TEXT))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append(Message("user", draw(TEXT)))
        if draw(st.booleans()):
            made = draw(st.lists(calls(names), min_size=1, max_size=3))
            thought, content = draw(TEXT | st.just("")), draw(TEXT | st.just(""))
            # Beside a call these words are what a writer made of null.
            content = "" if content in ("None", "null", "nan") else content
            messages.append(Message("assistant", content, thought, tuple(made)))
            messages += [Message("tool", draw(TEXT), name=c.name) for c in made]
        loss = draw(st.sampled_from([None, None, None, False]))
        messages.append(Message("assistant", draw(ANSWERS), loss=loss))
    if draw(st.booleans()):
        messages[-1] = Message("assistant", tool_calls=(draw(calls(names)),))
    messages[-1] = replace(messages[-1], loss=None)
    return Trajectory(tuple(messages), tools, source_id="7")


def nothing(value: Any) -> bool:
    """Null, or an object of nulls alone."""
    return value is None or (
        isinstance(value, dict) and value != {} and all(nothing(v) for v in value.values())
    )


def lean(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: lean(v) for k, v in value.items() if not nothing(v)}
    return [lean(v) for v in value] if isinstance(value, list) else value


def plain(row: Trajectory, drop: frozenset[str]) -> tuple:
    """What must survive: every turn and every tool, less what the format is said to lose."""

    def call(c: ToolCall) -> tuple:
        # of objects the reader takes nulls for what a table of unlike structs put in
        text = lean(json.loads(c.arguments)) if "spelling" in drop else c.arguments
        return (c.name, text)

    def turn(m: Message) -> tuple:
        thought, content = m.thought.strip(), m.content  # between marks its edges say nothing
        if "thought" in drop:
            thought, content = "", "\n".join(p for p in (m.thought, content) if p)
        name = "" if "tool name" in drop and m.role == "tool" else m.name
        trained = m.trained or "loss" in drop
        return (m.role, content, thought, tuple(call(c) for c in m.tool_calls), name, trained)

    def tool(t: ToolSpec) -> tuple:
        return (t.name, t.description, t.schema if "schema" in drop else t.parameters)

    return tuple(turn(m) for m in row.messages), tuple(tool(t) for t in row.tools)


CASES = {
    "openai": ("openai", {"thought", "tool name", "schema"}),
    "axolotl": ("axolotl", {"tool name", "schema"}),
    "gemini": ("gemini", {"spelling", "schema"}),
    "sharegpt": ("sharegpt", {"tool name"}),
    "trl": ("trl", {"spelling", "schema", "loss"}),
    "trl_label": ("trl", {"spelling", "schema", "loss"}),
    "agent_flan": ("agent_flan", {"tool name"}),
    "xlam": ("xlam", set()),
}
# ReAct text has no place for tools, for text beside a call or for a thought beside an answer
WORDS = st.from_regex(r"[a-z][a-z ,.]{0,20}[a-z]", fullmatch=True)


@st.composite
def react_rows(draw) -> Trajectory:
    """A question, then thought, one call and what it gave, one to four times, then an answer."""
    messages = [Message("user", draw(WORDS))]
    for _ in range(draw(st.integers(1, 4))):
        thought, call = draw(WORDS | st.just("")), draw(calls(["look_up", "get"]))
        loss = draw(st.sampled_from([None, False]))
        messages.append(Message("assistant", "", thought, (call,), loss=loss))
        messages.append(Message("tool", draw(TEXT.filter(lambda t: t[0].strip())), name=call.name))
    return Trajectory((*messages, Message("assistant", draw(WORDS))), source_id="7")


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(row=trajectories())
def test_round_trip(name: str, row: Trajectory) -> None:
    reader, drop = CASES[name]
    if name == "xlam":
        row = replace(row, messages=(Message("user", row.query or "q"), Message(
            "assistant", tool_calls=row.calls)))  # fmt: skip
    if name in ("gemini", "sharegpt"):  # these refuse untrained turns, and text beside a call
        row = replace(row, messages=tuple(
            replace(m, loss=None, content="" if m.tool_calls and name == "sharegpt" else m.content)
            for m in row.messages))  # fmt: skip
    written = exports.WRITERS[name](row)
    raw = json.loads(json.dumps(written, allow_nan=False))
    [back] = readers.read_row(raw, "file.jsonl:1", reader)
    assert plain(back, frozenset(drop)) == plain(row, frozenset(drop))
    assert name == "xlam" or readers.detect(raw) in (reader, "openai", "axolotl")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(row=react_rows())
def test_round_trip_of_react_text(row: Trajectory) -> None:
    raw = json.loads(json.dumps(exports.WRITERS["react"](row)))
    [back] = readers.read_row(raw, "file.jsonl:1")
    assert plain(back, frozenset()) == plain(row, frozenset())
    assert exports.WRITERS["react"](back) == raw


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(row=trajectories(), said=TEXT)
def test_round_trip_of_a_pair(row: Trajectory, said: str) -> None:
    row = replace(row, messages=tuple(replace(m, loss=None) for m in row.messages))
    bad = replace(row, messages=(*row.messages[:-1], Message("assistant", f"no {said}")))
    raw = json.loads(json.dumps(exports.PAIR_WRITERS["trl_pairs"](row, bad), allow_nan=False))
    assert readers.detect(raw) == "pairs"
    drop = frozenset({"spelling", "schema"})
    chosen, rejected = readers.read_row(raw, "file.jsonl:1")
    assert plain(chosen, drop) == plain(row, drop)
    assert plain(rejected, drop) == plain(bad, drop)
    assert (chosen.outcome, rejected.outcome) == (1.0, 0.0)
    assert rejected.parents == (chosen.id,)


def test_every_writer_is_taken_round() -> None:
    assert CASES.keys() | {"react"} == exports.WRITERS.keys()
    assert exports.PAIR_WRITERS.keys() == {"trl_pairs"}
