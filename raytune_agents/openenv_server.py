"""An agent's world as an OpenEnv environment, for any trainer or evaluation that speaks OpenEnv
(`openenv-core` and its clients; verifiers' and TRL's environments).

    python -m raytune_agents.openenv_server support --port 8000
    python -m raytune_agents.openenv_server my_agent.yaml --tasks 256 --seed 3

Each WebSocket (`/ws`) has an episode of its own: `reset {"seed": n}` begins task n and shows the
request; a step is `list_tools` or `call_tool`. The tool `final_answer` ends the episode: its reward
is the score of the goal, 0 where the answer lacks a fact. Every other step has reward 0.

A client is believed in nothing: see `serving`. Left out: POST /reset and /step, which OpenEnv
answers from a new environment each, so that no episode comes of them.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raytune_agents.agents import AgentSpec, load_spec
from raytune_agents.agents.wording import survives
from raytune_agents.agents.worlds import Episode, WorldDown, task_of
from raytune_agents.agents.worlds.openenv import FINAL_ANSWER
from raytune_agents.config import ConfigError
from raytune_agents.generate.world_runs import react
from raytune_agents.records import JsonObject, ToolCall, Trajectory
from raytune_agents.serving import LOOPBACK, BadRequest, check_host, refuse_request, request_body

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

MAX_SESSIONS = 64
MAX_STEPS = 100  # of one episode
MAX_MESSAGE = 1 << 20  # bytes
IDLE_S = 900.0
ANSWER_SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "description": "What the user is told."}},
    "required": ["answer"],
}
TEXT = {"type": "string"}
ACTION = {
    "title": "CallToolAction",
    "type": "object",
    "properties": {
        "type": {"type": "string", "const": "call_tool", "default": "call_tool"},
        "tool_name": TEXT,
        "arguments": {"type": "object", "additionalProperties": True},
    },
    "required": ["tool_name"],
}


class MessageRefused(Exception):
    """A message that is answered with an error of the protocol: its code, and why."""

    def __init__(self, code: str, why: str):
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class ServedAgent:
    """An agent, and the tasks that are served."""

    spec: AgentSpec
    rows: Sequence[Trajectory]

    @classmethod
    def of(cls, name: str, tasks: int, seed: int) -> ServedAgent:
        """Raises ConfigError for an agent that cannot be served."""
        spec = load_spec(name)
        rows = react(spec, tasks, seed)
        if not rows:
            raise ConfigError(f"agent {name!r} has no world with a task; see docs/how/world.md")
        if FINAL_ANSWER in {t.name for t in spec.tools}:
            raise ConfigError(f"agent {name!r} has a tool {FINAL_ANSWER!r} of its own; rename it")
        return cls(spec, rows)

    @property
    def tools(self) -> list[JsonObject]:
        """The agent's tools and `final_answer`, as OpenEnv lists them."""
        own = [(t.name, t.description, t.parameters) for t in self.spec.tools]
        ended = (FINAL_ANSWER, "Tell the user the answer; this ends the task.", ANSWER_SCHEMA)
        return [
            {"name": name, "description": text, "input_schema": schema}
            for name, text, schema in [*own, ended]
        ]


@dataclass
class ServedEpisode:
    """What one connection does, message by message."""

    agent: ServedAgent
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    episode: Episode | None = None
    facts: Sequence[str] = ()
    steps: int = 0
    done: bool = False

    def answer(self, message: JsonObject) -> JsonObject:
        """The answer to a message. Raises MessageRefused, WorldDown."""
        data = message.get("data", {})
        if not isinstance(data, dict):
            raise MessageRefused("VALIDATION_ERROR", "data is no object")
        match message.get("type"):
            case "reset":
                return self._reset(data)
            case "step":
                return self._step(data)
            case "state":
                return {"type": "state", "data": {"episode_id": self.id, "step_count": self.steps}}
        raise MessageRefused("UNKNOWN_TYPE", "write type reset, step, state or close")

    def _shown(self, observation: JsonObject, reward: float = 0.0) -> JsonObject:
        data = {"observation": observation, "reward": reward, "done": self.done}
        return {"type": "observation", "data": data}

    def _reset(self, data: JsonObject) -> JsonObject:
        seed = data.get("seed") or 0
        if not isinstance(seed, int) or seed < 0:
            raise MessageRefused("VALIDATION_ERROR", "seed is no number from 0 on")
        row = self.agent.rows[seed % len(self.agent.rows)]
        task = task_of(row)
        assert task is not None, "react makes rows in a world"
        self.episode = Episode(task, self.agent.spec.toolspecs)
        self.facts, self.steps, self.done = task.facts or (), 0, False
        if isinstance(data.get("episode_id"), str):
            self.id = data["episode_id"][:255]
        return self._shown({"request": row.query})

    def _step(self, action: JsonObject) -> JsonObject:
        if action.get("type") == "list_tools":
            return self._shown({"tools": self.agent.tools})
        name, arguments = action.get("tool_name"), action.get("arguments", {})
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise MessageRefused("VALIDATION_ERROR", "write tool_name and arguments")
        if self.episode is None or self.done:
            raise MessageRefused("EXECUTION_ERROR", "no episode is under way; send reset")
        self.steps += 1
        self.done = name == FINAL_ANSWER or self.steps >= MAX_STEPS
        if name == FINAL_ANSWER:
            text = str(arguments.get("answer", ""))
            said = bool(text) and all(survives(fact, text) for fact in self.facts)
            score = self.episode.score(text) if said else 0.0
            return self._shown({"tool_name": name, "result": "The task has ended."}, score)
        if name not in {t.name for t in self.agent.spec.tools}:
            error = {"error_type": "tool_not_found", "message": f"no tool {name[:80]!r}"}
            return self._shown({"tool_name": name, "result": None, "error": error})
        result = self.episode.run(ToolCall.of(name, **arguments))
        return self._shown({"tool_name": name, "result": result, "error": None})


