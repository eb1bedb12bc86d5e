"""The read step without Ray: tables with their errors, and rows settled file by file."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytune_agents import split
from raytune_agents.config import ConfigError, LabelConfig, ReadConfig, SourceConfig
from raytune_agents.filters import label
from raytune_agents.pipeline import read
from raytune_agents.records import from_row
from raytune_agents.runs import Counts
from raytune_agents.storage import read_rows

SECTION = ReadConfig()


def raw(i: int, query: str | None = None, tool: str = "add") -> dict:
    tools = [{"name": tool, "description": "d", "parameters": {"a": {"type": "int"}}}]
    answers = [{"name": tool, "arguments": {"a": i}}]
    return {"id": i, "query": query or f"add {i}", "answers": answers, "tools": tools}


def parse(path: Path) -> list[pa.Table]:
    return list(read.parse_source(SourceConfig(path=str(path)), SECTION, "c0ffee", 17))


def test_a_few_bytes_do_not_become_a_quarantine_of_gigabytes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(read, "MOST_BAD", 9)
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"query": pa.nulls(1000)}), path)
    with pytest.raises(ConfigError, match="10 of its first 10 rows are bad"):
        parse(path)
    lines = ["0", json.dumps(raw(1)), json.dumps(raw(2))] * 20  # fewer than half: counted on
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines))
    assert sum(map(len, parse(path))) == 60


def test_bad_rows_are_counted_and_no_good_row_is_lost(tmp_path: Path) -> None:
    good = [json.dumps(raw(i)) for i in range(5)]
    lone = json.dumps(raw(8)).replace("add 8", "add \\ud800")
    strange = json.dumps({"\udcff key": 1})
    path = tmp_path / "rows\udcff.jsonl"  # a name that is no UTF-8
    path.write_text("\n".join([*good[:3], "{", lone, "[1]", strange, *good[3:]]), encoding="utf-8")
    (table,) = parse(path)
    errors = [e for e in table["error"].to_pylist() if e]
    assert len(errors) == 4
    assert "a lone surrogate is not text" in errors
    assert [s for s, e in zip(table["source_id"].to_pylist(), table["error"].to_pylist())
            if not e] == ["0", "1", "2", "3", "4"]  # fmt: skip
    assert all(w.startswith("rows\\udcff.jsonl:") for w in table["where"].to_pylist())


def test_a_surrogate_that_a_users_reader_makes_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "fine"}\n{"text": "bad"}\n', encoding="utf-8")
    source = SourceConfig(path=str(path), format="test_read_step:users_reader")
    (table,) = read.parse_source(source, SECTION, "", 17)
    assert table["error"].to_pylist() == ["", "a lone surrogate is not text"]


def test_arguments_that_do_not_parse_are_a_verdict_of_label_and_bad_gold_a_bad_row(
    tmp_path: Path,
) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{bad"}}
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": [call]}]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": turns}))
    (table,) = parse(path)
    assert table["error"].to_pylist() == [""]
    row = from_row(table.to_pylist()[0])
    assert label(replace(row, split="train"), LabelConfig()).reject_reason.startswith("parses:")
    path.write_text('{"gold": "[1]"}\n{"gold": "oops"}\n{"gold": "[{\\"f\\": {}}]"}\n')
    source = SourceConfig(path=str(path), format="test_read_step:reader_of_gold")
    (table,) = read.parse_source(source, SECTION, "", 17)
    assert [e[:24] for e in table["error"].to_pylist()] == ["gold is not a JSON list "] * 2 + [""]


def reader_of_gold(row: dict):
    from raytune_agents.records import Message, Trajectory

    return Trajectory((Message("user", "q"),), gold=row["gold"])


def users_reader(row: dict):
    from raytune_agents.records import Message, Trajectory

    text = row["text"] + ("\ud800" if row["text"] == "bad" else "")
    meta = {"kept": "\ud800"}
    return Trajectory((Message("user", text), Message("assistant", "yes")), meta=meta)


def test_rows_say_which_config_made_them_and_memory_is_bounded(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(raw(i)) for i in range(10)))
    monkeypatch.setattr(read, "TABLE_ROWS", 4)
    tables = parse(path)
    assert [len(t) for t in tables] == [4, 4, 2]
    row = from_row(tables[0].to_pylist()[0])
    assert (row.config_hash, row.seed, row.step) == ("c0ffee", 17, "read")
    monkeypatch.setattr(read, "TABLE_CHARS", 1)
    assert [len(t) for t in parse(path)] == [1] * 10 + [0]


def first_pass(path: Path, folder: Path) -> split.Survey:
    survey = split.Survey(SECTION.split)
    for table in read.write_parsed(folder / "work", 0, parse(path)):
        for facts, given in read.facts_of(table):
            survey.add(facts, given)
    return survey


def test_the_second_pass_splits_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(raw(i, tool=f"tool{i % 30}")) for i in range(600)))
    survey = first_pass(path, tmp_path)
    assert not survey.few
    before = [from_row(r) for r in pa.concat_tables(parse(path)).to_pylist()]
    counts = Counts(rows_in=600)
    splits, sources = read.settle(tmp_path, survey.splitter(17), counts)
    assert counts.settled("read").rows_in == 600
    rows = read_rows(tmp_path)
    assert [r.id for r in rows] == [r.id for r in before]
    assert rows == split.split_rows(before, SECTION.split, 17)
    assert splits.total() + counts.rejected.total() == 600 == sources.total()
    assert set(splits) == {"train", "val", "test_seen", "test_unseen"}


def test_workers_write_what_the_driver_does_not_see(tmp_path: Path, monkeypatch) -> None:
    path, work = tmp_path / "rows.jsonl", tmp_path / "work"
    path.write_text("\n".join([*(json.dumps(raw(i)) for i in range(6)), "{"]))
    monkeypatch.setattr("raytune_agents.storage.FILE_ROWS", 4)
    monkeypatch.setattr(read, "TABLE_ROWS", 2)
    found = [*read.write_parsed(work, 1, parse(path)), *read.write_parsed(work, 0, parse(path)[:1])]
    assert sum(len(table) for table in found) == 9  # of 7 and of 2 rows, good and bad
    assert {name for t in found for name in t.column_names} == set(read.SEEN)
    assert not {"messages", "tools", "meta"} & set(read.SEEN)
    names = ["rows-00000-00000.parquet", "rows-00001-00000.parquet", "rows-00001-00001.parquet"]
    assert sorted(p.name for p in work.iterdir()) == names
    assert [r.source_id for r in read_rows(work)] == ["0", "1", "0", "1", "2", "3", "4", "5"]


def test_few_rows_are_split_by_situations_and_say_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    asked = ("trucks in Oslo", "a red bike", "jazz tonight", "rent due", "call Ann", "rain?", "tea")
    path.write_text("\n".join(json.dumps(raw(i, q)) for i, q in enumerate(asked)))
    survey = first_pass(path, tmp_path)
    assert survey.few
    splitter = survey.splitter(17)
    splitter.few = split.few_splits(read_rows(tmp_path / "work"), SECTION.split, 17)
    splits, _ = read.settle(tmp_path, splitter, Counts(rows_in=7))
    assert splits == {"train": 4, "test_seen": 2, "val": 1}
    left_out = read.absent(splits, splitter, survey)
    assert left_out == {"test_unseen": "7 rows are few"}
    assert list(read.split_lines(splits, left_out, survey)) == [
        "split whole situations kept back: 4 train, 1 val, 2 test_seen",
        "no test_unseen: 7 rows are few",
    ]


def test_the_tasks_of_rated_interactions_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "rated.csv"
    path.write_text("input,output,task_type,rating\nhi,ho,chat,5\nhe,ha,chat,2\nhm,ah,code,4\n")
    source = SourceConfig(path=str(path), rating_max=5)
    (table,) = read.parse_source(source, SECTION, "", 17)
    assert table["task_type"].to_pylist() == ["chat", "chat", "code"]
    assert table["pool"].to_pylist() == ["positive", "negative.rated", "positive"]
    found = defaultdict(Counter)
    read.count_tasks(found, table)
    assert found == {
        "chat": {"in": 2, "below min_rating": 1, "kept": 1},
        "code": {"in": 1, "below min_rating": 0, "kept": 1},
    }
