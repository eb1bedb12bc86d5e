"""Several-step trajectories with real observations: goals' scripts run in their world.

Every call is executed, every observation is what the tool said, and `agents.worlds.completed`
proves by a second run that the calls reach the goal. How the user says it is `speech`'s part.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, cast

from raytune_agents.agents import AgentSpec
from raytune_agents.agents.script import Act, Ask, Say
from raytune_agents.agents.values import leaves
from raytune_agents.agents.wording import survives
from raytune_agents.agents.worlds import WORLDS, World
from raytune_agents.generate.tasks import shuffled_tools
from raytune_agents.records import Message, Trajectory, finish

THANKS = ["", "Thanks! ", "Great, thank you. ", "Perfect. ", "Good. Now this: ", "One more thing. "]


@dataclass
class Run:
    """A conversation in one world, told goal by goal."""

    world: World
    rng: random.Random
    messages: list[Message] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    said: Say | None = None

    def play(self, goal: str, opening: str = "") -> None:
        """Run one goal to its last word; `opening` stands before its request."""
        script = self.world.module.GOALS[goal](self.world.state, self.rng)
        ask = next(script)
        self.asks.append(ask)
        self.messages.append(Message("user", opening + ask.text))
        step = next(script)
        while isinstance(step, Act):
            number = sum(len(m.tool_calls) for m in self.messages)
            call = replace(step.call, id=f"call_{number}")
            told = self.world.call(call)
            self.messages.append(Message("assistant", thought=step.thought, tool_calls=(call,)))
            self.messages.append(Message("tool", told, name=call.name, tool_call_id=call.id))
            step = script.send(json.loads(told))
        self.said = step
        self.messages.append(Message("assistant", step.text, thought=step.thought))


def _row(
    spec: AgentSpec, pool: str, index: int, seed: int, run: Run, meta: dict[str, Any]
) -> Trajectory:
    users = [i for i, m in enumerate(run.messages) if m.role == "user"]
    said = cast(Say, run.said)  # a script ends with its answer
    if len(users) > 1:
        meta["said"] = {str(i): ask.anchors for i, ask in zip(users, run.asks)}
    meta |= {
        "wording": "template",
        "anchors": run.asks[-1].anchors,
        "goal": {"state": run.world.digest, "facts": list(said.facts)},
    }
    return finish(
        Trajectory(
            messages=tuple(run.messages), tools=shuffled_tools(spec, run.rng), outcome=1.0,
            gold="[]", source=f"agent/{spec.name}", source_id=f"{spec.name}-{pool}-{seed}-{index}",
            pool=f"synthetic.{pool}", split="train", step=f"generate.{pool}", seed=seed, meta=meta,
        )
    )  # fmt: skip


def _conversation(spec: AgentSpec, pool: str, index: int, seed: int, count: int) -> Trajectory:
    """`count` goals one after another in one world."""
    rng = random.Random(f"{seed}/{spec.name}/{pool}/{index}")
    names = list(WORLDS[spec.name].GOALS)
    goals = [names[index % len(names)]]
    goals += rng.sample([n for n in names if n != goals[0]], count - 1)
    world_seed = rng.randrange(10**9)
    run = Run(World(spec.name, world_seed), rng)
    for i, goal in enumerate(goals):
        run.play(goal, rng.choice(THANKS) if i else "")
    world = {"agent": spec.name, "seed": world_seed}
    return _row(spec, pool, index, seed, run, {"goals": goals, "world": world})


def _distinct(
    spec: AgentSpec, pool: str, tries: int, seed: int, count: int
) -> Iterator[Trajectory]:
    """Conversations with different first requests; none for an agent without a world."""
    seen: set[str] = set()
    for index in range(tries if spec.name in WORLDS else 0):
        row = _conversation(spec, pool, index, seed, count)
        if row.messages[0].content not in seen:
            seen.add(row.messages[0].content)
            yield row


def react(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
    """`n` ReAct rows with distinct requests; [] for an agent without a world."""
    return list(islice(_distinct(spec, "react", 4 * n + 20, seed, 1), n))


def dialogue(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
    """`n` rows in which the user has a second goal after the first, in the same world."""
    return list(islice(_distinct(spec, "dialogue", 4 * n + 20, seed, 2), n))


def depends(row: Trajectory, turn: int) -> bool:
    """Whether a call of message `turn` uses a value that only an earlier observation gave."""
    said = " ".join(m.content for m in row.messages[:turn] if m.role == "user")
    seen = " ".join(m.content for m in row.messages[:turn] if m.role == "tool")
    values = [v for c in row.messages[turn].tool_calls for v in leaves(c.args)]
    texts = [str(v) for v in values if isinstance(v, str | int | float)]
    return any(survives(t, seen) and not survives(t, said) for t in texts)


def _cut(row: Trajectory, turn: int) -> Trajectory:
    """The row up to message `turn`, which alone carries loss, without thoughts."""
    plain = [replace(m, thought="") for m in row.messages[: turn + 1]]
    context = [replace(m, loss=False) if m.role == "assistant" else m for m in plain[:-1]]
    meta = {k: v for k, v in row.meta.items() if k != "goal"}
    return finish(replace(row, messages=(*context, plain[-1]), gold="", meta=meta))


def dependent(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
    """`n` rows that end on a call with a value out of an earlier result, without thoughts."""
    out: list[Trajectory] = []
    for row in _distinct(spec, "dependent", 12 * n, seed, 1):
        turns = [i for i, m in enumerate(row.messages) if m.tool_calls and depends(row, i)]
        if turns:
            out.append(_cut(row, turns[-1]))
        if len(out) == n:
            break
    return out
