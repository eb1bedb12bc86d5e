"""Whole files, and JSON lines that a kill or a broken disk has cut."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from raytune_agents.config import ConfigError
from raytune_agents.records import Message, Trajectory, finish
from raytune_agents.storage import (
    append_jsonl,
    first_by_id,
    read_json,
    read_jsonl,
    read_rows,
    read_table,
    whole_file,
    whole_folder,
    write_json,
    write_rows,
)


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x.json"
    write_json(path, {"a": 1})
    loop: list = []
    loop.append(loop)
    with pytest.raises(ValueError, match="Circular"):
        write_json(path, loop)

    def fill() -> None:
        with whole_file(path) as work:
            work.write_text("{")
            raise OSError("disk full")

    with pytest.raises(OSError, match="full"):
        fill()
    assert read_json(path) == {"a": 1}
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with whole_folder(tmp_path / "adapter") as work:
            (work / f"{text}.txt").write_text(text)

    def fill() -> None:
        with whole_folder(tmp_path / "adapter") as work:
            (work / "half.txt").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="full"):
        fill()
    assert [p.name for p in (tmp_path / "adapter").iterdir()] == ["new.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with whole_file(tmp_path / "x") as one, whole_file(tmp_path / "x") as other:
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "x").read_text() == "one"  # the outer block ends last


def test_cut_lines_are_left_out_and_counted(tmp_path: Path, caplog) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_jsonl(path) == []
    path.write_text('{"a": 1}\n{"a": 2, "b": {"c"')
    with caplog.at_level(logging.WARNING):
        assert read_jsonl(path) == [{"a": 1}]  # being written, or cut by a kill: no fault
    assert caplog.messages == []
    append_jsonl(path, {"a": 3})  # the cut line stays by itself
    with caplog.at_level(logging.WARNING):
        assert read_jsonl(path) == [{"a": 1}, {"a": 3}]
    assert "1 lines cannot be read" in caplog.messages[0]
    path.write_bytes(b'\xff\xfe\n[1]\n{"a": 4}')
    assert read_jsonl(path) == [{"a": 4}]


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"PAR1 no table", b"[" * 100_000, b"9" * 5_000]
)
def test_a_damaged_file_is_named_whoever_reads_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)
    for read in (read_json, read_table, lambda path: read_rows(path.parent)):
        with pytest.raises(ConfigError, match=r"rows\.parquet is damaged: .*; remove its step"):
            read(path)
    with pytest.raises(IsADirectoryError):
        read_table(tmp_path)


def test_json_is_read_as_a_type(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": {"n": "many"}})
    with pytest.raises(ConfigError, match=r"x\.json is damaged: a n: Input should be"):
        read_json(tmp_path / "x.json", dict[str, dict[str, int]])
    assert read_json(tmp_path / "x.json", dict[str, dict[str, str]]) == {"a": {"n": "many"}}


def test_rows_come_back_in_file_order(tmp_path: Path) -> None:
    rows = [finish(Trajectory((Message("user", text),))) for text in "abc"]
    write_rows(tmp_path / "rows-00001.parquet", rows[1:])
    write_rows(tmp_path / "rows-00000.parquet", rows[:1])
    assert read_rows(tmp_path) == rows


def test_the_first_rows_by_id_are_those_of_the_whole_order() -> None:
    rows = [Trajectory(id=name) for name in "cadbe"]
    assert [r.id for r in first_by_id(iter(rows))] == list("abcde")
    assert [r.id for r in first_by_id(iter(rows), 2)] == ["a", "b"]
    assert first_by_id(iter(rows), 0) == []
