"""Which synthetic rows a run attempts: the shares of the pools, and no request nearly twice.

Pure and seeded: a killed run draws the same rows again. What a drawn row must still pass is in
`checks`, and who words it in `stream`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np

from raytune_agents import agents
from raytune_agents.agents import AgentSpec
from raytune_agents.agents.analyse import EVEN
from raytune_agents.config import ConfigError, GenerateConfig
from raytune_agents.dedup.text import question
from raytune_agents.generate import POOLS
from raytune_agents.records import Trajectory, finish

# Their answers name the candidates, or the candidates are what the pool is about.
WHOLE = ("notool", "irrelevant", "distracted")
BLOCK = 256  # requests compared at a time


@dataclass
class Drawn:
    """The rows in the order they are made, and what was left out, by pool."""

    rows: list[Trajectory] = field(default_factory=list)
    similar: Counter = field(default_factory=Counter)  # too near to a request drawn before
    short: Counter = field(default_factory=Counter)  # rows that the agents' specs could not give


def pool_of(row: Trajectory) -> str:
    """The name in POOLS that a synthetic row, or a negative's twin, came from."""
    return row.pool.partition(".")[2]


def shares(pools: Mapping[str, float]) -> dict[str, float]:
    """Shares that sum to 1, without the pools at 0. Raises ConfigError for an unknown pool."""
    for name in pools:
        if name not in POOLS:
            near = get_close_matches(name, POOLS, 1)
            hint = f"did you mean {near[0]}?" if near else f"pools are {', '.join(POOLS)}"
            raise ConfigError(f"generate.pools.{name}: no such pool; {hint}")
    total = sum(pools.values())
    return {name: share / total for name, share in pools.items() if share}


def split_rows(total: int, parts: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers in the ratio of `parts` that sum to `total` (largest remainders first)."""
    whole = sum(parts.values())
    exact = {k: total * v / whole for k, v in parts.items()}
    out = {k: int(v) for k, v in exact.items()}
    rest = sorted(parts, key=lambda k: out[k] - exact[k])
    for name in rest[: total - sum(out.values())]:
        out[name] += 1
    return out


def with_tools(row: Trajectory, count: int, seed: int) -> Trajectory:
    """The row with at most `count` candidate tools (never fewer than it is about), in their
    order."""
    about = {call.name for call in row.calls} | {row.meta.get("near")}
    others = [tool.name for tool in row.tools if tool.name not in about]
    room = max(0, min(len(others), count - (len(row.tools) - len(others))))
    kept = about | set(random.Random(f"{seed}/{row.id}").sample(others, k=room))
    return finish(replace(row, tools=tuple(tool for tool in row.tools if tool.name in kept)))


def followed(spec: AgentSpec, pools: Mapping[str, float]) -> dict[str, float]:
    """An agent's shares of the pools: as written, or, where its spec has a profile, half as written
    and half like the rows of the profile."""
    kinds = spec.profile.kinds if spec.profile else {}
    total = sum(kinds.get(pool, 0.0) for pool in pools)
    if not total:
        return dict(pools)
    return {p: EVEN * s + (1 - EVEN) * kinds.get(p, 0.0) / total for p, s in pools.items()}


def candidates(
    specs: Sequence[AgentSpec],
    parts: Mapping[str, Mapping[str, float]],
    wanted: Mapping[str, int],
    spare: float,
    seed: int,
) -> tuple[list[tuple[str, str, Trajectory]], Counter]:
    """(pool, agent, row) of every pool and agent: the wanted rows first, then the spare ones. A
    pool's rows are split over the agents by `parts` (agent -> pool -> share). Counts the rows that
    the specs could not give, by pool."""
    first, rest, short = [], [], Counter()
    for pool, count in wanted.items():
        able = [s for s in specs if POOLS[pool](s, 1, seed)]
        each = split_rows(count, {s.name: parts[s.name][pool] for s in able}) if able else {}
        short[pool] += 0 if able else count
        for k, spec in enumerate(able):
            n = each[spec.name]
            # a pool goes through its goals or cells in turn: every agent starts at another one
            made = POOLS[pool](spec, k + n + round(spare * n), seed)[k:]
            rows = [(pool, spec.name, row) for row in made]
            first += rows[:n]
            rest += rows[n:]
            short[pool] += max(0, n - len(rows))
    return first + rest, +short


def draw(section: GenerateConfig, seed: int) -> Drawn:
    """At most `section.rows` rows, agents in turn; those nearer than `min_distance` to an earlier
    request of their agent give way to spare ones."""
    specs = [agents.load(name) for name in section.agents]
    pools = shares(section.pools)
    parts = {s.name: followed(s, pools) for s in specs}
    wanted = split_rows(section.rows, {p: sum(own[p] for own in parts.values()) for p in pools})
    spare = 0.5 if section.min_distance else 0.0
    found, short = candidates(specs, parts, wanted, spare, seed)
    near = too_near([(agent, question(row)) for _, agent, row in found], section.min_distance)
    out, left = Drawn(short=short), Counter(wanted)
    left.subtract(short)
    for (pool, _, row), similar in zip(found, near):
        if left[pool] <= 0:
            continue
        if similar:
            out.similar[pool] += 1
            continue
        left[pool] -= 1
        row = replace(row, split="train")
        out.rows.append(row if pool in WHOLE else with_tools(row, section.tools, seed))
    out.short.update(+left)
    random.Random(f"{seed}/order").shuffle(out.rows)  # shards of one mix take equally long
    return out


def too_near(requests: Sequence[tuple[str, str]], least: float) -> list[bool]:
    """For each (key, text) whether an earlier kept text of its key is nearer than `least`: one
    minus the cosine of TF-IDF vectors of character 3- to 5-grams."""
    near = np.zeros(len(requests), bool)
    if not least or not requests:
        return near.tolist()
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    grams = HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), n_features=2**16, alternate_sign=False, norm=None
    )
    vectors = TfidfTransformer().fit_transform(grams.transform(text for _, text in requests))
    for key in dict.fromkeys(k for k, _ in requests):
        own = [i for i, (k, _) in enumerate(requests) if k == key]
        for start in range(0, len(own), BLOCK):
            block = own[start : start + BLOCK]
            alike = (vectors[block] @ vectors[own[: start + BLOCK]].T).toarray()
            for at, line in enumerate(alike, start):
                near[own[at]] = bool(np.any(line[:at][~near[own[:at]]] > 1.0 - least))
    return near.tolist()
