"""Hostile files: every row is counted as good or bad with where and why; no good row is lost."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from soon import ends_soon

from raytune_agents import readers
from raytune_agents.config import ReadConfig, SourceConfig
from raytune_agents.pipeline.read import parse_source
from raytune_agents.readers import SourceError, unpack
from raytune_agents.records import RecordError


def good(i: int) -> dict:
    return {
        "messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a"}]
    }


def lines(*rows: object) -> bytes:
    return b"".join(r if isinstance(r, bytes) else json.dumps(r).encode() + b"\n" for r in rows)


def read(path: Path | str) -> tuple[list[str], dict[str, str]]:
    """(queries of good trajectories, where -> reason of bad rows), as the pipeline reads them."""
    kept, bad = [], {}
    for where, raw in readers.list_raw(SourceConfig(path=str(path))):
        try:
            if isinstance(raw, RecordError):
                raise raw
            kept += [t.query for t in readers.read_row(raw, where)]
        except RecordError as error:
            assert where not in bad
            bad[where] = str(error)
    return kept, bad


BAD_LINES = {
    "not JSON": b'{"messages": [\n',
    "invalid UTF-8": b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}\n',
    "NaN is not JSON": b'{"messages": [], "reward": NaN}\n',
    "number 1e999 does not fit": b'{"messages": [], "reward": 1e999}\n',
    "duplicate key 'messages'": b'{"messages": [], "messages": []}\n',
    "nested deeper than 180": b'{"messages": ' + b"[" * 200 + b"]" * 200 + b"}\n",
    "nested deeper": b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    "a lone surrogate is not text": b'{"messages": [{"role": "user", "content": "\\ud800"}]}\n',
    "the row is a list": b"[1, 2]\n",
    "the row is a str": b'"text"\n',
    "no messages": b'{"messages": []}\n',
    "unknown role 'robot'": lines({"messages": [{"role": "robot", "content": "x"}]}),
    "no known format has the keys a": b'{"a": 1}\n',
    "a tool name with control characters": lines(good(0) | {"tools": [{"name": "get\nweather"}]}),
    "a tool without a name": lines(good(0) | {"tools": [{"description": "x"}]}),
    "tools": lines(good(0) | {"tools": 7}),
    "number 11111111111111111111 does not fit a double": b'{"messages": ' + b"1" * 5_000 + b"}\n",
}


@pytest.mark.parametrize("reason", BAD_LINES)
def test_a_bad_line_is_counted_and_its_neighbours_come(tmp_path: Path, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines(good(1), good(2)) + BAD_LINES[reason] + b"\n\n" + lines(good(3)))
    kept, bad = read(path)
    assert kept == ["q1", "q2", "q3"]
    assert list(bad) == ["rows.jsonl:3"]
    if reason == "tools":
        assert "list of objects" in bad["rows.jsonl:3"]
    else:
        assert bad["rows.jsonl:3"].startswith(reason)


def test_a_line_of_50_mb_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    huge = b'{"messages": [{"role": "user", "content": "' + b"x" * 50_000_000 + b'"}]}\n'
    path.write_bytes(lines(good(1)) + huge + lines(good(2)))
    kept, bad = read(path)
    assert kept == ["q1", "q2"]
    assert bad == {"rows.jsonl:2": "longer than 32 MiB"}


def test_truncated_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    rows = [good(i) | {"noise": "".join(chr(97 + (i * j * j) % 26) for j in range(200))}
            for i in range(2_000)]  # fmt: skip
    packed = gzip.compress(lines(*rows))
    whole, cut = tmp_path / "whole.jsonl.gz", tmp_path / "cut.jsonl.gz"
    whole.write_bytes(packed)
    cut.write_bytes(packed[: len(packed) // 2])
    assert len(read(whole)[0]) == 2_000
    kept, bad = read(cut)
    assert 100 < len(kept) < 2_000
    assert kept == [f"q{i}" for i in range(len(kept))]
    [(where, reason)] = bad.items()
    assert where == f"cut.jsonl.gz:{len(kept) + 1}"
    assert reason.startswith("the file is cut or damaged")


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz", ".bz2"])
def test_a_packed_file_that_is_not_packed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(b"garbage")
    kept, bad = read(path)
    assert kept == []
    assert [r[:34] for r in bad.values()] == ["the file is cut or damaged from he"]


PACK = {
    "": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}  # fmt: skip


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_every_kind_in_every_packing(tmp_path: Path, suffix: str, kind: str) -> None:
    rows = [good(i) for i in range(3)]
    csv = "messages\n" + "".join(
        '"' + json.dumps(r["messages"]).replace('"', '""') + '"\n' for r in rows
    )
    text = {"jsonl": lines(*rows), "json": json.dumps(rows, indent=1).encode(), "csv": csv.encode()}
    path = tmp_path / f"rows.{kind}{suffix}"
    path.write_bytes(PACK[suffix](text[kind]))
    assert read(path) == (["q0", "q1", "q2"], {})


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([good(i) for i in range(600)]), path)
    kept, bad = read(path)
    assert len(kept) == 600
    assert bad == {}
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"rows.parquet is not a whole Parquet file"):
        read(path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.jsonl.gz"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert read(tmp_path / name) == ([], {name: "the file holds no rows"})


@pytest.mark.parametrize(("text", "kept"), [
    (json.dumps(good(1)), ["q1"]),  # one object
    (json.dumps(good(1), indent=2), ["q1"]),  # one object over many lines
    (json.dumps([good(1), good(2)]), ["q1", "q2"]),  # a list on one line
    (json.dumps({"a": good(1), "b": good(2)}), ["q1", "q2"]),  # rows by id
    (json.dumps({"version": 1, "data": [good(1), good(2)]}), ["q1", "q2"]),
    (json.dumps(good(1)) + "\n" + json.dumps(good(2)), ["q1", "q2"]),  # JSON lines called .json
    ("\ufeff" + json.dumps([good(1)]), ["q1"]),  # a byte order mark
])  # fmt: skip
def test_shapes_of_a_json_file(tmp_path: Path, text: str, kept: list[str]) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    assert read(path) == (kept, {})


def test_json_list_longer_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "CHUNK", 7)
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([good(i) for i in range(50)] + [1e5, good(50)], indent=1))
    kept, bad = read(path)
    assert kept == [f"q{i}" for i in range(51)]
    assert list(bad.values()) == ["the row is a float, not an object"]


def test_flawed_elements_of_a_json_list(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    element = json.dumps(good(1)).encode()
    path.write_bytes(b"[" + element + b',\n{"a": NaN}, {"b": "\xff"},\n' + element + b"]")
    kept, bad = read(path)
    assert kept == ["q1", "q1"]
    assert bad == {"rows.json:2[1]": "NaN is not JSON", "rows.json:2[2]": "invalid UTF-8"}


def test_a_json_list_broken_in_the_middle_stops_and_says_where(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(good(1)).join(["[", ",\n", ",\n{oops}, ", "]"]))
    with pytest.raises(SourceError, match=r"rows.json line 3: not JSON"):
        read(path)
    path.write_text("[" + json.dumps(good(1)) + ",\n")  # cut between elements
    kept, bad = read(path)
    assert kept == ["q1"]
    assert list(bad.values()) == ["the file is cut: the list is not closed"]


def test_csv_faults(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(
        b"input,output,task_type,rating\n"
        b'"two\nlines",a,t,1\n'
        b"short,row\n"
        b"q\xff,a,t,1\n"
        b"q,a,t,high\n"
        b"q,a,t,5\n"
        b"q,a,t,0.5\n"
    )
    kept, bad = read(path)
    assert kept == ["two\nlines", "q"]
    assert bad == {
        "rows.csv:4": "not the 4 cells of the header",
        "rows.csv:5": "invalid UTF-8",
        "rows.csv:6": "rating 'high' is not a number",
        "rows.csv:7": "rating 5 is outside the scale 0 to 1; set read.sources.rating_max",
    }


def test_a_tool_with_5000_parameters(tmp_path: Path) -> None:
    properties = {f"p{i}": {"type": "string", "description": "x"} for i in range(5_000)}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    tools = json.dumps([{"name": "f", "description": "", "parameters": schema}])
    path = tmp_path / "rows.jsonl"
    answers = json.dumps([{"name": "f", "arguments": {"p1": "x"}}])
    path.write_bytes(lines({"query": "q", "tools": tools, "answers": answers}, good(2)))
    assert read(path) == (["q", "q2"], {})
    [(where, raw), _] = readers.list_raw(SourceConfig(path=str(path)))
    [row] = readers.read_row(raw, where)
    assert len(row.tools[0].schema["properties"]) == 5_000


def test_a_folder_of_mixed_formats(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a.jsonl").write_bytes(lines(good(1), {"a": 1}))
    (tmp_path / "sub" / "b.json").write_text(json.dumps([good(2)]))
    (tmp_path / "sub" / "c.csv").write_text("input,output,task_type,rating\nq3,a,t,1\n")
    (tmp_path / "sub" / "d.jsonl").write_bytes(b"")
    (tmp_path / ".hidden" / "x.jsonl").write_bytes(lines(good(9)))
    (tmp_path / "README.md").write_text("not data")
    kept, bad = read(tmp_path)
    assert kept == ["q1", "q2", "q3"]
    assert set(bad) == {"a.jsonl:2", "sub/d.jsonl"}
    assert read(f"{tmp_path}/**/*.json")[0] == ["q2"]


def test_urls_through_fsspec() -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({
        "/bucket/rows/a.jsonl": lines(good(1)),
        "/bucket/rows/b.jsonl.gz": gzip.compress(lines(good(2))),
        "/bucket/rows/sub/c.json": json.dumps([good(3)]).encode(), "/bucket/rows/notes.txt": b"x",
    })  # fmt: skip
    assert read("memory://bucket/rows/a.jsonl") == (["q1"], {})
    assert read("memory://bucket/rows") == (["q1", "q2", "q3"], {})
    assert read("memory://bucket/rows/*.gz") == (["q2"], {})
    with pytest.raises(SourceError):
        read("memory://bucket/none.jsonl")


def test_what_is_not_there_says_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path / "none.jsonl", tmp_path, f"{tmp_path}/*.parquet", "nowhere.csv"):
        with pytest.raises(SourceError, match="hub id"):
            read(path)
    with pytest.raises(SourceError, match="cannot be listed"):
        read("nosuchprotocol://bucket/rows/")


def test_limit_counts_good_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines(b"oops\n", *(good(i) for i in range(9))))
    found = list(readers.list_raw(SourceConfig(path=str(path), limit=3)))
    assert [isinstance(r, dict) for _, r in found] == [False, True, True, True]


def test_errors_cross_process_borders() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(SourceError("a.jsonl line 3")))
    assert str(error) == "a.jsonl line 3"


def test_a_hub_set_whose_files_disagree_in_their_columns(tmp_path: Path) -> None:
    """Agent-FLAN's known cast error: some files say `type` where the others say `loss`."""
    import datasets

    from raytune_agents.readers.sources import file_rows, hub_files, hub_rows

    turns = [("user", "q"), ("assistant", "a")]
    for key in ("loss", "type"):
        said = [{"role": r, "content": c, key: r == "assistant"} for r, c in turns]
        rows = [{"id": f"{key}{i}", "conversation": said} for i in range(3)]
        (tmp_path / f"{key}.jsonl").write_bytes(lines(*rows))
    with pytest.raises(TypeError, match="cast"):
        list(datasets.load_dataset(str(tmp_path), split="train", streaming=True))
    found = list(hub_rows(str(tmp_path)))
    assert [where for where, _ in found][::3] == ["loss.jsonl:1", "type.jsonl:1"]
    urls = hub_files(str(tmp_path))  # each is read by a worker of its own
    assert [row for url in urls for row in file_rows(url)] == found
    kept = [t for where, raw in found for t in readers.read_row(raw, where)]
    assert [[m.trained for m in t.messages] for t in kept] == [[False, True]] * 6


