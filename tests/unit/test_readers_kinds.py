"""Rows as public sets and bug reports have them, by kind of fault: what each must become."""

from __future__ import annotations

import json
from typing import Any

import pytest
from row_reading import calls, kept

from raytune_agents import filters, readers
from raytune_agents.calls import judge
from raytune_agents.filters.shape import parses
from raytune_agents.records import RecordError, Trajectory

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "d",
                                            "parameters": CITY}}
ASK = {"role": "user", "content": "Weather in Paris?"}
CALL = ["get_weather", {"city": "Paris"}]
ARGS = '{"city": "Paris"}'


def read(raw: dict[str, Any], format: str = "auto") -> list[Trajectory]:
    return readers.read_row(json.loads(json.dumps(raw)), "x.jsonl:1", format)


def roles(row: Trajectory) -> str:
    return "".join({"assistant": "a", "user": "u", "tool": "t", "system": "s"}[m.role]
                   for m in row.messages)


def chat(*turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [ASK, *turns], "tools": [WEATHER]} | more


# --- content that is a list of parts ---------------------------------------------------------

TOOL_USE = {
    "anthropic": [
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "x"},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "t1", "name": "get_weather", "input": CALL[1]}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1",
             "content": [{"type": "text", "text": "20 C"}]}]},
        {"role": "assistant", "content": [{"type": "text", "text": "It is 20 C."}]},
    ],
    "bedrock": [
        {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "x"}}},
            {"text": "Let me look."},
            {"toolUse": {"toolUseId": "t1", "name": "get_weather", "input": CALL[1]}}]},
        {"role": "user", "content": [
            {"toolResult": {"toolUseId": "t1", "content": [{"text": "20 C"}],
                            "status": "success"}}]},
        {"role": "assistant", "content": [{"text": "It is 20 C."}]},
    ],
    "ai sdk": [
        {"role": "assistant", "content": [
            {"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "Let me look."},
            {"type": "tool-call", "toolCallId": "t1", "toolName": "get_weather", "args": CALL[1]}]},
        {"role": "tool", "content": [
            {"type": "tool-result", "toolCallId": "t1", "toolName": "get_weather",
             "output": {"type": "text", "value": "20 C"}}]},
        {"role": "assistant", "content": "It is 20 C."},
    ],
    "ai sdk ui": [
        {"role": "assistant", "parts": [
            {"type": "step-start"}, {"type": "reasoning", "text": "Hm."},
            {"type": "text", "text": "Let me look."},
            {"type": "tool-get_weather", "toolCallId": "t1", "state": "output-available",
             "input": CALL[1], "output": "20 C"},
            {"type": "text", "text": "It is 20 C."}]},
    ],
    "gemini": [
        {"role": "model", "parts": [
            {"text": "Hm.", "thought": True}, {"text": "Let me look."},
            {"functionCall": {"name": "get_weather", "args": CALL[1]}}]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": "get_weather", "response": {"result": "20 C"}}}]},
        {"role": "model", "parts": [{"text": "It is 20 C."}]},
    ],
    "llamafactory": [
        {"role": "assistant", "content": [
            {"type": "reasoning", "value": "Hm."}, {"type": "text", "value": "Let me look."},
            {"type": "tool_call", "value": json.dumps({"name": CALL[0], "arguments": CALL[1]})}]},
        {"role": "tool", "content": [{"type": "text", "value": "20 C"}]},
        {"role": "assistant", "content": [{"type": "text", "value": "It is 20 C."}]},
    ],
    "openai parts": [
        {"role": "assistant", "content": [{"type": "text", "text": "Let me look."}],
         "reasoning_content": "Hm.",
         "tool_calls": [{"id": "t1", "type": "function",
                         "function": {"name": CALL[0], "arguments": ARGS}}]},
        {"role": "tool", "tool_call_id": "t1", "content": [{"type": "text", "text": "20 C"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "It is 20 C."}]},
    ],
    "mcp server": [
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Let me look."},
            {"type": "mcp_tool_use", "id": "t1", "name": "get_weather", "server_name": "s",
             "input": CALL[1]},
            {"type": "mcp_tool_result", "tool_use_id": "t1", "is_error": False,
             "content": [{"type": "text", "text": "20 C"}]},
            {"type": "text", "text": "It is 20 C."}]},
    ],
}


@pytest.mark.parametrize("name", TOOL_USE)
def test_parts_of_every_provider(name: str) -> None:
    row = read(chat(*TOOL_USE[name]))[0]
    assert roles(row) == "uata"
    assert calls(row) == [CALL]
    assert [m.content for m in row.messages[1:]] == ["Let me look.", "20 C", "It is 20 C."]
    assert row.messages[1].thought == "Hm."
    assert row.messages[2].name == "get_weather"
    assert kept(row) == ""


