"""The recording proxy before a plain HTTP server that answers, streams, fails, hangs and floods."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from openai import APIError, APIStatusError, OpenAI
from starlette.requests import Request

from raytune_agents import readers
from raytune_agents.capture import MAX_ANSWER, Exchange, Recorder, capture_app, passed_on
from raytune_agents.config import SourceConfig
from raytune_agents.serving import MAX_BODY
from raytune_agents.streams import joined_stream

KEY = "plain-key-of-a-customer-7"
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}


class Upstream(BaseHTTPRequestHandler):
    """What it does is the model's name."""

    protocol_version = "HTTP/1.1"
    seen: list[dict[str, str]] = []
    paths: list[str] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        Upstream.paths.append(self.path)
        self.reply(b'{"object": "list", "data": []}')

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Upstream.seen.append({k.lower(): v for k, v in self.headers.items()})
        what = body["model"]
        if what == "hang":
            time.sleep(2)
        if what == "busy":
            self.reply(b'{"error": {"message": "busy"}}', 429)
        elif body.get("stream"):
            self.stream(what, body)
        elif what == "flood":
            self.reply(json.dumps({"id": "f", "text": "x" * (MAX_ANSWER + 1)}).encode())
        else:
            self.reply(json.dumps(completion(body)).encode())

    def reply(self, data: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("x-raytune-arm", "nat")
        self.end_headers()
        self.wfile.write(data)

    def stream(self, what: str, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        pieces = [{"role": "assistant", "content": "fo"}, {"content": "ur"}]
        if not any(m["role"] == "tool" for m in body["messages"]):
            half = {"index": 0, "function": {"arguments": '{"a":'}}
            rest = {"index": 0, "function": {"arguments": " 2}"}}
            first = {"index": 0, **CALL, "function": {"name": "add", "arguments": ""}}
            pieces = [{"tool_calls": [part]} for part in (first, half, rest)]
        for piece in pieces * (200 if what == "slow" else 1):
            if what == "slow":
                time.sleep(0.05)
            chunk = {
                "id": "s1",
                "object": "chat.completion.chunk",
                "model": what,
                "created": 1,
                "choices": [
                    {
                        "index": 0,
                        "delta": piece,
                        "finish_reason": None,
                        "logprobs": {"content": [{"token": "t", "logprob": -0.5}]},
                    }
                ],
            }
            self.chunk(f"data: {json.dumps(chunk)}\n\n")
            if what == "break":
                # close alone leaves it open: what reads and writes holds it too
                self.connection.shutdown(socket.SHUT_RDWR)
                return
        self.chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


def completion(body: dict[str, Any]) -> dict[str, Any]:
    answered = any(m["role"] == "tool" for m in body["messages"])
    said = {"content": f"4, {KEY}"} if answered else {"content": None, "tool_calls": [CALL]}
    message = {"role": "assistant", **said}
    return {
        "id": f"a{len(body['messages'])}",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2},
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.fixture
def proxy(upstream: str, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    path = tmp_path / "captured.jsonl"
    with listening(capture_app(upstream, Recorder(path), timeout_s=60.0)) as url:
        yield url, path


@contextmanager
def listening(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(5)


def client(url: str, **headers: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, default_headers=headers)


def lines(path: Path, count: int) -> list[dict[str, Any]]:
    """The lines of the file once there are `count`; the last is written after its answer ended."""
    for _ in range(300):
        found = [json.loads(line) for line in path.read_text().splitlines()]
        if len(found) >= count:
            break
        time.sleep(0.02)
    assert len(found) == count
    return found


def agent(ask: OpenAI, stream: bool) -> str:
    """A loop as agents have it: ask, call, ask again."""
    turns: list[Any] = [{"role": "user", "content": "2 + 2?"}]
    while True:
        answer = ask.chat.completions.create(model="m", messages=turns, tools=TOOLS, stream=stream)
        text, calls = (
            said(answer)
            if stream
            else (answer.choices[0].message.content, answer.choices[0].message.tool_calls)
        )
        if not calls:
            return text
        turns += [
            {"role": "assistant", "content": text, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "4"},
        ]


def said(stream: Any) -> tuple[str, bool]:
    deltas = [chunk.choices[0].delta for chunk in stream]
    return "".join(d.content or "" for d in deltas), any(d.tool_calls for d in deltas)


def rows(path: Path) -> list[Any]:
    found = list(readers.read_source(SourceConfig(path=str(path))))
    assert not [f.error for f in found if f.error]
    return [row for f in found for row in f.rows]


@pytest.mark.parametrize("stream", [False, True])
def test_an_unchanged_agent_becomes_a_row(proxy: tuple[str, Path], stream: bool) -> None:
    url, path = proxy
    text = agent(client(url, **{"X-Session-Id": "task-7"}), stream)
    assert text == ("four" if stream else f"4, {KEY}")
    first, second = lines(path, 2)
    assert (first["session"], first["path"]) == ("task-7", "/v1/chat/completions")
    done = httpx.post(f"{url}/capture/outcome", json={"session": "task-7", "outcome": True})
    assert done.json() == {"recorded": True}
    [row] = rows(path)
    assert [m.role for m in row.messages] == ["user", "assistant", "tool", "assistant"]
    assert [(c.name, c.args, c.id) for c in row.calls] == [("add", {"a": 2}, "c1")]
    assert (row.outcome, row.source_id, row.tools[0].name) == (1.0, "task-7", "add")
    if stream:
        logprobs = second["response"]["choices"][0]["logprobs"]["content"]
        assert [t["logprob"] for t in logprobs] == [-0.5, -0.5]
    else:
        assert row.meta["tokens"] == [14, 4]
        assert row.meta["arm"] == "nat"


def test_no_key_reaches_the_file_and_the_upstream_has_it(proxy: tuple[str, Path]) -> None:
    url, path = proxy
    agent(client(url), False)
    [_, last] = lines(path, 2)
    assert KEY not in path.read_text()
    assert last["response"]["choices"][0]["message"]["content"] == "4, [key]"
    assert Upstream.seen[-1]["authorization"] == f"Bearer {KEY}"
    assert "x-session-id" not in Upstream.seen[-1]
    assert oct(path.stat().st_mode & 0o777) == "0o600"


def test_a_key_in_a_body_is_known_by_its_field(proxy: tuple[str, Path]) -> None:
    """Of a remote MCP server, say; what a schema calls so stays."""
    url, path = proxy
    server = {"type": "mcp", "server_url": "http://h", "authorization": "no known shape",
              "headers": {"X-Api-Key": "short"}}
    schema = {"type": "object", "properties": {"password": {"type": "string"}}}
    body = {"model": "m", "messages": [{"role": "user", "content": "2 + 2?"}],
            "tools": [server, {"name": "login", "parameters": schema}]}
    httpx.post(f"{url}/v1/chat/completions", json=body).raise_for_status()
    kept, login = lines(path, 1)[0]["request"]["tools"]
    assert (kept["authorization"], kept["headers"]) == ("[secret]", {"X-Api-Key": "[secret]"})
    assert (kept["server_url"], login["parameters"]) == ("http://h", schema)


def test_without_sessions_outcomes_go_by_the_answers_id(proxy: tuple[str, Path]) -> None:
    url, path = proxy
    ask = client(url)
    agent(ask, False)
    ask.chat.completions.create(
        model="m",
        messages=[{"role": "system", "content": "judge"}, {"role": "user", "content": "ok?"}],
    )
    lines(path, 3)
    body = {"id": "a3", "outcome": 0, "note": "wrong sum"}
    assert httpx.post(f"{url}/capture/outcome", json=body).status_code == 200
    one, other = rows(path)
    assert (one.outcome, one.outcome_word) == (0.0, "outcome=0.0, wrong sum")
    assert (len(one.messages), one.pool, other.outcome) == (4, "negative.observed", None)


def test_a_stream_that_breaks_is_cut_and_named(proxy: tuple[str, Path]) -> None:
    url, path = proxy
    turns = [{"role": "user", "content": "2 + 2?"}]
    with pytest.raises((APIError, httpx.HTTPError)):
        said(client(url).chat.completions.create(model="break", messages=turns, stream=True))
    [line] = lines(path, 1)
    assert line["response"] is None
    assert line["error"].startswith("the upstream failed in its answer (")


def test_a_client_that_goes_away_is_named(proxy: tuple[str, Path]) -> None:
    url, path = proxy
    body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "2 + 2?"}]}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=30) as answer:
        next(answer.iter_bytes())
    [line] = lines(path, 1)
    assert (line["error"], line["response"]) == ("the client went away", None)


