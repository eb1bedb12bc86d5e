"""The kinds of `test_readers_kinds` as other sources spell them: what each row must become."""

from __future__ import annotations

import json
from typing import Any

import pytest
from row_reading import calls, kept, read, roles

from raytune_agents import readers
from raytune_agents.agents.init import tools_of_file
from raytune_agents.calls import judge, parse, schema_errors
from raytune_agents.dedup.text import calls_key, situation_key
from raytune_agents.readers.fields import unread_fields
from raytune_agents.records import RecordError, ToolCall, ToolSpec, Trajectory

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "d",
                                            "parameters": CITY}}
CLOCK = {"name": "clock", "description": "d", "parameters": CITY}
ASK = {"role": "user", "content": "Weather in Paris?"}
DONE = {"role": "assistant", "content": "It is 20 C."}
PARIS = {"city": "Paris"}
ARGS = json.dumps(PARIS)
CALL = ["get_weather", PARIS]
BODY = json.dumps({"name": "get_weather", "arguments": PARIS})
USE = {"type": "tool_use", "id": "c1", "name": "get_weather", "input": PARIS}
RESULT = {"type": "tool_result", "tool_use_id": "c1", "content": "20 C"}


def asked(name: str = "get_weather", key: str | None = "c1", args: str = ARGS) -> dict[str, Any]:
    return {"id": key, "type": "function", "function": {"name": name, "arguments": args}}