@pytest.mark.parametrize("part", [
    {"type": "image_url", "image_url": {"url": "http://h/x.png"}},
    {"type": "image", "source": {"type": "base64", "data": "AA=="}},
    {"type": "input_audio", "input_audio": {"data": "AA=="}},
    {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
    {"image": {"format": "png"}},
    {"type": "hologram", "data": 1},
])
def test_a_part_that_is_no_text_makes_the_row_bad(part: dict[str, Any]) -> None:
    turn = {"role": "user", "content": [{"type": "text", "text": "What is on it?"}, part]}
    with pytest.raises(RecordError, match="content part"):
        read({"messages": [turn, {"role": "assistant", "content": "A cat."}]})


@pytest.mark.parametrize(("content", "text"), [
    ([{"type": "refusal", "refusal": "No."}], "No."),
    ([{"type": "text", "text": {"value": "Yes.", "annotations": []}}], "Yes."),
    ([{"guardContent": {"text": {"text": "Yes.", "qualifiers": ["query"]}}}], "Yes."),
    ([{"citationsContent": {"content": [{"text": "Yes."}], "citations": []}}], "Yes."),
    ([{"type": "text", "text": "Ye"}, {"type": "reference", "reference_ids": [1]},
      {"type": "text", "text": "s."}], "Yes."),
    ([{"type": "document", "source": {"type": "text", "data": "A page."}}], "A page."),
    ({"type": "text", "text": "One part."}, "One part."),
    (["two ", "texts"], "two texts"),
    ([], ""),
])
def test_texts_in_parts(content: Any, text: str) -> None:
    row = read({"messages": [ASK, {"role": "assistant", "content": content}]})[0]
    assert row.target.content == text


def test_a_tools_data_is_no_list_of_parts() -> None:
    data = [{"text": "a tweet", "likes": 5}, {"id": 2, "type": "restaurant"}]
    call = {"id": "1", "function": {"name": CALL[0], "arguments": ARGS}}
    row = read(chat({"role": "assistant", "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "1", "content": data}))[0]
    assert json.loads(row.messages[2].content) == data


# --- calls that stand as text ----------------------------------------------------------------

BODY = json.dumps({"name": CALL[0], "arguments": CALL[1]})
SAID = {
    "hermes": f"<tool_call>\n{BODY}\n</tool_call>\n",
    "hermes, Python": f"<tool_call>\n{({'arguments': CALL[1], 'name': CALL[0]})}\n</tool_call>",
    "glaive": f"<functioncall> {BODY.replace(ARGS, repr(ARGS))} <|endoftext|>",
    "tag of a list": f"<TOOLCALL>[{BODY}]</TOOLCALL>",
    "granite": f"<|tool_call|>[{BODY}]",
    "mistral": f"[TOOL_CALLS] [{BODY}]",
    "qwen coder": "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
    "</function>\n</tool_call>",
    "llama": f"<|python_tag|>{BODY.replace('arguments', 'parameters')}",
    "bare": BODY,
    "fence": f"```json\n{BODY}\n```",
    "python": '[get_weather(city="Paris")]',
    "react": f"Thought: I look.\nAction: get_weather\nAction Input: {ARGS}",
}


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("shape", ["messages", "conversations"])
def test_calls_that_stand_as_text(name: str, shape: str) -> None:
    keys = ("role", "content") if shape == "messages" else ("from", "value")
    turns = [dict(zip(keys, t)) for t in [("user", "Weather in Paris?"), ("assistant", SAID[name])]]
    row = read({shape: turns, "tools": json.dumps([WEATHER])})[0]
    assert calls(row) == [CALL]
    assert judge(f"<tool_call>{BODY}</tool_call>", row).ok
    assert not judge("I cannot help with that.", row).ok
    assert kept(row) == ""


def test_prose_beside_a_call_stays_and_other_text_is_no_call() -> None:
    for said in (f"Sure. <TOOLCALL>[{BODY}]</TOOLCALL>", f"Sure.\n[TOOL_CALLS] [{BODY}]"):
        row = read(chat({"role": "assistant", "content": said}))[0]
        assert (row.target.content, calls(row)) == ("Sure.", [CALL])
    for text in ('{"name": "Bob"}', "[see chapter 1 (page 2)]", "Use get_weather(city) for it.",
                 '{"name": "other_tool", "arguments": {}}', "f(x) = 2"):
        row = read(chat({"role": "assistant", "content": text}))[0]
        assert (row.target.content, row.calls) == (text, ())


def test_markup_that_cannot_be_read_is_labelled() -> None:
    row = read(chat({"role": "assistant", "content": '<tool_call>{"name": "get_wea'}))[0]
    assert kept(row).startswith("parses:")


SPACED = {"name": "Market Trends API", "parameters": {"type": "dict", "properties": {
    "trend": {"type": "string"}, "note": {"type": "string"}}, "required": ["trend"]}}


@pytest.mark.parametrize(("said", "found"), [
    ('[Market Trends API(trend="INDEX (all)", note="a, b")]',
     [["Market Trends API", {"trend": "INDEX (all)", "note": "a, b"}]]),
    ('[Market Trends API(trend="a"), Market Trends API(trend="b")]',
     [["Market Trends API", {"trend": "a"}], ["Market Trends API", {"trend": "b"}]]),
    ("Market Trends API(trend='x')", [["Market Trends API", {"trend": "x"}]]),
])
def test_names_with_spaces(said: str, found: list[Any]) -> None:
    system = f"Tools you may use: {json.dumps([SPACED])}\nBe brief."
    raw = {"system": system, "conversations": [
        {"from": "user", "value": "q"}, {"from": "assistant", "value": said}]}
    row = read(raw)[0]
    assert (readers.detect(raw), calls(row)) == ("toolace", found)
    assert row.messages[0].content == "Tools you may use: \nBe brief."


HERMES = (
    "You are a function calling AI model. You may call one or more functions.\n<tools>\n"
    f"{json.dumps(WEATHER)}\n</tools>\nBe kind. For each function call return a json object within "
    "<tool_call></tool_call> XML tags as follows:\n<tool_call>\n{'name': <function-name>, "
    "'arguments': <args-dict>}\n</tool_call>"
)


@pytest.mark.parametrize("column", [None, json.dumps([WEATHER])])
def test_hermes_in_full(column: str | None) -> None:
    raw = {"conversations": [
        {"from": "system", "value": HERMES}, {"from": "human", "value": "Weather in Paris?"},
        {"from": "gpt", "value": SAID["hermes"]},
        {"from": "tool", "value": '<tool_response>\n{"name": "get_weather", "content": {"t": 20}}\n'
                                  "</tool_response>"},
        {"from": "gpt", "value": "20 C."}], "tools": column}
    row = read(raw)[0]
    assert (roles(row), calls(row)) == ("suata", [CALL])
    assert [t.name for t in row.tools] == ["get_weather"]
    assert (row.messages[3].content, row.messages[3].name) == ('{"t": 20}', "get_weather")
    assert not any("tool_call" in m.content or "<tools>" in m.content for m in row.messages)
    assert "Be kind." in row.messages[0].content
    assert "XML tags" in row.meta["call_format"]


def test_several_results_in_one_user_turn() -> None:
    two = f"<tool_call>{BODY}</tool_call>\n<tool_call>{BODY.replace('Paris', 'Rome')}</tool_call>"
    seen = "<tool_response>\n20 C\n</tool_response>\n<tool_response>\n25 C\n</tool_response>"
    row = read(chat({"role": "assistant", "content": two}, {"role": "user", "content": seen},
                    {"role": "assistant", "content": "Done."}))[0]
    assert roles(row) == "uatta"
    assert [m.content for m in row.messages[2:4]] == ["20 C", "25 C"]


# --- what marks a row or an answer as bad ----------------------------------------------------

GOOD, BAD = {"role": "assistant", "content": "It is mild."}, {"role": "assistant",
                                                             "content": "No idea."}
PAIRS = {
    "trl": {"prompt": [ASK], "chosen": [GOOD], "rejected": [BAD]},
    "implicit prompt": {"chosen": [ASK, GOOD], "rejected": [ASK, BAD]},
    "text": {"prompt": "Weather in Paris?", "chosen": "It is mild.", "rejected": "No idea."},
    "llamafactory": {"conversations": [{"from": "human", "value": ASK["content"]}],
                     "chosen": {"from": "gpt", "value": "It is mild."},
                     "rejected": {"from": "gpt", "value": "No idea."}},
    "ms-swift": {"messages": [ASK, GOOD], "rejected_response": "No idea."},
    "ms-swift messages": {"messages": [ASK, GOOD], "rejected_messages": [ASK, BAD]},
    "openai": {"input": {"messages": [ASK], "tools": [], "parallel_tool_calls": True},
               "preferred_output": [GOOD], "non_preferred_output": [BAD]},
    "orca": {"system": "Be brief.", "question": ASK["content"], "chosen": "It is mild.",
             "rejected": "No idea."},
    "alpaca": {"instruction": "Answer.", "input": ASK["content"], "chosen": "It is mild.",
               "rejected": "No idea."},
    "hh": {"chosen": "\n\nHuman: Weather?\n\nAssistant: It is mild.",
           "rejected": "\n\nHuman: Weather?\n\nAssistant: No idea."},
    "xtuner": {"prompt": ASK["content"], "chosen": "It is mild.", "reject": "No idea."},
    "llamafactory, ranked": {"instruction": ASK["content"], "input": "",
                             "output": ["It is mild.", "No idea."]},
    "nemo rl": {"context": [ASK], "completions": [{"rank": 0, "completion": [GOOD]},
                                                  {"rank": 1, "completion": [BAD]}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": ASK["content"]}]}],
               "completions": [
                   {"score": 0.0, "completion": {"role": "model", "parts": [{"text": "No idea."}]}},
                   {"score": 1.0, "completion": {"role": "model",
                                                 "parts": [{"text": "It is mild."}]}}]},
    "argilla": {"messages": [ASK], "chosen_response": "It is mild.",
                "rejected_response": "No idea."},
}


@pytest.mark.parametrize("name", PAIRS)
def test_preference_rows(name: str) -> None:
    good, bad = read(PAIRS[name])
    assert (good.pool, good.target.content, good.outcome) == ("positive", "It is mild.", 1.0)
    assert (bad.pool, bad.target.content, bad.outcome) == ("negative.rejected", "No idea.", 0.0)
    assert bad.parents == (good.id,)
    assert good.prompt == bad.prompt
    assert good.query


@pytest.mark.parametrize(("mark", "pool"), [
    ({"label": False}, "negative.observed"), ({"label": 0}, "negative.observed"),
    ({"label": "bad"}, "negative.observed"), ({"kto_tag": False}, "negative.observed"),
    ({"desirable": False}, "negative.observed"), ({"is_correct": 0}, "negative.observed"),
    ({"reward": 0.2}, "negative.observed"), ({"success": "no"}, "negative.observed"),
    ({"rejected": True}, "negative.observed"), ({"thumbs": "down"}, "negative.observed"),
    ({"metadata": {"reward": 0.0}}, "negative.observed"),
    ({"label": True}, "positive"), ({"label": 1}, "positive"), ({"rejected": False}, "positive"),
    ({"label": "weather"}, "positive"), ({"label": 7}, "positive"), ({"label": None}, "positive"),
])
def test_marks_of_a_row(mark: dict[str, Any], pool: str) -> None:
    for shape in ({"messages": [ASK, GOOD]}, {"prompt": "q", "completion": "a"},
                  {"conversations": [{"from": "human", "value": "q"},
                                     {"from": "gpt", "value": "a"}]}):
        assert read(shape | mark)[0].pool == pool


def test_a_rejected_answer_without_another_is_bad() -> None:
    with pytest.raises(RecordError, match="rejected"):
        read({"messages": [ASK], "rejected_response": "No idea."})


# --- fields under another usual name ---------------------------------------------------------

NAMED = {
    "langchain": {"name": "get_weather", "args": CALL[1], "id": "c", "type": "tool_call"},
    "flat": {"name": "get_weather", "arguments": ARGS},
    "parameters": {"tool": "get_weather", "parameters": CALL[1]},
    "function as name": {"function": "get_weather", "arguments": CALL[1]},
    "camel case": {"toolName": "get_weather", "toolInput": CALL[1], "toolCallId": "c"},
    "action": {"action": "get_weather", "action_input": CALL[1]},
    "name to arguments": {"get_weather": CALL[1]},
    "wrapped": {"type": "function", "tool_call": {"name": "get_weather", "arguments": CALL[1]}},
}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("key", ["tool_calls", "toolCalls", "function_calls"])
def test_names_of_a_call(name: str, key: str) -> None:
    assert calls(read(chat({"role": "assistant", "content": "", key: [NAMED[name]]}))[0]) == [CALL]


@pytest.mark.parametrize("tool", [
    WEATHER, WEATHER["function"], {"name": "get_weather", "input_schema": CITY},
    {"name": "get_weather", "inputSchema": CITY}, {"name": "get_weather", "args_schema": CITY},
    {"toolSpec": {"name": "get_weather", "inputSchema": {"json": CITY}}},
    {"type": "function", "name": "get_weather", "parameters": CITY, "strict": True},
    {"name": "get_weather", "parameters": [{"name": "city", "type": "str", "required": True}]},
    {"name": "get_weather", "required_parameters": [{"name": "city", "type": "STRING"}],
     "optional_parameters": []},
    {"functionDeclarations": [{"name": "get_weather", "parameters": {
        "type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}}]},
    {"function_declarations": [{"name": "get_weather", "parameters": CITY}]},
    {"name": "get_weather", "params_json_schema": CITY}, {"name": "get_weather", "fn_schema": CITY},
])
@pytest.mark.parametrize("key", ["tools", "functions", "available_tools", "toolConfig"])
def test_names_of_a_tool(tool: dict[str, Any], key: str) -> None:
    call = {"name": "get_weather", "arguments": ARGS}
    column = {"tools": [tool]} if key == "toolConfig" else [tool]
    row = read({"messages": [ASK, {"role": "assistant", "tool_calls": [call]}], key: column})[0]
    [spec] = row.tools
    assert spec.schema["properties"] == {"city": {"type": "string"}}
    assert spec.schema["required"] == ["city"]
    assert kept(row) == ""


@pytest.mark.parametrize("key", ["system", "system_prompt", "systemPrompt", "system_message"])
@pytest.mark.parametrize("text", ["Answer in French.",
                                  [{"type": "text", "text": "Answer in French."}]])
def test_a_system_text_beside_the_turns(key: str, text: Any) -> None:
    row = read({key: text, "messages": [ASK, GOOD]})[0]
    assert (row.messages[0].role, row.messages[0].content) == ("system", "Answer in French.")
    own = read({key: text, "messages": [{"role": "system", "content": "Be brief."}, ASK, GOOD]})[0]
    assert (roles(own), own.messages[0].content) == ("sua", "Answer in French.\n\nBe brief.")


@pytest.mark.parametrize("key", [
    "loss", "weight", "loss_weight", "train", "trainable", "sample_weight",
])
def test_loss_flags(key: str) -> None:
    turns = [ASK, GOOD | {key: 0.0}, ASK, GOOD | {key: 1.0}, ASK, GOOD | {key: 0.5}, ASK,
             GOOD | {key: False}, ASK, GOOD | {key: True}]
    said = [m.loss for m in read({"messages": turns})[0].messages if m.role == "assistant"]
    assert said == [False, None, 0.5, False, None]


@pytest.mark.parametrize("turn", [
    {"reasoning": "Six sevens."}, {"reasoning_content": "Six sevens."}, {"thinking": "Six sevens."},
    {"reasoning_details": [{"type": "reasoning.text", "text": "Six sevens."}]},
    {"provider_specific_fields": {"reasoning_content": "Six sevens."}},
    {"content": "<think>Six sevens.</think>42"}, {"content": "Six sevens.</think>\n\n42"},
])
def test_thoughts(turn: dict[str, Any]) -> None:
    row = read({"messages": [ASK, {"role": "assistant", "content": "42"} | turn]})[0]
    assert (row.target.thought, row.target.content) == ("Six sevens.", "42")


def test_olmo() -> None:
    raw = {"messages": [
        {"role": "system", "content": "You can call functions.", "functions":
            json.dumps([WEATHER["function"]]), "function_calls": None},
        ASK, {"role": "assistant", "content": None,
              "function_calls": 'get_weather(city="Paris")\nget_weather(city="Rome")'},
        {"role": "environment", "content": "20 C"}, {"role": "assistant", "content": "20 C."}]}
    row = read(raw)[0]
    assert calls(row) == [CALL, ["get_weather", {"city": "Rome"}]]
    assert row.tools[0].schema["required"] == ["city"]


def test_langchain_dumps() -> None:
    call = {"id": "c", "type": "function", "function": {"name": CALL[0], "arguments": ARGS}}
    said = {"content": "", "additional_kwargs": {"tool_calls": [call]},
            "tool_calls": [{"name": CALL[0], "args": CALL[1], "id": "c", "type": "tool_call"}]}
    plain = [{"type": "human", "content": "q"}, {"type": "ai"} | said,
             {"type": "tool", "content": "20 C", "tool_call_id": "c"},
             {"type": "ai", "content": "a"}]
    data = [{"type": t["type"], "data": {k: v for k, v in t.items() if k != "type"}} for t in plain]
    names = {"human": "HumanMessage", "ai": "AIMessage", "tool": "ToolMessage"}
    dumped = [{"lc": 1, "type": "constructor", "id": ["langchain", "schema", names[t["type"]]],
               "kwargs": {k: v for k, v in t.items() if k != "type"}} for t in plain]
    for turns in (plain, data, dumped):
        row = read({"messages": turns, "tools": [WEATHER]})[0]
        assert (roles(row), calls(row)) == ("uata", [CALL])


@pytest.mark.parametrize("snake", [False, True])
def test_gemini_in_either_case(snake: bool) -> None:
    declared = [{"name": CALL[0], "parameters": CITY}]
    raw: dict[str, Any] = {"contents": [
        {"role": "user", "parts": [{"text": "Weather in Paris?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": CALL[0], "args": CALL[1]}}]},
        {"role": "function", "parts": [{"functionResponse": {"name": CALL[0],
                                                             "response": {"t": 20}}}]},
        {"role": "model", "parts": [{"text": "20 C."}]}],
        "tools": [{"functionDeclarations": declared}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]}}
    if snake:
        text = json.dumps(raw)
        for camel, word in (("functionCall", "function_call"), ("systemInst", "system_inst"),
                            ("functionResponse", "function_response"),
                            ("functionDeclarations", "function_declarations")):
            text = text.replace(camel, word)
        raw = json.loads(text)
    row = read(raw)[0]
    assert (readers.detect(raw), roles(row), calls(row)) == ("gemini", "suata", [CALL])
    assert row.messages[3].content == '{"t": 20}'
    assert row.tools[0].schema["properties"] == CITY["properties"]


# --- schemas of any form ---------------------------------------------------------------------


@pytest.mark.parametrize(("parameters", "names", "required"), [
    ({"type": "object", "additionalProperties": False}, [], []),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}, [], []),
    ({"type": "object", "properties": None, "required": None}, [], []),
    ({}, [], []), (None, [], []), ("", [], []), ("{}", [], []),
    ({"properties": CITY["properties"]}, ["city"], []),
    ({"properties": CITY["properties"], "required": ["city"]}, ["city"], ["city"]),
    (CITY | {"type": ["object"]}, ["city"], ["city"]),
    (CITY | {"type": ["object", "null"]}, ["city"], ["city"]),
    (CITY | {"type": "dict"}, ["city"], ["city"]), (CITY | {"type": "OBJECT"}, ["city"], ["city"]),
    (json.dumps(CITY), ["city"], ["city"]),
    ({"type": "object", "city": {"type": "string"}}, ["city"], ["city"]),
    ({"type": "object", "properties": [{"name": "city", "type": "str"}]}, ["city"], ["city"]),
    ({"city": {"type": "str, optional"}}, ["city"], []), ({"city": "string"}, ["city"], ["city"]),
    ({"type": {"type": "str"}, "required": {"type": "bool"}, "properties": {"type": "list"}},
     ["properties", "required", "type"], ["type", "required", "properties"]),
    ({"$defs": {"C": {"type": "string"}}, "properties": {"city": {"$ref": "#/$defs/C"}}},
     ["city"], []),
])
def test_parameters_in_any_form(parameters: Any, names: list[str], required: list[str]) -> None:
    tool = {"name": "f", "description": "d", "parameters": parameters}
    given = {n: {"required": True, "properties": ["a"]}.get(n, "Paris") for n in names}
    call = {"name": "f", "arguments": json.dumps(given)}
    row = read({"messages": [ASK, {"role": "assistant", "tool_calls": [call]}], "tools": [tool]})[0]
    schema = row.tools[0].schema
    assert sorted(schema.get("properties", {})) == names
    assert schema.get("required", []) == required
    assert schema["type"] == "object"
    assert filters.shape.arguments_valid(row) is None


def test_nulls_of_tables() -> None:
    move = {"name": "move", "description": "d", "parameters": {
        "type": "object", "required": ["x"],
        "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}, "deep": {
            "type": "object", "properties": {"a": {"type": "string"}}},
            "note": {"type": ["string", "null"]}}}}

    def args(given: Any) -> str:
        call = {"function": {"name": "move", "arguments": given}}
        turns = [ASK, {"role": "assistant", "tool_calls": [call]}]
        return read({"messages": turns, "tools": [move]})[0].calls[0].arguments

    assert json.loads(args({"x": 0, "y": None, "url": None, "deep": {"a": "b", "z": None}})) == {
        "x": 0, "deep": {"a": "b"}}
    assert json.loads(args({"x": None, "note": None})) == {"x": None, "note": None}
    assert args('{"x": 0, "y": null}') == '{"x": 0, "y": null}'  # text: nobody but its writer
    for nothing in (None, "", "null", " ", "None", {}, "{}"):
        assert args(nothing) == "{}"


# --- results of parallel calls ---------------------------------------------------------------


def test_results_stand_in_the_order_of_their_calls() -> None:
    asked = [{"id": i, "function": {"name": f"f{i}", "arguments": "{}"}} for i in "abc"]
    seen = [{"role": "tool", "tool_call_id": i, "content": f"r{i}"} for i in "cab"]
    row = read({"messages": [ASK, {"role": "assistant", "tool_calls": asked}, *seen, GOOD]})[0]
    assert [(m.name, m.content) for m in row.messages[2:5]] == [
        ("fa", "ra"), ("fb", "rb"), ("fc", "rc")]
    named = [{"role": "tool", "name": f"f{i}", "content": f"r{i}"} for i in "cb"]
    calls = [{"function": c["function"]} for c in asked]
    row = read({"messages": [ASK, {"role": "assistant", "tool_calls": calls}, *named, GOOD]})[0]
    assert [(m.name, m.content) for m in row.messages[2:4]] == [("fb", "rb"), ("fc", "rc")]


# --- role words ------------------------------------------------------------------------------


@pytest.mark.parametrize(("called", "seen"), [
    ("tool_call", "tool_response"), ("function_call", "function_response"),
    ("tool_calls", "tool_results"), ("tool-call", "tool-output"), ("ToolCall", "ToolResult"),
    ("function-call", "function-result"), ("api_call", "api_response"), ("action", "observation"),
    ("tool_use", "tool_result"), ("function_call", "observation"),
    ("tool_use", "tool_use_result"), ("tool_invocation", "tool_invocation_result"),
    ("agent_action", "agent_observation"), ("assistant_tool_call", "tool_execution_result"),
    ("code_call", "code_output"), ("command", "command_output"), ("tool_calling", "tool_feedback"),
])
def test_role_words_come_in_pairs(called: str, seen: str) -> None:
    row = read(chat({"role": called, "content": BODY}, {"role": seen, "content": "20 C"}, GOOD))[0]
    assert (roles(row), calls(row)) == ("uata", [CALL])


@pytest.mark.parametrize(("asks", "answers"), [
    ("instruction", "output"), ("input", "output"), ("caller", "operator"), ("Q", "A"),
    ("person", "machine"), ("customer", "representative"), ("patient", "doctor"),
])
def test_words_for_who_asks_and_who_answers(asks: str, answers: str) -> None:
    row = read({"conversations": [{"from": asks, "value": "Hi"}, {"from": answers, "value": "Ho"}]})
    assert roles(row[0]) == "ua"


def test_turns_of_calls_and_thoughts_join() -> None:
    other = BODY.replace("Paris", "Rome")
    row = read(chat({"role": "thought", "content": "Two."}, {"role": "tool_call", "content": BODY},
                    {"role": "tool_call", "content": other}, {"role": "tool", "content": "20 C"},
                    {"role": "tool", "content": "25 C"}, GOOD))[0]
    assert roles(row) == "uatta"
    assert (row.messages[1].thought, len(row.messages[1].tool_calls)) == ("Two.", 2)


# --- formats ---------------------------------------------------------------------------------


def test_a_log_of_responses() -> None:
    raw = {"input": [ASK], "output": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "function_call", "id": "fc", "call_id": "c", "name": CALL[0], "arguments": ARGS}],
        "tools": [WEATHER["function"] | {"type": "function"}], "instructions": "Be brief."}
    row = read(raw)[0]
    assert (readers.detect(raw), roles(row), calls(row)) == ("responses", "sua", [CALL])
    assert (row.target.thought, row.target.tool_calls[0].id) == ("Hm.", "c")


def test_two_formats_that_fit_alike_are_named() -> None:
    raw = {"query": "q", "tools": "[]", "answers": "[]", "id": 1, "question": [[ASK]],
           "function": []}
    with pytest.raises(RecordError, match=r"could be bfcl or xlam; write read\.sources"):
        readers.detect(raw)
    pair = {"messages": [ASK, GOOD], "rejected_response": "x"}
    found = readers.detected(pair)
    assert (found.format, 0.5 < found.sure < 1) == ("pairs", True)
    found = readers.detected({"messages": [ASK, GOOD]})
    assert (found.format, found.sure) == ("openai", 1.0)


@pytest.mark.parametrize("raw", [
    {"input": "q", "output": "a"}, {"messages": "hello"}, {"contents": "a book"},
    {"conversations": [1, 2]}, {"prompt": {"a": 1}, "completion": "x"}, {"state": "x", "task": "y"},
    {"query": 1, "tools": 2, "answers": 3}, {"input": "q", "output": "a", "rating": {"stars": 3}},
    {"simulations": 3}, {"win": True, "tree": 1, "answer_generation": 2},
])
def test_rows_that_no_format_claims(raw: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="no known format"):
        readers.detect(raw)


# --- roll-outs -------------------------------------------------------------------------------


def rollout(*items: dict[str, Any]) -> dict[str, Any]:
    return {"responses_create_params": {"input": "Weather in Paris?", "tools": [
        WEATHER["function"] | {"type": "function"}]}, "response": {"output": list(items)},
        "reward": 1.0}


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text",
                                                                 "text": text}]}


