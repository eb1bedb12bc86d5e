"""Several-step trajectories with real observations: goals' scripts run in their world.

The script of a goal comes with a shipped world; for a user's it is an example of the spec that has
a task, or a task that the world makes itself. Every call is executed, every observation is what the
tool said, and `agents.worlds.completed` proves by a second run that the calls reach the goal. How
the user says it is `paraphrase`'s part.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, cast

from raytune_agents.agents import AgentSpec, ExampleConfig
from raytune_agents.agents.script import Act, Ask, Goal, Say
from raytune_agents.agents.word_banks import leaves
from raytune_agents.agents.wording import survives
from raytune_agents.agents.worlds import Episode, completed, task_in, world_code
from raytune_agents.agents.worlds.process import WorldDown, class_of, made_tasks
from raytune_agents.config import ConfigError
from raytune_agents.generate.distractors import shown_tools
from raytune_agents.generate.tasks import make_row
from raytune_agents.records import JsonObject, Message, Trajectory, content_hash, finish

log = logging.getLogger(__name__)
HELD_OUT = 4  # one in so many of a spec's tasks is kept for evaluation
THANKS = ["", "Thanks! ", "Great, thank you. ", "Perfect. ", "Good. Now this: ", "One more thing. "]


@dataclass
class WorldRun:
    """A conversation in one world, told goal by goal."""

    episode: Episode
    rng: random.Random
    messages: list[Message] = field(default_factory=list)
    requests: list[Ask] = field(default_factory=list)
    answer: Say | None = None

    def carry_out(self, goal: Goal, opening: str = "") -> None:
        """Run one goal to its last word; `opening` stands before its request."""
        script: Any = goal(self.episode.state, self.rng)
        request = next(script)
        self.requests.append(request)
        self.messages.append(Message("user", opening + request.text))
        step = next(script)
        while isinstance(step, Act):
            number = sum(len(m.tool_calls) for m in self.messages)
            call = replace(step.call, id=f"call_{number}")
            text = self.episode.call(call)
            self.messages.append(Message("assistant", thought=step.thought, tool_calls=(call,)))
            self.messages.append(Message("tool", text, name=call.name, tool_call_id=call.id))
            step = script.send(json.loads(text) if self.episode.code.shipped else text)
        self.answer = step
        self.messages.append(Message("assistant", step.text, thought=step.thought))


def goal_of(example: ExampleConfig) -> Goal:
    """The script of an example's task: its calls as they stand, whatever the tools say."""
    calls = [c.call for c in example.calls]
    values = [str(v) for c in calls for v in leaves(c.args) if isinstance(v, str | int | float)]
    anchors = {v: v for v in values if survives(v, example.request)}

    def script(state: Any, rng: random.Random) -> Iterator[Ask | Act | Say]:
        yield Ask(example.request, anchors)
        for call in calls:
            yield Act("", call)
        yield Say(example.answer, tuple(example.facts))

    return cast(Goal, script)


Shown = dict[str, tuple[JsonObject | None, Goal]]  # goal -> its task (None: drawn), script


def shown_goals(spec: AgentSpec, count: int, seed: int, held_out: bool = False) -> Shown:
    """The goals that can be shown in the agent's world. Of a user's examples with a task some are
    kept for evaluation (`held_out`); a world that makes tasks itself makes others for another seed.
    Raises ConfigError for a task that is no example."""
    code = world_code(spec)
    if code.shipped:
        return {name: (None, goal) for name, goal in class_of(code).goals.items()}
    try:
        found = [ExampleConfig.model_validate(x) for x in made_tasks(code, seed, count)]
    except ValueError as error:
        raise ConfigError(f"world {spec.world!r}: tasks() gives no examples: {error}") from None
    if not found:
        own = sorted((e for e in spec.examples if e.task is not None), key=lambda e: e.request)
        kept = own[1::HELD_OUT]
        found = kept if held_out else [e for e in own if e not in kept]
    return {f"task_{content_hash(e.request, 8)}": (e.task or {}, goal_of(e)) for e in found}


