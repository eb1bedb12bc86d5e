"""The pool `recovery`: a call fails, the agent says why, repairs it, and reaches the goal.

Reflection on one's own failed call, then the mended one, is what "Structured Reflection" trains on
(arXiv 2509.18847). Errors are real: a broken call is run in the row's world and must be refused
there; a passing one (rate limit, time-out) is a part of the task (`WorldTask.errors`), so that a
second run meets it too. A mistake carries no loss, the repair does. A row stays only where its
calls, run anew, reach the goal. Left out: permissions, which no call can repair.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

from raytune_agents.agents import AgentSpec
from raytune_agents.agents.worlds import Episode, WorldDown, completed, failed_observation, task_of
from raytune_agents.calls.schema import find, shape
from raytune_agents.generate import world_runs
from raytune_agents.generate.codes import is_code, shaped
from raytune_agents.records import Arguments, Message, ToolCall, ToolSpec, Trajectory, finish

PASSING = {
    "rate_limit": "429 Too Many Requests: rate limit exceeded, try again in a moment",
    "unavailable": "503 Service Unavailable: the upstream timed out",
}


@dataclass(frozen=True)
class BrokenCall:
    """A call that fails, and what the agent makes of it. `error`: what the tool answers for a
    while, "" where it refuses the call for good."""

    call: ToolCall
    diagnosis: str
    error: str = ""


def _with(call: ToolCall, arguments: Arguments) -> ToolCall:
    return replace(call, arguments=json.dumps(arguments, ensure_ascii=False))


def missing_argument(call: ToolCall, tool: ToolSpec, rng: random.Random) -> BrokenCall | None:
    """Without one of its required arguments."""
    lost = [name for name in shape(tool.parameters).required if name in call.args]
    if not lost:
        return None
    name = rng.choice(sorted(lost))
    kept = {k: v for k, v in call.args.items() if k != name}
    return BrokenCall(_with(call, kept), f"The call lacks {name}. I add it and try again.")


def changed_schema(call: ToolCall, tool: ToolSpec, rng: random.Random) -> BrokenCall | None:
    """With an argument under a name that the schema does not have (any more)."""
    if not call.args:
        return None
    name = rng.choice(sorted(call.args))
    old = f"{name.split('_')[0]}_value" if "_" in name else f"{name}_value"
    renamed = {old if k == name else k: v for k, v in call.args.items()}
    diagnosis = f"The tool knows no {old}; its schema calls it {name}. I use that name."
    return (
        None if old in shape(tool.parameters).kinds else BrokenCall(_with(call, renamed), diagnosis)
    )


def not_found(call: ToolCall, tool: ToolSpec, rng: random.Random) -> BrokenCall | None:
    """With an identifier that does not exist."""
    codes = sorted(k for k, v in call.args.items() if is_code(v))
    if not codes:
        return None
    name = rng.choice(codes)
    right = call.args[name]
    wrong = shaped(right, rng)
    diagnosis = f"There is no {wrong}: I mistyped it. The right one is {right}."
    return None if wrong == right else BrokenCall(_with(call, call.args | {name: wrong}), diagnosis)


def passing(call: ToolCall, tool: ToolSpec, rng: random.Random) -> BrokenCall | None:
    """Right, but the tool cannot answer just now: the same call again is its repair."""
    kind = rng.choice(sorted(PASSING))
    return BrokenCall(
        call, "The call is right and the error passes. I try it again.", PASSING[kind]
    )


ERRORS: dict[str, Callable[[ToolCall, ToolSpec, random.Random], BrokenCall | None]] = {
    "missing_argument": missing_argument,
    "changed_schema": changed_schema,
    "not_found": not_found,
    "passing": passing,
}


def with_error(row: Trajectory, kind: str, rng: random.Random) -> Trajectory | None:
    """The run with one call that fails before it is repaired; None where the kind does not apply,
    the tool takes the broken call, or the goal is missed. Raises WorldDown."""
    turns = [i for i, m in enumerate(row.messages) if m.tool_calls]
    task = task_of(row)
    if task is None or not turns:
        return None
    turn = rng.choice(turns)
    right = row.messages[turn]
    call = right.tool_calls[0]
    tool = find(call.name, row.tools)
    broken = ERRORS[kind](call, tool, rng) if tool else None
    if broken is None:
        return None
    before = [c for m in row.messages[:turn] for c in m.tool_calls]
    if broken.error:
        task = replace(task, errors={str(len(before)): broken.error})
    episode = Episode(task, row.tools)
    for earlier in before:
        episode.run(earlier)
    failed = replace(broken.call, id=f"{call.id}_failed")
    seen = episode.call(failed)
    if not failed_observation(seen):
        return None
    # A call that only met a passing error is right and is learned; a broken one is only shown.
    mistake = replace(right, tool_calls=(failed,), loss=None if broken.error else False)
    observation = Message("tool", seen, name=call.name, tool_call_id=failed.id)
    repaired = replace(right, thought=broken.diagnosis)
    messages = (*row.messages[:turn], mistake, observation, repaired, *row.messages[turn + 1 :])
    made = finish(replace(row, messages=messages, meta=row.meta | task.meta | {"error": kind}))
    return made if completed(made) else None


def recovery(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
    """`n` runs that meet an error and recover, the kinds in turn; [] for an agent without a
    world."""
    out: list[Trajectory] = []
    kinds = list(ERRORS)
    for row in world_runs.distinct_runs(spec, "recovery", 8 * n + 20, seed, 1):
        rng = random.Random(f"{seed}/{row.id}")
        first = len(out) % len(kinds)
        tried = [*kinds[first:], *kinds[:first]]
        try:
            made = (with_error(row, kind, rng) for kind in tried)
            out += islice((m for m in made if m is not None), 1)
        except WorldDown:
            continue
        if len(out) == n:
            break
    return out