ITEMS = [{"type": "function_call", "call_id": "c", "name": CALL[0], "arguments": ARGS},
         {"type": "function_call_output", "call_id": "c", "output": "20 C"}]


def test_an_empty_last_message() -> None:
    row = read(rollout(*ITEMS, said("20 C in Paris."), said("")))[0]
    assert (roles(row), kept(row)) == ("uata", "")
    assert kept(read(rollout(*ITEMS, said("")))[0]) == "empty_target"  # the run has no answer
    row = read({"messages": [ASK, GOOD, {"role": "assistant", "content": ""}]})[0]
    assert row.target.content == "It is mild."


def test_items_that_are_no_message() -> None:
    hosted = {"type": "mcp_call", "id": "m", "name": CALL[0], "arguments": ARGS, "output": "20 C",
              "server_label": "s"}
    row = read(rollout({"type": "item_reference", "id": "x"}, hosted, said("20 C.")))[0]
    assert (roles(row), calls(row)) == ("uata", [CALL])
    search = {"type": "web_search_call", "id": "w", "status": "completed",
              "action": {"type": "search", "query": "Paris"}}
    assert calls(read(rollout(search, said("20 C.")))[0])[0][0] == "web_search"
    with pytest.raises(RecordError, match="no message: computer_call"):
        read(rollout({"type": "computer_call", "call_id": "c", "action": {"type": "click"}}))