def seen(text: str = "20 C", key: str | None = "c1", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": key, "content": text} | more


def chat(*turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [ASK, *turns], "tools": [WEATHER, CLOCK]} | more


# --- calls and their results, wherever they stand ---------------------------------------------


@pytest.mark.parametrize(("said", "observed"), [
    (json.dumps([{"index": 0} | USE]), json.dumps([dict(reversed(RESULT.items()))])),
    (str([USE]), str([RESULT])),
    (json.dumps(USE), json.dumps(RESULT)),
])
def test_parts_that_are_quoted(said: str, observed: str) -> None:
    row = read(chat({"role": "assistant", "content": said}, {"role": "user", "content": observed},
                    DONE))
    assert (roles(row), calls(row), row.messages[2].content) == ("uata", [CALL], "20 C")


@pytest.mark.parametrize("turn", [
    {"action": "get_weather", "action_input": PARIS, "thought": "Hm."},
    {"content": "Let me look.", "tool_name": "get_weather", "tool_args": PARIS},
    {"content": None, "name": "get_weather", "arguments": ARGS},
    {"api_calls": [{"name": "get_weather", "arguments": PARIS}]},
    {"tool_calls": [{"id": "c1", "name": "get_weather", "city": "Paris"}]},
    {"tool_calls": {"0": asked()}},
    {"tool_calls": [{"name": "get_weather", "payload": PARIS}]},
    {"tool_calls": [{"name": "get_weather", "arguments": [
        {"name": "city", "type": "string", "value": "Paris"}]}]},
    {"tool_calls": [{"name": "get_weather", "parameters": [
        {"parameter_name": "city", "parameter_value": "Paris"}]}]},
    {"content": "", "invoked": [{"name": "get_weather", "arguments": PARIS}]},
    {"content": "Let me look.", "tools_used": json.dumps([{"name": "get_weather", "args": PARIS}])},
    {"action": {"name": "get_weather", "arguments": PARIS}},
    {"tool_calls": [{"name": "get_weather", "under": PARIS}]},
    {"tool_calls": [{"tool": "get_weather", "city": "Paris"}]},
    {"tool_calls": [{"function": {"name": "get_weather"}, "arguments": PARIS}]},
    {"tool_calls": [{"tool_name": "get_weather", "tool_params": PARIS}]},
])
def test_calls_under_other_names(turn: dict[str, Any]) -> None:
    row = read(chat({"role": "assistant"} | turn, seen(), DONE))
    assert (roles(row), calls(row), kept(row)) == ("uata", [CALL], "")


@pytest.mark.parametrize("turn", [
    {"content": "", "expected_calls": [{"name": "get_weather", "arguments": PARIS}]},
    {"content": "", "tools": [{"name": "get_weather", "arguments": PARIS}]},
    {"content": "", "function_call": {"name": None, "arguments": None}},
    {"tool_calls": [{"name": "get_weather", "under": PARIS | {"zone": 1}}]},
])
def test_a_call_that_is_lost_makes_the_row_bad(turn: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match=r"calls nothing|arguments under"):
        read(chat({"role": "assistant"} | turn, seen(), DONE))


@pytest.mark.parametrize("turn", [
    {"tool_calls": [asked()], "observation": "20 C"},
    {"tool_calls": [asked()], "tool_outputs": [{"tool_call_id": "c1", "output": "20 C"}]},
])
def test_results_in_the_turn_of_their_calls(turn: dict[str, Any]) -> None:
    row = read(chat({"role": "assistant", "content": "Look."} | turn, DONE))
    assert (roles(row), row.messages[2].content) == ("uata", "20 C")


@pytest.mark.parametrize("said", [
    f"get_weather\n{ARGS}",
    f'<tool_call name="get_weather">{ARGS}</tool_call>',
    f'<call name="get_weather">{ARGS}</call>',
    f"<use_mcp_tool>\n<tool_name>get_weather</tool_name>\n<arguments>\n{ARGS}\n</arguments>\n"
    "</use_mcp_tool>",
    "<function_calls>\n<invoke>\n<tool_name>get_weather</tool_name>\n<parameters>\n"
    "<city>Paris</city>\n</parameters>\n</invoke>\n</function_calls>",
    f'{{"get_weather": {ARGS}}}',
    f"get_weather({ARGS})",
    f"**Tool call:** `{BODY}`",
    "API-Request: [get_weather(city='Paris')]",
    "Call: get_weather(city='Paris')<bot_end>",
    "<<function>>get_weather(city='Paris')",
    f">>>get_weather\n{ARGS}",
    json.dumps(USE),
])
def test_a_name_and_its_arguments(said: str) -> None:
    row = read(chat({"role": "assistant", "content": said}))
    assert (calls(row), row.target.content, kept(row)) == ([CALL], "", "")
    assert not judge("I cannot help with that.", row).ok


def test_what_is_said_before_a_call_stays_and_a_remark_is_no_call() -> None:
    both = read(chat({"role": "assistant", "content":
                      "Let me check.\n[get_weather(city='Paris'), clock(city='Paris')]"}))
    assert (calls(both), both.target.content) == ([CALL, ["clock", PARIS]], "Let me check.")
    for text in ("The right tool is get_weather().", "I used get_weather, see {x}."):
        row = read(chat({"role": "assistant", "content": text}))
        assert (row.calls, row.target.content, kept(row)) == ((), text, "")


@pytest.mark.parametrize("text", [
    "Action: get_weather[Paris]",
    "You can write get_weather(city='Paris') for it.",
    "It is:\nget_weather {'city': 'Paris'} I think",
])
def test_calls_that_nothing_reads_are_labelled_in_any_trained_turn(text: str) -> None:
    row = read(chat({"role": "assistant", "content": text}, ASK, DONE))
    assert kept(row) == "parses:the text of the answer calls get_weather"


# --- results and their calls ------------------------------------------------------------------


@pytest.mark.parametrize("results", [
    [{"role": "tool", "content": json.dumps({"tool_call_id": "b", "content": "14:05"})},
     {"role": "tool", "content": json.dumps({"tool_call_id": "a", "content": "20 C"})}],
    [{"role": "tool", "content": json.dumps({"name": "clock", "content": "14:05"})},
     {"role": "tool", "content": json.dumps({"name": "get_weather", "content": "20 C"})}],
    [{"role": "tool", "content": json.dumps({"clock": "14:05", "get_weather": "20 C"})}],
    [{"role": "tool", "tool_call": {"id": "b"}, "content": "14:05"},
     {"role": "tool", "tool_call": {"id": "a"}, "content": "20 C"}],
])
def test_results_that_say_which_call_they_answer(results: list[dict[str, Any]]) -> None:
    said = {"role": "assistant", "tool_calls": [asked(key="a"), asked("clock", "b")]}
    row = read(chat(said, *results, DONE))
    assert [(m.name, m.content) for m in row.messages[2:4]] == [
        ("get_weather", "20 C"), ("clock", "14:05")]


def test_a_result_is_of_no_other_call_than_its_id_says() -> None:
    said = {"role": "assistant", "tool_calls": [asked(key="a"), asked("clock", "b")]}
    twice = read(chat(said, seen("x", "a"), seen("y", "a"), DONE))
    assert [m.name for m in twice.messages[2:4]] == ["get_weather", ""]
    late = read(chat(said, seen("14:05", "b"), {"role": "assistant", "content": "One moment."},
                     seen("20 C", "a"), DONE))
    assert [m.name for m in late.messages if m.role == "tool"] == ["clock", "get_weather"]
    shared = {"role": "assistant", "tool_calls": [asked(key="x"), asked("clock", "x")]}
    row = read(chat(shared, seen("14:05", "x", name="clock"),
                    seen("20 C", "x", name="get_weather"), DONE))
    assert [m.content for m in row.messages[2:4]] == ["20 C", "14:05"]


# --- turns ------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [
    {"content": " \n"}, {"usage": {"tokens": 1}}, {"content": "", "reasoning": "All done."},
])
def test_a_run_that_ends_empty(last: dict[str, Any]) -> None:
    row = read(chat({"role": "assistant", "tool_calls": [asked()]}, seen(), DONE,
                    {"role": "assistant"} | last))
    assert (roles(row), kept(row)) == ("uata", "")


