"""A world that runs elsewhere: its server is called as a `Sandbox` with the functions of `host`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from raytune_agents.records import JsonObject
from raytune_agents.sandbox import Outcome


class ServerFault(Exception):
    """The server, not the model: it is gone, breaks the protocol, or cannot serve us."""


class RemoteWorld:
    """Sessions of one server. A function of `host` is the method of its name with a `_` before."""

    alive = True

    def __init__(self, where: str):
        self.where = where
        self._sessions: dict[str, Any] = {}  # by episode, the least recently asked first

    def _forget(self, ended: Iterable[str]) -> None:
        """End the sessions of episodes that nobody holds any more."""
        for episode in ended:
            if session := self._sessions.pop(episode, None):
                session.end()

    def call(self, name: str, arguments: JsonObject) -> Outcome:
        """The outcome of `begin_episode`, `carry_out`, `episode_score` or `world_tasks`."""
        try:
            return Outcome(getattr(self, f"_{name}")(**arguments))
        except TimeoutError:
            return Outcome(error="timeout")
        except ServerFault as error:
            return Outcome(error=f"server: {self.where} {error}")

    def close(self) -> None:
        """End all sessions."""
        raise NotImplementedError

    def _world_tasks(self, entry: str, seed: int, count: int) -> list[JsonObject]:
        return []  # no server makes any: the spec's examples have a task