# --- more of the same kinds ------------------------------------------------------------------


def test_several_rejected_answers_are_several_rows() -> None:
    good, *bad = read({"prompt": "q", "chosen": "a", "rejected": ["b", "c"]})
    assert [r.target.content for r in bad] == ["b", "c"]
    assert {r.parents for r in bad} == {(good.id,)}


def test_react_text_beside_a_tools_column() -> None:
    row = read(
        chat(
            {"role": "assistant", "content": SAID["react"]},
            {"role": "user", "content": "Observation: 20 C"},
            {"role": "assistant", "content": "Thought: done\nFinal Answer: 20"},
        )
    )[0]
    assert (roles(row), calls(row)) == ("uata", [CALL])
    assert (row.messages[1].thought, row.messages[2].content) == ("I look.", "20 C")


def test_items_of_responses_among_messages() -> None:
    row = read(chat(*ITEMS, GOOD))[0]
    assert (roles(row), calls(row), row.messages[2].content) == ("uata", [CALL], "20 C")


def test_cohere() -> None:
    call = {"id": "1", "type": "function", "function": {"name": CALL[0], "arguments": ARGS}}
    seen = [{"type": "document", "document": {"data": "20 C"}}]
    row = read(
        chat(
            {"role": "assistant", "tool_plan": "I look.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": seen},
            GOOD,
        )
    )[0]
    assert (roles(row), calls(row)) == ("uata", [CALL])
    assert (row.messages[1].thought, row.messages[2].content) == ("I look.", "20 C")


