"""Rows as strangers' tools write them: what each must become, by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from raytune_agents import filters, readers
from raytune_agents.calls import schema_errors
from raytune_agents.config import LabelConfig
from raytune_agents.records import ToolCall, ToolSpec, Trajectory

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "d", "parameters": CITY}
CLOCK = {"name": "clock", "description": "d", "parameters": CITY}
TOOLS = [{"type": "function", "function": tool} for tool in (WEATHER, CLOCK)]
ASK = {"role": "user", "content": "Weather in Paris, and the time in Rome?"}
DONE = {"role": "assistant", "content": "It is 20 C."}
PARIS, ROME = {"city": "Paris"}, {"city": "Rome"}
BOTH = [["get_weather", PARIS], ["clock", ROME]]


def read(raw: dict[str, Any]) -> Trajectory:
    return readers.read_row(json.loads(json.dumps(raw)), "x.jsonl:1")[0]


def chat(*turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [ASK, *turns], "tools": TOOLS} | more


def calls(row: Trajectory) -> list[list[Any]]:
    return [[c.name, json.loads(c.arguments)] for c in row.calls]


def roles(row: Trajectory) -> str:
    return "".join(m.role[0] for m in row.messages)


def kept(row: Trajectory) -> str:
    return filters.label(row, LabelConfig()).reject_reason


# --- results of several calls in one turn -----------------------------------------------------

TEXT_CALLS = {"role": "assistant", "content": '[get_weather(city="Paris"), clock(city="Rome")]'}
RESULTS = [{"name": "clock", "results": "9:00"}, {"name": "get_weather", "results": "20 C"}]
ID_CALLS = {
    "role": "assistant",
    "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": PARIS}},
        {"id": "b", "type": "function", "function": {"name": "clock", "arguments": ROME}},
    ],
}
BY_ID = [{"tool_call_id": "b", "content": "9:00"}, {"tool_call_id": "a", "content": "20 C"}]


@pytest.mark.parametrize(
    ("called", "seen"), [(TEXT_CALLS, RESULTS), (ID_CALLS, BY_ID), (TEXT_CALLS, ["20 C", "9:00"])]
)
def test_results_of_several_calls_in_one_turn(called: Any, seen: Any) -> None:
    row = read(chat(called, {"role": "tool", "content": json.dumps(seen)}, DONE))
    assert (roles(row), calls(row)) == ("uatta", BOTH)
    assert [(m.name, m.content) for m in row.messages if m.role == "tool"] == [
        ("get_weather", "20 C"), ("clock", "9:00")]  # fmt: skip


def test_a_list_beside_other_results_is_one_result() -> None:
    listed = {"role": "tool", "tool_call_id": "a", "content": '["mild", "dry"]'}
    row = read(
        chat(ID_CALLS, listed, {"role": "tool", "tool_call_id": "b", "content": "9:00"}, DONE)
    )
    assert [m.content for m in row.messages if m.role == "tool"] == ['["mild", "dry"]', "9:00"]


# --- parts of the AI SDK ----------------------------------------------------------------------

DONE_PART = {"type": "text", "text": "It is 20 C."}


@pytest.mark.parametrize(("turn", "seen"), [
    ({"content": "It is 20 C.", "parts": [{"type": "tool-invocation", "toolInvocation": {
        "state": "result", "toolCallId": "c", "toolName": "get_weather", "args": PARIS,
        "result": "20 C"}}, DONE_PART]}, "20 C"),
    ({"parts": [{"type": "tool-get_weather", "toolCallId": "c", "state": "output-error",
                 "input": PARIS, "errorText": "no such city"}, DONE_PART]}, "no such city"),
    ({"parts": [{"type": "tool-get_weather", "toolCallId": "c", "input": PARIS, "output": "20 C"},
                {"type": "source-url", "sourceId": "s", "url": "https://x.org"},
                {"type": "data-weather", "id": "d", "data": {"t": 20}}, DONE_PART]}, "20 C"),
])  # fmt: skip
def test_parts_of_the_ai_sdk(turn: dict[str, Any], seen: str) -> None:
    row = read(chat({"role": "assistant"} | turn))
    assert (roles(row), calls(row)) == ("uata", [["get_weather", PARIS]])
    assert [m.content for m in row.messages[2:]] == [seen, "It is 20 C."]


# --- the system text --------------------------------------------------------------------------


def test_tags_that_are_emptied_are_not_named_any_more() -> None:
    system = (
        "You are Qwen.\n\n# Tools\n\nYou are provided with function signatures within "
        f"<tools></tools> XML tags:\n<tools>\n{json.dumps(WEATHER)}\n</tools>\nBe kind."
    )
    row = read({"messages": [{"role": "system", "content": system}, ASK, DONE]})
    assert [t.name for t in row.tools] == ["get_weather"]
    assert row.messages[0].content == "You are Qwen.\n\n# Tools\n\nBe kind."


# --- marks ------------------------------------------------------------------------------------


def test_a_cut_or_filtered_answer_is_a_failure() -> None:
    for why in ("content_filter", "LimitsExceeded", "MALFORMED_FUNCTION_CALL"):
        assert read(chat(DONE, finish_reason=why)).pool == "negative.observed"


def test_a_chosen_answer_whose_rejected_one_is_null() -> None:
    row = read({"prompt": [ASK], "chosen": [DONE], "rejected": None})
    assert (row.pool, row.target.content) == ("positive", "It is 20 C.")


# --- schemas ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("detail", "right", "wrong"), [
    ({"type": "string", "minLength": "1", "anyOf": []}, "a", 1),
    ({"type": "integer", "minimum": "0", "enum": ["1", "2"]}, 2, 3),
    ({"type": "boolean", "enum": ["True", "False"]}, True, "True"),
    ({"type": "string", "pattern": "^(?<year>[0-9]+"}, "a", 1),
    ({"type": "number", "multipleOf": 0.01}, 19.99, 19.999),
    ({"type": "integer", "multipleOf": 5}, 15, 16),
    ({"$ref": "#/components/schemas/Thing", "description": "d"}, {"x": 1}, None),
])  # fmt: skip
def test_words_that_say_nothing_refuse_nothing(detail: Any, right: Any, wrong: Any) -> None:
    schema = {"type": "object", "properties": {"a": detail}, "required": ["a", "a"]}
    tools = [ToolSpec("f", "", json.dumps(schema))]
    assert schema_errors(ToolCall.of("f", a=right), tools) == []
    assert wrong is None or schema_errors(ToolCall.of("f", a=wrong), tools)
    assert schema_errors(ToolCall.of("f"), tools) == ["missing_required:a"]


def test_references_one_within_the_other_may_be_many_but_not_without_end() -> None:
    following = {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/N"}]}
    node = {"type": "object", "properties": {"next": following}}
    schema = json.dumps({"properties": {"a": {"$ref": "#/$defs/N"}}, "$defs": {"N": node}})
    chain: Any = None
    for _ in range(40):
        chain = {"next": chain}
    assert schema_errors(ToolCall.of("f", a=chain), [ToolSpec("f", "", schema)]) == []
    loop = json.dumps({"properties": {"a": {"$ref": "#/properties/a"}}})
    [label] = schema_errors(ToolCall.of("f", a=1), [ToolSpec("f", "", loop)])
    assert label == "bad_schema:CostlySchema"


def test_a_parameter_that_may_be_null_may_be_left_out() -> None:
    flat = {"q": {"type": "string", "description": "d"},
            "n": {"type": "integer", "description": "d", "nullable": True}}  # fmt: skip
    tool = {"name": "f", "description": "d", "parameters": flat}
    assert read(chat(DONE, tools=[tool])).tools[0].schema["required"] == ["q"]


# --- nulls ------------------------------------------------------------------------------------

MAYBE = {"type": ["integer", "null"]}


@pytest.mark.parametrize(("schema", "given", "left"), [
    ({"properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a"], "$defs": {"A": {
        "type": "object", "properties": {"x": MAYBE}, "required": ["x"]}}},
     {"a": {"x": None, "y": None}}, {"a": {"x": None}}),
    ({"allOf": [{"type": "object", "properties": {"x": MAYBE}}]}, {"x": None, "y": None},
     {"x": None}),
    ({"type": "object", "additionalProperties": MAYBE}, {"k": None, "m": 1}, {"k": None, "m": 1}),
    ({"type": "object", "properties": {"a": {"anyOf": [{"type": "object", "properties": {
        "x": {"type": "integer"}}}, {"type": "null"}]}}}, {"a": {"x": 1, "y": None}},
     {"a": {"x": 1}}),
])  # fmt: skip
def test_nulls_that_a_composition_asks_for_stay(schema: Any, given: Any, left: Any) -> None:
    tool = {"name": "f", "description": "d", "parameters": schema}
    turn = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": given}}]}
    assert calls(read(chat(turn, tools=[tool]))) == [["f", left]]


@pytest.mark.parametrize("column", ["nan", "None", " ", "undefined"])
def test_texts_that_mean_no_tools(column: str) -> None:
    assert read(chat(DONE, tools=column)).tools == ()
