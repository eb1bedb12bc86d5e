"""Rows as strangers' tools write them: what each must become, by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from row_reading import calls, kept, read, roles

from raytune_agents.agents.init import tools_of_file
from raytune_agents.agents.inlining import inlined
from raytune_agents.calls import parse, schema_errors
from raytune_agents.records import ToolCall, ToolSpec

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "d", "parameters": CITY}
CLOCK = {"name": "clock", "description": "d", "parameters": CITY}
TOOLS = [{"type": "function", "function": tool} for tool in (WEATHER, CLOCK)]
ASK = {"role": "user", "content": "Weather in Paris, and the time in Rome?"}
DONE = {"role": "assistant", "content": "It is 20 C."}
PARIS, ROME = {"city": "Paris"}, {"city": "Rome"}
BOTH = [["get_weather", PARIS], ["clock", ROME]]


def chat(*turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [ASK, *turns], "tools": TOOLS} | more


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
        ("get_weather", "20 C"),
        ("clock", "9:00"),
    ]


def test_a_list_beside_other_results_is_one_result() -> None:
    listed = {"role": "tool", "tool_call_id": "a", "content": '["mild", "dry"]'}
    row = read(
        chat(ID_CALLS, listed, {"role": "tool", "tool_call_id": "b", "content": "9:00"}, DONE)
    )
    assert [m.content for m in row.messages if m.role == "tool"] == ['["mild", "dry"]', "9:00"]


# --- parts of the AI SDK ----------------------------------------------------------------------

DONE_PART = {"type": "text", "text": "It is 20 C."}


@pytest.mark.parametrize(
    ("turn", "seen"),
    [
        (
            {
                "content": "It is 20 C.",
                "parts": [
                    {
                        "type": "tool-invocation",
                        "toolInvocation": {
                            "state": "result",
                            "toolCallId": "c",
                            "toolName": "get_weather",
                            "args": PARIS,
                            "result": "20 C",
                        },
                    },
                    DONE_PART,
                ],
            },
            "20 C",
        ),
        (
            {
                "parts": [
                    {
                        "type": "tool-get_weather",
                        "toolCallId": "c",
                        "state": "output-error",
                        "input": PARIS,
                        "errorText": "no such city",
                    },
                    DONE_PART,
                ]
            },
            "no such city",
        ),
        (
            {
                "parts": [
                    {
                        "type": "tool-get_weather",
                        "toolCallId": "c",
                        "input": PARIS,
                        "output": "20 C",
                    },
                    {"type": "source-url", "sourceId": "s", "url": "https://x.org"},
                    {"type": "data-weather", "id": "d", "data": {"t": 20}},
                    DONE_PART,
                ]
            },
            "20 C",
        ),
    ],
)
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


@pytest.mark.parametrize(("name", "value"), [("name", "value"), ("key", "score")])
def test_scores_by_name(name: str, value: str) -> None:
    scores = [{name: "latency", value: 3}, {name: "user-feedback", value: 0}]
    assert read(chat(DONE, scores=scores)).pool == "negative.observed"


def test_a_chosen_answer_whose_rejected_one_is_null() -> None:
    row = read({"prompt": [ASK], "chosen": [DONE], "rejected": None})
    assert (row.pool, row.target.content) == ("positive", "It is 20 C.")


# --- schemas ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detail", "right", "wrong"),
    [
        ({"type": "string", "minLength": "1", "anyOf": []}, "a", 1),
        ({"type": "integer", "minimum": "0", "enum": ["1", "2"]}, 2, 3),
        ({"type": "boolean", "enum": ["True", "False"]}, True, "True"),
        ({"type": "string", "pattern": "^(?<year>[0-9]+"}, "a", 1),
        ({"type": "number", "multipleOf": 0.01}, 19.99, 19.999),
        ({"type": "integer", "multipleOf": 5}, 15, 16),
        ({"$ref": "#/components/schemas/Thing", "description": "d"}, {"x": 1}, None),
    ],
)
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
    flat = {
        "q": {"type": "string", "description": "d"},
        "n": {"type": "integer", "description": "d", "nullable": True},
    }
    tool = {"name": "f", "description": "d", "parameters": flat}
    assert read(chat(DONE, tools=[tool])).tools[0].schema["required"] == ["q"]


# --- nulls ------------------------------------------------------------------------------------

MAYBE = {"type": ["integer", "null"]}


@pytest.mark.parametrize(
    ("schema", "given", "left"),
    [
        (
            {
                "properties": {"a": {"$ref": "#/$defs/A"}},
                "required": ["a"],
                "$defs": {"A": {"type": "object", "properties": {"x": MAYBE}, "required": ["x"]}},
            },
            {"a": {"x": None, "y": None}},
            {"a": {"x": None}},
        ),
        (
            {"allOf": [{"type": "object", "properties": {"x": MAYBE}}]},
            {"x": None, "y": None},
            {"x": None},
        ),
        (
            {"type": "object", "additionalProperties": MAYBE},
            {"k": None, "m": 1},
            {"k": None, "m": 1},
        ),
        (
            {
                "type": "object",
                "properties": {
                    "a": {
                        "anyOf": [
                            {"type": "object", "properties": {"x": {"type": "integer"}}},
                            {"type": "null"},
                        ]
                    }
                },
            },
            {"a": {"x": 1, "y": None}},
            {"a": {"x": 1}},
        ),
    ],
)
def test_nulls_that_a_composition_asks_for_stay(schema: Any, given: Any, left: Any) -> None:
    tool = {"name": "f", "description": "d", "parameters": schema}
    turn = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": given}}]}
    assert calls(read(chat(turn, tools=[tool]))) == [["f", left]]


@pytest.mark.parametrize("column", ["nan", "None", " ", "undefined"])
def test_texts_that_mean_no_tools(column: str) -> None:
    assert read(chat(DONE, tools=column)).tools == ()


# --- turns ------------------------------------------------------------------------------------


def test_harmonys_messages() -> None:
    row = read(
        chat(
            {"role": "assistant", "channel": "analysis", "content": "I look."},
            {
                "role": "assistant",
                "channel": "commentary",
                "recipient": "functions.get_weather",
                "content_type": "<|constrain|>json",
                "content": [{"type": "text", "text": '{"city": "Paris"}'}],
            },
            {
                "role": "tool",
                "name": "functions.get_weather",
                "recipient": "assistant",
                "channel": "commentary",
                "content": "20 C",
            },
            {"role": "assistant", "channel": "final", "recipient": "all", "content": "It is 20 C."},
        )
    )
    assert (roles(row), calls(row), row.messages[1].thought) == (
        "uata",
        [["get_weather", PARIS]],
        "I look.",
    )
    assert (row.messages[2].name, row.target.content) == ("get_weather", "It is 20 C.")


def test_alpacas_history_is_turns() -> None:
    row = read(
        {
            "instruction": "And now?",
            "input": "",
            "output": "Mild.",
            "system": "S",
            "history": [["Hi", "Hello"], ["Rain?", "No."]],
        }
    )
    assert [(m.role[0], m.content) for m in row.messages] == [
        ("s", "S"),
        ("u", "Hi"),
        ("a", "Hello"),
        ("u", "Rain?"),
        ("a", "No."),
        ("u", "And now?"),
        ("a", "Mild."),
    ]


def test_a_templates_text_that_is_cut_into_prompt_and_answer() -> None:
    call = f'<tool_call>\n{{"name": "get_weather", "arguments": {json.dumps(PARIS)}}}\n</tool_call>'
    row = read(
        {
            "input": "<|im_start|>user\nWeather in Paris?<|im_end|>\n<|im_start|>assistant\n",
            "output": f"{call}<|im_end|>\n<|im_start|>user\n<tool_response>\n20 C\n</tool_response>"
            "<|im_end|>\n<|im_start|>assistant\nIt is 20 C.<|im_end|>",
        }
    )
    assert (roles(row), calls(row)) == ("uata", [["get_weather", PARIS]])
    assert (row.query, row.target.content) == ("Weather in Paris?", "It is 20 C.")


def test_an_empty_item_between_a_call_and_its_result() -> None:
    empty = {"role": "assistant", "content": ""}
    row = read(chat(ID_CALLS, empty, *[{"role": "tool"} | r for r in BY_ID], DONE))
    assert (roles(row), calls(row)) == ("uatta", BOTH)


# --- dialects ---------------------------------------------------------------------------------

ARGS = json.dumps(PARIS)
CALL = {"name": "get_weather", "arguments": PARIS}


@pytest.mark.parametrize(
    ("text", "words", "thought"),
    [
        ('<|python_tag|>get_weather.call(city="Paris")', "", ""),
        (f"get_weather\n{ARGS}", "", ""),
        ("get_weather\n```python\ntool_call(city='Paris')\n```", "", ""),
        (f">>>get_weather\n{ARGS}", "", ""),
        (f">>>all\nI look.\n>>>get_weather\n{ARGS}", "I look.", ""),
        (f"<|from|>assistant\n<|recipient|>get_weather\n<|content|>{ARGS}<|stop|>", "", ""),
        (f"✿FUNCTION✿: get_weather\n✿ARGS✿: {ARGS}\n✿RESULT✿: 20 C", "", ""),
        ("Call: get_weather(city='Paris')<bot_end>\nThought: It gives the weather.", "", ""),
        ("<<function>>get_weather(city='Paris')", "", ""),
        (f"[[ ## next_thought ## ]]\nI look.\n\n[[ ## next_tool_name ## ]]\nget_weather\n\n"
         f"[[ ## next_tool_args ## ]]\n{ARGS}\n\n[[ ## completed ## ]]", "I look.", ""),
        ("```tool_code\nprint(default_api.get_weather(city='Paris'))\n```", "", ""),
        (json.dumps({"thought": "I look.", "tool_calls": [CALL]}), "", "I look."),
    ],
)
def test_calls_in_other_marks(text: str, words: str, thought: str) -> None:
    found = parse(text)
    assert [[c.name, c.args] for c in found.calls] == [["get_weather", PARIS]]
    assert (found.text, found.thought) == (words, thought)


@pytest.mark.parametrize(
    "text",
    [
        ">>> print(1)\n1",
        "Answer\n{x} is the set.",
        "Call: me later.",
        "all\nis well",
        '{"tool_calls": 3}',
        "Summary\nAll is well.",
    ],
)
def test_text_that_only_looks_like_other_marks(text: str) -> None:
    assert not parse(text).calls


def test_what_harmony_gives_to_python_is_its_code_and_no_call_is_lost() -> None:
    head = "<|channel|>analysis to=%s code<|message|>print(1)<|call|>"
    [call] = parse(head % "python").calls
    assert (call.name, call.args) == ("python", {"code": "print(1)"})
    assert parse(head % "browser.open").error == "decoder_wrong_output_format"


# --- documents of tools -----------------------------------------------------------------------

TEXT = {"type": "string"}


def test_what_a_document_says_of_its_operations_in_other_ways(tmp_path: Any) -> None:
    body = {
        "type": "object",
        "properties": {"kind": {"const": "a"}},
        "if": {"properties": {"kind": {"const": "a"}}},
        "then": {"properties": {"more": TEXT}, "required": ["more"]},
        "dependentSchemas": {"kind": {"properties": {"least": TEXT}}},
    }
    post = {"operationId": "f", "requestBody": {"content": {"application/json": {"schema": body}}}}
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"openapi": "3.1.0", "paths": {"/a/{id}": {"post": post}}}))
    [tool] = tools_of_file(path)
    kinds = {k: v.get("type") for k, v in tool["parameters"]["properties"].items()}
    assert kinds == {"id": "string", "kind": "string", "more": "string", "least": "string"}
    assert tool["parameters"]["required"] == ["id"]


ONE = {"type": "object", "properties": {"a": TEXT}, "required": ["a"]}


@pytest.mark.parametrize(
    "tools",
    [
        [{"functionDeclarations": [{"name": "f", "description": "d", "parameters": ONE}]}],
        {"tools": [{"toolSpec": {"name": "f", "description": "d", "inputSchema": {"json": ONE}}}]},
        [
            {
                "name": "f",
                "description": "d",
                "parameters": {
                    "type": "object",
                    "anyOf": [ONE, ONE | {"properties": {"a": TEXT, "b": TEXT}}],
                },
            }
        ],
    ],
)
def test_tools_in_a_providers_wrapping(tools: Any, tmp_path: Any) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(tools))
    [tool] = tools_of_file(path)
    assert (tool["name"], tool["parameters"]["required"]) == ("f", ["a"])
    assert tool["parameters"]["properties"]["a"] == TEXT


# --- frameworks -------------------------------------------------------------------------------

LETTA = [
    {"message_type": "user_message", "content": "Weather in Paris?"},
    {"message_type": "reasoning_message", "reasoning": "I look."},
    {"message_type": "tool_call_message", "tool_call": CALL | {"tool_call_id": "c"}},
    {"message_type": "tool_return_message", "tool_return": "20 C", "tool_call_id": "c"},
    {"message_type": "assistant_message", "content": "It is 20 C."},
]
KERNEL = [
    {"Role": {"Label": "user"}, "Items": [{"$type": "TextContent", "Text": "Weather in Paris?"}]},
    {
        "Role": {"Label": "assistant"},
        "Items": [
            {
                "$type": "FunctionCallContent",
                "Id": "c",
                "FunctionName": "get_weather",
                "Arguments": PARIS,
            }
        ],
    },
    {
        "Role": {"Label": "tool"},
        "Items": [{"$type": "FunctionResultContent", "CallId": "c", "Result": "20 C"}],
    },
    {"Role": {"Label": "assistant"}, "Items": [{"$type": "TextContent", "Text": "It is 20 C."}]},
]


@pytest.mark.parametrize(("turns", "thought"), [(LETTA, "I look."), (KERNEL, "")])
def test_messages_of_frameworks(turns: list[dict[str, Any]], thought: str) -> None:
    row = read({"messages": turns})
    assert (roles(row), calls(row)) == ("uata", [["get_weather", PARIS]])
    assert [m.content for m in row.messages[2:]] == ["20 C", "It is 20 C."]
    assert row.messages[1].thought == thought


def test_a_call_of_free_text() -> None:
    custom = {"id": "c", "type": "custom", "custom": {"name": "run_sql", "input": "select 1"}}
    turn = {"role": "assistant", "content": None, "tool_calls": [custom]}
    row = read(chat(turn, {"role": "tool", "tool_call_id": "c", "content": "1"}, DONE, tools=[]))
    assert calls(row) == [["run_sql", {"input": "select 1"}]]


@pytest.mark.parametrize("name", ["xml_tools", "tools"])
def test_tools_among_the_arguments_of_the_template(name: str) -> None:
    kwargs = {"enable_thinking": True, "python_tools": [], name: [json.dumps(WEATHER)]}
    row = read({"messages": [ASK, DONE], "metadata": {"set": "x"}, "chat_template_kwargs": kwargs})
    assert [t.name for t in row.tools] == ["get_weather"]


def test_tools_one_a_line() -> None:
    lines = "\n".join(map(json.dumps, (WEATHER, CLOCK)))
    for column in (lines, lines.replace('"', "'"), lines.replace("\n", ", ")):
        names = [t.name for t in read(chat(DONE, tools=column)).tools]
        assert names == ["get_weather", "clock"]


def test_an_indented_list_of_tools_in_the_system_text() -> None:
    system = f"You have tools:\n{json.dumps([WEATHER], indent=1)}\nBe kind."
    row = read({"messages": [{"role": "system", "content": system}, ASK, DONE]})
    assert [t.name for t in row.tools] == ["get_weather"]
    assert row.messages[0].content == "You have tools:\nBe kind."


@pytest.mark.parametrize(
    "text",
    [
        '`get_weather(city="Paris")`',
        '**get_weather(city="Paris")**',
        '<tool name="get_weather"><param name="city">Paris</param></tool>',
    ],
)
def test_calls_in_marks_of_prose(text: str) -> None:
    row = read(chat({"role": "assistant", "content": text}))
    assert (calls(row), row.answer.content, kept(row)) == ([["get_weather", PARIS]], "", "")


def test_a_tag_that_is_quoted_is_a_word_and_a_call_that_is_not_read_is_labelled() -> None:
    word = "Use `<tool_call>` tags to call a tool; I have none for this."
    row = read(chat({"role": "assistant", "content": word}))
    assert (row.answer.content, row.calls, kept(row)) == (word, (), "")
    odd = '<use name="get_weather">Paris</use>'
    assert kept(read(chat({"role": "assistant", "content": odd}))).startswith("parses:")
    remark = 'Write `get_weather(city="Paris")` to ask for it.'
    assert read(chat({"role": "assistant", "content": remark})).calls == ()


def has(name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: TEXT}, "required": [name]}


@pytest.mark.parametrize(
    ("body", "names", "needed"),
    [
        ({"allOf": [{"anyOf": [has("a"), has("b")]}, {"anyOf": [has("c"), has("d")]}]}, "abcd", []),
        ({"anyOf": [has("a")], "oneOf": [has("b"), has("c")]} | has("x"), "abcx", ["a", "x"]),
        ({"anyOf": None, "oneOf": [has("b"), has("c")]}, "bc", []),
        (
            {"allOf": [{"if": {"required": ["x"]}, "then": has(n)} for n in "ab"]} | has("x"),
            "abx",
            ["x"],
        ),
    ],
)
def test_all_fields_of_several_compositions(
    body: Any, names: str, needed: list[str], tmp_path: Any
) -> None:
    post = {"operationId": "f", "requestBody": {"content": {"application/json": {"schema": body}}}}
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"openapi": "3.1.0", "paths": {"/a": {"post": post}}}))
    [tool] = tools_of_file(path)
    assert "".join(sorted(tool["parameters"]["properties"])) == names
    assert sorted(tool["parameters"]["required"]) == needed


def test_a_long_chain_of_compositions_keeps_its_fields() -> None:
    chain: Any = has("a29")
    for i in range(28, -1, -1):
        chain = {"allOf": [chain, has(f"a{i}")]}
    assert len(inlined(chain, chain)["properties"]) == 30


@pytest.mark.parametrize(
    "more",
    [
        {"tool_use": False},
        {"called_tools": ["get_weather"]},
        {"actions": ["reply"]},
        {"tool_calls": 0},
        {"recipient": "chat_manager"},
    ],
)
def test_a_mark_or_a_name_is_no_call(more: dict[str, Any]) -> None:
    row = read(chat(DONE | more))
    assert (row.calls, row.answer.content, kept(row)) == ((), "It is 20 C.", "")


def test_a_list_of_one_named_tool_is_one_result() -> None:
    listed = {"role": "tool", "name": "get_weather", "content": '["mild", "dry"]'}
    row = read(chat(ID_CALLS, listed, DONE))
    assert [m.content for m in row.messages if m.role == "tool"] == ['["mild", "dry"]']


def choice(turn: dict[str, Any], why: str = "stop") -> dict[str, Any]:
    return {"finish_reason": why, "index": 0, "message": turn}


def test_choices_of_completions_among_messages() -> None:
    turns = [ASK, choice(ID_CALLS), *({"role": "tool"} | r for r in BY_ID), choice(DONE)]
    row = read({"messages_and_choices": turns, "tools": TOOLS, "reward": 1.0})
    assert (roles(row), calls(row), row.outcome) == ("uatta", BOTH, 1.0)
    cut = read({"messages": [ASK, choice(DONE, "length")]})
    assert (cut.target.trained, cut.pool) == (False, "negative.observed")


def test_turns_as_columns() -> None:
    columns = {
        "role": ["user", "assistant", "tool", "assistant"],
        "content": ["Weather in Paris?", None, "20 C", "It is 20 C."],
        "tool_calls": [None, [{"id": "c", "function": CALL}], None, None],
        "tool_call_id": [None, None, "c", None],
    }
    row = read({"messages": columns, "tools": TOOLS})
    assert (roles(row), calls(row), kept(row)) == ("uata", [["get_weather", PARIS]], "")


@pytest.mark.parametrize("word", ["MessageRole.USER", "ChatRole.USER", "Role.user", "USER "])
def test_words_of_enums_for_who_speaks(word: str) -> None:
    assert roles(read({"messages": [ASK | {"role": word}, DONE]})) == "ua"
