"""Which synthetic rows a run attempts: the shares of the pools, and no request nearly twice.

Pure and seeded: a killed run draws the same rows again. What a drawn row must still pass is in
`validate_rows`, and who words it in `rewrite`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from raytune_agents import agents, sandbox
from raytune_agents.agents import AgentSpec
from raytune_agents.agents.analyse import EVEN
from raytune_agents.config import ConfigError, GenerateConfig
from raytune_agents.config.lookup import did_you_mean
from raytune_agents.dedup.text import request_text
from raytune_agents.generate import POOLS, realism
from raytune_agents.generate.distractors import sample_tools
from raytune_agents.generate.known import gap_lines, gaps, own_rows, with_known
from raytune_agents.generate.variants import usable, value_variants
from raytune_agents.records import Trajectory, finish

Part = TypeVar("Part")

VARIANT = "variant"  # the pool of the user's own rows with other values
# Their answers name the candidates, or the candidates are what the pool is about.
WHOLE = ("notool", "distracted")
HALF_OWN, MOST_OWN = 12, 0.7  # own rows at which half of the rows are made of them; at most
MOST_VARIANTS = 20  # made of one own row
BLOCK = 256  # requests compared at a time


@dataclass
class SampledRows:
    """The rows in the order they are made, and what was left out, by pool."""

    rows: list[Trajectory] = field(default_factory=list)
    similar: Counter[str] = field(default_factory=Counter)  # too near to a request drawn before
    named: Counter[str] = field(default_factory=Counter)  # past the share that may name a tool
    short: Counter[str] = field(
        default_factory=Counter
    )  # rows that the agents' specs could not give
    gaps: list[str] = field(default_factory=list)  # tools without rows, and what to add


def pool_of(row: Trajectory) -> str:
    """The name in POOLS that a synthetic row, or a negative's twin, came from."""
    return row.pool.partition(".")[2]


def pool_shares(pools: Mapping[str, float]) -> dict[str, float]:
    """Shares that sum to 1, without the pools at 0. Raises ConfigError for an unknown pool."""
    for name in pools:
        if name not in POOLS:
            hint = did_you_mean(name, POOLS, "pools are")
            raise ConfigError(f"generate.pools.{name}: no such pool; {hint}")
    total = sum(pools.values())
    return {name: share / total for name, share in pools.items() if share}


def apportion(total: int, parts: Mapping[Part, float]) -> dict[Part, int]:
    """Whole numbers in the ratio of `parts` that sum to `total` (largest remainders first)."""
    whole = sum(parts.values())
    exact = {k: total * v / whole for k, v in parts.items()}
    out = {k: int(v) for k, v in exact.items()}
    # A stable sort: equal remainders go to the part that is written first, on every run.
    rest = sorted(parts, key=lambda k: out[k] - exact[k])
    for name in rest[: total - sum(out.values())]:
        out[name] += 1
    return out


def with_tools(row: Trajectory, count: int, seed: int) -> Trajectory:
    """The row with at most `count` candidate tools (never fewer than it is about): most of the
    others are those that are easiest to take for the right one."""
    about = {call.name for call in row.calls} | {str(row.meta.get("near", ""))}
    if not row.calls:  # a refusal names tools
        about |= {t.name for t in row.tools if t.name in row.answer.content}
    # By row: it keeps its candidates, whatever is drawn beside it.
    rng = random.Random(f"{seed}/{row.id}")
    kept = {t.name for t in sample_tools(row.tools, about, count, rng)}
    return finish(replace(row, tools=tuple(t for t in row.tools if t.name in kept)))


def followed(spec: AgentSpec, pools: Mapping[str, float]) -> dict[str, float]:
    """An agent's shares of the pools: as written, or, where its spec has a profile, EVEN of them as
    written and the rest like the rows of the profile."""
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
) -> tuple[list[tuple[str, str, Trajectory]], Counter[str]]:
    """(pool, agent, row) of every pool and agent: the wanted rows first, then the spare ones. A
    pool's rows are split over the agents by `parts` (agent -> pool -> share). Counts the rows that
    the specs could not give, by pool."""
    first, rest, short = [], [], Counter()
    for pool, count in wanted.items():
        able = [s for s in specs if POOLS[pool](s, 1, seed)]
        each = apportion(count, {s.name: parts[s.name][pool] for s in able}) if able else {}
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


