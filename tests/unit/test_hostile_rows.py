"""Rows that attack: each is labelled, or bad with a reason, in little time; none stops a step."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from soon import ends_soon

from raytune_agents import filters, negatives, readers
from raytune_agents.calls import parse
from raytune_agents.calls.coerce import call_of
from raytune_agents.calls.gold import defaults_of
from raytune_agents.calls.schema import types_of
from raytune_agents.config import LabelConfig, SourceConfig
from raytune_agents.dedup.leaks import LeakIndex
from raytune_agents.filters.grounding import Evidence, is_grounded_number, is_grounded_word
from raytune_agents.generate import kinds
from raytune_agents.pipeline import label
from raytune_agents.readers import decode, strict, toolalpaca, unpack
from raytune_agents.records import (
    Message,
    RecordError,
    ToolCall,
    ToolSpec,
    Trajectory,
    finish,
    to_table,
)

SECTION = LabelConfig(evaluation_sets=[])
INDEX = LeakIndex((), SECTION)


def xlam(schema: Any, given: Any, query: str = "please use 5 a") -> dict[str, Any]:
    return {"query": query,
            "tools": json.dumps([{"name": "f", "description": "d", "parameters": schema}]),
            "answers": json.dumps([{"name": "f", "arguments": given}])}


def outcome(raw: dict[str, Any]) -> str:
    """What a row becomes: its reject reason ("" = kept), or the reason that makes it bad."""
    try:
        rows = readers.read_row(decode.parse_line(json.dumps(raw).encode()), "x.jsonl:1")
    except RecordError as error:
        return f"bad row: {error}"
    return label.label_rows(to_table(rows), SECTION, INDEX)["reject_reason"].to_pylist()[0]


def own(detail: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": detail}}


NUMBERS = [10**7 + i * 7919 for i in range(150)]


@pytest.mark.parametrize(("raw", "reason"), [
    (xlam(own({"type": "string", "pattern": "^(a+)+$"}), {"a": "a" * 40 + "!"}),
     "arguments_valid:pattern:a"),
    (xlam(own({"type": "string", "pattern": "((((a{100}){100}){100}){100})"}), {"a": "a"}),
     "arguments_valid:bad_schema:CostlySchema"),
    (xlam(own({"$ref": "#/properties/a"}), {"a": "x"}), "arguments_valid:bad_schema"),
    (xlam(own({"type": "integer"}), {"a": 10**400}), "bad row: number 1000"),
    (xlam(own({"type": "number", "multipleOf": 0.1}), {"a": 10**400}), "bad row: number 1000"),
    (xlam(own({"type": "array"}), {"a": NUMBERS}, " ".join(f"{i} m" for i in range(2, 2500))),
     "ungrounded"),
    ({"messages": [{"role": "user", "content": "hi"},
                   {"role": "assistant", "content": "\n" * 19_000 + "x"}]}, ""),
    ({"messages": [{"role": "user", "content": "hi"},
                   {"role": "assistant", "content": "Thought: " + "\n" * 9_000 + " " * 9_000}]},
     ""),
    ({"messages": [{"role": "user", "content": "9" * 19_000}, {"role": "assistant", "content": "x",
      "tool_calls": [{"name": "f", "arguments": {"a": "9" * 300}}]}]}, ""),
    ({"messages": [{"role": "user", "content": "ab " * 3_000},
                   {"role": "assistant", "tool_calls": [{"name": "f", "arguments": {
                       "a": " ".join(f"{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}q"
                                     for i in range(676))}}]}]}, "ungrounded"),
])  # fmt: skip
def test_what_hostile_rows_become(raw: dict[str, Any], reason: str) -> None:
    with ends_soon():
        assert outcome(raw).startswith(reason)


@pytest.mark.parametrize("head", ["", "Thought: ", "<tool_call>", "[", "<think>", "Action: ",
                                  "observation", '{"name": "f", "arguments": {"a": "'])
@pytest.mark.parametrize("unit", ["\n", " ", "a", "9", "<", "{", "[", "(", "'", "\\", "\t\n", "a ",
                                  "<tool_call>", "</think>", "Action:\n", "\nThought:", "```\n",
                                  "a=1,", "f(", "\x1b[", "\x1b]", "<tool_response>", "5 m "])
def test_long_text_of_one_thing(head: str, unit: str) -> None:
    text = head + unit * (16_000 // len(unit))
    tool = {"name": "f", "description": "d", "parameters": own({"type": "string"})}
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
    with ends_soon():
        parse(text)
        for row in ({"messages": turns}, {"messages": turns, "tools": [tool]}):
            outcome(row)


def referring(word: str, count: int) -> dict[str, Any]:
    """A schema whose one part names itself so many times: what it stands for has no end."""
    parts = {"A": {word: [{"$ref": "#/$defs/A"}] * count, "default": "x"}}
    return {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": parts}


MANY = {f"k{i}": {"type": "array", "minItems": 10**9, "items": {"type": "object"}}
        for i in range(3_000)}  # fmt: skip


@pytest.mark.parametrize(("schema", "about"), [
    (referring("anyOf", 300), "d"),
    (referring("oneOf", 300), "d"),
    (referring("allOf", 300), "d"),
    (own({"$ref": f"#/$defs/{'9' * 5000}"}) | {"$defs": [1]}, "d"),
    (own({"$ref": "#/$defs/\u00b2"}) | {"$defs": [1]}, "d"),
    (own({"anyOf": 5, "allOf": 5, "oneOf": 5, "enum": 5, "examples": 5}), "d"),
    ({"type": "object", "properties": MANY, "required": list(MANY)}, "d"),
    (own({"type": "number", "description": f"between 5{' ' * 15_000}x"}), f"1{' ' * 15_000}x"),
    ({"type": "object", "properties": {"a" * 15_000: {"type": "string"}}}, "d"),
], ids=lambda value: str(value)[:40])  # fmt: skip
def test_a_schema_is_read_wherever_it_is_read(schema: dict[str, Any], about: str) -> None:
    """What the types are, what a parameter means, what a call that is meant to be wrong looks
    like: each ends, whatever the schema."""
    tool = ToolSpec("f", about, json.dumps(schema))
    row = Trajectory((Message("user", "a"), Message("assistant", tool_calls=(ToolCall("f"),))),
                     tools=(tool,))  # fmt: skip
    with ends_soon():
        for detail in schema["properties"].values():
            types_of(detail, schema)
        call_of("f", [("a", "5")], [tool])
        defaults_of(tool)
        for fault in ("extra_call", "wrong_value", "extra_argument"):
            bad, reason = negatives.edit(row, fault, random.Random(0))
            assert bad or reason
        kinds.parameters("f", about, schema)


# --- the boundary ----------------------------------------------------------------------------


def failing_rule(row: Trajectory) -> str | None:
    if "boom" in row.query:
        raise KeyError("boom")
    return None


def rows_of(*queries: str) -> list[Trajectory]:
    return [finish(Trajectory((Message("user", q), Message("assistant", "a")), split="train",
                              source_id=str(i))) for i, q in enumerate(queries)]


def test_a_rule_that_raises_is_a_label_of_that_row_alone() -> None:
    config = LabelConfig(rules=["default", f"{__name__}:failing_rule"], evaluation_sets=[])
    table = label.label_rows(to_table(rows_of("one", "boom", "two")), config, INDEX)
    assert table["reject_reason"].to_pylist() == [
        "", f"label_error:{__name__}:failing_rule:KeyError", ""]
    assert table["quality"].to_pylist()[1] == 0.0
    reason = table["reject_reason"].to_pylist()[1]
    assert filters.label_funnel({("s", reason): 1})["s"]["label_error"] == 1


def test_a_score_or_a_key_that_fails_is_a_label_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def bad_parts(row: Trajectory, nll: float | None) -> tuple[float, float, float]:
        if "boom" in row.query:
            raise OverflowError("too large")
        return 1.0, 0.0, 0.0

    rows = rows_of("one", "boom", "two", "three")
    monkeypatch.setattr(filters, "quality_parts", bad_parts)
    found = label.label_rows(to_table(rows), SECTION, INDEX)["reject_reason"].to_pylist()
    assert found == ["", "label_error:quality:OverflowError", "", ""]
    monkeypatch.undo()
    signature = label.signature

    def bad_signature(row: Trajectory) -> str:
        if "boom" in row.query:
            raise RecursionError
        return signature(row)

    monkeypatch.setattr(label, "signature", bad_signature)
    table = label.label_rows(to_table(rows), SECTION, INDEX)
    assert table["reject_reason"].to_pylist() == ["", "label_error:keys:RecursionError", "", ""]
    assert [v is None for v in table["group"].to_pylist()] == [False, True, False, False]


def test_an_outage_is_nobodys_label(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(row: Trajectory) -> str:
        raise ConnectionError("the store is gone")

    monkeypatch.setattr(label, "signature", gone)
    with pytest.raises(ConnectionError, match="gone"):
        label.label_rows(to_table(rows_of("one", "two")), SECTION, INDEX)


# --- numbers and words in linear time --------------------------------------------------------


def test_numbers_are_said_as_before() -> None:
    evidence = Evidence("I need 2 hours, 1,500 g, 5k and 12.5 % of it")
    for value in (2, 120, 7200, 1500, 1.5, 5000, 0.125, -2, 0, 1):
        assert is_grounded_number(value, evidence), value
    for value in (3.7, 1501, 10**400, 0.37):
        assert not is_grounded_number(value, evidence), value
    words = Evidence("The United States, hiking in Zermatt")
    for word in ("us", "hike", "hikes", "zermatt", "states"):
        assert is_grounded_word(word, words), word
    for word in ("xq", "london", "swim"):
        assert not is_grounded_word(word, words), word


# --- JSON and files --------------------------------------------------------------------------


def test_the_last_of_many_keys_twice() -> None:
    text = "{" + ",".join(f'"{i}":1' for i in range(40_000)) + ',"39999":2}'
    with ends_soon(), pytest.raises(RecordError, match="duplicate key '39999'"):
        strict.parse_json(text)


@pytest.mark.parametrize("text", ["9" * 301, "-" + "9" * 301, "[" + "1" * 5_000 + "]"])
def test_integers_that_no_double_holds(text: str) -> None:
    with pytest.raises(RecordError, match="does not fit a double"):
        strict.parse_json(text)
    assert strict.parse_json("9" * 300) == int("9" * 300)


def test_a_json_list_is_read_in_linear_time(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"a":"' + "x" * (4 << 20) + '"}' + ",\n{}" * 100_000 + "]")
    with ends_soon():
        found = list(decode.file_rows(str(path)))
        assert (len(found), found[-1][0]) == (100_001, "a.json:100001[100000]")


def test_a_giant_element_of_a_json_list_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "MAX_LINE_BYTES", 1 << 20)
    monkeypatch.setattr(unpack, "CHUNK", 1 << 12)
    big = '{"a": "' + r"\"}]\\" * (1 << 18) + '"}'
    path = tmp_path / "a.json"
    path.write_text(f'[{big}, {{"b": 1}}, "{"y" * (2 << 20)}", {{"c": 2}}]')
    rows = [r if isinstance(r, dict) else str(r) for _, r in decode.file_rows(str(path))]
    assert rows == ["longer than 1 MiB", {"b": 1}, "longer than 1 MiB", {"c": 2}]


def test_a_few_bytes_of_parquet_do_not_become_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    dictionary = pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()),
                                                ["x" * (8 << 20)])
    pq.write_table(pa.table({"query": dictionary}), path, compression="zstd")
    assert path.stat().st_size < 4_000
    with pytest.raises(readers.SourceError, match="unpacks to more than 200 times"):
        list(decode.file_rows(str(path)))
    row = pa.array(["x" * (33 << 20), "short"])
    pq.write_table(pa.table({"query": row}), path, compression="zstd")
    found = [r if isinstance(r, dict) else str(r) for _, r in decode.file_rows(str(path))]
    assert found == ["longer than 32 MiB", {"query": "short"}]


def test_a_small_table_of_one_list_of_tools_is_honest(tmp_path: Path) -> None:
    """A dictionary makes a thousand rows of it small: this is no bomb."""
    path = tmp_path / "a.parquet"
    tools = json.dumps([{"name": f"f{i}", "description": "d" * 100} for i in range(400)])
    pq.write_table(pa.table({"tools": [tools] * 3_000}), path)
    assert path.stat().st_size < 200_000 < 3_000 * len(tools)
    assert len(list(readers.list_raw(SourceConfig(path=str(path))))) == 3_000


def test_a_csv_row_of_many_long_cells(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "x" * (20 << 20) + "," + "y" * (20 << 20) + "\n1,2\n")
    found = [r if isinstance(r, dict) else str(r) for _, r in decode.file_rows(str(path))]
    assert found == ["longer than 32 MiB", {"a": "1", "b": "2"}]


def test_calls_of_any_text_can_be_labelled() -> None:
    for text in ("[]", "1e999", '{"a": NaN}', "{" * 200, '{"a": 1, "a": 2}', "\ud800"):
        row = Trajectory((Message("user", "q"), Message("assistant", tool_calls=(
            ToolCall("f", text),))))
        assert filters.label(row, SECTION).reject_reason


def test_a_description_that_is_no_text_becomes_text():
    row = {
        "Function_Description": {"find": {"anyOf": [{"$ref": "#"}]}},
        "Instructions": ["Find it."],
        "Golden_Answers": [[{"Action": "find", "Action_Input": "{}"}]],
    }
    (found,) = toolalpaca.read(row)
    assert found.tools[0].description == '{"anyOf": [{"$ref": "#"}]}'
    assert hash(found.tools[0])
