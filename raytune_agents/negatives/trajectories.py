"""Faults of whole trajectories: a good run in a world, changed and executed again.

Every observation of the bad run is what the tools really said to its calls, so the fault is in what
the agent did and never in the world. `naming.trajectory_fault` proves each of them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from raytune_agents.agents.worlds import Episode, ends_in_world, failed_observation, task_of
from raytune_agents.negatives.answers import PHRASES
from raytune_agents.records import Message, ToolCall, Trajectory

Step = tuple[str, ToolCall]  # thought and call


def steps(row: Trajectory) -> list[Step]:
    """The thoughts and calls of the row's assistant turns, in order; [] without a world or with
    several requests."""
    one_request = sum(m.role == "user" for m in row.messages) == 1
    if not ends_in_world(row) or not one_request:
        return []
    return [(m.thought, c) for m in row.messages if m.role == "assistant" for c in m.tool_calls]


def replay_steps(row: Trajectory, plan: Sequence[Step], last: Message) -> Trajectory:
    """The row with another plan, run in its world from the start, and another last turn."""
    task = task_of(row)
    if task is None:
        raise KeyError(f"row {row.id} was not made in a world")
    episode = Episode(task, row.tools)
    messages = [m for m in row.messages[:2] if m.role in ("system", "user")]
    for i, (thought, call) in enumerate(plan):
        call = replace(call, id=f"call_{i}")
        messages.append(Message("assistant", thought=thought, tool_calls=(call,)))
        messages.append(Message("tool", episode.call(call), name=call.name, tool_call_id=call.id))
    if last.tool_calls:
        last = replace(last, tool_calls=(replace(last.tool_calls[0], id=f"call_{len(plan)}"),))
    return replace(row, messages=(*messages, last))


def _turn(step: Step) -> Message:
    return Message("assistant", thought=step[0], tool_calls=(step[1],))


def looping(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """The same call three times in a row."""
    plan = steps(row)
    if not plan:
        return None
    i = rng.randrange(len(plan))
    return replay_steps(row, [*plan[: i + 1], plan[i]], _turn(plan[i]))


def premature_finish(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """The answer claims success before the last steps are made."""
    plan = steps(row)
    if len(plan) < 2:
        return None
    kept = plan[: rng.randint(1, len(plan) - 1)]
    return replay_steps(row, kept, Message("assistant", rng.choice(PHRASES["done"])))


def no_termination(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """All is done, but instead of the answer comes one more call."""
    plan = steps(row)
    others = [s for s in plan[:-1] if s[1].arguments != plan[-1][1].arguments]
    if not others:
        return None
    again = ("Let me look at this once more.", rng.choice(others)[1])
    return replay_steps(row, plan, _turn(again))


def wrong_order(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """Two steps change places, so that one uses what is not known yet."""
    plan = steps(row)
    if len(plan) < 2:
        return None
    i = rng.randrange(len(plan) - 1)
    if (plan[i][1].name, plan[i][1].arguments) == (plan[i + 1][1].name, plan[i + 1][1].arguments):
        return None
    return replay_steps(row, [*plan[:i], plan[i + 1], plan[i], *plan[i + 2 :]], row.answer)


def errors(row: Trajectory) -> list[int]:
    """The numbers of the observations that are error messages."""
    seen = [m.content for m in row.messages if m.role == "tool"]
    return [i for i, text in enumerate(seen) if failed_observation(text)]


def no_recovery_after_error(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """After an error message the same call is made again, then the agent gives up."""
    plan, failed = steps(row), errors(row)
    if not plan or not failed:
        return None
    i = rng.choice(failed)
    again = ("Let me try this again.", plan[i][1])
    last = Message("assistant", rng.choice(PHRASES["gave_up"]))
    return replay_steps(row, [*plan[: i + 1], again], last)


def ignore_observation(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """The last answer does not say what the tools found."""
    if not steps(row) or not row.meta["goal"]["facts"]:
        return None
    last = Message("assistant", rng.choice(PHRASES["ignore_observation"]))
    return replay_steps(row, steps(row), last)


def fabricated_output(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """The last answer states a number or id that no tool gave."""
    told, answer = row.meta.get("goal", {}).get("facts", []), row.answer.content
    facts = [f for f in told if re.search(r"\d", f) and f in answer]
    if not steps(row) or not facts:
        return None
    fact = rng.choice(facts)
    spot = rng.choice([m.start() for m in re.finditer(r"\d", fact)])
    digit = rng.choice([d for d in "123456789" if d != fact[spot]])
    invented = f"{fact[:spot]}{digit}{fact[spot + 1 :]}"
    return replay_steps(row, steps(row), Message("assistant", answer.replace(fact, invented)))


def bad_thought(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """One thought speaks for another tool than the one that is called."""
    plan = steps(row)
    told = [i for i, (thought, _) in enumerate(plan) if thought]
    if not told:
        return None
    i = rng.choice(told)
    others = [t.name for t in row.tools if t.name != plan[i][1].name]
    if not others:
        return None
    other = rng.choice(others)
    plan[i] = rng.choice(PHRASES["bad_thought"]).format(other=other), plan[i][1]
    return replay_steps(row, plan, row.answer)
