"""Synthetic trajectories: every pool by name, made from agent specs, pure and seeded.

`POOLS[name](spec, n, seed)` gives at most n rows of pool `synthetic.NAME`: fewer where the spec has
no more distinct requests, none where it has no world. The same numbers give the same rows. Asking
an engine (paraphrase, mining) is the part of `rewrite`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from raytune_agents import agents
from raytune_agents.agents import AgentSpec
from raytune_agents.generate import (
    augment,
    dialogue_patterns,
    recovery,
    refusals,
    tasks,
    world_runs,
)
from raytune_agents.records import ToolSpec, Trajectory, content_hash

Pool = tasks.Pool


def _catalogue(spec: AgentSpec) -> list[ToolSpec]:
    """Tools of the other shipped agents."""
    return [t for n in agents.shipped() if n != spec.name for t in agents.load_spec(n).toolspecs]


def _without_right_tool(row: Trajectory, rng: random.Random, spec: AgentSpec) -> Trajectory | None:
    others = _catalogue(spec)
    return augment.irrelevant(row, rng, rng.sample(others, len(others)))


def _changed(name: str) -> Pool:
    def pool(spec: AgentSpec, n: int, seed: int) -> list[Trajectory]:
        rng = random.Random(f"{seed}/{spec.name}/{name}")
        own = int(content_hash([seed, name], 8), 16)  # other requests than tflan's
        rows = (CHANGES[name](row, rng, spec) for row in tasks.tasks(spec, 2 * n, own))
        return [row for row in rows if row is not None][:n]

    return pool


CHANGES: dict[str, Callable[[Trajectory, random.Random, AgentSpec], Trajectory | None]] = {
    "masked": lambda row, rng, _: augment.hammer(row, rng),
    "noisy": lambda row, rng, _: augment.noise(row, rng, rng.choice(augment.TRAINED_NOISE)),
    "reordered": lambda row, rng, _: augment.reorder(row, rng),
    "distracted": lambda row, rng, spec: augment.distract(row, rng, _catalogue(spec)),
    "irrelevant": _without_right_tool,
}
POOLS: dict[str, Pool] = {
    "tflan": tasks.tasks,
    "react": world_runs.react,
    "dialogue": world_runs.dialogue,
    "dependent": world_runs.dependent,
    "recovery": recovery.recovery,
    "parallel": dialogue_patterns.parallel_calls,
    "followup": dialogue_patterns.followup,
    "gradual": dialogue_patterns.gradual,
    "corrected": dialogue_patterns.corrections,
    "notool": refusals.notool,
    **{name: _changed(name) for name in CHANGES},
}

_NO_WORLD = "its calls are carried out: name a world in the spec (init --world writes a first one)"
_ONE_GOAL = "a world of your own shows one goal at a time; only shipped worlds join two"
_NO_CALL = "no row calls a tool with a value: see what the tools lack above"
# What an empty pool asks of the tools; the other pools are changed rows of tflan.
_ASKS = {
    "parallel": "it needs two different calls: add a second tool, or a parameter",
    "followup": "a value is asked for that must be given: list a parameter under required",
    "gradual": "two values are asked for: list two parameters of one tool under required",
    "corrected": "one value is taken back: add a parameter that is a text, a number or an enum",
    "masked": "names are hidden: give each tool, and each parameter, a description of its own",
    "noisy": "names are spoilt: give each tool, and each parameter, a description of its own",
    "reordered": "arguments change places: add a second parameter to a tool",
}


def why_empty(pool: str, specs: Sequence[AgentSpec]) -> str:
    """Why the agents give no row of a pool, and what to add."""
    if pool in ("react", "dialogue", "dependent", "recovery"):
        worlds = any(spec.world for spec in specs)
        ends = {"dialogue": _ONE_GOAL, "dependent": "no call needs what an earlier one answered"}
        return ends.get(pool, "no call of its tasks fails and is mended") if worlds else _NO_WORLD
    able = any(tasks.tasks(spec, 1, 0) for spec in specs)
    return _ASKS.get(pool, _NO_CALL) if able else _NO_CALL