def test_an_empty_turn_within_a_conversation_is_not_trained() -> None:
    row = read(chat({"role": "assistant", "content": ""}, ASK, DONE))
    assert [m.trained for m in row.messages if m.role == "assistant"] == [False, True]


@pytest.mark.parametrize(("mark", "trained"), [
    ({"trained": False}, False), ({"include_in_loss": 0}, False), ({"masked": True}, False),
    ({"no_loss": "true"}, False), ({"masked": False}, True), ({"loss_scale": 1.0}, True),
    ({"chosen": False}, False), ({"mask": True}, False), ({"mask": False}, True),
    ({"exclude": True}, False), ({"use_for_training": False}, False), ({"maskLoss": True}, False),
    ({"is_learnable": True}, True), ({"output_with_loss": False}, False), ({"loss": "no"}, False),
    ({"train_detail": [{"begin_offset": 0, "end_offset": 1, "train": True}]}, True),
    ({"train_detail": [{"begin_offset": 0, "end_offset": 1, "train": False}]}, False),
    # a count, a mask of ones and zeros, a name with another word in it say nothing
    ({"mask": 1}, True), ({"train_count": 0}, True), ({"attention_mask": True}, True),
    ({"constrained": False}, True), ({"training_run": False}, True),
])
def test_marks_of_the_loss(mark: dict[str, Any], trained: bool) -> None:
    row = read(chat({"role": "assistant", "content": "b"} | mark, ASK, DONE))
    assert row.messages[1].trained is trained
    # each turn that is made of one with a mark has it
    run = "Thought: t\nAction: f[1]\nObservation: x\nThought: u\nAction: finish[2]"
    parts = read({"messages": [ASK, {"role": "assistant", "content": run} | mark], "tools": []})
    assert [m.trained for m in parts.messages if m.role == "assistant"] == [trained] * 2


def test_marks_of_the_loss_that_nothing_reads_are_said() -> None:
    detail = [{"begin_offset": 0, "end_offset": 1, "train": False}]
    marks = {"train_detail": detail, "mask": 1, "exclude": "why"}
    with unread_fields() as unread:
        read(chat({"role": "assistant", "content": "b"} | marks, ASK, DONE))
    assert {name.removeprefix("turn.") for name in unread} == set(marks)


@pytest.mark.parametrize("column", ["prompt", "question", "task"])
def test_the_request_of_a_column(column: str) -> None:
    run = [{"role": "assistant", "tool_calls": [asked()]}, seen(), DONE]
    row = read({"messages": [{"role": "system", "content": "s"}, *run], "tools": [WEATHER],
                column: "Weather in Paris?"})
    assert (roles(row), row.query) == ("suata", "Weather in Paris?")
    with pytest.raises(RecordError, match="no known format"):  # turns that nobody asked for
        readers.detect({"said": [DONE], "id": 1})


@pytest.mark.parametrize("column", ["candidate_tools", "apis", "mcp_tools"])
def test_tools_of_a_column_of_any_name(column: str) -> None:
    said = {"role": "assistant", "tool_calls": [asked()]}
    row = read({"messages": [ASK, said], column: json.dumps([WEATHER]), "gold": [json.loads(BODY)]})
    assert [t.name for t in row.tools] == ["get_weather"]


@pytest.mark.parametrize(("word", "role"), [
    ("AIMessageChunk", "a"), ("ChatRole.USER", "u"), ("ROLE_ASSISTANT", "a"), ("bot_message", "a"),
    ("tool_error", "t"), ("plugin_result", "t"), ("function_observation", "t"),
])
def test_other_role_words(word: str, role: str) -> None:
    assert roles(read({"messages": [ASK, {"role": word, "content": "x"}, DONE]}))[1] == role