async def serve_episode(socket: WebSocket, agent: ServedAgent) -> None:
    """Answer the messages of one connection until it closes, asks for it, or is idle."""
    served = ServedEpisode(agent)
    while True:
        try:
            received = await asyncio.wait_for(socket.receive(), IDLE_S)
            data = (received.get("text") or "").encode("utf-8", "replace") or received.get("bytes")
            if received["type"] == "websocket.disconnect":
                return
            message = request_body(data or b"")
            if message.get("type") == "close":
                return
            # a world may compute, or wait for its sandbox
            answer = await asyncio.to_thread(served.answer, message)
        except TimeoutError:
            return
        except BadRequest as error:
            answer = error_message("INVALID_JSON", str(error))
        except MessageRefused as error:
            answer = error_message(error.code, str(error))
        except WorldDown as error:
            answer = error_message("SESSION_ERROR", str(error))
        await socket.send_text(json.dumps(answer))


def error_message(code: str, why: str) -> JsonObject:
    return {"type": "error", "data": {"message": why, "code": code}}


def environment_app(agent: ServedAgent, hosts: Sequence[str] = LOOPBACK) -> Starlette:
    """The ASGI application, for requests to one of `hosts`."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocketDisconnect

    sessions: set[WebSocket] = set()
    pages: dict[str, Any] = {
        "/health": {"status": "healthy"},
        "/metadata": {"name": agent.spec.name, "description": agent.spec.description},
        "/schema": {"action": ACTION, "observation": {"type": "object"}, "state": {}},
    }

    async def page(request: Request) -> Response:
        check_host(request, hosts)
        return JSONResponse(pages[request.url.path])

    async def connection(socket: WebSocket) -> None:
        try:
            check_host(socket, hosts)
        except BadRequest:
            await socket.close(1008)
            return
        await socket.accept()
        if len(sessions) >= MAX_SESSIONS:
            why = f"{MAX_SESSIONS} sessions are open; close one"
            await socket.send_text(json.dumps(error_message("CAPACITY_REACHED", why)))
            await socket.close()
            return
        sessions.add(socket)
        try:
            with suppress(WebSocketDisconnect):
                await serve_episode(socket, agent)
        finally:
            sessions.discard(socket)

    return Starlette(
        routes=[*(Route(path, page) for path in pages), WebSocketRoute("/ws", connection)],
        exception_handlers={BadRequest: refuse_request},
    )


def serve_environment(
    agent: Annotated[str, typer.Argument(help="a shipped agent, or the YAML of yours")],
    tasks: Annotated[int, typer.Option(help="different tasks; seeds go round")] = 64,
    seed: Annotated[int, typer.Option(help="of the tasks")] = 0,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: int = 8000,
    allow_host: Annotated[list[str] | None, typer.Option(help="a name it is called by")] = None,
) -> None:
    """An agent's world as an OpenEnv environment."""
    import uvicorn

    try:
        served = ServedAgent.of(agent, tasks, seed)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
    environment = environment_app(served, (*LOOPBACK, host, *(allow_host or ())))
    uvicorn.run(environment, host=host, port=port, log_level="warning", ws_max_size=MAX_MESSAGE)


if __name__ == "__main__":
    typer.run(serve_environment)
