"""A large file of JSON lines or Parquet read in parts: rows, ids, places and reasons as read
whole."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytune_agents.config import ReadConfig, SourceConfig
from raytune_agents.pipeline import file_spans
from raytune_agents.pipeline.file_spans import line_starts, spans_of
from raytune_agents.pipeline.read import parse_source
from raytune_agents.readers import tabular, unpack
from raytune_agents.readers.decode import file_rows
from raytune_agents.readers.tabular import FileSpan
from raytune_agents.records import RecordError

SIZE = 1000


def row(i: int, words: int = 1) -> str:
    tools = [{"name": "add", "description": "d", "parameters": {"a": {"type": "int"}}}]
    answers = [{"name": "add", "arguments": {"a": i}}]
    query = f"add {i}" + " please" * words
    return json.dumps({"query": query, "answers": answers, "tools": tools})


def items(path: Path, **options) -> list[dict]:
    return [{"source": SourceConfig(path=str(path), **options).model_dump_json()}]


@pytest.fixture(autouse=True)
def _small(monkeypatch) -> None:
    monkeypatch.setattr(file_spans, "SPAN_BYTES", SIZE)
    monkeypatch.setattr(unpack, "MAX_LINE_BYTES", 2500)
    monkeypatch.setattr(unpack, "CHUNK", 64)
    monkeypatch.setattr(  # as Ray's workers do it
        file_spans.cluster, "map_items", lambda name, items, work: [work(item) for item in items]
    )


def read(item: dict) -> list[tuple]:
    source = SourceConfig.model_validate_json(item["source"])
    span = FileSpan(*json.loads(item["span"])) if item["span"] else None
    columns = ("id", "where", "error", "source", "source_id", "messages", "format", "position")
    tables = parse_source(source, ReadConfig(), "c0ffee", 17, span)
    return [tuple(map(str, r.values())) for t in tables for r in t.select(columns).to_pylist()]


@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_parts_have_the_rows_of_the_whole(tmp_path, end, newline) -> None:
    """Blank lines, broken ones, lines longer than a part or than a row may be, letters of several
    bytes, a mark of the byte order."""
    lines = [row(i, words=i % 40) for i in range(60)]
    lines[7:7] = ["", "{", "  ", "[1]", "0", row(7, 300), row(8, 900), "é" * 700, "", ""]
    lines += ["", row(99), "{"]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(("\ufeff" + newline.join(lines) + end).encode())
    parts = spans_of(items(path))
    assert len(parts) > 10
    (whole,) = [item | {"span": ""} for item in items(path)]
    found, expected = [r for part in parts for r in read(part)], read(whole)
    assert found == expected
    assert len({r[0] for r in found}) > 50
    assert {r[2].partition(" ")[0] for r in found} > {"", "longer", "the"}


def test_lines_that_begin_just_at_a_boundary(tmp_path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(b"x" * 9 + b"\n" for _ in range(10)))
    assert line_starts(str(path), 20) == [0, 20, 40, 60, 80]
    assert line_starts(str(path), 25) == [0, 30, 50, 80]
    path.write_bytes(b"x" * 95)
    assert line_starts(str(path), 20) == [0]


@pytest.mark.parametrize("kind", ["log", "limit", "blank", "small", "packed"])
def test_what_stays_whole(tmp_path, kind) -> None:
    path, lines, options = tmp_path / "rows.jsonl", [row(i) for i in range(60)], {}
    if kind == "log":  # of which one line is an event: they are gathered over all of the file
        lines[50] = json.dumps({"role": "user", "content": "hi"})
    elif kind == "limit":
        options["limit"] = 5
    elif kind == "blank":
        lines = [" " * 50] * 60
    elif kind == "small":
        lines = lines[:3]
    else:
        path = tmp_path / "rows.jsonl.gz"
    path.write_text("\n".join(lines))
    assert spans_of(items(path, **options)) == [items(path, **options)[0] | {"span": ""}]


def test_files_keep_their_order(tmp_path) -> None:
    for name, count in [("a", 60), ("b", 1), ("c", 60)]:
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(row, range(count))))
    parts = spans_of([i for name in "abc" for i in items(tmp_path / f"{name}.jsonl")])
    names = [Path(json.loads(part["source"])["path"]).stem for part in parts]
    assert names == sorted(names)
    assert names.count("b") == 1 < names.count("a") == names.count("c")


def table(count: int) -> pa.Table:
    """Rows of which every tenth is no trajectory and one is too long."""
    rows = [json.loads(row(i, words=i % 40)) | {"answers": None} for i in range(count)]
    for i, one in enumerate(rows):
        one["answers"] = json.dumps([{"name": "add", "arguments": {"a": i}}]) if i % 10 else "{"
        one["tools"] = json.dumps(one["tools"])
    rows[count // 2]["query"] = "add" * 900
    return pa.Table.from_pylist(rows)


@pytest.mark.parametrize("group", [1, 7, 25, 60])
def test_row_groups_have_the_rows_of_the_whole(tmp_path, group) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(table(60), path, row_group_size=group, compression="none")
    parts = spans_of(items(path))
    assert 2 < len(parts) < 60 if group < 60 else len(parts) == 1
    found, expected = [r for part in parts for r in read(part)], read(items(path)[0] | {"span": ""})
    assert found == expected
    assert len(found) == 60
    assert len({r[2] for r in found}) > 2


@pytest.mark.parametrize("kind", ["log", "cut", "damaged", "empty"])
def test_a_parquet_file_stays_whole(tmp_path, kind) -> None:
    path, rows = tmp_path / "rows.parquet", table(60)
    if kind == "log":
        names, texts = ["user", "assistant"] * 30, ["hi" * 20] * 60
        rows = pa.table({"role": names, "content": texts})
    pq.write_table(rows.slice(0, 0 if kind == "empty" else 60), path, row_group_size=5)
    data = path.read_bytes()
    if kind == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "damaged":  # a page in the middle, while its lists of pages stand
        path.write_bytes(data[:2000] + bytes(1000) + data[3000:])
    assert spans_of(items(path)) == [items(path)[0] | {"span": ""}]


def test_a_table_of_nulls_is_decoded_in_bulk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "MAX_LINE_BYTES", 32 << 20)
    rows = 100_000
    path = tmp_path / "nulls.parquet"
    pq.write_table(pa.table({key: pa.nulls(rows, pa.string()) for key in "abc"}), path)
    batches, whole = [], tabular._batch_rows
    monkeypatch.setattr(tabular, "_batch_rows", lambda b: batches.append(b.num_rows) or whole(b))
    found = [row for _, row in file_rows(str(path), path.name)]
    assert found == [{"a": None, "b": None, "c": None}] * rows
    assert len(batches) < rows / 50  # one by one they took seven times as long


def test_a_bad_row_of_a_table_costs_itself(tmp_path: Path) -> None:
    texts = pa.array([b"a", b"\xff", b"b" * 30, b"c"], pa.binary()).view(pa.string())
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"text": texts}), path)
    found = [row for _, row in file_rows(str(path), path.name)]
    assert [str(r) if isinstance(r, RecordError) else len(r["text"]) for r in found] == [
        1,
        "invalid UTF-8",
        30,
        1,
    ]
