"""A router in front of an OpenAI-compatible server: agents to arms, A/B shares, who answered.

`python -m raytune_agents.serving routes.json` listens on loopback. A request's `model` is an agent,
an arm or anything else. An agent's requests are shared between its arms by the hash of `user` (or
of the messages), so that one user stays with one arm; an unknown name goes to the base. The arm
stands in header `x-raytune-arm` and in the log, one JSON line per request.

A request is believed in nothing: its body is limited and strict JSON, its Host must be one of ours
(a page in a browser could else reach loopback under a name of its own), its content type must be
JSON (which such a page may not send unasked).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import time
from bisect import bisect
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import Field, ValidationError, model_validator

from raytune_agents.calls.json_text import unique
from raytune_agents.config import BaseConfig, ConfigError
from raytune_agents.config.loading import explain_errors
from raytune_agents.records import JsonObject
from raytune_agents.storage import append_jsonl, read_json

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response

logger = logging.getLogger(__name__)
KEPT = ("content-type", "retry-after")  # headers of the answer that are passed on
MAX_BODY = 16 << 20  # bytes of a request
BODY_S = 60.0  # for it to come
LOGGED = 200  # characters of a name in the log
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
Share = Annotated[float, Field(ge=0)]


class Routes(BaseConfig):
    """What `export --serve` writes."""

    base: str = Field(description="the arm of unknown names")
    models: dict[str, str] = Field(description="arm -> its name at the model server")
    agents: dict[str, dict[str, Share]] = Field({}, description="agent -> arm -> share")
    upstream: str = Field(description="address of the model server")
    timeout_s: float = Field(600.0, gt=0, description="longest wait for it")

    @model_validator(mode="after")
    def _served(self) -> Routes:
        for agent, shares in self.agents.items():
            unknown = [arm for arm in shares if arm not in self.models]
            if unknown or sum(shares.values()) <= 0:
                raise ValueError(
                    f"agents.{agent}={shares}: {unknown or 'shares'} cannot be served; write "
                    f"shares above 0 of {sorted(self.models)}"
                )
        if self.base not in self.models:
            raise ValueError(f"base={self.base!r} is none of {sorted(self.models)}")
        return self


def parse_routes(tree: Any) -> Routes:
    """Raises ConfigError where an agent names an arm that is not served, or no share is above 0."""
    try:
        return Routes.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain_errors(error)) from None


def choose_arm(name: str, key: str, routes: Routes) -> tuple[str, str]:
    """(arm, model of the server) for a request to `name`; equal keys get equal arms."""
    models = routes.models
    if name in models:
        return name, models[name]
    shares = routes.agents.get(name)
    if not shares:
        return routes.base, models[routes.base]
    # With the agent's name: a user's arm at one agent says nothing of the arm at another.
    digest = hashlib.sha256(f"{name}\0{key}".encode("utf-8", "surrogatepass")).digest()
    ends = list(accumulate(shares.values()))
    at = int.from_bytes(digest[:8], "big") / 2**64 * ends[-1]
    # The quotient may be rounded up to 1, past the last arm.
    arm = list(shares)[min(bisect(ends, at), len(ends) - 1)]
    return arm, models[arm]


def who_asks(body: Mapping[str, Any]) -> str:
    """The request's user, else what it says."""
    prompt = body.get("messages") or body.get("prompt")
    return str(body.get("user") or json.dumps(prompt, sort_keys=True, default=str))


class BadRequest(Exception):
    """A request that is answered with `status` and the message."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def request_body(data: bytes) -> JsonObject:
    """The JSON object of a request. Raises BadRequest."""

    def finite(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text[:20]} is no number of JSON")
        return value

    try:
        text = data.decode("utf-8")
        # A key twice could be read in one way here and in another by the model server.
        body = json.loads(text, parse_float=finite, parse_constant=finite, object_pairs_hook=unique)
        if not isinstance(body, dict):
            raise ValueError("it is no object")
        if not isinstance(body.get("model", ""), str):
            raise ValueError("model is no text")
        json.dumps(body)  # what could be parsed may be too deep to be written
    except (ValueError, RecursionError) as error:
        raise BadRequest(400, f"the body is no JSON object that we read: {error}") from None
    return body


async def bounded_body(request: Request) -> bytes:
    """Raises BadRequest where it is longer than MAX_BODY, before the rest is read, or takes longer
    than BODY_S to come."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BODY:
                    raise BadRequest(413, f"the body is longer than {MAX_BODY} bytes")
                parts.append(part)
    except TimeoutError:
        raise BadRequest(408, f"the body did not come within {BODY_S:.0f} s") from None
    return b"".join(parts)


