"""A world that runs elsewhere: an environment behind an OpenEnv server (`openenv-core`), named by
its address, `world: http://127.0.0.1:8000`.

A task is what the server's `reset` is given; a call is a step: of the tool, where the environment
lists tools, else the arguments are the action. The goal is the sum of the rewards, from 0 to 1. A
tool `final_answer` is no tool of the model: it is told the last answer.

An episode is one WebSocket. Most servers take few of them, and some close idle ones: then an
episode is brought to where it was by its task and steps. The server is believed in nothing:
messages have a size and a time, and what is no answer of the protocol ends the roll-out.
"""

from __future__ import annotations

import json
import math
import re
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from raytune_agents.agents.worlds.remote import RemoteWorld, ServerFault
from raytune_agents.config import ConfigError
from raytune_agents.records import Arguments, JsonObject

CONNECT_S = 10.0
ROOM_S = 5.0  # for a server to notice that a connection was closed
MAX_BYTES = 4 << 20  # of one message
SHOWN = 300  # characters of what a server says
TOOL_ACTIONS = ("Action", "CallToolAction", "ListToolsAction")  # titles of an action's schema
FINAL_ANSWER = "final_answer"
LOCAL = ("http://127.0.0.1", "http://localhost", "http://[::1]")


class ActionRefused(Exception):
    """What the environment says to an action that it does not take; the model sees it."""


class NoRoom(ServerFault):
    """The server has all the sessions that it takes."""


@dataclass
class Session:
    """One episode, and its connection while it has one."""

    task: JsonObject
    actions: list[JsonObject] = field(default_factory=list)
    connection: ExitStack | None = None
    socket: Any = None
    total: float = 0.0  # of the rewards
    done: bool = False

    def end(self) -> None:
        """Close the connection; the episode can be opened again."""
        connection, self.connection, self.socket = self.connection, None, None
        if connection:
            connection.close()


