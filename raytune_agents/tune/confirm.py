"""The confirming runs: is the recommended mix better than the plain ones, measured, not predicted?

The recommended mix, the best trial, and the natural, stratified and positives-only mixes are
trained at the full budget with the same other options and several seeds, and answer the rows of
test_unseen that no trial has seen. `evaluate.compare` judges, with seeds as a random factor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raytune_agents.evaluate import paired
from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.evaluate.paired import Difference
from raytune_agents.tune.axes import Sample
from raytune_agents.tune.search_space import Space
from raytune_agents.tune.surrogate import rank_correlation
from raytune_agents.tune.trials import Trial

GUIDED, BEST = "recommended", "best_trial"


@dataclass(frozen=True)
class ConfirmedArm:
    """Mean score of one mix at the full budget over `seeds` seeds on `rows` held-out rows."""

    score: float
    seeds: int
    rows: int


@dataclass(frozen=True)
class Confirmed:
    """The confirming runs. `base` is the best plain mix; `gains`: {arm: paired difference to
    it}; `rank_to_full`: rank correlation over the arms between their
    predicted or searched score and their full one, None below three arms with both."""

    arms: dict[str, ConfirmedArm] = field(default_factory=dict)
    base: str = ""
    gains: dict[str, Difference] = field(default_factory=dict)
    rank_to_full: float | None = None


def confirming_samples(
    recommended: Mapping[str, float],
    config: Mapping[str, Any],
    best: Trial,
    space: Space,
    seeds: int,
    first: int,
) -> list[Sample]:
    """The samples to run: each arm with `seeds` seeds from `first` on. Plain mixes take the other
    options of the recommended mix, or of the best trial where there is none."""
    # All arms share seeds and scored rows, and (but for the best trial) their options.
    simplex, arms = space.simplex(), {}
    options = dict(best.sample)
    if recommended:
        for axis in space.axes:
            if axis.key in config:
                # A fitted value may lie between what the axis holds: then that of the best trial
                # stays.
                options |= axis.invert(config[axis.key]) or {}
        if simplex:
            arms[GUIDED] = options | simplex.invert(dict(recommended))
    arms[BEST] = dict(best.sample)
    for name, mix in space.baselines().items():
        arms[name] = options | (simplex.invert(mix) if simplex else {})
    return [
        sample | {"arm": name, "seed": first + k, "full": True}
        for k in range(seeds)
        for name, sample in arms.items()
    ]


def judge_confirmed(
    trials: Sequence[Trial], predicted: Mapping[str, float | None], how: Resampling
) -> Confirmed:
    """What the confirming runs say. The base is the best plain mix, so a gain is one over all of
    them. `predicted`: arm -> its score in the search, where it has one."""
    hits: dict[str, dict[int, dict[str, float]]] = {}
    for t in trials:
        if t.score is not None and (found := t.hits()):
            hits.setdefault(t.arm, {})[t.seed] = found["exact_match"]
    if not hits:
        return Confirmed()
    arms = {
        name: ConfirmedArm(
            score=sum(sum(h.values()) / len(h) for h in by_seed.values()) / len(by_seed),
            seeds=len(by_seed),
            rows=len(next(iter(by_seed.values()))),
        )
        for name, by_seed in hits.items()
    }
    plain = [name for name in arms if name not in (GUIDED, BEST)] or [BEST]
    # The luckiest of them, as it is picked after the runs: a gain over it is rather understated.
    base = max(plain, key=lambda name: arms[name].score)
    gains = {
        name: paired.paired_seeds(hits[base], by_seed, how)
        for name, by_seed in hits.items()
        if name != base
    }
    both = [(small, arms[n].score) for n in arms if (small := predicted.get(n)) is not None]
    rank = rank_correlation([a for a, _ in both], [b for _, b in both])
    return Confirmed(arms, base, gains, rank)