def _row(
    spec: AgentSpec, pool: str, index: int, seed: int, run: WorldRun, meta: JsonObject
) -> Trajectory:
    users = [i for i, m in enumerate(run.messages) if m.role == "user"]
    answer, task = cast(Say, run.answer), run.episode.task  # a script ends with its answer
    if len(users) > 1:
        meta["anchors_by_turn"] = {str(i): ask.anchors for i, ask in zip(users, run.requests)}
    if run.episode.code.shipped:
        task = task | {"state": run.episode.digest}
    meta |= {"anchors": run.requests[-1].anchors}
    meta |= replace(task_in(spec, task), facts=answer.facts).meta
    tools = shown_tools(spec, run.rng)
    return make_row(spec, pool, index, seed, run.messages, tools, "[]", **meta)


def _conversation(
    spec: AgentSpec, pool: str, index: int, seed: int, count: int, shown: Shown
) -> Trajectory:
    """`count` goals one after another in one world. Raises WorldDown."""
    rng = random.Random(f"{seed}/{spec.name}/{pool}/{index}")
    names = list(shown)
    goals = [names[index % len(names)]]
    goals += rng.sample([n for n in names if n != goals[0]], count - 1)
    seeded_task = {"seed": rng.randrange(10**9)}
    own = shown[goals[0]][0]
    task = task_in(spec, seeded_task if own is None else own)
    run = WorldRun(Episode(task, spec.toolspecs), rng)
    for i, goal in enumerate(goals):
        run.carry_out(shown[goal][1], rng.choice(THANKS) if i else "")
    return _row(spec, pool, index, seed, run, {"goals": goals})


def distinct_runs(
    spec: AgentSpec, pool: str, tries: int, seed: int, count: int, held_out: bool = False
) -> Iterator[Trajectory]:
    """Conversations with different first requests; none for an agent without a world. A user's
    tasks are shown one at a time, each once, where their calls reach their goal."""
    if not spec.world:
        return
    shown = shown_goals(spec, tries, seed, held_out)
    own = not world_code(spec).shipped
    if own and count > 1:
        return
    seen: set[str] = set()
    for index in range(min(tries, len(shown)) if own else tries):
        try:
            row = _conversation(spec, pool, index, seed, count, shown)
            good = not own or completed(row)
        except WorldDown as error:
            log.warning("world %s: %s", spec.world, error)
            continue
        if good and row.messages[0].content not in seen:
            seen.add(row.messages[0].content)
            yield row


def react(spec: AgentSpec, n: int, seed: int, held_out: bool = False) -> list[Trajectory]:
    """`n` ReAct rows with distinct requests; [] for an agent without a world. `held_out`: of the
    tasks that are kept for evaluation."""
    return list(islice(distinct_runs(spec, "react", 4 * n + 20, seed, 1, held_out), n))


def dialogue(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
    """`n` rows in which the user has a second goal after the first, in the same world."""
    return list(islice(distinct_runs(spec, "dialogue", 4 * n + 20, seed, 2), n))


def depends(row: Trajectory, turn: int) -> bool:
    """Whether a call of message `turn` uses a value that only an earlier observation gave."""
    user_text = " ".join(m.content for m in row.messages[:turn] if m.role == "user")
    seen = " ".join(m.content for m in row.messages[:turn] if m.role == "tool")
    values = [v for c in row.messages[turn].tool_calls for v in leaves(c.args)]
    texts = [str(v) for v in values if isinstance(v, str | int | float)]
    return any(survives(t, seen) and not survives(t, user_text) for t in texts)


def _cut(row: Trajectory, turn: int) -> Trajectory:
    """The row up to message `turn`, which alone carries loss, without thoughts."""
    plain = [replace(m, thought="") for m in row.messages[: turn + 1]]
    context = [replace(m, loss=False) if m.role == "assistant" else m for m in plain[:-1]]
    meta = {k: v for k, v in row.meta.items() if k != "goal"}
    return finish(replace(row, messages=(*context, plain[-1]), gold="", meta=meta))


def dependent(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
    """`n` rows that end on a call with a value out of an earlier result, without thoughts."""
    out: list[Trajectory] = []
    for row in distinct_runs(spec, "dependent", 12 * n, seed, 1):
        turns = [i for i, m in enumerate(row.messages) if m.tool_calls and depends(row, i)]
        if turns:
            out.append(_cut(row, turns[-1]))
        if len(out) == n:
            break
    return out
