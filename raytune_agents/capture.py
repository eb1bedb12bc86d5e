"""A recording proxy in front of any OpenAI-compatible (or Anthropic) endpoint: an agent that runs
unchanged becomes a source of rows.

    raytune-agents capture --upstream http://127.0.0.1:8000 --out captured.jsonl
    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 python my_agent.py
    raytune-agents read --explain captured.jsonl

Every answer passes through as it comes, streams too; then one line is written: the bodies of
request and answer, times, and why it failed where it did. Headers are not: no key reaches the
file, and secrets inside bodies are replaced. An agent may send `X-Session-Id` to say what belongs
together; without it, calls that go on from one another do. `POST /capture/outcome` {"session" or
"id" (of an answer), "outcome": true, false or a score in [0, 1], "note"} says how it ended.

A request is believed in nothing: see `serving`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from raytune_agents.readers.outcomes import outcome_score
from raytune_agents.records import JsonObject
from raytune_agents.redact import redact, with_texts, without_secret_fields
from raytune_agents.serving import (
    LOOPBACK,
    BadRequest,
    bounded_body,
    check_headers,
    listen,
    refuse_request,
    request_body,
)
from raytune_agents.streams import joined_stream

if TYPE_CHECKING:
    import httpx
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

log = logging.getLogger(__name__)
RECORDED = ("/chat/completions", "/completions", "/responses", "/messages")  # ends of paths
MAX_ANSWER = 24 << 20  # bytes of an answer that is kept; a longer one passes, unrecorded
SESSION = "x-session-id"
ARM = "x-raytune-arm"  # of our router: which arm answered
REMEMBERED = 100_000  # ids of answers that an outcome may name
LONGEST = 200  # characters of a session's id
# of one connection, or made anew by the client that sends
HOPS = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding "
    f"upgrade host content-length accept-encoding {SESSION}".split()
)
KEYS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")


class Recorder:
    """A file of JSON lines. Each is whole on the disk before `write` returns; a line that a killed
    process or a full disk left cut stays by itself, and the next one begins a new line. What the
    file holds already is known: an outcome may come after a restart."""

    def __init__(self, path: Path) -> None:
        self.path, self.lines, self._lock = path, 0, threading.Lock()
        self.sessions: OrderedDict[str, str] = OrderedDict()  # id of an answer -> its session
        if path.is_file():
            for line in recorded_exchanges(path):
                self._remember(line)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._start = b""  # of the next line: a new line behind one that was cut
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            self._start = b"\n"

    def write(self, line: JsonObject, secrets: Sequence[str] = ()) -> None:
        """Raises OSError where the disk does not take it."""
        try:
            text = _without_secrets(line, secrets)
        except RecursionError:  # what could be parsed may be too deep to be written
            text = _without_secrets(line | UNWRITTEN, secrets)
        with self._lock:
            if line["type"] == "exchange":
                self._remember(line)
            data = self._start + text.encode() + b"\n"
            # a full disk may take a part; the rest must not be lost behind another line
            while data:
                data = data[os.write(self._file, data) :]
                self._start = b"\n"
            os.fsync(self._file)
            self._start = b""
            self.lines += 1

    def _remember(self, line: JsonObject) -> None:
        if line["id"]:
            self.sessions[line["id"]] = line["session"]
        while len(self.sessions) > REMEMBERED:
            self.sessions.popitem(last=False)


UNWRITTEN = {"request": {}, "response": None, "error": "the bodies are too deep to be written"}


def _without_secrets(line: JsonObject, secrets: Sequence[str]) -> str:
    """A line without what looks like a secret, and without the request's own keys."""

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "[key]")
        return redact(text)

    return json.dumps(with_texts(without_secret_fields(line), clean))


def recorded_exchanges(path: Path) -> Iterator[JsonObject]:
    """The exchanges of a file that belong to a session, as far as they are whole."""
    with path.open("rb") as file:
        for text in file:
            if b'"session": "",' in text[:64]:  # most of a large file: not worth parsing
                continue
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                continue
            named = isinstance(line, dict) and line.get("type") == "exchange"
            if named and all(isinstance(line.get(k), str) for k in ("id", "session")):
                yield line


class Exchange:
    """One request on its way: what came back so far, and the line that is written of it."""

    def __init__(self, recorder: Recorder, request: Request, body: JsonObject) -> None:
        keys = (request.headers.get(name, "").rpartition(" ")[2] for name in KEYS)
        # The request's own keys may come back in the answer.
        self.recorder, self.secrets = recorder, [key for key in keys if len(key) >= 8]
        self.began = time.time()
        self.kept: list[bytes] = []
        self.size = 0
        self.line = {
            "type": "exchange",
            "session": request.headers.get(SESSION, "")[:LONGEST],
            "path": request.url.path,
            "at": round(self.began, 3),
            "request": body,
        }

    def add(self, part: bytes) -> None:
        self.size += len(part)
        if self.size <= MAX_ANSWER:
            self.line.setdefault("first_byte_s", round(time.time() - self.began, 3))
            self.kept.append(part)

    def finish(self, status: int, kind: str, error: str = "") -> None:
        """Write the line. An answer that failed or was cut is no answer: it is named, not kept. A
        line that cannot be written is said: the client has its answer all the same."""
        answer, cause = None, error
        if not cause and self.size > MAX_ANSWER:
            cause = f"the answer is longer than {MAX_ANSWER} bytes"
        # what an error's body says is for the client; no model said it
        if not cause and status >= 400:
            cause = f"status {status}"
        if not cause:
            answer, cause = read_answer(b"".join(self.kept), kind)
        key = answer.get("id") if answer else None
        self.line |= {"id": key if isinstance(key, str) else "", "status": status}
        self.line |= {"seconds": round(time.time() - self.began, 3), "response": answer}
        try:
            self.recorder.write(self.line | ({"error": cause} if cause else {}), self.secrets)
        except OSError as error_:
            log.error("%s: an exchange is not recorded: %s", self.recorder.path, error_)