class EnvironmentServer(RemoteWorld):
    """The environments of one server."""

    def __init__(self, url: str, timeout_s: float = 60.0):
        self.url, self.timeout_s = url.rstrip("/"), timeout_s
        super().__init__(self.url)
        self.action_schema: JsonObject | None = None
        self.tools: dict[str, JsonObject] | None = None  # None: no environment of tools

    def close(self) -> None:
        """Close all connections."""
        self._forget([*self._sessions])

    # --- the functions of `host` ---

    def _begin_episode(self, episode: str, entry: str, task: JsonObject, ended: list[str]) -> None:
        self._forget(ended)
        self._sessions[episode] = Session(task)
        self._open(self._sessions[episode])

    def _carry_out(self, episode: str, name: str, arguments: Arguments) -> JsonObject:
        session = self._asked(episode)
        if session.done:
            return {"error": "the episode has ended"}
        action = self._action(name, arguments)
        try:
            return self._step(session, action)
        finally:
            session.actions.append(action)

    def _episode_score(self, episode: str, answer: str) -> float:
        session = self._asked(episode)
        told = self.tools is not None and FINAL_ANSWER in self.tools and not session.done
        if told:
            self._step(session, self._action(FINAL_ANSWER, {"answer": answer}))
        total = session.total
        if told:
            session.end()  # another answer would be told to an episode that is over
        if total > 1 + 1e-6:
            raise ServerFault(
                f"gave rewards of {total:g} in all; a goal is a score from 0 to 1: scale them there"
            )
        return min(1.0, max(0.0, total))

    # --- the protocol ---

    def _asked(self, episode: str) -> Session:
        session = self._sessions[episode] = self._sessions.pop(episode)
        if session.socket is None:
            self._open(session)
        return session

    def _open(self, session: Session) -> None:
        """Connect, and make all the steps so far."""
        self._connect(session)
        for action in session.actions:
            try:
                self._exchange(session, "step", action)
            except ActionRefused:
                continue  # as it was the first time

    def _connect(self, session: Session) -> None:
        """A new connection whose episode has begun, in the room of an older one if need be."""
        until = time.monotonic() + ROOM_S
        while True:
            try:
                self.dial(session)
                self._exchange(session, "reset", session.task)
                session.total = 0.0  # what the beginning pays is nobody's work
                return
            except NoRoom:
                session.end()
                held = [s for s in self._sessions.values() if s.socket]
                if held:
                    held[0].end()
                elif time.monotonic() > until:
                    raise
                time.sleep(0.05)
            except ActionRefused as error:
                session.end()
                raise ServerFault(f"does not take the task {session.task}: {error}") from None

    def dial(self, session: Session) -> None:
        """Open the connection; with the first, learn what the environment takes."""
        try:
            from websockets.exceptions import WebSocketException
            from websockets.sync.client import connect
        except ImportError:
            raise ServerFault("needs websockets: pip install '.[serve]' in the clone") from None
        if self.action_schema is None:
            self.action_schema = self._read_schema()
        session.connection, session.total, session.done = ExitStack(), 0.0, False
        proxy = {"proxy": None} if self.url.startswith(LOCAL) else {}
        address = f"ws{self.url.removeprefix('http')}/ws"
        try:
            session.socket = session.connection.enter_context(
                connect(address, open_timeout=CONNECT_S, max_size=MAX_BYTES, **proxy)
            )
        except (OSError, WebSocketException) as error:
            raise ServerFault(f"does not answer ({error or type(error).__name__})") from None
        if self.tools is None and self.action_schema.get("title") in TOOL_ACTIONS:
            self.tools = self._listed(session)

    def _listed(self, session: Session) -> dict[str, JsonObject]:
        """The tools of an environment of tools, by name."""
        ask = {"type": "list_tools"}
        try:
            found = self._exchange(session, "step", ask)
        except ActionRefused:  # some have tools within an episode only
            self._exchange(session, "reset", session.task)
            found = self._exchange(session, "step", ask)
        found = found.get("tools")
        tools = [t for t in found if isinstance(t, dict)] if isinstance(found, list) else []
        named = {t["name"]: t for t in tools if isinstance(t.get("name"), str)}
        if not named:
            raise ServerFault("lists no tools")
        return named

    def _action(self, name: str, arguments: Arguments) -> JsonObject:
        if self.tools is None:
            return arguments
        return {"type": "call_tool", "tool_name": name, "arguments": arguments}

    def _step(self, session: Session, action: JsonObject) -> JsonObject:
        """{"observation": ...} or {"error": ...}. A connection that was closed meanwhile is opened
        again, once: the server may have ended it for being idle."""
        from websockets.exceptions import ConnectionClosed

        for last in (False, True):
            try:
                return tool_observation(self._exchange(session, "step", action))
            except ActionRefused as error:
                return {"error": str(error)}
            except ServerFault as error:
                if last or not isinstance(error.__cause__, ConnectionClosed):
                    raise
            self._open(session)
        raise AssertionError

    def _exchange(self, session: Session, kind: str, data: JsonObject) -> JsonObject:
        """Send one message; the observation of its answer. What goes wrong ends the connection."""
        from websockets.exceptions import ConnectionClosed

        try:
            with suppress(ConnectionClosed):  # it may have said why
                session.socket.send(json.dumps({"type": kind, "data": data}))
            answer = message_object(session.socket.recv(timeout=self.timeout_s))
            if answer.get("type") == "error":
                raise refusal(answer.get("data"))
            found = observation_of(answer)
            session.total += reward_of(answer["data"])
            session.done = answer["data"].get("done") is True
            return found
        except ActionRefused:
            raise
        except ConnectionClosed as error:
            session.end()
            raise ServerFault(f"closed the connection ({error})") from error
        except BaseException:
            # a late answer must not be read as the next one's
            session.end()
            raise

    def _read_schema(self) -> JsonObject:
        """The JSON Schema of an action. Raises ServerFault."""
        import httpx

        try:
            answer = httpx.get(f"{self.url}/schema", timeout=CONNECT_S)
            action = message_object(answer.text).get("action")
        except httpx.HTTPError as error:
            raise ServerFault(f"does not answer ({error}); is it running?") from None
        if answer.status_code != 200 or not isinstance(action, dict):
            raise ServerFault(f"/schema has no action (status {answer.status_code}): no OpenEnv")
        return action