def test_empty_lists_of_php() -> None:
    ping = {"name": "ping", "parameters": {"type": "object", "properties": [], "required": []}}
    call = {"function": {"name": "ping", "arguments": "[]"}}
    row = read({"messages": [ASK, {"role": "assistant", "tool_calls": [call]}], "tools": [ping]})[0]
    assert (calls(row), row.tools[0].schema["properties"], kept(row)) == ([["ping", {}]], {}, "")


# --- code actions and published dialogues -----------------------------------------------------

LOOK_UP = {
    "name": "get_weather",
    "description": "Weather",
    "parameters": {"properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
}
PARIS, THREE_DAYS, ROME = '{"city": "Paris"}', '{"city": "Paris", "days": 3}', '{"city": "Rome"}'


def acted(text: str):
    """The row whose answer is this text."""
    turns = [
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "content": text},
    ]
    return readers.read_row({"messages": turns, "tools": [LOOK_UP]}, "x.jsonl:1")[0]


@pytest.mark.parametrize(
    ("code", "calls"),
    [
        ("```py\nprint(get_weather(city='Paris'))\n```<end_code>", [PARIS]),
        ("```tool_code\ndefault_api.get_weather(city='Paris', days=3)\n```", [THREE_DAYS]),
        ("```python\na = get_weather(city='Paris')\nget_weather(city='Rome')\n```", [PARIS, ROME]),
    ],
)
def test_a_code_action_that_only_calls_tools_is_its_calls(code: str, calls: list[str]) -> None:
    row = acted(f"Thought: I look.\nCode:\n{code}")
    assert [c.arguments for c in row.calls] == calls
    assert row.answer.content == "Thought: I look."