def test_a_row_about_pictures_is_bad() -> None:
    for column in ({"images": ["a.png"]}, {"image": "a.png"}):
        with pytest.raises(RecordError, match="beside the turns: image"):
            read({"messages": [{"role": "user", "content": "<image>What?"}, DONE]} | column)
    assert roles(read(chat(DONE, images=[], image="python:3.12"))) == "ua"
    with pytest.raises(RecordError, match="without text, only pages"):
        read(chat({"role": "assistant", "content": [{"type": "text", "pages": ["x"]}]}))


def test_the_config_of_geminis_sdk() -> None:
    declared = [{"name": "get_weather", "parameters": {"type": "OBJECT", "properties": {}}}]
    row = read({"contents": [{"role": "user", "parts": [{"text": "q"}]},
                             {"role": "model", "parts": [{"text": "a"}]}],
                "config": {"system_instruction": "Be brief.", "tools": [
                    {"function_declarations": declared}]}})
    assert (roles(row), [t.name for t in row.tools]) == ("sua", ["get_weather"])


# --- which answer is the better one -----------------------------------------------------------


@pytest.mark.parametrize(("better", "worse"), [
    ("preferred_completion", "rejected_completion"), ("completion_chosen", "completion_rejected"),
    ("better", "worse"), ("y_w", "y_l"), ("chosen_text", "rejected_text"), ("win", "lose"),
])
def test_names_of_better_and_worse_answers(better: str, worse: str) -> None:
    good, bad = readers.read_row({"prompt": "q?", better: "Yes.", worse: "Never."}, "x:1")
    assert (good.target.content, bad.target.content) == ("Yes.", "Never.")
    assert (good.pool, bad.pool) == ("positive", "negative.rejected")


@pytest.mark.parametrize("nothing", [{"rejected": ""}, {"rejected": []}])
def test_a_chosen_answer_alone(nothing: dict[str, Any]) -> None:
    [row] = readers.read_row({"prompt": "q?", "chosen": [DONE]} | nothing, "x:1")
    assert (row.query, row.target.content, row.pool) == ("q?", "It is 20 C.", "positive")


def test_a_mark_is_no_answer_and_an_instruction_has_an_input() -> None:
    row = read(chat(DONE, rejected="no"))
    assert (row.pool, row.outcome) == ("positive", 1.0)
    assert read(chat(DONE, rejected={"reason": "long"})).outcome is None
    assert read(chat(DONE, chosen=False)).pool == "negative.observed"
    assert read(chat(DONE, feedback="\U0001f44e")).pool == "negative.observed"
    pair = {"instruction": "Translate.", "input": "hi", "chosen": "a", "rejected": "b"}
    assert read(pair).query == "Translate.\nhi"
    assert read({"instruction": "Translate.", "input": "hi", "output": "a", "kto_tag": False}
                ).pool == "negative.observed"


def test_turns_that_are_quoted_are_no_request_in_words() -> None:
    raw = {"input": json.dumps([ASK]), "output": json.dumps([json.loads(BODY)])}
    with pytest.raises(RecordError, match="no known format"):
        readers.detect(raw)
    assert read({"input": json.dumps([ASK]), "output": "Mild."}).query == "Weather in Paris?"
    items = [{"type": "function_call", "call_id": "c", "name": "get_weather", "arguments": ARGS}]
    assert readers.detect({"input": "Weather in Paris?", "output": items}) == "responses"


# --- schemas and arguments --------------------------------------------------------------------


@pytest.mark.parametrize(("parameters", "names", "required"), [
    ({"title": "Args", "description": "Nothing to say"}, [], []),
    ({"type": "object", "x-order": 1}, [], []),
    ({"description": "string", "city": "string"}, ["city", "description"], ["description", "city"]),
    ({"jsonSchema": CITY}, ["city"], ["city"]),
    ({"schema": CITY, "strict": True}, ["city"], ["city"]),
    ({"parameters": CITY}, ["city"], ["city"]),
    ({"schema": {"type": "object"}, "city": {"type": "string"}}, ["city", "schema"],
     ["schema", "city"]),
    (json.dumps(json.dumps(CITY)), ["city"], ["city"]),
    (CITY | {"required": "city"}, ["city"], ["city"]),
    (CITY | {"required": '["city"]'}, ["city"], ["city"]),
    (CITY | {"required": ["city", None]}, ["city"], ["city"]),
    ({"type": "object", "properties": {"city": {"type": ["string", {"type": "object"}]}}},
     ["city"], []),
    ([{"parameter_name": "city", "type": "str"}], ["city"], ["city"]),
])
def test_other_forms_of_parameters(parameters: Any, names: list[str], required: list[str]) -> None:
    tool = read(chat(DONE, tools=[{"name": "f", "parameters": parameters}])).tools[0]
    schema = tool.schema
    assert (sorted(schema.get("properties", {})), schema.get("required", [])) == (names, required)


