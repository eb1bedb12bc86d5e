"""Worlds: where an agent's tools are carried out, so that task completion is a fact.

A `World` is a class of the user, named by `AgentSpec.world` and stated like a gym environment: it
is reset with a task, called with what the model calls, and says whether its goal is reached. It
runs in the sandbox; the shipped agents' worlds, which are ours, in this process; an environment of
OpenEnv, or an MCP server, where it runs (`openenv`, `live_mcp`). An `Episode` is one task carried
out in one. A row that was made in a world keeps its task in `meta`, so that its calls can be run
again (as in tau-bench, arXiv 2406.12045, section 3).
"""

from __future__ import annotations

import json
import secrets
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from raytune_agents import agents
from raytune_agents.agents.wording import survives
from raytune_agents.agents.worlds import host
from raytune_agents.agents.worlds.process import LOCKS, Box, WorldCode, WorldDown, box_of, locate
from raytune_agents.calls import schema_errors
from raytune_agents.config import ConfigError
from raytune_agents.records import (
    Arguments,
    JsonObject,
    ToolCall,
    ToolSpec,
    Trajectory,
    content_hash,
)


class World(Protocol):
    """What a user's world must have. Each episode has an instance of its own.

    Optional: `tasks(seed, count)`, a list of {request, calls, answer, task, facts} as a spec's
    `examples` have them, other ones for another seed."""

    def reset(self, task: JsonObject) -> Any:
        """Begin a task (JSON) and return the state. Equal tasks give equal states."""

    def call(self, name: str, arguments: Arguments) -> Any:
        """Carry a call out: the observation, as text or as a JSON value. An exception is an
        observation too: the model sees {"error": its name and text}."""

    def goal(self, state: Any) -> bool | float:
        """Whether, or how far from 0 to 1, the task is done. `state` is `self.state` where the
        world has one, else what reset returned, as calls left it. A second argument is the
        model's last answer."""


@dataclass(frozen=True)
class WorldTask:
    """What a row says of its world: the agent (and the file of its spec, where that is a user's),
    the task that reset is given, and what the last answer must say."""

    agent: str
    task: JsonObject = field(default_factory=dict)
    spec: str = ""
    facts: tuple[str, ...] | None = None  # None: the row is a piece of a run, without its end
    # what the tools say to some calls (by their number in the run, as text) instead of an answer
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def meta(self) -> JsonObject:
        """The task as a row's `meta` keeps it; `task_of` reads it back."""
        left_out = {"facts"} if self.errors else {"facts", "errors"}
        world = {k: v for k, v in asdict(self).items() if k not in left_out}
        out: JsonObject = {"world": world}
        return out if self.facts is None else out | {"goal": {"facts": list(self.facts)}}


def task_of(row: Trajectory) -> WorldTask | None:
    """The task of a row that generation made in a world. None for all others: what a source's row
    says of a world is only text, and names no code."""
    where, goal = row.meta.get("world"), row.meta.get("goal")
    if not isinstance(where, dict) or row.source != f"agent/{where.get('agent')}":
        return None
    facts = tuple(goal["facts"]) if isinstance(goal, dict) else None
    return WorldTask(where["agent"], where["task"], where["spec"], facts, where.get("errors", {}))


def ends_in_world(row: Trajectory) -> bool:
    """Whether the row is a whole run in a world, with a goal that it reaches or not."""
    task = task_of(row)
    return task is not None and task.facts is not None


@lru_cache(maxsize=64)
def _spec_of(spec: str, changed_ns: int) -> agents.AgentSpec:
    return agents.load_spec(spec)


def world_code(spec: agents.AgentSpec) -> WorldCode:
    """The code of an agent's world. Raises ConfigError where it has none."""
    if not spec.world:
        raise ConfigError(f"agent {spec.name!r} has no world; write world: module:Class")
    folder = spec.origin.parent if spec.origin else Path.cwd()
    code = locate(spec.world, folder, (spec.module_path,) if spec.module_path else ())
    return replace(code, tools=tuple(t.name for t in spec.tools)) if code.remote else code


def task_in(spec: agents.AgentSpec, task: JsonObject) -> WorldTask:
    """A task of this agent, without its end."""
    own = spec.origin if spec.origin and spec.origin.parent != agents.FOLDER else ""
    return WorldTask(spec.name, task, str(own))


Tools = Sequence[ToolSpec] | None
# Finalizers run wherever memory is freed, also inside a call of the world, so they only note the
# id; the next episode that begins takes the notes along.
_ended: list[str] = []  # episodes that nobody holds any more