def message_object(text: str | bytes) -> JsonObject:
    """The JSON object of a message. Raises ServerFault."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ServerFault(f"answers with no JSON object: {text[:SHOWN]!r}")
    return found


def refusal(data: Any) -> Exception:
    """What an answer of type `error` means. An action that fails is an observation; a server that
    cannot serve is none."""
    data = data if isinstance(data, dict) else {}
    said = str(data.get("message"))[:SHOWN]
    match data.get("code"):
        case "CAPACITY_REACHED":
            return NoRoom(f"has no room ({said}); start it with more max_concurrent_envs")
        case "EXECUTION_ERROR":
            return ActionRefused(said)
        case "VALIDATION_ERROR":
            errors = data.get("errors")
            found = [e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []
            places = (f"{'.'.join(map(str, e.get('loc', ())))}: {e.get('msg')}" for e in found)
            return ActionRefused((f"{said}: " + "; ".join(places))[:SHOWN])
    return ServerFault(f"says {data.get('code')}: {said}")


def observation_of(answer: JsonObject) -> JsonObject:
    """The observation of an answer. Raises ServerFault."""
    data = answer.get("data")
    found = data.get("observation") if isinstance(data, dict) else None
    if answer.get("type") != "observation" or not isinstance(found, dict):
        raise ServerFault(f"answers with no observation: {str(answer)[:SHOWN]}")
    return found


def reward_of(data: JsonObject) -> float:
    """The reward of a step, 0 where it has none. Raises ServerFault."""
    reward = data.get("reward")
    if reward is None:
        return 0.0
    if not isinstance(reward, bool | int | float) or not math.isfinite(reward):
        raise ServerFault(f"gives the reward {reward!r}, which is no number")
    return float(reward)


def tool_observation(found: JsonObject) -> JsonObject:
    """An observation as a world gives it: {"observation": ...} or {"error": ...}. Of a tool it is
    the tool's result, which FastMCP wraps; else all that the environment shows. Raises
    ServerFault where it was not the tool that failed."""
    if "tool_name" not in found:
        return {"observation": found}
    if error := found.get("error"):
        error = error if isinstance(error, dict) else {"message": error}
        if error.get("error_type") in ("timeout", "transport_error"):
            raise ServerFault(f"cannot reach its tool: {str(error.get('message'))[:SHOWN]}")
        return {"error": str(error.get("message"))}
    result = found.get("result")
    if not isinstance(result, dict) or not isinstance(result.get("content"), list):
        return {"observation": result}
    blocks = [b for b in result["content"] if isinstance(b, dict)]
    text = "\n".join(str(b["text"]) for b in blocks if b.get("type") == "text" and "text" in b)
    if result.get("is_error"):
        return {"error": text}
    return {"observation": text if result.get("data") is None else result["data"]}


def environment_tools(url: str) -> list[JsonObject]:
    """{name, description, inputSchema} of each tool of a running environment, or of its one action.
    Raises ConfigError saying what to do."""
    server, session = EnvironmentServer(url), Session({})
    try:
        server.dial(session)
    except TimeoutError:
        raise ConfigError(
            f"--openenv {url} does not answer within {server.timeout_s:g} s"
        ) from None
    except ServerFault as error:
        raise ConfigError(f"--openenv {url} {error}") from None
    finally:
        session.end()
    if server.tools is None:
        action = server.action_schema or {}
        title = str(action.get("title") or "").removesuffix("Action") or "Act"
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", title).lower()
        own = {k: v for k, v in action.get("properties", {}).items() if k != "metadata"}
        own_schema = action | {"properties": own}
        return [{"name": name, "description": action.get("description"), "inputSchema": own_schema}]
    tools = (t for name, t in server.tools.items() if name != FINAL_ANSWER)
    return [
        {"name": t["name"], "description": t.get("description"), "inputSchema": t["input_schema"]}
        for t in tools
        if isinstance(t.get("input_schema"), dict)
    ]
