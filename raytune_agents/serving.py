"""A router in front of an OpenAI-compatible server: agents to arms, A/B shares, who answered.

`python -m raytune_agents.serving routes.json` listens on loopback. A request's `model` is an agent,
an arm or anything else. An agent's requests are shared between its arms by the hash of `user` (or
of the messages), so that one user stays with one arm; an unknown name goes to the base. The arm
stands in header `x-raytune-arm` and in the log, one JSON line a request.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raytune_agents.config import ConfigError
from raytune_agents.runs import read_json

KEPT = ("content-type", "retry-after")  # headers of the answer that are passed on


def choose(name: str, key: str, routes: Mapping[str, Any]) -> tuple[str, str]:
    """(arm, model of the server) for a request to `name`; equal keys get equal arms."""
    models = routes["models"]
    if name in models:
        return name, models[name]
    shares = routes["agents"].get(name)
    if not shares:
        return routes["base"], models[routes["base"]]
    digest = hashlib.sha256(f"{name}\0{key}".encode()).digest()
    at = int.from_bytes(digest[:8], "big") / 2**64 * sum(shares.values())
    arms = iter(shares.items())
    arm, share = next(arms)
    while at >= share:
        at -= share
        arm, share = next(arms, (arm, math.inf))  # rounding may leave a rest
    return arm, models[arm]


def check(routes: Mapping[str, Any]) -> None:
    """Raises ConfigError where an agent names an arm that is not served, or no share is above 0."""
    models = routes["models"]
    for agent, shares in routes["agents"].items():
        unknown = [arm for arm in shares if arm not in models]
        if unknown or sum(shares.values()) <= 0 or min(shares.values()) < 0:
            raise ConfigError(
                f"agents.{agent}={shares}: {unknown or 'shares'} cannot be served; write shares "
                f"above 0 of {sorted(models)}"
            )
    if routes["base"] not in models:
        raise ConfigError(f"base={routes['base']!r} is none of {sorted(models)}")


def key_of(body: Mapping[str, Any]) -> str:
    """Who asks: the request's user, else what it says."""
    said = body.get("messages") or body.get("prompt")
    return str(body.get("user") or json.dumps(said, sort_keys=True, default=str))


def app(routes: Mapping[str, Any], log: Path) -> Any:
    """The ASGI application. Raises ConfigError."""
    import httpx
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route

    check(routes)
    client = httpx.AsyncClient(base_url=routes["upstream"], timeout=routes.get("timeout_s", 600))

    async def models(request: Request) -> JSONResponse:
        names = [*routes["models"], *routes["agents"]]
        return JSONResponse(
            {"object": "list", "data": [{"id": n, "object": "model"} for n in names]}
        )

    async def forward(request: Request) -> Any:
        try:
            body = await request.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return JSONResponse({"error": {"message": "the body is no JSON object"}}, 400)
        asked, began = str(body.get("model", "")), time.time()
        arm, model = choose(asked, key_of(body), routes)
        sent = client.build_request("POST", request.url.path, json=body | {"model": model})
        try:
            answer = await client.send(sent, stream=True)
        except httpx.HTTPError as error:
            said = f"the model server does not answer ({type(error).__name__})"
            return JSONResponse({"error": {"message": said}}, 502)
        line = {"time": round(began, 3), "agent": asked, "arm": arm, "status": answer.status_code}
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | {"user": str(body.get("user", ""))}) + "\n")
        headers = {k: v for k, v in answer.headers.items() if k.lower() in KEPT}

        async def parts() -> Any:
            try:
                async for part in answer.aiter_bytes():
                    yield part
            finally:
                await answer.aclose()

        return StreamingResponse(parts(), answer.status_code, headers | {"x-raytune-arm": arm})

    posts = ("/v1/chat/completions", "/v1/completions")
    listed = [Route(path, forward, methods=["POST"]) for path in posts]
    return Starlette(routes=[Route("/v1/models", models), *listed])


def main() -> None:
    import uvicorn

    parser = argparse.ArgumentParser(description="agents to arms, in front of a model server")
    parser.add_argument("routes", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    routes = read_json(given.routes)
    log = given.routes.with_name("served.jsonl")
    uvicorn.run(app(routes, log), host=given.host, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
