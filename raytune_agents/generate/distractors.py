"""Which tools a row shows: those it calls, and the ones that are easiest to take for them.

Nearness is the cosine of TF-IDF vectors of names and descriptions. A catalogue of hundreds of tools
is never shown whole.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from functools import lru_cache

from raytune_agents.agents import AgentSpec
from raytune_agents.agents.phrasing import name_words
from raytune_agents.records import ToolSpec

SHOWN = 12  # tools of a row before `generate.tools` cuts them further
HARD = 0.6  # share of distractors that are the nearest ones; the rest is drawn


@lru_cache(maxsize=64)
def _nearest(tools: tuple[ToolSpec, ...]) -> tuple[tuple[int, ...], ...]:
    """For every tool the others, nearest first."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [f"{name_words(t.name)} {t.description} tool" for t in tools]
    vectors = TfidfVectorizer(sublinear_tf=True).fit_transform(texts)
    alike = (vectors @ vectors.T).toarray()
    np.fill_diagonal(alike, -1.0)
    # Stable: tools that are equally near stay in the catalogue's order on every machine.
    order = np.argsort(-alike, axis=1, kind="stable")[:, : min(len(texts) - 1, 4 * SHOWN)]
    return tuple(tuple(int(j) for j in line) for line in order)


def nearest_tools(tools: Sequence[ToolSpec], names: Collection[str]) -> list[ToolSpec]:
    """The tools that are not in `names`, nearest to one of them first."""
    if len(tools) < 2:
        return [t for t in tools if t.name not in names]
    order = _nearest(tuple(tools))
    lists = [order[i] for i, t in enumerate(tools) if t.name in names]
    turns = [j for rank in zip(*lists) for j in rank] if lists else range(len(tools))
    found = dict.fromkeys(j for j in turns if tools[j].name not in names)
    return [tools[j] for j in found]


def sample_tools(
    tools: Sequence[ToolSpec], about: Collection[str], count: int, rng: random.Random
) -> tuple[ToolSpec, ...]:
    """At most `count` of the tools in random order, those in `about` always: most of the others are
    the nearest, some are any."""
    own = [t for t in tools if t.name in about]
    room = max(0, count - len(own))
    others = [t for t in tools if t.name not in about]
    if len(others) > room:
        near = nearest_tools(tools, {t.name for t in own})[: round(HARD * room)]
        taken = {t.name for t in near}
        rest = [t for t in others if t.name not in taken]
        others = [*near, *rng.sample(rest, min(len(rest), room - len(near)))]
    out = [*own, *others]
    rng.shuffle(out)
    return tuple(out)


def shown_tools(
    spec: AgentSpec, rng: random.Random, about: Collection[str] = (), count: int = SHOWN
) -> tuple[ToolSpec, ...]:
    """The candidates of a row: the agent's tools in random order; of a large catalogue those that
    the row is about and others like them."""
    about = about or {rng.choice(spec.tools).name}
    return sample_tools(spec.toolspecs, about, max(count, len(about)), rng)
