"""A world that runs elsewhere: an MCP server, by `world: "mcp: COMMAND"`, or its URL or file there.

An episode is a session of its own, of a command a process too. The goal of a task {"calls": [[name,
arguments], ...]} is that these calls were answered, in any order, as in the world of recorded
answers that `cassettes` writes. Only the spec's tools are called, within limits of time and number.
A server that hangs or dies ends the roll-out. Equal tasks must find equal states: what a server
keeps between its sessions is nobody's to take back.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from raytune_agents.agents.mcp_servers import server_transport
from raytune_agents.agents.mcp_tools import NotRecorded, first_cause, tool_answer
from raytune_agents.agents.worlds.remote import RemoteWorld, ServerFault
from raytune_agents.records import Arguments, JsonObject

MCP = "mcp:"
START_S, CALL_S, CLOSE_S = 30.0, 30.0, 15.0
MAX_CALLS = 50  # of one episode
MAX_SESSIONS = 64
Asked = tuple[str, Arguments, Future[JsonObject]]


class McpSession:
    """One episode. Its connection lives in one task of `loop`: the package allows no other to end
    it."""

    def __init__(self, server: str, task: JsonObject, loop: asyncio.AbstractEventLoop):
        self.task, self.loop = task, loop
        self.calls = 0
        self.answered: list[list[Any]] = []
        self._asked: asyncio.Queue[Asked | None] = asyncio.Queue()
        self.running = asyncio.run_coroutine_threadsafe(self._serve(server), loop)

    async def _serve(self, server: str) -> None:
        from mcp import Client

        with open(os.devnull, "w") as log:
            async with Client(server_transport(server, log)) as client:
                while (asked := await self._asked.get()) is not None:
                    name, arguments, answer = asked
                    try:
                        answer.set_result(await tool_answer(client, name, arguments, CALL_S))
                    except NotRecorded as error:
                        answer.set_exception(ServerFault(str(error)))

    def ask(self, name: str, arguments: Arguments) -> JsonObject:
        """{observation} or {error}. Raises ServerFault, TimeoutError."""
        answer: Future[JsonObject] = Future()
        self.loop.call_soon_threadsafe(self._asked.put_nowait, (name, arguments, answer))
        ends: list[Future[Any]] = [answer, self.running]
        wait(ends, START_S + CALL_S, FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        if not self.running.done():
            raise TimeoutError
        error = self.running.exception()
        raise ServerFault(f"ended ({first_cause(error) if error else 'closed'})")

    def end(self) -> None:
        """Close the connection, without waiting for it."""
        self.loop.call_soon_threadsafe(self._asked.put_nowait, None)


class McpServer(RemoteWorld):
    """The sessions of one server."""

    def __init__(self, server: str, tools: Sequence[str]):
        super().__init__(f"{server}:")
        self.server, self.tools = server, tools
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def close(self) -> None:
        """End all sessions."""
        running = [session.running for session in self._sessions.values()]
        self._forget([*self._sessions])
        wait(running, CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)

    # --- the functions of `host` ---

    def _begin_episode(self, episode: str, entry: str, task: JsonObject, ended: list[str]) -> None:
        self._forget(ended)
        if not task.get("calls"):
            raise ServerFault(f"the task {task} has no calls; write {{calls: [[NAME, ARGUMENTS]]}}")
        if len(self._sessions) >= MAX_SESSIONS:
            raise ServerFault(f"more than {MAX_SESSIONS} episodes at once")
        self._sessions[episode] = McpSession(self.server, task, self._loop)

    def _carry_out(self, episode: str, name: str, arguments: Arguments) -> JsonObject:
        session = self._sessions[episode]
        if name not in self.tools:
            return {"error": f"{name} is none of {', '.join(self.tools)}"}
        if session.calls >= MAX_CALLS:
            return {"error": f"more than {MAX_CALLS} calls"}
        session.calls += 1
        answer = session.ask(name, arguments)
        if "error" not in answer:
            session.answered.append([name, arguments])
        return answer

    def _episode_score(self, episode: str, answer: str) -> float:
        session = self._sessions[episode]
        return float(all(list(call) in session.answered for call in session.task["calls"]))