@pytest.mark.parametrize(
    "code",
    [
        "for c in cities:\n    get_weather(city=c)",
        "x = get_weather(city='Paris')\nget_weather(city=x)",
        "import os\nget_weather(city='Paris')",
    ],
)
def test_a_code_action_that_does_more_is_no_gold(code: str) -> None:
    row = acted(f"```py\n{code}\n```")
    assert row.calls == ()
    assert parses(row) == "parses:the text of the answer calls get_weather"


def test_code_that_calls_no_tool_is_an_answer() -> None:
    row = acted("```python\nprint('hello')\n```")
    assert row.calls == ()
    assert parses(row) is None


def test_glaive_as_published() -> None:
    chat = (
        'USER: Weather in Paris?\n\n\nASSISTANT: <functioncall> {"name": "get_weather", '
        '"arguments": \'{"city": "Paris"}\'} <|endoftext|>\n\n\nFUNCTION RESPONSE: {"t": 3}'
        "\n\n\nASSISTANT: 3 degrees. <|endoftext|>"
    )
    system = f"SYSTEM: You are helpful, with these functions -\n{json.dumps(LOOK_UP)}\n"
    row = readers.read_row({"system": system, "chat": chat}, "x.jsonl:1")[0]
    assert [t.name for t in row.tools] == ["get_weather"]
    assert [m.role for m in row.messages] == ["user", "assistant", "tool", "assistant"]
    assert json.loads(row.messages[1].tool_calls[0].arguments) == {"city": "Paris"}
    assert row.messages[-1].content == "3 degrees."


