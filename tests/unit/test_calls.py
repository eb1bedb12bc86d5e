"""Parsing in every dialect, hostile text, the schema check, BFCL's rules and the fault names."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soon import ends_soon

from raytune_agents.calls import (
    compare,
    fault_of,
    gold_of,
    judge,
    parse,
    render_call,
    render_calls,
    schema_errors,
)
from raytune_agents.calls.match import standardize
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory

BOOK = ToolSpec("book", "", json.dumps({"type": "object", "required": ["city"], "properties": {
    "city": {"type": "string"}, "nights": {"type": "integer"}, "price": {"type": "number"},
    "pets": {"type": "boolean"}, "days": {"type": "array", "items": {"type": "string"}},
    "guest": {"type": "object", "properties": {}}, "to": {"type": "string"},
    "guests": {"type": "array", "items": {"type": "object"}}}}))  # fmt: skip
CANCEL = ToolSpec("cancel", "", '{"type": "object", "properties": {"id": {"type": "string"}}}')
TOOLS = (BOOK, CANCEL)
CALL = '{"name": "book", "arguments": {"city":  "Oslo", "nights": 2}}'
OSLO = ToolCall("book", '{"city":  "Oslo", "nights": 2}')


def row(*calls: ToolCall, gold: str = "", content: str = "") -> Trajectory:
    target = Message("assistant", content, tool_calls=calls)
    return Trajectory((Message("user", "Book Oslo"), target), TOOLS, gold=gold)


# --- parsing ---


@pytest.mark.parametrize(
    ("text", "dialect", "prose"),
    [
        (f"<tool_call>{CALL}</tool_call>", "tool_call", ""),
        (f"I book.\n<tool_call>\n{CALL}\n</tool_call>", "tool_call", "I book."),
        (f"<tool_call>{CALL}", "tool_call", ""),  # generation stopped before the closing tag
        (f"<TOOLCALL>[{CALL}]</TOOLCALL>", "tool_call", ""),
        (CALL, "json", ""),
        (f"[{CALL}]", "json", ""),
        (f"<think>hm</think>\n{CALL}<|im_end|>", "json", ""),
        (f"Here:\n```json\n{CALL}\n```", "fence", "Here:"),
        (f"Thought: go\nAction: book\nAction Input: {OSLO.arguments}", "react", "Thought: go"),
        (CALL.replace("arguments", "parameters"), "llama", ""),
        (f"<|python_tag|>{CALL}<|eom_id|>", "llama", ""),
        ('{"type": "function", "function": ' + CALL + "}", "json", ""),
    ],
)
def test_every_json_dialect_gives_the_same_call_byte_for_byte(text, dialect, prose):
    parsed = parse(text)
    assert parsed.calls == (OSLO,)
    assert (parsed.error, parsed.dialect, parsed.text) == ("", dialect, prose)


@pytest.mark.parametrize(
    "text",
    ['[book(city="Oslo", nights=2)]', "book(city='Oslo', nights=2)", "[book(nights=2, city=Oslo)]"],
)
def test_pythonic_calls(text):
    parsed = parse(text)
    assert parsed.dialect == "pythonic"
    assert [(c.name, c.args) for c in parsed.calls] == [("book", {"city": "Oslo", "nights": 2})]


def test_pythonic_values():
    (call,) = parse("[a.b(x=(1, -2.5), y={'k': None}, z=true, v=price + 1)]").calls
    assert call.name == "a.b"
    assert call.args == {"x": [1, -2.5], "y": {"k": None}, "z": True, "v": "price + 1"}


def test_several_calls_keep_their_order():
    second = '{"name": "cancel", "arguments": {"id": "7"}}'
    texts = [f"<tool_call>{CALL}</tool_call>\n<tool_call>{second}</tool_call>",
             f"[{CALL}, {second}]", f"{CALL}; {second}", f"{CALL}\n{second}"]  # fmt: skip
    for text in texts:
        assert [c.name for c in parse(text).calls] == ["book", "cancel"], text


def test_a_tag_inside_an_argument_is_text():
    call = ToolCall.of("book", city="</tool_call><tool_call>", to='say "arguments": {}')
    assert parse(render_call(call)).calls == (call,)


@pytest.mark.parametrize("text", ["", "Which dates?", "[Note] I cannot.", "See `f(x)` for more."])
def test_prose_is_not_a_call(text):
    parsed = parse(text)
    assert (parsed.calls, parsed.error, parsed.dialect) == ((), "", "text")
    assert parsed.text == text.strip()


@pytest.mark.parametrize("text", ["[]", "[{}]", "<tool_call>[]</tool_call>"])
def test_an_empty_list_says_no_call(text):
    assert (parse(text).calls, parse(text).error) == ((), "")


FAILED = {
    "cut": '<tool_call>{"name": "book", "arguments": {"ci',
    "nan": '{"name": "book", "arguments": {"price": NaN}}',
    "infinite": '{"name": "book", "arguments": {"price": 1e999}}',
    "duplicate": '{"name": "book", "arguments": {"city": "a", "city": "b"}}',
    "duplicate name": '{"name": "book", "name": "cancel", "arguments": {}}',
    "deep list": '{"name": "book", "arguments": {"days": ' + "[" * 50_000,
    "deep and closed": '{"name": "f", "arguments": {"a": ' + "[" * 300 + "]" * 300 + "}}",
    "deep python": "[f(a=" + "[" * 5000 + "]" * 5000 + ")]",
    "minus": "[f(a=" + "-" * 50_000 + "1)]",
    "huge int": '{"name": "book", "arguments": {"nights": ' + "9" * 5000 + "}}",
    "brace": f"<tool_call>{CALL}}}</tool_call>",
    "python twice": "[f(a=1, a=2)]",
    "long python": "[f(a='" + "x" * 300_000 + "')]",
}
WRONG = {
    "no name": '{"arguments": {}}',
    "name is a number": '{"name": 1, "arguments": {}}',
    "list arguments": '{"name": "book", "arguments": [1]}',
    "other json": '{"answer": 5}',
    "positional": "[book('Oslo')]",
    "in prose": f"I will call {CALL} now",
    "text input": "Action: book\nAction Input: Oslo",
    "empty tag": "<tool_call></tool_call>",
    "not text": None,
}


@pytest.mark.parametrize("name", FAILED)
def test_broken_text_is_decoder_failed(name):
    parsed = parse(FAILED[name])
    assert (parsed.calls, parsed.error) == ((), "decoder_failed")
    assert judge(FAILED[name], row(OSLO)).error == "decoder_failed"
    assert fault_of(FAILED[name], row(OSLO)) == "malformed_json"


@pytest.mark.parametrize("name", WRONG)
def test_text_of_another_shape_is_wrong_format(name):
    assert parse(WRONG[name]).error == "decoder_wrong_output_format"
    assert fault_of(WRONG[name], row(OSLO)) == "wrong_format"


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "book", "arguments": {"city": "' + "x" * 1_000_000 + '"}}',
        " " * 1_000_000, "Action:\n" * 100_000, "<tool_call>" * 90_000, "```json\n" * 100_000,
        "```json\n{" * 100_000,
        "{" * 1_000_000, '{"name":"f","arguments":' * 20_000, "<think>" * 100_000,
        '[{"name": "f", "arguments": {}}' + ', {"name": "f", "arguments": {}}' * 30_000 + "]",
        "\x00" * 1000 + "\ud800", '{"name": "book", "arguments": {"price": 1e308}}',
    ],
    ids=lambda t: repr(t[:20]),
)  # fmt: skip
def test_hostile_text_ends_soon(text):
    with ends_soon():
        assert not judge(text, row(OSLO)).ok
        assert fault_of(text, row(OSLO))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
calls = st.builds(
    lambda n, a, i: ToolCall(n, json.dumps(a, indent=i)),
    st.text(min_size=1), st.dictionaries(st.text(), json_values, max_size=4),
    st.sampled_from([None, 1]),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(calls, min_size=1, max_size=3))
def test_rendered_calls_come_back_byte_for_byte(several):
    assert list(parse(render_calls(several)).calls) == several


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("{}[]()<>\"':,=\\ \nabf1`-tool_call/Action Input")))
def test_no_text_raises(text):
    for dressed in (text, f"<tool_call>{text}", f"[f(a={text})]", f'{{"name": "book", {text}}}'):
        parse(dressed)
        judge(dressed, row(OSLO))
        fault_of(dressed, row(OSLO))


# --- the schema check ---


@pytest.mark.parametrize(
    ("call", "labels"),
    [
        (OSLO, []),
        (ToolCall.of("fly"), ["unknown_tool"]),
        (ToolCall("book", "{"), ["not_json"]),
        (ToolCall("book", "[1]"), ["not_json"]),
        (ToolCall.of("book", nights=1), ["missing_required:city"]),
        (ToolCall.of("book", city="a", zz=1), ["unexpected:zz"]),
        (ToolCall.of("book", city=5, nights="2"), ["type:city", "type:nights"]),
        (ToolCall.of("book", city="a", days=["x", 1]), ["type:days.1"]),
    ],
)
def test_schema_errors(call, labels):
    assert schema_errors(call, TOOLS) == labels


def test_schema_words_of_bfcl_and_python_are_read():
    schema = {"type": "dict", "required": ["type"], "properties": {
        "type": {"type": "float"}, "b": {"type": "any"}, "c": {"type": "tuple"},
        "d": {"type": "dict", "required": True,
              "properties": {"e": {"type": "str", "enum": ["x"]}}}}}  # fmt: skip
    tools = [ToolSpec("f", "", json.dumps(schema))]
    assert schema_errors(ToolCall.of("f", type=1.5, b=[], c=[1], d={"e": "x"}), tools) == []
    assert schema_errors(ToolCall.of("f", type="1", d={"e": "y"}), tools) == [
        "type:type",
        "enum:d.e",
    ]


@pytest.mark.parametrize("text", ["{", "[]", '{"properties": [1]}', "[" * 9999])
def test_a_bad_schema_is_a_label(text):
    (found,) = schema_errors(ToolCall.of("f", a=1), [ToolSpec("f", "", text)])
    assert found.startswith("bad_schema:")


def test_a_far_reference_is_not_fetched_and_allows_anything():
    tools = [ToolSpec("f", "", '{"properties": {"a": {"$ref": "http://[::1]/x"}}}')]
    assert schema_errors(ToolCall.of("f", a=1), tools) == []
    assert schema_errors(ToolCall.of("f", b=1), tools) == ["unexpected:b"]


# --- BFCL's rules ---


def one(allowed: dict, **arguments) -> str:
    return compare([ToolCall.of("book", **arguments)], [{"book": allowed}], TOOLS).error


CITY = {"city": ["Oslo"]}


@pytest.mark.parametrize(
    ("allowed", "arguments", "error"),
    [
        ({"city": ["New York, NY"]}, {"city": "new-york ny."}, ""),
        ({"city": ["it's"]}, {"city": 'it"s'}, ""),
        ({"city": ["10:30"]}, {"city": "1030"}, "value_error:string"),  # a colon is kept
        ({"city": ["Oslo"]}, {"city": "Rome"}, "value_error:string"),
        ({"city": ["Oslo"]}, {"city": 5}, "type_error:simple"),
        (CITY | {"price": [5.0]}, {"city": "Oslo", "price": 5}, ""),  # int -> float
        (CITY | {"nights": [5]}, {"city": "Oslo", "nights": 5.0}, "type_error:simple"),
        (CITY | {"nights": [5]}, {"city": "Oslo", "nights": "5"}, "type_error:simple"),
        (CITY | {"nights": [1]}, {"city": "Oslo", "nights": True}, "type_error:simple"),
        (CITY | {"nights": [5]}, {"city": "Oslo", "nights": 6}, "value_error:others"),
        (CITY | {"nights": ["n"]}, {"city": "Oslo", "nights": "n"}, ""),  # gold's own type
        (CITY | {"nights": ["n"]}, {"city": "Oslo", "nights": "N"}, "value_error:others"),
        (CITY | {"nights": [5, ""]}, {"city": "Oslo"}, ""),
        (CITY | {"nights": [5]}, {"city": "Oslo"}, "missing_optional"),
        (CITY, {"nights": 5}, "missing_required"),
        (CITY, {"city": "Oslo", "nights": 5}, "unexpected_param"),  # in the schema, not in gold
        (CITY | {"zz": [5]}, {"city": "Oslo", "zz": 5}, "unexpected_param"),  # not in the schema
        (CITY | {"days": [["Mon", "Tue"]]}, {"city": "Oslo", "days": ["mon.", "TUE"]}, ""),
        (CITY | {"days": [["a", "b"]]}, {"city": "Oslo", "days": ["b", "a"]},
         "value_error:list/tuple"),
        (CITY | {"days": [["a"]]}, {"city": "Oslo", "days": [1]}, "type_error:nested"),
        (CITY | {"days": [["a"], ""]}, {"city": "Oslo", "days": []}, ""),  # "" is [] too
        (CITY | {"guest": [{"age": [3], "pet": ["", "x"]}]}, {"city": "Oslo", "guest": {"age": 3}},
         ""),
        (CITY | {"guest": [{"age": [3]}]}, {"city": "Oslo", "guest": {}}, "value_error:dict_key"),
        (CITY | {"guest": [{"age": [3]}]}, {"city": "Oslo", "guest": {"age": 4}},
         "value_error:dict_value"),
        (CITY | {"guest": [{"age": [3]}]}, {"city": "Oslo", "guest": {"age": 3, "b": 1}},
         "value_error:dict_key"),
        (CITY | {"guests": [[{"age": [3]}]]}, {"city": "Oslo", "guests": [{"age": 3}]}, ""),
        (CITY | {"guests": [[{"age": [3]}]]}, {"city": "Oslo", "guests": []},
         "value_error:list_dict_count"),
        ({"city": []}, {"city": "Oslo"}, "value_error:string"),  # gold that nothing can meet
    ],
)  # fmt: skip
def test_bfcl_rules(allowed, arguments, error):
    assert one(allowed, **arguments) == error


def test_counts_names_and_no_call():
    gold = [{"book": CITY}]
    right = ToolCall.of("book", city="Oslo")
    assert compare([right], gold, TOOLS).ok
    assert compare([], gold, TOOLS).error == "wrong_count"
    assert compare([right, right], gold, TOOLS).error == "wrong_count"
    assert compare([ToolCall.of("cancel")], gold, TOOLS).error == "wrong_func_name"
    assert compare([], [], TOOLS).ok
    assert compare([right], [], TOOLS).error == "irrelevance_error"
    assert compare([ToolCall("book", "{")], gold, TOOLS).error == "decoder_failed"


def test_greedy_matching_can_refuse_what_optimal_accepts():
    gold = [{"book": {"city": ["a", "b"]}}, {"book": {"city": ["a"]}}]
    pair = [ToolCall.of("book", city="a"), ToolCall.of("book", city="b")]
    assert compare(pair, gold, TOOLS).error == "cannot_find_match"
    assert compare(pair, gold, TOOLS, "optimal").ok
    assert compare(pair[::-1], gold, TOOLS).ok
    assert not compare([pair[1], pair[1]], gold, TOOLS, "optimal").ok


@pytest.mark.parametrize(
    "gold", [[{}], [{"a": {}, "b": {}}], [{"book": []}], [{"book": {"city": "Oslo"}}], 5]
)
def test_gold_without_a_usable_shape_is_labelled(gold):
    assert compare([OSLO], gold, TOOLS).error == "bad_gold"
    assert judge(CALL, row(OSLO, gold=json.dumps(gold))).error == "bad_gold"
    assert fault_of(CALL, row(OSLO, gold=json.dumps(gold))) == "bad_gold"


def test_a_row_that_cannot_be_scored_is_never_a_silent_zero():
    prompt_only = replace(row(OSLO), messages=(Message("user", "hi"),))
    assert judge(CALL, prompt_only).error == "bad_gold"
    assert judge(CALL, row(OSLO, gold="{")).error == "bad_gold"
    assert judge(CALL, row(ToolCall("book", "{"))).error == "bad_gold"
    with pytest.raises(ValueError, match="Expecting"):
        gold_of(row(OSLO, gold="{"))


def test_standardize():
    assert standardize("St. John's_Bay, *A-1/2^") == 'stjohn"sbaya12'