def test_a_look_at_the_config_asks_no_hub() -> None:
    """A run that has its rows goes on where the hub cannot be reached."""
    from raytune_agents.config import SourceConfig
    from raytune_agents.pipeline.read import units

    (item,) = units([SourceConfig(path="no-one/nothing-here")])
    assert json.loads(item["source"])["path"] == "no-one/nothing-here"


class Gated(BaseHTTPRequestHandler):
    """A hub that refuses everything, as it does for a gated set without a token."""

    def do_GET(self) -> None:
        self.send_response(401)
        for key, value in {"X-Error-Code": "GatedRepo", "Content-Length": "0"}.items():
            self.send_header(key, value)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


def test_a_gated_hub_set_names_the_variable_to_set() -> None:
    from raytune_agents.readers.sources import _hub_reason

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gated)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, "-m", "raytune_agents", "read", "--explain", "some/set"]
    hub = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    done = subprocess.run(command, env=os.environ | hub, capture_output=True, text=True)
    server.shutdown()
    server.server_close()
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2, said
    assert "hub set 'some/set' is gated" in said
    assert "set HF_TOKEN to a token" in said
    assert "check the network" in _hub_reason("a/b", ConnectionError("no route"))


def test_every_flaw_in_one_folder_and_no_good_row_lost(tmp_path: Path) -> None:
    """Good rows stand before, between and after all flaws; in = out + quarantined."""
    rows = [b for flaw in BAD_LINES.values() for b in (flaw, lines(good(1)))]
    huge = b'{"messages": "' + b"x" * (33 << 20) + b'"}\n'
    (tmp_path / "flaws.jsonl").write_bytes(lines(good(0)) + b"".join(rows) + huge + lines(good(2)))
    (tmp_path / "empty.jsonl").write_bytes(b"")
    packed = gzip.compress(lines(*(good(i) for i in range(50))), mtime=0)
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[:-4])  # all rows are there, the check sum is not
    (tmp_path / "list.json").write_text(json.dumps([good(3), 7, good(4)]))
    (tmp_path / "rated.csv").write_text("input,output,task_type,rating\nq,a,t,1\nq,a\n")
    source = SourceConfig(path=str(tmp_path))
    tables = list(parse_source(source, ReadConfig(), "", 17))
    errors = [e for t in tables for e in t["error"].to_pylist()]
    assert errors.count("") == (1 + len(BAD_LINES) + 1) + 50 + 2 + 1
    assert len(errors) - errors.count("") == len(BAD_LINES) + 1 + 1 + 1 + 1 + 1


def test_a_folder_that_a_link_leads_to_is_read_once(tmp_path: Path) -> None:
    data, source = tmp_path / "disk", tmp_path / "source"
    data.mkdir()
    source.mkdir()
    (data / "rows.jsonl").write_bytes(lines(good(1)))
    (source / "linked").symlink_to(data)
    (data / "back").symlink_to(source)
    assert read(source) == (["q1"], {})


@pytest.mark.parametrize("blank", [b"\n", b" \r\n", b"\t\n\n  \n"])
def test_blank_lines_are_passed_over_and_counted(tmp_path: Path, blank: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    times = 50_000
    path.write_bytes(lines(good(1)) + blank * times + lines(good(2), b"{\n"))
    kept, bad = read(path)
    assert kept == ["q1", "q2"]
    number = 1 + times * blank.count(b"\n") + 2
    assert list(bad) == [f"rows.jsonl:{number}"]


def test_a_packed_file_of_blank_lines_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(120):
            file.write(b"\n" * (1 << 20))
    with ends_soon(), pytest.raises(SourceError, match="unpacks to more than 200 times its size"):
        read(path)