def test_tools_and_a_system_text_stand_beside_a_data_sets_request() -> None:
    called = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {
        "name": CALL[0], "arguments": ARGS}}]}
    row = read({"input": [ASK], "expected": called, "tools": [WEATHER], "system": "Be brief."})[0]
    assert (roles(row), calls(row), [t.name for t in row.tools]) == ("sua", [CALL], [CALL[0]])
    rated = {"input": json.dumps([ASK]), "output": json.dumps([GOOD]), "rating": 1,
             "tools": json.dumps([WEATHER])}  # as a CSV file has them
    assert roles(read(rated)[0]) == "ua"
    xlam = {"query": "q", "tools": json.dumps([WEATHER]), "system": "Be brief.",
            "answers": json.dumps([{"name": CALL[0], "arguments": CALL[1]}])}
    assert (roles(read(xlam)[0]), calls(read(xlam)[0])) == ("sua", [CALL])


def test_a_hosted_call_is_no_turn_without_a_role() -> None:
    raw = {"request": {"messages": [ASK]}, "response": {"output": [
        {"type": "web_search_call", "id": "w", "status": "completed",
         "action": {"type": "search", "query": "Paris"}},
        {"type": "message", "role": "assistant", "content": [
            {"type": "output_text", "text": "20 C"}]}]}}
    row = read(raw)[0]
    assert (row.calls[0].name, row.target.content) == ("web_search", "20 C")


