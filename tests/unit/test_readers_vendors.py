"""Rows as other libraries dump them and as tables keep them: every call, result, thought and mark
of theirs is read, and what cannot be read is never gold in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from row_reading import kept

from raytune_agents import readers
from raytune_agents.calls import parse
from raytune_agents.calls.schema import validator
from raytune_agents.config import SourceConfig
from raytune_agents.records import RecordError, Trajectory

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "get_weather", "description": "d", "parameters": CITY}
ASK = {"role": "user", "content": "Weather in Paris?"}
GOOD = {"role": "assistant", "content": "It is mild."}
ARGS = '{"city": "Paris"}'
BODY = json.dumps({"name": "get_weather", "arguments": {"city": "Paris"}})
CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": ARGS}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
SEEN = {"role": "tool", "tool_call_id": "c1", "content": "20 C"}


def read(raw: dict[str, Any]) -> list[Trajectory]:
    return readers.read_row(json.loads(json.dumps(raw)), "x.jsonl:1")


def said(text: Any, **more: Any) -> Trajectory:
    turns = [ASK, {"role": "assistant", "content": text} | more]
    return read({"messages": turns, "tools": [TOOL]})[0]


def text_of(row: Trajectory) -> list[str]:
    """Each turn as "role: thought|content|calls"."""
    out = []
    for m in row.messages:
        calls = " ".join(c.name + c.arguments for c in m.tool_calls)
        out.append(f"{m.role[0]}: {m.thought}|{m.content}|{calls}")
    return out


ASKED, CALLS, RESULT = "u: |Weather in Paris?|", "a: ||get_weather" + ARGS, "t: |20 C|"
DUMPS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "llamaindex": ([
        {"role": "user", "blocks": [{"block_type": "text", "text": "Weather in Paris?"}]},
        {"role": "assistant", "blocks": [
            {"block_type": "thinking", "content": "Hm."},
            {"block_type": "tool_call", "tool_call_id": "c1", "tool_name": "get_weather",
             "tool_kwargs": {"city": "Paris"}}], "additional_kwargs": {}},
        {"role": "tool", "blocks": [{"block_type": "text", "text": "20 C"}],
         "additional_kwargs": {"tool_call_id": "c1"}},
    ], [ASKED, "a: Hm.||get_weather" + ARGS, RESULT]),
    "semantic kernel": ([
        {"role": "user", "items": [{"content_type": "text", "text": "Weather in Paris?"}]},
        {"role": "assistant", "items": [
            {"content_type": "function_call", "id": "c1", "name": "get_weather",
             "arguments": ARGS}]},
        {"role": "tool", "items": [
            {"content_type": "function_result", "id": "c1", "result": "20 C"}]},
    ], [ASKED, CALLS, RESULT]),
    "haystack": ([
        ASK,
        {"role": "assistant", "content": [
            {"tool_call": {"tool_name": "get_weather", "arguments": {"city": "Paris"},
                           "id": "c1"}}]},
        {"role": "tool", "content": [
            {"tool_call_result": {"result": "20 C", "error": False, "origin": {
                "tool_name": "get_weather", "arguments": {"city": "Paris"}, "id": "c1"}}}]},
    ], [ASKED, CALLS, RESULT]),
    "autogen": ([
        ASK, CALLED,
        {"role": "tool", "content": "20 C", "tool_responses": [SEEN]},
    ], [ASKED, CALLS, RESULT]),
    "ai sdk invocations": ([
        ASK,
        {"role": "assistant", "content": "It is mild.", "toolInvocations": [
            {"state": "result", "toolCallId": "c1", "toolName": "get_weather",
             "args": {"city": "Paris"}, "result": "20 C"}]},
    ], [ASKED, CALLS, RESULT, "a: |It is mild.|"]),
    "langchain, calls of the provider alone": ([
        {"type": "human", "content": "Weather in Paris?"},
        {"type": "ai", "content": "", "tool_calls": [], "additional_kwargs": {
            "tool_calls": [CALL], "reasoning_content": "Hm."}},
        {"type": "tool", "content": "20 C", "tool_call_id": "c1"},
    ], [ASKED, "a: Hm.||get_weather" + ARGS, RESULT]),
    "parts as JSON text": ([
        ASK,
        {"role": "assistant", "content": json.dumps([
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "c1", "name": "get_weather",
             "input": {"city": "Paris"}}])},
        {"role": "user", "content": json.dumps([
            {"type": "tool_result", "tool_use_id": "c1", "content": "20 C"}])},
    ], [ASKED, "a: |I look.|get_weather" + ARGS, RESULT]),
    "harmony": ([
        ASK,
        {"role": "assistant", "content": "<|channel|>analysis<|message|>Hm.<|end|>"
         "<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json"
         f"<|message|>{ARGS}<|call|>"},
    ], [ASKED, "a: Hm.||get_weather" + ARGS]),
    "several steps in one turn": ([
        ASK,
        {"role": "assistant", "content": "Thought: Hm.\nAction: get_weather\n"
         f"Action Input: {ARGS}\nObservation: 20 C\nThought: Done.\nFinal Answer: 20"},
    ], [ASKED, "a: Hm.||get_weather" + ARGS, RESULT, "a: Done.|Final Answer: 20|"]),
    "a table's nulls": ([
        ASK,
        {"role": "assistant", "content": "It is mild.", "tool_calls": [
            {"id": None, "function": {"name": None, "arguments": None}}],
         "function_call": {"name": None, "arguments": None}},
        {"role": None, "content": None},
    ], [ASKED, "a: |It is mild.|"]),
    "None beside a call": ([ASK, CALLED | {"content": "None"}, SEEN], [ASKED, CALLS, RESULT]),
    "a thought in an object": ([
        ASK, GOOD | {"reasoning": {"summary": [{"type": "summary_text", "text": "Hm."}]}},
    ], [ASKED, "a: Hm.|It is mild.|"]),
    "the token that ends a turn": ([ASK, GOOD | {"content": "It is mild.<|im_end|>\n"}],
                                   [ASKED, "a: |It is mild.|"]),
}  # fmt: skip


@pytest.mark.parametrize("name", DUMPS)
def test_dumps_of_other_libraries(name: str) -> None:
    turns, expected = DUMPS[name]
    source = SourceConfig(path="x.jsonl")
    found = readers.read_raw({"messages": turns, "tools": [TOOL]}, "x.jsonl:1", source)
    assert text_of(found.rows[0]) == expected, found.error
    assert [f for f in found.unread if f.startswith("turn")] == []


TWO = [CALL | {"id": "a"}, {"id": "b", "name": "get_time", "arguments": {}}]


@pytest.mark.parametrize("turns", [
    [{"role": "tool", "content": [{"tool_call_id": "b", "content": "14:05"},
                                  {"tool_call_id": "a", "content": "20 C"}]}],
    [{"from": "tool", "value": json.dumps([{"name": "get_time", "results": "14:05"},
                                           {"name": "get_weather", "results": "20 C"}])}],
    [{"role": "tool", "content": "x", "tool_responses": [
        {"tool_call_id": "b", "role": "tool", "content": "14:05"},
        {"tool_call_id": "a", "role": "tool", "content": "20 C"}]}],
])  # fmt: skip
def test_results_of_several_calls_in_one_turn(turns: list[dict[str, Any]]) -> None:
    row = read({"messages": [ASK, CALLED | {"tool_calls": TWO}, *turns, GOOD]})[0]
    assert [(m.name, m.content) for m in row.messages[2:4]] == [
        ("get_weather", "20 C"), ("get_time", "14:05")]  # fmt: skip


def test_a_turn_of_which_nothing_is_read_makes_the_row_bad() -> None:
    with pytest.raises(RecordError, match="a turn of the user without content, only payload"):
        read({"messages": [{"role": "user", "payload": "Weather?"}, GOOD]})


# --- calls that stand as text ---


@pytest.mark.parametrize(("text", "content"), [
    (f"I look: {BODY}", "I look:"),
    (f"FUNCTION CALL: {BODY}", ""),
    (f"<tool_use>\n{BODY}\n</tool_use>", ""),
    (f"<action>{BODY}</action>", ""),
    (json.dumps({"tool_calls": [CALL]}), ""),
    (f"Calling tools:\n{[{'id': 'c', 'function': json.loads(BODY)}]}", ""),
    ("I look.\n<get_weather>\n<city>Paris</city>\n</get_weather>", "I look."),
    ('Thought: I look.\n<code>\nprint(get_weather(city="Paris"))\n</code>', "Thought: I look."),
])  # fmt: skip
def test_calls_in_other_wrappings(text: str, content: str) -> None:
    row = said(text)
    assert (row.target.content, [(c.name, c.args) for c in row.calls]) == (
        content, [("get_weather", {"city": "Paris"})])  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [
    (f"<tool_call>{BODY}</tool_call>", CALLS), ("<think>Hm.</think>Mild.", "a: Hm.|Mild.|"),
    ("<|channel|>final<|message|>Mild.", "a: |Mild.|"),
])  # fmt: skip
def test_what_stands_in_the_text_of_parts_and_items(text: str, expected: str) -> None:
    part = {"type": "output_text", "text": text}
    message = {"type": "message", "role": "assistant", "content": [part]}
    log = {"input": [ASK], "output": [message], "tools": [TOOL | {"type": "function"}]}
    for row in (read(log)[0], said([part])):
        assert text_of(row) == [ASKED, expected]


@pytest.mark.parametrize("text", [
    "[get_weather('Paris')]", 'Tool call: get_weather("Paris")',
    f"I send {BODY} and wait.",
])  # fmt: skip
def test_a_call_that_is_not_read_is_no_gold(text: str) -> None:
    row = said(text)
    assert (row.calls, kept(row)) == ((), "parses:the text of the answer calls get_weather")


@pytest.mark.parametrize("text", [
    "I have get_weather(city), which takes a city.", "The tool is <get_weather>.",
])  # fmt: skip
def test_prose_about_a_tool_is_an_answer(text: str) -> None:
    row = said(text)
    assert (row.calls, row.target.content, kept(row)) == ((), text, "")


def test_two_objects_between_one_pair_of_tags() -> None:
    assert len(parse(f"<tool_calls>\n{BODY}\n{BODY}\n</tool_calls>").calls) == 2


# --- a dialogue in one text ---


@pytest.mark.parametrize("text", [
    "<|im_start|>user\nWeather in Paris?<|im_end|>\n<|im_start|>assistant\nIt is mild.<|im_end|>\n",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWeather in Paris?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nIt is mild.<|eot_id|>",
    "<bos><start_of_turn>user\nWeather in Paris?<end_of_turn>\n<start_of_turn>model\nIt is mild."
    "<end_of_turn>\n",
    "<s>[INST] Weather in Paris? [/INST] It is mild.</s>",
    "<|user|>\nWeather in Paris?<|end|>\n<|assistant|>\nIt is mild.<|end|>",
])  # fmt: skip
def test_a_text_that_a_template_wrote(text: str) -> None:
    asked, _, _ = text.partition("It is mild.")
    for raw in ({"text": text}, {"prompt": asked, "completion": "It is mild."},
                {"prompt": asked, "chosen": text, "rejected": "No idea."}):
        assert text_of(read(raw)[0]) == [ASKED, "a: |It is mild.|"]


def test_text_of_no_template_is_no_row() -> None:
    with pytest.raises(RecordError, match="no known format"):
        read({"text": "In ChatML, <|im_start|>user\n opens a turn."})


# --- what marks a row or an answer as bad ---


@pytest.mark.parametrize("mark", [
    {"extra_info": {"success": False}}, {"metadata": '{"resolved": false}'},
    {"feedback": {"thumbs": "down"}}, {"quality": "low"}, {"exit_status": "failed"},
    {"messages": [ASK, GOOD | {"correct": False}]},
    {"messages": [ASK, GOOD | {"finish_reason": "length"}]},
    {"messages": [ASK, GOOD | {"stop_reason": "max_tokens"}]},
])  # fmt: skip
def test_marks_in_other_places(mark: dict[str, Any]) -> None:
    assert read({"messages": [ASK, GOOD]} | mark)[0].pool == "negative.observed"


def test_what_gives_the_outcome_is_read_and_kept() -> None:
    raw = {"messages": [ASK, GOOD], "metadata": {"resolved": False}, "licence": "mit"}
    found = readers.read_raw(raw, "x.jsonl:1", SourceConfig(path="x.jsonl"))
    assert (found.unread, found.rows[0].meta["metadata"]) == (
        {"licence": "mit"}, {"resolved": False})  # fmt: skip


def test_a_turn_that_is_bad_or_not_to_be_trained_is_not() -> None:
    for mark in ({"helpful": False}, {"train": "false"}, {"loss": "0"}, {"status": "incomplete"}):
        row = read({"messages": [ASK, GOOD | mark, ASK, GOOD]})[0]
        assert ([m.trained for m in row.messages], row.pool) == (
            [False, False, False, True], "positive")  # fmt: skip


def test_a_turn_without_votes_is_no_bad_one() -> None:
    row = read({"messages": [ASK, GOOD | {"upvoted": 0}, ASK, GOOD | {"finish_reason": "stop"}]})[0]
    assert [m.trained for m in row.messages if m.role == "assistant"] == [True, True]


def test_pairs_that_repeat_the_request_and_pairs_of_one_answer() -> None:
    system = {"role": "system", "content": "Be brief."}
    chosen, bad = read({"prompt": "Weather in Paris?", "chosen": [system, ASK, GOOD],
                        "rejected": [system, ASK, GOOD | {"content": "No idea."}]})  # fmt: skip
    assert text_of(chosen) == ["s: |Be brief.|", ASKED, "a: |It is mild.|"]
    assert bad.prompt == chosen.prompt
    with pytest.raises(RecordError, match="are the same"):
        read({"prompt": [ASK], "chosen": [GOOD], "rejected": [GOOD]})


# --- columns ---


@pytest.mark.parametrize("raw", [
    {"input": [ASK], "output": "It is mild.", "category": "chat"},  # Nemotron
    {"messages": [ASK], "response": "It is mild."},
    {"messages": [ASK], "completion": GOOD, "metadata": {"tools": [TOOL]}},
    {"messages": [{"type": "human", "content": ASK["content"]}], "response": "It is mild."},
    {"messages": [ASK, None, GOOD], "instructions": ""},
    {"messages": [ASK], "choices": [{"message": GOOD, "finish_reason": "stop"}]},
    {"messages": [ASK], "response": {"message": GOOD, "done_reason": "stop"}},  # Ollama
    {"messages": [ASK], "response": {"id": "x", "finish_reason": "COMPLETE", "message": {  # Cohere
        "role": "assistant", "content": [{"type": "text", "text": "It is mild."}]}}},
    {"messages": [ASK], "response": {"output": {"message": {  # Bedrock
        "role": "assistant", "content": [{"text": "It is mild."}]}}, "stopReason": "end_turn"}},
    {"messages": [ASK], "response": {"role": "assistant", "content": [
        {"type": "text", "text": "It is mild."}], "stop_reason": "end_turn"}},
])  # fmt: skip
def test_where_the_answer_stands(raw: dict[str, Any]) -> None:
    row = read(raw)[0]
    assert text_of(row) == [ASKED, "a: |It is mild.|"]
    assert [t.name for t in row.tools] == ["get_weather"] * ("metadata" in raw)


@pytest.mark.parametrize("answer", [
    {"response": "It is mild."}, {"choices": [{"message": GOOD}]}, {"response": {"message": GOOD}},
])  # fmt: skip
def test_an_answer_after_a_result_stands_in_its_column(answer: dict[str, Any]) -> None:
    row = read({"messages": [ASK, CALLED, SEEN], "tools": [TOOL]} | answer)[0]
    assert text_of(row) == [ASKED, CALLS, RESULT, "a: |It is mild.|"]


def test_a_run_with_an_outcome_ends_on_its_own_answer() -> None:
    row = read({"prompt": [ASK], "completion": [CALLED, SEEN, GOOD, {"role": "user",
                "content": "###STOP###"}], "reward": 1.0, "tools": [TOOL]})[0]  # fmt: skip
    assert (row.target.content, row.meta["after"], kept(row)) == (
        "It is mild.", ["###STOP###"], "")  # fmt: skip


# --- schemas and arguments ---


@pytest.mark.parametrize("tool", [
    {"name": "get_weather", "type": "function", **{k: v for k, v in CITY.items() if k != "type"}},
    {"name": "get_weather", "parameters": {"type": "object", "required": ["city"],
                                           "properties": json.dumps(CITY["properties"])}},
    {"name": "get_weather", "parameters": {
        "type": "object", "properties": [{"key": "city", "value": {"type": "string"}}]}},
    {"toolSpec": {"name": "get_weather", "inputSchema": {"json": json.dumps(CITY)}}},
    {"get_weather": CITY},
    {"name": "get_weather", "parameters": {
        "city": {"type": "string"}, "unit": {"type": "string", "optional": True}}},
    {"name": "get_weather", "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "enum": None, "default": None}, "n": {"type": None}}}},
])  # fmt: skip
def test_where_the_parameters_stand(tool: dict[str, Any]) -> None:
    column = tool if "get_weather" in tool else [tool]
    row = read({"messages": [ASK, CALLED], "tools": column})[0]
    schema = row.tools[0].schema
    assert (schema["properties"]["city"], schema["required"], kept(row)) == (
        {"type": "string"}, ["city"], "")  # fmt: skip


def test_a_tool_without_parameters() -> None:
    call = {"name": "ping", "arguments": ""}
    row = read({"messages": [ASK, CALLED | {"tool_calls": [call]}],
                "tools": [{"name": "ping", "parameters": {"type": "null"}}]})[0]  # fmt: skip
    assert (row.tools[0].schema["properties"], kept(row)) == ({}, "")


@pytest.mark.parametrize("given", [
    json.dumps(ARGS), "{'city': 'Paris'}", [["city", "Paris"]],
    [{"name": "city", "value": "Paris"}], {"city": "Paris", "at": {"lat": None, "lon": None}},
])  # fmt: skip
def test_how_arguments_are_kept(given: Any) -> None:
    call = {"name": "get_weather", "arguments": given}
    row = read({"messages": [ASK, CALLED | {"tool_calls": [call]}], "tools": [TOOL]})[0]
    assert (row.calls[0].arguments, kept(row)) == (ARGS, "")


def test_patterns_of_other_engines() -> None:
    schema = {"properties": {"a": {"type": "string", "pattern": r"^(?<x>\p{L}+)$"}}}
    assert not isinstance(validator(json.dumps(schema)), str)


@pytest.mark.parametrize(("body", "answer"), [
    ({"choices": [{"finish_reason": "length", "message": GOOD}]}, "It is mild."),
    ({"role": "assistant", "content": [{"type": "text", "text": "It is mild."}],
      "stop_reason": "max_tokens"}, "It is mild."),
    ({"status": "incomplete", "output": [GOOD | {"type": "message", "status": "incomplete"}]},
     "It is mild."),
    ({"candidates": [{"finishReason": "MAX_TOKENS", "content": {
        "role": "model", "parts": [{"text": "It is mild."}]}}]}, "It is mild."),
])  # fmt: skip
def test_a_batched_answer_that_was_cut(tmp_path: Path, body: dict[str, Any], answer: str) -> None:
    lines = [{"custom_id": "a", "body": {"model": "m", "messages": [ASK]}},
             {"custom_id": "a", "response": {"body": body}}]  # fmt: skip
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, lines)))
    [found] = readers.read_source(SourceConfig(path=str(tmp_path / "b.jsonl")))
    assert [(r.pool, r.target.content) for r in found.rows] == [("negative.observed", answer)]


def test_maps_of_parquet(tmp_path: Path) -> None:
    kind = pa.map_(pa.string(), pa.string())
    call = pa.struct([("name", pa.string()), ("arguments", kind)])
    turn = pa.struct([("role", pa.string()), ("content", pa.string()), ("calls", pa.list_(call))])
    rows = [[ASK, {"role": "assistant", "calls": [{"name": "f", "arguments": given}]}]
            for given in ([("city", "Paris")], [("city", "Paris"), ("city", "Rome")])]  # fmt: skip
    table = pa.table({"messages": pa.array(rows, pa.list_(turn))})
    pq.write_table(table, tmp_path / "m.parquet")
    good, bad = readers.read_source(SourceConfig(path=str(tmp_path / "m.parquet")))
    assert good.rows[0].calls[0].arguments == ARGS
    assert bad.error == "a key stands twice in a map"