def prepared(config: GenerateConfig, rows: Sequence[Trajectory], seed: int) -> list[AgentSpec]:
    """The config's agents with the habits of the user's rows and the values of their modules, and
    without the tools that no row can be made of."""
    out = []
    limits = sandbox.Limits(config.tool_timeout_s, config.tool_memory_mib)
    for spec in map(agents.load_spec, config.agents):
        full = with_known(spec, rows, spec.module_path, limits, seed)
        kinds = full.profile.kinds if full.profile else {}  # examples do not steer the pools
        steered = {"wordings": config.sources.wording, "kinds": kinds}
        habits = full.habits.model_copy(update=steered)
        out.append(full.model_copy(update={"profile": habits}))
    return out


def sample_rows(config: GenerateConfig, seed: int, real: Sequence[Trajectory] = ()) -> SampledRows:
    """At most `config.rows` rows, agents in turn; those nearer than `min_distance` to an earlier
    request of their agent, or past the share that may name a tool, give way to spare ones. `real`
    are the user's own training rows: their share of the rows are those with other values."""
    specs, out = prepared(config, real, seed), SampledRows()
    for spec in specs:
        out.gaps += [f"{spec.name}: {line}" for line in gap_lines(gaps(spec))]
    own = own_variants(specs, real, own_count(config, specs, real), seed)
    if own:  # the tools of these rows have their share: the others' turn
        specs = [
            s.model_copy(update={"profile": s.habits.model_copy(update={"tools": {}})})
            for s in specs
        ]
    pools = pool_shares(config.pools)
    parts = {s.name: followed(s, pools) for s in specs}
    rest = config.rows - len(own)
    wanted = apportion(rest, {p: sum(own[p] for own in parts.values()) for p in pools})
    spare = 0.5 if config.min_distance else 0.0
    found, short = candidates(specs, parts, wanted, spare, seed)
    found = [(VARIANT, agent, row) for agent, row in own] + found
    left = Counter(wanted | {VARIANT: len(own)})
    left.subtract(short)
    near = too_near([(agent, request_text(row)) for _, agent, row in found], config.min_distance)
    most = int(config.max_named_share * config.rows)
    for (pool, _, row), similar in zip(found, near):
        if left[pool] <= 0:
            continue
        if similar:
            out.similar[pool] += 1
            continue
        if realism.named(row):
            most -= 1
            if most < 0:
                out.named[pool] += 1
                continue
        left[pool] -= 1
        row = replace(row, split="train")
        whole = pool in WHOLE or pool == VARIANT
        out.rows.append(row if whole else with_tools(row, config.tools, seed))
    out.short = Counter(short)
    out.short.update(+left)
    random.Random(f"{seed}/order").shuffle(out.rows)  # shards of one mix take equally long
    return out


def own_count(
    config: GenerateConfig, specs: Sequence[AgentSpec], real: Sequence[Trajectory]
) -> int:
    """Rows that are the user's own with other values: more of them the more rows there are and the
    more tools they call, at most MOST_VARIANTS per row."""
    mine = [row for spec in specs for row in own_rows(spec, real) if usable(row)]
    share = config.sources.own
    if share is None:
        seen = {c.name for row in mine for c in row.calls}
        tools = {t.name for spec in specs if own_rows(spec, real) for t in spec.tools}
        spread = 0.5 + 0.5 * len(seen & tools) / max(1, len(tools))
        share = min(MOST_OWN, len(mine) / (len(mine) + HALF_OWN)) * spread
    return min(round(share * config.rows), MOST_VARIANTS * len(mine))


def own_variants(
    specs: Sequence[AgentSpec], real: Sequence[Trajectory], count: int, seed: int
) -> list[tuple[str, Trajectory]]:
    """(agent, row): `count` of the user's rows with other values, in the agents' ratio."""
    mine = {s.name: own_rows(s, real) for s in specs}
    sizes = {name: len(rows) for name, rows in mine.items() if rows}
    if not sizes or not count:
        return []
    each = apportion(count, sizes)
    return [
        (spec.name, row)
        for spec in specs
        if spec.name in each
        for row in value_variants(spec, mine[spec.name], each[spec.name], seed)
    ]


def too_near(requests: Sequence[tuple[str, str]], least: float) -> list[bool]:
    """For each (key, text) whether an earlier kept text of its key is nearer than `least`: one
    minus the cosine of TF-IDF vectors of character 3- to 5-grams."""
    near = np.zeros(len(requests), bool)
    if not least or not requests:
        return near.tolist()
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    # Hashed, so that no vocabulary is built or held; counts alone, as the transformer weighs them
    # and makes unit vectors, whose product is the cosine.
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
