"""The run folder: skip, resume, and rows that must add up."""

from __future__ import annotations

from collections import Counter

import pytest

from raytune_agents.config import Config
from raytune_agents.records import Message, Trajectory, finish, to_table
from raytune_agents.runs import (
    Counts,
    RowsLost,
    Run,
    Shards,
    read_json,
    read_rows,
    reasons,
    write_json,
    write_rows,
)  # fmt: skip


def row(text: str, **labels: str) -> Trajectory:
    return finish(Trajectory((Message("user", text),), **labels))


def made(run: Run, section: dict, text: str = "a"):
    step = run.step("read", section)
    step.begin()
    write_rows(step.folder / "rows-00000.parquet", [row(text)])
    step.finish(Counts(rows_in=1, rows_out=1))
    return step


def test_a_step_is_done_until_its_section_or_an_input_changes(tmp_path) -> None:
    run = Run.of(Config(runs_dir=str(tmp_path)))
    assert made(run, {"x": 1}).done
    assert run.step("read", {"x": 1}).done
    assert not run.step("read", {"x": 2}).done
    before = run.step("label", {}, ["read"]).key
    assert run.step("label", {}, ["read"]).key == before
    made(run, {"x": 1}, "b")
    assert run.step("label", {}, ["read"]).key != before
    with pytest.raises(FileNotFoundError, match="raytune-agents mix"):
        run.step("train", {}, ["mix"])


def test_a_killed_step_goes_on_and_another_one_is_cleared(tmp_path) -> None:
    run = Run.of(Config(runs_dir=str(tmp_path)))
    step = run.step("generate", {"x": 1})
    step.begin()
    shards = Shards(step.folder / "tflan")
    shards.commit(1, to_table([row("a")]))
    (shards.folder / "rows-00002.parquet.99.tmp").write_bytes(b"half")
    step.begin()  # the same key: what was committed stays, a half-written file is no shard
    assert shards.missing(3) == [0, 2]
    assert [r.query for r in read_rows(shards.folder)] == ["a"]
    run.step("generate", {"x": 2}).begin()
    assert shards.missing(3) == [0, 1, 2]


def test_rows_must_add_up() -> None:
    counts = Counts(5, 2, Counter(a=1), Counter(b=2))
    assert counts.check("x")["failed"] == {"b": 2}
    assert counts.line() == "in 5 = out 2 + rejected 1 + failed 2"
    counts.rows_out = 3
    with pytest.raises(RowsLost, match="-1 unaccounted"):
        counts.check("x")


def test_reasons_are_counted_by_their_head() -> None:
    rows = [
        row("a", reject_reason="duplicate_of:1"),
        row("b", reject_reason="duplicate_of:2"),
        row("c"),
    ]
    assert reasons(rows) == {"duplicate_of": 2}


def test_json_is_written_whole(tmp_path) -> None:
    path = tmp_path / "a" / "x.json"
    write_json(path, {"a": 1})
    loop: list = []
    loop.append(loop)
    with pytest.raises(ValueError, match="Circular"):
        write_json(path, loop)
    assert read_json(path) == {"a": 1}