def check_host(request: HTTPConnection, hosts: Sequence[str]) -> None:
    """Raises BadRequest where it does not name one of `hosts`, or a page of another sends it."""
    named = [request.headers.get("host", "")]
    if origin := request.headers.get("origin"):  # browsers let any page open a WebSocket
        named.append(origin.partition("://")[2])
    for host in map(str.lower, named):
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if "*" not in hosts and name not in map(str.lower, hosts):
            raise BadRequest(403, "this host is not served; start it with --allow-host")


def check_headers(request: Request, hosts: Sequence[str]) -> None:
    """Raises BadRequest where a page in a browser could have sent it: see above."""
    check_host(request, hosts)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and kind != "application/json":
        raise BadRequest(415, "write Content-Type: application/json")


async def refuse_request(request: Request, error: Exception) -> Response:
    """The answer to a BadRequest."""
    from starlette.responses import JSONResponse

    assert isinstance(error, BadRequest)
    return JSONResponse({"error": {"message": str(error)}}, error.status)


def app(routes: Routes, log: Path, hosts: Sequence[str] = LOOPBACK) -> Starlette:
    """The ASGI application, for requests to one of `hosts`."""
    import httpx
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route

    # Any number at once: clients that read slowly must not keep the others waiting.
    limits = httpx.Limits(max_connections=None)
    client = httpx.AsyncClient(base_url=routes.upstream, timeout=routes.timeout_s, limits=limits)

    async def models(request: Request) -> Response:
        check_headers(request, hosts)
        names = [*routes.models, *routes.agents]
        listed = [{"id": name, "object": "model"} for name in names]
        return JSONResponse({"object": "list", "data": listed})

    async def forward(request: Request) -> Response:
        check_headers(request, hosts)
        body = request_body(await bounded_body(request))
        name, began = body.get("model", ""), time.time()
        arm, model = choose_arm(name, who_asks(body), routes)
        content = json.dumps(body | {"model": model}).encode()
        kind = {"content-type": "application/json"}
        sent = client.build_request("POST", request.url.path, content=content, headers=kind)
        try:
            answer = await client.send(sent, stream=True)
        except httpx.HTTPError as error:
            why = f"the model server does not answer ({type(error).__name__})"
            raise BadRequest(502, why) from None
        line = {"time": round(began, 3), "agent": name[:LOGGED], "arm": arm}
        user = str(body.get("user", ""))[:LOGGED]
        try:
            append_jsonl(log, line | {"status": answer.status_code, "user": user})
        except OSError as error:  # the client has its answer all the same
            logger.error("%s: a request is not logged: %s", log, error)
        headers = {k: v for k, v in answer.headers.items() if k.lower() in KEPT}

        async def parts() -> AsyncIterator[bytes]:
            try:
                async for part in answer.aiter_bytes():
                    yield part
            finally:
                # Also where the client hangs up, or the model server would write on for nobody.
                await answer.aclose()

        return StreamingResponse(parts(), answer.status_code, headers | {"x-raytune-arm": arm})

    posts = ("/v1/chat/completions", "/v1/completions")
    listed = [Route(path, forward, methods=["POST"]) for path in posts]
    return Starlette(
        routes=[Route("/v1/models", models), *listed],
        exception_handlers={BadRequest: refuse_request},
    )


def short_upstream_error(record: logging.LogRecord) -> bool:
    """A logging filter: an upstream that broke off its answer is one line, no traceback."""
    import httpx

    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, httpx.HTTPError):
        record.msg, record.args = f"the upstream failed in its answer ({error})", ()
        record.exc_info = None
    return True


def listen(served: Starlette, host: str, port: int) -> None:
    """Answer requests until stopped."""
    import uvicorn

    logging.getLogger("uvicorn.error").addFilter(short_upstream_error)
    uvicorn.run(served, host=host, port=port, log_level="warning")


def serve(
    routes: Path,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: int = 8080,
    allow_host: Annotated[list[str] | None, typer.Option(help="a name it is called by")] = None,
) -> None:
    """Agents to arms, in front of a model server."""
    try:
        parsed = parse_routes(read_json(routes))
    except (ConfigError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    served = app(parsed, routes.with_name("served.jsonl"), (*LOOPBACK, host, *(allow_host or ())))
    listen(served, host, port)


if __name__ == "__main__":
    typer.run(serve)