def test_an_upstream_that_hangs_is_given_up(upstream: str, tmp_path: Path) -> None:
    path = tmp_path / "captured.jsonl"
    with listening(capture_app(upstream, Recorder(path), timeout_s=0.3)) as url:
        with pytest.raises(APIStatusError) as refused:
            client(url).chat.completions.create(
                model="hang", messages=[{"role": "user", "content": "2 + 2?"}]
            )
        [line] = lines(path, 1)
    assert (refused.value.status_code, line["status"]) == (504, 504)
    assert line["error"].startswith("the upstream does not answer (")


def test_errors_and_floods(proxy: tuple[str, Path]) -> None:
    url, path = proxy
    turns = [{"role": "user", "content": "2 + 2?"}]
    with pytest.raises(APIStatusError) as refused:
        client(url).chat.completions.create(model="busy", messages=turns)
    assert refused.value.status_code == 429
    body = {"model": "flood", "messages": turns}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)
    assert len(answer.content) > MAX_ANSWER
    busy, flood = lines(path, 2)
    assert busy["error"] == "status 429"
    assert flood["error"] == f"the answer is longer than {MAX_ANSWER} bytes"
    assert path.stat().st_size < 5_000
    big = httpx.post(
        f"{url}/v1/chat/completions",
        content=b"x" * (MAX_BODY + 1),
        headers={"content-type": "application/json"},
        timeout=30,
    )
    assert big.status_code == 413


