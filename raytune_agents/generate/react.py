"""Several-step trajectories with real observations: a goal's script run in its world.

Every call is executed, every observation is what the tool said, and `agents.worlds.completed` proves
by a second run that the calls reach the goal. Left out: an engine in the user's or the agent's place.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace

from raytune_agents.agents import AgentSpec
from raytune_agents.agents.script import Act, Ask, Say
from raytune_agents.agents.values import leaves
from raytune_agents.agents.wording import survives
from raytune_agents.agents.worlds import WORLDS, World
from raytune_agents.generate.tasks import shuffled_tools
from raytune_agents.records import Message, Trajectory, finish


def play(agent: str, goal: str, seed: int, rng: random.Random) -> tuple[list[Message], Say, Ask, World]:
    """Run one goal: the messages, its last word, its request, and the world afterwards."""
    world = World(agent, seed)
    script = WORLDS[agent].GOALS[goal](world.state, rng)
    ask = next(script)
    messages = [Message("user", ask.text)]
    step = next(script)
    while isinstance(step, Act):
        call = replace(step.call, id=f"call_{len(messages) // 2}")
        observation = world.call(call)
        messages.append(Message("assistant", thought=step.thought, tool_calls=(call,)))
        messages.append(Message("tool", observation, name=call.name, tool_call_id=call.id))
        step = script.send(json.loads(observation))
    messages.append(Message("assistant", step.text, thought=step.thought))
    return messages, step, ask, world


def trajectory(spec: AgentSpec, index: int, seed: int) -> Trajectory:
    """The ReAct row number `index` of an agent that has a world."""
    rng = random.Random(f"{seed}/{spec.name}/react/{index}")
    goals = WORLDS[spec.name].GOALS
    goal = list(goals)[index % len(goals)]
    world_seed = rng.randrange(10**9)
    messages, said, ask, world = play(spec.name, goal, world_seed, rng)
    meta = {
        "wording": "template",
        "anchors": ask.anchors,
        "goal_name": goal,
        "world": {"agent": spec.name, "seed": world_seed},
        "goal": {"state": world.digest, "facts": list(said.facts)},
    }
    return finish(
        Trajectory(
            messages=tuple(messages), tools=shuffled_tools(spec, rng), outcome=1.0, gold="[]",
            source=f"agent/{spec.name}", source_id=f"{spec.name}-react-{seed}-{index}",
            pool="synthetic.react", split="train", step="generate.react", seed=seed, meta=meta,
        )
    )  # fmt: skip


def react(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
    """`n` ReAct rows with distinct requests; [] for an agent without a world."""
    if spec.name not in WORLDS:
        return []
    out, seen = [], set()
    for index in range(4 * n):
        row = trajectory(spec, index, seed)
        if len(out) < n and row.messages[0].content not in seen:
            seen.add(row.messages[0].content)
            out.append(row)
    return out


def depends(row: Trajectory, turn: int) -> bool:
    """Whether a call of message `turn` uses a value that only an earlier observation gave."""
    said = " ".join(m.content for m in row.messages[:turn] if m.role == "user")
    seen = " ".join(m.content for m in row.messages[:turn] if m.role == "tool")
    values = [v for c in row.messages[turn].tool_calls for v in leaves(c.args)]
    return any(
        isinstance(v, str | int | float) and not isinstance(v, bool)
        and survives(str(v), seen) and not survives(str(v), said)
        for v in values
    )  # fmt: skip


def dependent(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
    """`n` rows that end on a call with a value out of an earlier result, without thoughts.

    The target is that call; the turns before it are context and carry no loss.
    """
    out: list[Trajectory] = []
    for row in react(spec, 6 * n, seed):
        turns = [i for i, m in enumerate(row.messages) if m.tool_calls and depends(row, i)]
        if turns and len(out) < n:
            last = turns[-1]
            kept = [replace(m, thought="") for m in row.messages[: last + 1]]
            kept = [replace(m, loss=False) if m.role == "assistant" else m for m in kept[:-1]] + kept[-1:]
            meta = {k: v for k, v in row.meta.items() if k != "goal"}
            out.append(
                finish(
                    replace(
                        row, messages=tuple(kept), pool="synthetic.dependent", gold="", meta=meta,
                        step="generate.dependent", source_id=row.source_id.replace("react", "dependent"),
                    )
                )
            )  # fmt: skip
    return out