def read_answer(data: bytes, kind: str) -> tuple[JsonObject | None, str]:
    """(body, reason where there is none) of an answer with that content type."""
    text = data.decode("utf-8", "replace")
    if kind.startswith("text/event-stream"):
        try:
            body, ended = joined_stream(text)
        except Exception as error:  # the boundary to a stranger's stream: a chunk may hold anything
            return None, f"the stream cannot be read ({type(error).__name__})"
        return (body, "") if body and ended else (None, "the stream did not come to its end")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None, "the answer is no JSON"
    return (body, "") if isinstance(body, dict) else (None, "the answer is no JSON object")


def outcome_line(body: JsonObject, sessions: Mapping[str, str]) -> JsonObject:
    """The line of an outcome, with the session of the answer that it names. Raises BadRequest."""
    named = {k: body[k][:LONGEST] for k in ("session", "id") if isinstance(body.get(k), str)}
    found = outcome_score(body.get("outcome"))
    told = body.get("outcome")
    beyond = isinstance(told, int | float) and told != -1 and not 0 <= told <= 1
    if not any(named.values()) or found is None or beyond:
        raise BadRequest(400, 'write {"session" or "id", "outcome": true, false or 0 to 1}')
    note = body.get("note")
    session = sessions.get(named.get("id", ""), "")
    line = {"type": "outcome", "session": session, "at": round(time.time(), 3), "outcome": found}
    return line | named | ({"note": note[:2_000]} if isinstance(note, str) and note else {})


def leads_out(path: str) -> bool:
    """Whether a path has a segment that goes up, or a control, however often it is quoted."""
    for _ in range(4):
        segments = {part.partition(";")[0] for part in re.split(r"[/\\]", path)}
        if not path.isprintable() or {".", ".."} & segments:
            return True
        path, before = unquote(path), path
        if path == before:
            return False
    return True


def passed_on(answer: httpx.Response, exchange: Exchange | None) -> Response:
    """The answer as it comes; its line is written when it ends, however it ends."""
    import anyio
    import httpx
    from starlette.responses import StreamingResponse

    kind = answer.headers.get("content-type", "").lower()
    if exchange and ARM in answer.headers:
        exchange.line["arm"] = answer.headers[ARM][:LONGEST]

    async def parts() -> AsyncIterator[bytes]:
        error = "the client went away"
        try:
            async for part in answer.aiter_raw():
                if exchange:
                    exchange.add(part)
                yield part
            error = ""
        except httpx.HTTPError as cause:
            error = f"the upstream failed in its answer ({type(cause).__name__})"
            raise  # the client's connection is cut as ours was
        finally:
            try:
                if exchange:
                    exchange.finish(answer.status_code, kind, error)
            finally:
                # where the client went away we are cancelled: the upstream must hear of it still
                with anyio.CancelScope(shield=True):
                    await answer.aclose()

    headers = {k: v for k, v in answer.headers.items() if k.lower() not in HOPS}
    return StreamingResponse(parts(), answer.status_code, headers)


def capture_app(
    upstream: str, recorder: Recorder, timeout_s: float, hosts: Sequence[str] = LOOPBACK
) -> Starlette:
    """The ASGI application, for requests to one of `hosts`."""
    import httpx
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    limits = httpx.Limits(max_connections=None)
    client = httpx.AsyncClient(
        base_url=upstream.rstrip("/").removesuffix("/v1"), timeout=timeout_s, limits=limits
    )

    async def outcome(request: Request) -> Response:
        check_headers(request, hosts)
        body = request_body(await bounded_body(request))
        recorder.write(outcome_line(body, recorder.sessions))
        return JSONResponse({"recorded": True})

    async def forward(request: Request) -> Response:
        check_headers(request, hosts)
        raw: bytes = request.scope["raw_path"]
        if leads_out(raw.decode("ascii", "replace")):
            raise BadRequest(400, "the path leads out of the upstream's, or is none")
        recorded = request.method == "POST" and request.url.path.endswith(RECORDED)
        data = await bounded_body(request)
        body = request_body(data) if recorded else {}
        exchange = Exchange(recorder, request, body) if recorded else None
        headers = [(k, v) for k, v in request.headers.items() if k not in HOPS]
        # As it came: %2F in a model's name is no slash, and //host is no other host.
        target = b"?".join(filter(None, (raw, request.scope["query_string"])))
        base = client.base_url
        sent = client.build_request(
            request.method,
            base.copy_with(raw_path=base.raw_path.rstrip(b"/") + target),
            content=data,
            headers=[*headers, ("accept-encoding", "identity")],
        )
        try:
            answer = await client.send(sent, stream=True)
        except httpx.HTTPError as error:
            status = 504 if isinstance(error, httpx.TimeoutException) else 502
            message = f"the upstream does not answer ({type(error).__name__})"
            if exchange:
                exchange.finish(status, "", message)
            raise BadRequest(status, message) from None
        return passed_on(answer, exchange)

    return Starlette(
        routes=[
            Route("/capture/outcome", outcome, methods=["POST"]),
            Route("/{path:path}", forward, methods=["GET", "POST", "DELETE"]),
        ],
        exception_handlers={BadRequest: refuse_request},
    )


def serve_capture(
    upstream: str, out: Path, host: str, port: int, timeout_s: float, hosts: Sequence[str] = ()
) -> None:
    """Listen until stopped. Raises OSError where `out` cannot be written."""
    recorder = Recorder(out)
    listen(capture_app(upstream, recorder, timeout_s, (*LOOPBACK, host, *hosts)), host, port)