class Episode:
    """One task, carried out in its agent's world. A user's world begins with the first call; where
    its process has died (by another episode's call) it is made again and brought to where it was.

    Raises ConfigError for an agent without a world."""

    def __init__(self, task: WorldTask, tools: Tools):
        """`tools` = None: calls go to the world as they are, whatever their schema."""
        where = task.spec or task.agent
        # Part of the cache's key: a spec that its user edits between two runs is read anew.
        changed_ns = Path(where).stat().st_mtime_ns if task.spec else 0
        self._open(world_code(_spec_of(where, changed_ns)), task.task, tools, task.errors)

    @classmethod
    def of(cls, code: WorldCode, task: JsonObject, tools: Tools) -> Episode:
        """An episode in a world that no spec names."""
        made = cls.__new__(cls)
        made._open(code, task, tools, {})
        return made

    def _open(
        self, code: WorldCode, task: JsonObject, tools: Tools, errors: dict[str, str]
    ) -> None:
        self.code, self.task, self.tools, self._errors = code, task, tools, errors
        self._id = secrets.token_hex(8)
        self._calls: list[tuple[str, Arguments]] = []
        self._attempts = 0  # calls so far, also those that were not carried out
        self._box: Box | None = None
        weakref.finalize(self, _ended.append, self._id)
        if code.shipped:
            host.begin_episode(self._id, code.entry, task, self._forgotten())

    @staticmethod
    def _forgotten() -> list[str]:
        old, _ended[:] = list(_ended), []
        return old

    def _begin(self, box: Box) -> None:
        """Begin in this process and make the calls so far again."""
        begin = {"entry": self.code.entry, "task": self.task, "ended": self._forgotten()}
        self._send(box, "begin_episode", begin)
        for name, arguments in self._calls:
            self._send(box, "carry_out", {"name": name, "arguments": arguments})
        self._box = box

    def _send(self, box: Box, function: str, arguments: JsonObject) -> Any:
        outcome = box.call(function, {"episode": self._id} | arguments)
        if outcome.error and (outcome.broken or function != "carry_out"):
            raise WorldDown(f"{function}: {outcome.error}")
        return {"error": outcome.error} if outcome.error else outcome.value

    def _ask(self, function: str, **arguments: Any) -> Any:
        if self.code.shipped:
            return getattr(host, function)(self._id, **arguments)
        with LOCKS[self.code]:
            box = box_of(self.code)
            if box is not self._box:
                self._begin(box)
            return self._send(box, function, arguments)

    @property
    def state(self) -> Any:
        """The state of a shipped world; None of a user's, which stays in its process."""
        return host.episode_state(self._id) if self.code.shipped else None

    @property
    def digest(self) -> str:
        """Content hash of the state."""
        return content_hash(self.state)

    def run(self, call: ToolCall) -> Any:
        """What the tool says; what a model did wrong is {"error": why} and is not carried out.
        Raises WorldDown."""
        self._attempts += 1
        if error := self._errors.get(str(self._attempts - 1)):
            return {"error": error}
        wrong = [] if self.tools is None else schema_errors(call, self.tools)
        if wrong:
            return {"error": ", ".join(wrong)}
        arguments = call.known_args
        found = self._ask("carry_out", name=call.name, arguments=arguments)
        if not isinstance(found, dict):  # a world's code can change what answers for it
            raise WorldDown(f"carry_out: {found!r:.80} is no observation")
        self._calls.append((call.name, arguments))
        return found.get("observation", found)

    def call(self, call: ToolCall) -> str:
        """The observation as the model sees it: text as it is, all else as JSON."""
        found = self.run(call)
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)

    def score(self, answer: str) -> float:
        """How far the world's goal is reached, 0 to 1. Raises WorldDown."""
        found = self._ask("episode_score", answer=answer)
        if not isinstance(found, bool | int | float) or not 0 <= found <= 1:
            raise WorldDown(f"goal: {found!r:.80} is no score from 0 to 1")
        return float(found)


def goal_score(row: Trajectory) -> float:
    """How far a row's calls, run anew, reach its goal; 0 where its last turn is no answer or lacks
    a fact. Raises KeyError for a row without a goal, WorldDown."""
    task = task_of(row)
    if task is None or task.facts is None:
        raise KeyError("the row has no goal in a world")
    answer = row.target.content if row.target and not row.target.tool_calls else ""
    if not answer or not all(survives(fact, answer) for fact in task.facts):
        return 0.0
    episode = Episode(task, row.tools)
    for call in row.calls:
        episode.run(call)
    return episode.score(answer)


def completed(row: Trajectory) -> bool:
    """Whether the row's goal is reached. Raises as `goal_score` does."""
    return goal_score(row) >= 1


def failed_observation(text: str) -> bool:
    """Whether a tool said that it could not do what it was asked."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "error" in value
