"""More spellings of the kinds of `test_readers_kinds`: what each row, schema and answer becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from row_reading import calls, kept, read, roles

from raytune_agents import readers
from raytune_agents.calls import parse, schema_errors
from raytune_agents.records import ToolCall, ToolSpec

PARIS = {"city": "Paris"}
ARGS = json.dumps(PARIS)
CALL = ["get_weather", PARIS]
BODY = json.dumps({"name": "get_weather", "arguments": PARIS})
WEATHER = {"name": "get_weather", "description": "d", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
ASK = {"role": "user", "content": "Weather in Paris?"}
DONE = {"role": "assistant", "content": "It is 20 C."}
CALLED = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": ARGS}}]}


def chat(*turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [ASK, *turns], "tools": [WEATHER]} | more


# --- turns and their parts --------------------------------------------------------------------


def test_responses_items_among_messages() -> None:
    call = {"type": "function_call", "name": "get_weather", "arguments": ARGS}
    row = read(chat(
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
        call | {"call_id": "a"}, call | {"call_id": "b"},
        {"type": "function_call_output", "call_id": "a", "output": "20 C"},
        {"type": "function_call_output", "call_id": "b", "output": "21 C"}, DONE))
    assert (roles(row), calls(row), row.messages[1].thought) == ("uatta", [CALL, CALL], "Hm.")


def test_results_that_the_ai_sdk_says_twice() -> None:
    done = {"state": "result", "toolCallId": "c", "toolName": "get_weather", "args": PARIS,
            "result": "20 C"}
    row = read(chat({"role": "assistant", "content": "It is 20 C.", "toolInvocations": [done],
                     "parts": [{"type": "tool-invocation", "toolInvocation": done},
                               {"type": "text", "text": "It is 20 C."}]}))
    assert (roles(row), calls(row)) == ("uata", [CALL])


def test_a_thought_among_parts_without_types() -> None:
    parts = [{"reasoning": {"reasoning_text": "Hm.", "extra": {}}}, {"text": "It is 20 C."}]
    row = read(chat({"role": "assistant", "content": parts}))
    assert (row.target.thought, row.target.content) == ("Hm.", "It is 20 C.")


def test_a_roll_out_with_a_null_turn() -> None:
    row = read({"prompt": [ASK], "completion": [CALLED, DONE, None], "tools": [WEATHER]})
    assert roles(row) == "uaa"


def test_turns_that_another_format_has_as_text() -> None:
    answers = [{"name": "get_weather", "arguments": PARIS}]
    row = read({"query": json.dumps([ASK]), "tools": [WEATHER], "answers": answers})
    assert (row.messages[0].content, calls(row)) == (ASK["content"], [CALL])
    row = read({"message": "And Rome?", "chat_history": [{"role": "USER", "message": "Hi"},
                {"role": "CHATBOT", "message": "Ho"}], "response": "It is mild."})
    assert (roles(row), row.target.content) == ("uaua", "It is mild.")


def test_a_signature_alone_is_no_part() -> None:
    parts = [{"text": "Hm.", "thought": True, "thoughtSignature": "x"},
             {"functionCall": {"name": "get_weather", "args": PARIS}}, {"thoughtSignature": "y"}]
    row = read({"contents": [{"role": "user", "parts": [{"text": "Weather in Paris?"}]},
                             {"role": "model", "parts": parts}],
                "tools": [{"functionDeclarations": [WEATHER]}]})
    assert (calls(row), row.target.thought, row.target.content) == ([CALL], "Hm.", "")


@pytest.mark.parametrize(("name", "thought"), [
    ("internal_reasoning", "Six sevens."), ("thoughtSummary", "Six sevens."),
    ("reasoning_zh", "Six sevens."), ("reasoning_effort", ""), ("thinking_tokens", ""),
    ("thought_signature", ""), ("finish_reason", ""),
])
def test_names_that_speak_of_a_thought(name: str, thought: str) -> None:
    row = read(chat({"role": "assistant", "content": "42", name: "Six sevens."}))
    assert row.target.thought == thought


@pytest.mark.parametrize(("mark", "trained"), [
    ({"label": 0}, False), ({"label": 1}, True), ({"thumbs_up": 0}, True),
    ({"liked": False}, False),
])
def test_a_mark_is_no_count_of_votes(mark: dict[str, Any], trained: bool) -> None:
    row = read(chat({"role": "assistant", "content": "b"} | mark, ASK, DONE))
    assert row.messages[1].trained is trained


# --- marks of a row, answers of a row ---------------------------------------------------------


@pytest.mark.parametrize("mark", [
    {"eval": {"passed": False}}, {"result": {"success": False}}, {"rewards": [0.0]},
    {"annotation": {"label": "rejected"}}, {"reward": {"reward": 0}}, {"total_reward": 0},
    {"rewards": [0, 0]}, {"label": {"value": "bad"}}, {"scores": {"match": {"value": 0}}},
    {"final_score": 0.0}, {"execution_success": False}, {"isHallucinated": True},
    {"humanLabel": "incorrect"}, {"is_verified": False}, {"truncated": True}, {"error": "Timeout"},
    {"parse_error": True}, {"metadata": {"eval_score": 0}}, {"judge": {"verdict": "fail"}},
    {"termination_reason": "max_steps"},
])
def test_where_a_row_says_that_it_failed(mark: dict[str, Any]) -> None:
    assert read(chat(DONE, **mark)).pool == "negative.observed"


def test_marks_that_say_nothing() -> None:
    for mark in ({"rewards": [0.0, 1.0]}, {"result": {"t": 20}}, {"label": "weather"},
                 {"score": 1}, {"quality_score": 0}, {"error": None}, {"errors": []},
                 {"error": "none"}, {"no_error": True}, {"scores": {"a": 0, "b": 0.4}}):
        assert read(chat(DONE, **mark)).outcome is None


@pytest.mark.parametrize("mark", [
    {"rating": "bad"}, {"annotation": "incorrect"}, {"error": True},
    {"metadata": {"is_correct": False}}, {"extra": {"label": "bad"}},
])
def test_where_a_turn_says_that_it_is_bad(mark: dict[str, Any]) -> None:
    row = read(chat({"role": "assistant", "content": "b"} | mark, ASK, DONE))
    assert [m.trained for m in row.messages if m.role == "assistant"] == [False, True]


def test_the_first_of_several_answers_is_read_and_the_others_are_noted() -> None:
    raw = {"prompt": "Weather?", "completion": ["It is mild.", "No idea."]}
    with readers.unread_fields() as unread:
        assert read(raw).target.content == "It is mild."
    assert "No idea." in unread["output"]


@pytest.mark.parametrize("row", [
    {"input": [ASK], "output": {"choices": [{"message": CALLED}]}, "tools": [WEATHER]},
    {"custom_id": "1", "body": {"model": "m", "messages": [ASK], "tools": [WEATHER]},
     "response": {"status_code": 200, "body": {"choices": [{"message": CALLED}]}}},
])
def test_the_body_of_an_answer_is_no_text(row: dict[str, Any]) -> None:
    found = read(row)
    assert (roles(found), calls(found), kept(found)) == ("ua", [CALL], "")


def test_tools_among_what_is_said_of_a_row() -> None:
    for place in ("extra", "extra_body", "config", "invocation_params"):
        about = {"tools": [WEATHER], "system_prompt": "Be brief."}
        row = read({"messages": [ASK, CALLED], place: about})
        assert [t.name for t in row.tools] == ["get_weather"]
        assert (row.messages[0].role, row.messages[0].content) == ("system", "Be brief.")


# --- calls in text ----------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    'result = get_weather(city="Paris")',
    f"&lt;tool_call&gt;{BODY.replace(chr(34), '&quot;')}&lt;/tool_call&gt;",
    f"<tool_use>{BODY}</tool_use>",
])
def test_calls_in_code_and_in_html(text: str) -> None:
    row = read(chat({"role": "assistant", "content": text}))
    assert (calls(row), row.target.content, kept(row)) == ([CALL], "", "")


SPACE = "antml"  # Claude's name space


@pytest.mark.parametrize(("text", "given", "thought"), [
    (f'<{SPACE}:function_calls>\n<{SPACE}:invoke name="f">\n<{SPACE}:parameter name="a">x'
     f"</{SPACE}:parameter>\n</{SPACE}:invoke>\n</{SPACE}:function_calls>", "x", ""),
    ('<｜DSML｜function_calls>\n<｜DSML｜invoke name="f">\n<｜DSML｜parameter name="a" '
     'string="false">[1, null]</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
     [1, None], ""),
    ('<｜DSML｜function_calls>\n<｜DSML｜invoke name="f">\n<｜DSML｜parameter name="a" '
     'string="true">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>', "1", ""),
    ('<thinking>Use <tool_call>.</thinking>\n{"name": "f", "arguments": {"a": 1}}', 1,
     "Use <tool_call>."),
    ('◁think▷Hm <tool_call>◁/think▷{"name": "f", "arguments": {"a": 1}}', 1, "Hm <tool_call>"),
    ("<|begin_of_thought|>Hm.<|end_of_thought|>\n"
     '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>', 1, "Hm."),
])
def test_dialects_of_more_models(text: str, given: Any, thought: str) -> None:
    found = parse(text)
    assert [(c.name, c.args) for c in found.calls] == [("f", {"a": given})]
    assert (found.error, found.text, found.thought) == ("", "", thought)


# --- schemas ----------------------------------------------------------------------------------


def tool(parameters: Any) -> ToolSpec:
    call = {"name": "f", "arguments": "{}"}
    return read({"messages": [ASK, {"role": "assistant", "tool_calls": [call]}],
                 "tools": [{"name": "f", "parameters": parameters}]}).tools[0]


@pytest.mark.parametrize("parameters", [
    {"type_": "OBJECT"}, {"minProperties": 0}, {"maxProperties": 0, "title": "none"},
])
def test_schemas_of_no_parameters(parameters: Any) -> None:
    assert tool(parameters).schema.get("properties", {}) == {}
    assert "required" not in tool(parameters).schema


def test_a_schema_that_stands_among_its_own_parts() -> None:
    inner = {"a": {}, "b": {"$ref": "#/$defs/A"}}
    body = {"type": "object", "properties": inner, "required": ["a"]}
    spec = tool({"$ref": "#/$defs/A", "$defs": {"A": body}})
    assert (sorted(spec.schema["properties"]), spec.schema["required"]) == (["a", "b"], ["a"])
    assert schema_errors(ToolCall.of("f", a=1, b={}), [spec]) == ["missing_required:b.a"]


def test_types_of_vertex_and_a_schema_that_says_null() -> None:
    spec = tool({"type_": "OBJECT", "properties": {
        "n": {"type_": "INTEGER"}, "type_": {"type": "string"}, "z": {"const": None}}})
    assert schema_errors(ToolCall.of("f", n="x"), [spec]) == ["type:n"]
    assert schema_errors(ToolCall.of("f", n=1, type_="a", z=None), [spec]) == []


@pytest.mark.parametrize(("schema", "right", "wrong"), [
    ({"properties": {"k": {}}, "dependencies": {"k": {"properties": {"c": {"type": "string"}}}}},
     {"k": 1, "c": "x"}, {"k": 1, "d": 1}),
    ({"properties": {"a": {}}, "extends": {"properties": {"b": {"type": "string"}}}},
     {"a": 1, "b": "x"}, {"a": 1, "c": "x"}),
    ({"properties": {"a": {"type": "string", "enum": [3, True]}}}, {"a": "3"}, {"a": "4"}),
    ({"properties": {"a": {"type": ["string", "integer"], "enum": [3]}}}, {"a": 3}, {"a": "3"}),
])
def test_words_of_other_drafts(schema: Any, right: Any, wrong: Any) -> None:
    spec = tool({"type": "object"} | schema)
    assert schema_errors(ToolCall.of("f", **right), [spec]) == []
    assert schema_errors(ToolCall.of("f", **wrong), [spec]) != []


@pytest.mark.parametrize("text", ["nil", "N/A"])
def test_words_for_no_arguments(text: str) -> None:
    said = {"role": "assistant", "tool_calls": [{"name": "ping", "arguments": text}]}
    assert calls(read({"messages": [ASK, said], "tools": [{"name": "ping"}]})) == [["ping", {}]]