def test_other_paths_pass_unrecorded_and_pages_are_refused(proxy: tuple[str, Path]) -> None:
    url, path = proxy
    assert httpx.get(f"{url}/v1/models").json() == {"object": "list", "data": []}
    assert httpx.get(f"{url}/v1/models", headers={"host": "evil.io"}).status_code == 403
    for path_there in ("/v1/%2e%2e/admin", "/v1/a%00b", "/%2e/models", "/v1/%252e%252e/admin",
                       "/v1/..%5cadmin", "/v1/..;/admin", "/v1/%25252e%25252e/admin"):  # fmt: skip
        assert httpx.get(f"{url}{path_there}").status_code == 400
    form = httpx.post(f"{url}/v1/chat/completions", data={"model": "m"})
    assert form.status_code == 415
    for bad in ({}, {"session": "s"}, {"session": "s", "outcome": "who knows"}, {"outcome": 1},
                {"session": "s", "outcome": 7}):  # fmt: skip
        assert httpx.post(f"{url}/capture/outcome", json=bad).status_code == 400
    assert path.read_text() == ""


@pytest.mark.parametrize("path", ["/v1/models/meta%2Fllama?a=%26", "//evil.example/v1/models"])
def test_a_path_goes_on_as_it_came(proxy: tuple[str, Path], path: str) -> None:
    url = httpx.URL(proxy[0]).copy_with(raw_path=path.encode())
    assert httpx.get(url).status_code == 200
    assert Upstream.paths[-1] == path.replace("//", "/")  # as Python's server has it


def test_a_line_that_a_killed_process_left_cut_stays_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "captured.jsonl"
    whole = {
        "type": "exchange",
        "session": "",
        "id": "",
        "request": {"messages": [{"role": "user", "content": "hi"}]},
        "response": {"role": "assistant", "content": "hello"},
    }
    Recorder(path).write(whole)
    with path.open("ab") as file:
        file.write(b'{"type": "exch')
    Recorder(path).write(whole)
    found = list(readers.read_source(SourceConfig(path=str(path))))
    assert [f.error[:8] for f in found] == ["not JSON", ""]
    assert [len(f.rows) for f in found] == [0, 2]
    assert os.access(path, os.R_OK)


def test_a_file_that_goes_on_knows_its_sessions(upstream: str, tmp_path: Path) -> None:
    path = tmp_path / "captured.jsonl"
    with listening(capture_app(upstream, Recorder(path), timeout_s=60.0)) as url:
        agent(client(url, **{"X-Session-Id": "task-7"}), False)
        lines(path, 2)
    with path.open("ab") as file:
        file.write(b'[1]\n{"type": "exchange", "id": []}\n{"type": "exch')
    recorder = Recorder(path)
    assert recorder.sessions == {"a1": "task-7", "a3": "task-7"}
    with listening(capture_app(upstream, recorder, timeout_s=60.0)) as url:
        body = {"id": "a3", "outcome": False}
        assert httpx.post(f"{url}/capture/outcome", json=body).status_code == 200
    found = list(readers.read_source(SourceConfig(path=str(path))))
    assert [(r.source_id, r.outcome) for f in found for r in f.rows] == [("task-7", 0.0)]


