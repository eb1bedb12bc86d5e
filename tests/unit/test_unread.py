"""A field that nothing reads is counted and shown; a detected format says how sure it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from raytune_agents import readers
from raytune_agents.config import ReadConfig, SourceConfig
from raytune_agents.pipeline.read import parse_source
from raytune_agents.readers.fields import Fields, Names, fold
from raytune_agents.readers.mapping import source_report
from raytune_agents.readers.notes import MOST_FIELDS, SourceNotes
from raytune_agents.records import Message, Trajectory

ROW: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "q", "mood": "sad"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "1", "type": "function", "index": 0, "weird": 1,
             "function": {"name": "f", "arguments": "{}", "strictness": 3}}]},
        {"role": "tool", "tool_call_id": "1",
         "content": [{"type": "text", "text": "ok", "annotations": [1]}]},
        {"role": "assistant", "content": "a", "logprobs": [0.5], "refusal": None},
    ],
    "tools": json.dumps([{"type": "function", "owner": "x",
                          "function": {"name": "f", "parameters": {}, "strict": True}}]),
    "licence": "mit", "score": 4, "empty": [], "none": None,
}
UNREAD = {"turn.mood": "sad", "call.weird": "1", "call.strictness": "3",
          "part.annotations": "[1, ...]", "turn.logprobs": "[0.5, ...]", "tool.owner": "x",
          "tool.strict": "True", "licence": "mit", "score": "4"}


def write(path: Path, *rows: dict[str, Any]) -> SourceConfig:
    path.write_text("\n".join(map(json.dumps, rows)))
    return SourceConfig(path=str(path))


def test_every_field_that_nothing_reads_has_an_example(tmp_path: Path) -> None:
    first, again = readers.read_source(write(tmp_path / "a.jsonl", ROW, ROW))
    assert first.unread == UNREAD
    assert again.unread == UNREAD  # the tools' text is parsed once, and noted for each row
    assert first.rows[0].meta == {"licence": "mit", "score": 4, "empty": []}
    assert (first.format, first.sure, first.error) == ("openai", 1.0, "")


@pytest.mark.parametrize(("raw", "field"), [
    ({"contents": [{"role": "user", "parts": [{"text": "q", "videoMetadata": {"a": 1}}]},
                   {"role": "model", "parts": [{"text": "a"}]}]}, "part.videoMetadata"),
    ({"responses_create_params": {"input": "q", "temperature": 1}, "response": {"output": [
        {"type": "message", "role": "assistant", "content": "a"}]}}, "request.temperature"),
    ({"input": [{"role": "user", "content": "q"}], "output": [
        {"type": "item_reference", "id": "x"},
        {"type": "message", "role": "assistant", "content": "a"}]}, "output.item_reference"),
    ({"prompt": "q", "chosen": "a", "rejected": "b", "margin": 2}, "margin"),
    ({"input": {"messages": [{"role": "user", "content": "q"}], "parallel_tool_calls": True},
      "preferred_output": [{"role": "assistant", "content": "a"}],
      "non_preferred_output": [{"role": "assistant", "content": "b"}]},
     "input.parallel_tool_calls"),
    ({"id": 1, "query": "q", "tools": "[]", "answers": "[]", "difficulty": 3}, "difficulty"),
])
def test_other_formats(raw: dict[str, Any], field: str) -> None:
    found = readers.read_raw(raw, "a.jsonl:1", SourceConfig(path="a.jsonl"))
    assert found.error == ""
    assert field in found.unread


def own_reader(row: dict[str, Any]) -> Trajectory:
    return Trajectory((Message("user", row["ask"]), Message("assistant", row.get("say", "?"))))


def test_a_users_own_reader_is_watched_too() -> None:
    source = SourceConfig(path="a.jsonl", format=f"{__name__}:own_reader")
    found = readers.read_raw({"ask": "q", "say": "a", "mood": "sad"}, "a.jsonl:1", source)
    assert found.unread == {"mood": "sad"}


def test_tables_and_explain_show_them(tmp_path: Path) -> None:
    plain = {"messages": ROW["messages"][:1] + ROW["messages"][-1:], "licence": "bsd"}
    source = write(tmp_path / "a.jsonl", ROW, plain, {"messages": [{"role": "robot"}]})
    notes = SourceNotes()
    for table in parse_source(source, ReadConfig(), "", 17):
        for row in table.select(["format", "sure", "unread"]).to_pylist():
            if row["format"]:
                notes.add(row["format"], row["sure"], dict(row["unread"]))
    told = notes.manifest()
    assert told["formats"] == {"openai": {"rows": 2, "sure": 1.0}}
    assert told["unread"]["licence"] == {"rows": 2, "example": "mit", "goes_to": "meta"}
    assert told["unread"]["call.weird"] == {"rows": 1, "example": "1", "goes_to": "nothing"}
    assert [line for line in notes.lines() if "turn.mood (2 rows)" in line]
    console = Console(width=160, record=True, file=(tmp_path / "out").open("w"))
    console.print(source_report(SourceConfig(path=source.path)))
    text = console.export_text()
    assert [w for w in (*UNREAD, "goes to", "sad", "unknown role 'robot'") if w not in text] == []


def explained(path: Path) -> str:
    console = Console(width=160, record=True, file=path.with_suffix(".out").open("w"))
    console.print(source_report(SourceConfig(path=str(path))))
    return console.export_text()


def test_what_cannot_be_trained_on_is_said(tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text("no JSON\n")
    said = explained(text)
    assert "no row can be read; name its format" in said
    assert "a list of tools goes to init --tools" in said
    call = {"id": "c", "type": "function", "function": {"name": "pay", "arguments": "{}"}}
    turns = [{"role": "user", "content": "pay"}, {"role": "assistant", "tool_calls": [call]}]
    bare = tmp_path / "bare.jsonl"
    bare.write_text(json.dumps({"messages": turns}) + "\n")
    said = explained(bare)
    assert "1 rows with calls list no tools: write read.sources.agent" in said
    assert "tool_calls" in said  # where `messages` goes to, besides messages


def test_a_row_of_a_million_fields_is_bounded() -> None:
    row = {"messages": ROW["messages"][:1] + ROW["messages"][-1:]}
    row |= {f"k{i}": i for i in range(10_000)}
    found = readers.read_raw(row, "a.jsonl:1", SourceConfig(path="a.jsonl"))
    assert len(found.unread) == 40
    notes = SourceNotes()
    for i in range(MOST_FIELDS + 5):
        notes.add("openai", 1.0, {f"k{i}": "x"})
    assert (len(notes.unread), notes.manifest()["unread_more"]) == (MOST_FIELDS, 5)


def test_a_format_that_is_not_sure_is_said() -> None:
    notes = SourceNotes()
    notes.add("nestful", 0.55, {})
    assert notes.lines() == ["format nestful: only 55% of what speaks for a format; write "
                             "read.sources.format=nestful if it is right"]


def test_fields_are_asked_by_meaning() -> None:
    assert {fold(n) for n in ("toolCalls", "tool_calls", "tool-calls", "TOOL CALLS")} == {
        "toolcalls"}
    fields = Fields({"a": "", "B_c": 0, "d": None, "bC": 1})
    assert (fields.peek("bc"), fields("x", "a"), fields("bc"), fields("bc")) == (0, "", 0, None)
    assert fields.rest() == {}
    both = Fields({"text": "", "content": "x"})
    assert both(Names("text", "content")) == "x"  # the first that holds something