@pytest.mark.parametrize("tool", [
    {"title": "f", "type": "object", "properties": CITY["properties"]},
    {"definition": {"name": "f", "parameters": CITY}},
    {"name_for_model": "f", "description_for_model": "d", "parameters_schema": CITY},
])
def test_other_forms_of_tools(tool: dict[str, Any]) -> None:
    [spec] = read(chat(DONE, tools=[tool])).tools
    assert (spec.name, list(spec.schema["properties"])) == ("f", ["city"])


@pytest.mark.parametrize(("detail", "value", "is_valid"), [
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, 1, True),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "1", False),
    ({"type": "string", "x-nullable": True}, None, True),
    ({"type": "string", "nullable": "true"}, None, True),
])
def test_options_and_nulls(detail: dict[str, Any], value: Any, is_valid: bool) -> None:
    schema = {"type": "object", "properties": {"n": detail}}
    tool = ToolSpec("f", "", json.dumps(schema))
    assert (not schema_errors(ToolCall.of("f", n=value), [tool])) is is_valid


def test_nulls_and_surrogates_of_arguments_in_text() -> None:
    def arguments(text: str) -> str:
        said = {"role": "assistant", "tool_calls": [asked(args=text)]}
        return read(chat(said)).calls[0].arguments

    text = '{"city": "Paris", "url": null}'
    assert arguments(text) == text  # text has no nulls of a table
    assert arguments('{"city":  null}') == '{"city":  null}'
    row = read(chat({"role": "assistant", "tool_calls": [asked(args='{"city": "\\ud83d"}')]}))
    assert kept(row) == "parses:arguments of get_weather"


# --- labels -----------------------------------------------------------------------------------


def test_what_contradicting_rows_share() -> None:
    def of(args: str, tools: list[Any]) -> Trajectory:
        return read(chat({"role": "assistant", "tool_calls": [asked(args=args)]}, tools=tools))

    zone = CLOCK | {"parameters": {"zone": "string"}}
    one, other = of(ARGS, [WEATHER, CLOCK]), of('{"city": "PARIS"}', [CLOCK, WEATHER])
    assert situation_key(one) == situation_key(other) != situation_key(of(ARGS, [WEATHER, zone]))
    assert calls_key(one) == calls_key(other) != calls_key(of('{"city": "Rome"}', [WEATHER]))


def test_keys_and_separators_in_what_a_terminal_shows() -> None:
    def with_text(text: str) -> str:
        return kept(read(chat({"role": "assistant", "tool_calls": [asked()]}, seen(text), DONE)))

    assert with_text("^C\x03 a\x1eb") == ""
    # a NUL ends each entry of what programs list, but stands in no text of a model
    assert with_text("PATH=/bin\x00HOME=/root\x00") == ""
    assert with_text("one file".encode("utf-16-le").decode()) == "mojibake:U+0000"
    done = DONE | {"content": "One\x00file."}
    assert kept(read(chat({"role": "assistant", "tool_calls": [asked()]}, seen("1"), done))) == (
        "mojibake:U+0000"
    )


def test_a_call_in_anthropics_words() -> None:
    assert [[c.name, json.loads(c.arguments)] for c in parse(json.dumps(USE)).calls] == [CALL]


def test_yaml_of_openapi_has_words_that_are_no_booleans(tmp_path: Any) -> None:
    path = tmp_path / "api.yaml"
    path.write_text(
        "openapi: 3.0.0\npaths:\n  /a:\n    post:\n      operationId: doit\n      requestBody:\n"
        "        content:\n          application/json:\n            schema:\n"
        "              properties:\n                on: {type: string, enum: [no, 2024-01-01]}\n"
        "                yes: {type: boolean, default: true}\n"
    )
    [tool] = tools_of_file(path)
    assert tool["parameters"]["properties"] == {
        "on": {"type": "string", "enum": ["no", "2024-01-01"]},
        "yes": {"type": "boolean", "default": True},
    }