def exchanged(recorder: Recorder, chunks: list[bytes]) -> tuple[bytes, bool]:
    """What a client gets of a stream of these chunks, and whether the upstream was closed."""
    closed = []

    class Chunks(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            for chunk in chunks:
                yield chunk

        async def aclose(self) -> None:
            closed.append(True)

    async def passed() -> bytes:
        request = Request(
            {
                "type": "http",
                "headers": [],
                "path": "/v1/chat/completions",
                "query_string": b"",
                "server": ("h", 1),
                "scheme": "http",
            }
        )
        answer = httpx.Response(200, stream=Chunks(), headers={"content-type": "text/event-stream"})
        response = passed_on(answer, Exchange(recorder, request, {"messages": []}))
        return b"".join([part async for part in response.body_iterator])

    return asyncio.run(passed()), bool(closed)


CONTENT = {"delta": {"content": "a"}}
DEEP: Any = []
for _ in range(700):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "events",
    [
        [{"choices": [{"index": [{}], **CONTENT}]}],
        [{"choices": [{"index": 0, **CONTENT}, {"index": "x", **CONTENT}]}],
        [
            {"choices": [{"delta": {"tool_calls": {"a": 1}}}]},
            {"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]},
        ],
        [
            {"type": "content_block_start", "content_block": {"partial": 3}},
            {"type": "content_block_delta", "delta": {"partial_json": "x"}},
        ],
        [{"choices": [{"delta": {"content": DEEP}}]}],
    ],
)
def test_a_strange_chunk_costs_the_content_of_its_exchange(
    events: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "captured.jsonl"
    chunks = [f"data: {json.dumps(e)}\n\n".encode() for e in events] + [b"data: [DONE]\n\n"]
    assert exchanged(Recorder(path), chunks) == (b"".join(chunks), True)
    [line] = lines(path, 1)
    assert line["response"] is None
    assert line["error"].startswith(("the stream cannot be read (", "the bodies are too deep"))


def test_an_index_of_null_is_the_first_choice() -> None:
    events = [{"choices": [{"index": at, **CONTENT}]} for at in (None, 0)]
    body, _ = joined_stream("".join(f"data: {json.dumps(e)}\n\n" for e in events))
    assert body is not None
    assert [c["message"]["content"] for c in body["choices"]] == ["aa"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_costs_the_line_not_the_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chunks = [b'data: {"choices": []}\n\n', b"data: [DONE]\n\n"]
    assert exchanged(Recorder(Path("/dev/full")), chunks) == (b"".join(chunks), True)
    assert "an exchange is not recorded" in caplog.text


def test_what_a_full_disk_cut_stays_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, room = os.write, [10]

    def full(file: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        done = write(file, data[: room[0]])
        room[0] -= done
        return done

    path = tmp_path / "captured.jsonl"
    recorder = Recorder(path)
    line = {"type": "exchange", "session": "", "id": "a"}
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        recorder.write(line)
    room[0] = 10_000
    recorder.write(line)
    recorder.write(line)
    cut, *whole = path.read_text().splitlines()
    assert (cut, [json.loads(x) for x in whole]) == ('{"type": "', [line, line])


def calls_of(*deltas: dict[str, Any]) -> list[tuple[Any, ...]]:
    events = [{"choices": [{"index": 0, "delta": {"tool_calls": [d]}}]} for d in deltas]
    body, _ = joined_stream("".join(f"data: {json.dumps(e)}\n\n" for e in events))
    assert body is not None
    calls = body["choices"][0]["message"]["tool_calls"]
    return [(c.get("id"), c["function"].get("name"), c["function"]["arguments"]) for c in calls]


def test_a_new_id_is_a_new_call() -> None:
    def delta(key: str | None, name: str | None, arguments: str, index: int = 0) -> dict[str, Any]:
        about = {"name": name} if name is not None else {}
        return {"index": index, "function": about | {"arguments": arguments}} | (
            {"id": key} if key is not None else {}
        )

    one, two = ("a", "add", '{"x": 1}'), ("b", "sub", '{"x": 2}')
    assert calls_of(delta(*one), delta(*two)) == [one, two]  # as Ollama streams them
    assert calls_of(
        delta("a", "add", '{"x'),
        delta(None, None, '": 1}'),
        delta("b", "sub", '{"x'),
        delta("", "", '": 2}'),
    ) == [one, two]
    assert calls_of(
        delta("a", "add", '{"x'),
        delta("b", "sub", '{"x', 1),
        delta("a", None, '": 1}'),
        delta("b", None, '": 2}', 1),
    ) == [one, two]


def test_streams_of_responses_and_messages() -> None:
    events = [
        {"type": "response.created", "response": {"id": "r", "output": []}},
        {"type": "response.completed", "response": {"id": "r", "output": [{"type": "message"}]}},
    ]
    text = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
    assert joined_stream(text) == ({"id": "r", "output": [{"type": "message"}]}, True)
    assert joined_stream(text.split("event: response.completed")[0])[1] is False
    use = {"type": "tool_use", "id": "t", "name": "add", "input": {}}
    events = [
        {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": use},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": '{"a": '},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": "2}"},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 9},
        },
        {"type": "message_stop"},
    ]
    body, ended = joined_stream("".join(f"data: {json.dumps(e)}\n\n" for e in events))
    assert ended
    assert body == {
        "id": "m",
        "role": "assistant",
        "content": [use | {"input": {"a": 2}}],
        "stop_reason": "tool_use",
        "usage": {"output_tokens": 9},
    }
