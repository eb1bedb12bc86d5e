"""s3:// without s3fs: pyarrow's client against a small S3 server (list, head, ranged get)."""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytune_agents import readers
from raytune_agents.config import SourceConfig
from raytune_agents.readers import SourceError

OBJECTS: dict[str, bytes] = {}
GETS: list[str] = []
LISTING = """<?xml version='1.0'?>
<ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>
<IsTruncated>false</IsTruncated>{}</ListBucketResult>"""
ENTRY = ("<Contents><Key>{}</Key><Size>{}</Size>"
         "<LastModified>2025-01-01T00:00:00.000Z</LastModified></Contents>")  # fmt: skip


class S3(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path, asked = unquote(url.path).strip("/"), parse_qs(url.query)
        if "list-type" in asked:
            return self.answer(200, self.listing(f"{path}/", asked["prefix"][0]))
        if path not in OBJECTS:
            return self.answer(404, b"")
        if self.command == "GET":
            GETS.append(path)
        first, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")
        data = OBJECTS[path]
        part = data[int(first) : int(last or len(data)) + 1]
        span = {"Content-Range": f"bytes {first}-{last}/{len(data)}"} if last else {}
        return self.answer(206 if last else 200, part, span)

    do_HEAD = do_GET

    def listing(self, bucket: str, prefix: str) -> bytes:
        keys = [k.removeprefix(bucket) for k in sorted(OBJECTS) if k.startswith(bucket + prefix)]
        here = [k for k in keys if "/" not in k.removeprefix(prefix)]
        below = {prefix + k.removeprefix(prefix).split("/")[0] + "/" for k in keys if k not in here}
        body = [ENTRY.format(k, len(OBJECTS[bucket + k])) for k in here]
        body += [f"<CommonPrefixes><Prefix>{k}</Prefix></CommonPrefixes>" for k in sorted(below)]
        return LISTING.format("".join(body)).encode()

    def answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        dated = {"Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}
        for key, value in {"Content-Length": str(len(body)), **dated, **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), S3)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    OBJECTS.clear()
    GETS.clear()
    yield "s3://bucket"
    server.shutdown()
    server.server_close()


def queries(path: str) -> list[str]:
    found = readers.list_raw(SourceConfig(path=path))
    return [row.query for where, raw in found for row in readers.read_row(raw, where)]


def good(i: int) -> dict:
    return {"input": f"q{i}", "output": "a", "task_type": "t", "rating": 1}


def test_a_bucket_is_read_like_a_folder(bucket: str) -> None:
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([good(3), good(4)]), table)
    lines = [json.dumps(good(i)).encode() + b"\n" for i in range(2)]
    OBJECTS.update({
        "bucket/rows/a.jsonl": lines[0], "bucket/rows/sub/b.jsonl.gz": gzip.compress(lines[1]),
        "bucket/rows/c.parquet": table.getvalue(), "bucket/rows/notes.txt": b"x",
    })  # fmt: skip
    assert queries(f"{bucket}/rows/a.jsonl") == ["q0"]
    assert GETS == ["bucket/rows/a.jsonl"]  # one request, not one a byte
    assert queries(f"{bucket}/rows") == ["q0", "q3", "q4", "q1"]
    assert queries(f"{bucket}/rows/**/*.gz") == ["q1"]


def test_what_is_not_in_the_bucket_is_named(bucket: str) -> None:
    with pytest.raises(SourceError, match=r"s3://bucket/none.jsonl cannot be opened"):
        queries(f"{bucket}/none.jsonl")
    OBJECTS["bucket/rows/notes.txt"] = b"x"
    with pytest.raises(SourceError, match="1 files, none of a kind we read"):
        queries(f"{bucket}/rows")