def test_a_null_that_a_reference_allows_stays() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}, "b": {"type": "string"}},
              "$defs": {"n": {"type": ["string", "null"]}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    turn = {"role": "assistant", "content": None, "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": {
            "a": None, "b": None}}}]}
    assert calls(read({"messages": [ASK, turn], "tools": [tool]})[0]) == [["f", {"a": None}]]


# --- tools of free text ------------------------------------------------------------------------


@pytest.mark.parametrize("tool", [
    {"type": "custom", "name": "run_code", "description": "d"},
    {"type": "custom", "custom": {"name": "run_code", "description": "d",
                                  "format": {"type": "text"}}}])
def test_a_tool_of_free_text_has_one_parameter(tool):
    call = {"id": "c", "type": "custom", "custom": {"name": "run_code", "input": "print(1)"}}
    row = read({"messages": [{"role": "user", "content": "run print(1)"},
                             {"role": "assistant", "content": None, "tool_calls": [call]}],
                "tools": [tool]})[0]
    assert calls(row) == [["run_code", {"input": "print(1)"}]]
    assert kept(row) == ""
    with_schema = tool | {"input_schema": CITY}  # Anthropic calls a user's own tools custom too
    row = read(chat({"role": "assistant", "content": "Mild."}, tools=[with_schema]))[0]
    assert "custom" in tool or row.tools[0].schema == CITY


# --- answers in JSON, and code that shows what came back ---------------------------------------


def test_an_object_with_a_name_is_no_call_without_arguments():
    for text in ('{"name": "get_weather", "version": "1"}',
                 '```json\n{"name": "get_weather", "version": "1"}\n```',
                 '{"name": "get_weather", "description": "d", "parameters": {"type": "object"}}'):
        assert calls(read(chat({"role": "assistant", "content": text}))[0]) == [], text
    lost = '<tool_call>{"name": "get_weather", "city": "Paris"}</tool_call>'
    assert calls(read(chat({"role": "assistant", "content": lost}))[0]) == [CALL]


def test_code_that_shows_a_result_is_its_call():
    shown = 'Look.\n<code>\nx = get_weather(city="Paris")\nprint(f"Now: {x}")\nprint(x)\n</code>'
    row = read(chat({"role": "assistant", "content": shown}))[0]
    assert calls(row) == [CALL]
    assert row.messages[1].content == "Look."
    more = '<code>\nx = get_weather(city="Paris")\nprint(len(x))\n</code>'
    assert calls(read(chat({"role": "assistant", "content": more}))[0]) == []


def test_a_call_in_code_marks_after_a_label():
    text = '**Tool call:** `get_weather(city="Paris")`'
    assert calls(read(chat({"role": "assistant", "content": text}))[0]) == [CALL]


# --- more words for what failed ----------------------------------------------------------------


@pytest.mark.parametrize("mark", [
    {"tests_passed": False}, {"all_tests_passed": False}, {"task_completed": False}, {"acc": 0},
    {"accuracy": 0.0}, {"is_solved": False}, {"metrics": {"resolved": False}},
    {"report": {"resolved": False}}, {"score": {"success": False}}, {"completed": False}])
def test_a_row_that_failed_is_none_to_learn_from(mark):
    good = {k: dict.fromkeys(v, True) if isinstance(v, dict) else 1 for k, v in mark.items()}
    said = {"role": "assistant", "content": "Mild."}
    assert [read(chat(said) | m)[0].pool for m in (mark, good)] == ["negative.observed", "positive"]
    assert read(chat(said, accuracy=0.5, metrics={"accuracy": 0.5}))[0].outcome is None
