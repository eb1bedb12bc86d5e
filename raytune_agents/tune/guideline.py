"""Trials -> a guideline in numbers: which mix, how sure, what to try next (`words` says it).

A failed trial is listed with its error and is no bad score. Trials that a scheduler stopped early
count at the report that enough of them reached (`trials`). Where the numbers do not carry a
recommendation, the guideline says so, and what would.

Left out on purpose: Ray, and the confirming runs themselves; `compare` judges those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import yaml

from raytune_agents.config import Config, ConfigError, build, known_keys, set_dotted
from raytune_agents.tune import surrogate, trials
from raytune_agents.tune.space import Space
from raytune_agents.tune.surrogate import Fit, Option, Refusal
from raytune_agents.tune.trials import Trial

WIDE = 0.3  # a share whose interval is wider than this is not settled


def recommend(
    found: Sequence[Trial],
    space: Space | None = None,
    metric: str = "exact_match",
    draws: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """The guideline of the trials `found`, as plain values; `words` says it.

    More of `metric` is better. recommended {pool: share}, interval {pool: [low, high]}, config
    {option: value} and score are empty where `refused` gives a reason. verdict: "gain" (better than
    every baseline mix, intervals above 0), "no_gain" or "refused". noise is the standard deviation
    between runs of one configuration, None where none was run twice.
    """
    level, levels, scored = trials.at_level(found, metric)
    pools = sorted({p for t, _ in scored for p in trials.weights_of(t)})
    guide: dict[str, Any] = {
        "verdict": "refused",
        "refused": "",
        "recommended": {},
        "interval": {},
        "config": {},
        "score": None,
        "rank_correlation": None,
        "model": "",
        "metric": metric,
        "runs": len(scored),
        "missing": 0,
        "noise": trials.noise(scored),
        "spread": float(np.std([y for _, y in scored])) if scored else None,
        "importance": {},
        "surfaces": [],
        "baselines": {},
        "open": [],
        "best": trials.best(scored),
        "report": level,
        "levels": levels,
        "failed": trials.failed(found),
    }
    if len(pools) < 2:
        none = "no trial has a score" if not scored else "the trials do not differ in their mix"
        guide["refused"] = f"{none}, so there is nothing to compare"
        return guide
    options = trials.options_of([t for t, _ in scored])
    x = np.array([trials.row_of(t, pools, options) for t, _ in scored])
    fitted = surrogate.fit(x, np.array([score for _, score in scored]), len(pools))
    guide["rank_correlation"] = fitted.rank_correlation
    if isinstance(fitted, Refusal):
        return guide | {
            "refused": fitted.reason,
            "missing": max(0, fitted.needed - fitted.runs),
        }
    how = {"draws": draws, "confidence": confidence, "seed": seed}
    return guide | _optimum(fitted, scored, pools, options, space, how)


def best_config_yaml(trial: Trial, base: Config) -> str:
    """A config that trains this trial's mix and options, with the budget of `base` and no search.

    `trial` needs weights and config; the guideline's own is {"weights": guide["recommended"],
    "config": guide["config"]}. The text loads through `config.load`; its one arm is "best" and its
    run folder the name of `base` with "-best". Raises ConfigError for an option that is not known.
    """
    tree = base.model_dump(mode="json", exclude_defaults=True)
    config = trial.get("config") or {}
    fixed = {
        "name": f"{base.name}-best",
        "train.arms": {"best": {"method": config.get("tune.method", base.tune.method)}},
        "tune.trials": 0,
    }
    weights = {p: round(w, 4) for p, w in trials.weights_of(trial).items()}
    for key, value in (config | ({"mix.weights": weights} if weights else {}) | fixed).items():
        if key not in known_keys():
            raise ConfigError(
                f"{key}={value!r} of the trial is no option; take it out of its config"
            )
        set_dotted(tree, key, value)
    build(tree)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


# --- the fit to a recommendation -----------------------------------------------------------------


def _optimum(
    fitted: Fit,
    scored: Sequence[tuple[Trial, float]],
    pools: list[str],
    options: list[Option],
    space: Space | None,
    how: dict[str, Any],
) -> dict[str, Any]:
    """The part of the guideline that needs a fit."""
    candidates = _candidates(fitted.x, pools, options, space, how["seed"])
    mixes = _baselines(pools, space)
    points = np.array([[mix.get(p, 0.0) for p in pools] for mix in mixes.values()])
    best = surrogate.optimum(fitted, candidates, points, **how)
    tail = (1 - how["confidence"]) / 2
    baselines = {}
    for i, (name, mix) in enumerate(mixes.items(), start=1):
        gains = best.draws[:, 0] - best.draws[:, i]
        baselines[name] = {
            "gain": float(best.point_scores[0] - best.point_scores[i]),
            "interval": np.quantile(gains, [tail, 1 - tail]).tolist(),
            "measured": trials.mean_at(scored, mix),
        }
    config, tried_ends, at = {}, [], len(pools)
    axes = {p: [i] for i, p in enumerate(pools)}
    for option in options:
        columns = slice(at, at + option.width)
        config[option.name] = option.decode(best.row[columns])
        axes[option.name] = list(range(at, at + option.width))
        if option.numeric and not 0.1 < best.row[at] < 0.9:
            tried_ends.append(option.name)
        at += option.width
    wide = [p for p, (low, high) in zip(pools, best.interval) if high - low > WIDE]
    sure = bool(baselines) and all(b["interval"][0] > 0 for b in baselines.values())
    return {
        "verdict": "gain" if sure else "no_gain",
        "model": fitted.model,
        "recommended": dict(zip(pools, best.row[: len(pools)].round(4).tolist())),
        "interval": dict(zip(pools, best.interval[: len(pools)].round(4).tolist())),
        "config": config,
        "score": float(best.point_scores[0]),
        "baselines": baselines,
        "importance": surrogate.importance(fitted, candidates[:20_000], axes),
        "surfaces": _surfaces(fitted, pools, best.row),
        "open": [{"pool": p} for p in wide] + [{"end": name} for name in tried_ends],
    }


def _surfaces(fitted: Fit, pools: list[str], row: np.ndarray, steps: int = 10) -> list[dict]:
    """Predicted scores on a grid of mixes, other options as recommended: [{pools, points: [[share a
    pool shown ..., score]]}]. Three pools make one triangle; more make a surface for each pair of
    the four largest, the rest of the mix in proportion to the recommended one."""
    if len(pools) == 3:
        grid = [(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]
        return [_surface(fitted, pools, row, [0, 1, 2], np.array(grid) / steps)]
    if len(pools) < 3:
        ends = np.linspace(0, 1, 2 * steps + 1)
        return [_surface(fitted, pools, row, [0, 1], np.column_stack([ends, 1 - ends]))]
    top = sorted(np.argsort(-row[: len(pools)])[:4].tolist())
    pairs = [(a, b) for k, a in enumerate(top) for b in top[k + 1 :]]
    grid = [(i, j) for i in range(steps + 1) for j in range(steps + 1 - i)]
    return [_surface(fitted, pools, row, list(p), np.array(grid) / steps) for p in pairs]


def _surface(
    fitted: Fit, pools: list[str], row: np.ndarray, shown: list[int], grid: np.ndarray
) -> dict[str, Any]:
    rows = np.tile(row, (len(grid), 1))
    others = [i for i in range(len(pools)) if i not in shown]
    rows[:, shown] = grid
    if others:
        share = row[others] + 1e-9
        rows[:, others] = (1 - grid.sum(axis=1))[:, None] * share / share.sum()
    table = np.column_stack([grid, fitted.predict(rows)]).round(4).tolist()
    return {"pools": [pools[i] for i in shown], "points": table}


def _baselines(pools: list[str], space: Space | None) -> dict[str, dict[str, float]]:
    if space and space.simplex():
        return space.baselines()
    mixes = {"stratified": dict.fromkeys(pools, 1 / len(pools))}
    positive = [p for p in pools if p.split(".")[0] == "positive"]
    only = {"positives_only": dict.fromkeys(positive, 1 / len(positive))} if positive else {}
    return mixes | only


def _candidates(
    x: np.ndarray, pools: list[str], options: list[Option], space: Space | None, seed: int
) -> np.ndarray:
    """100,000 rows: mixes from the search's own distribution, other options from what was tried."""
    rng, count = np.random.default_rng(seed), surrogate.CANDIDATES
    simplex = space.simplex() if space else None
    if simplex and sorted(simplex.pools) == pools:
        mixes = simplex.weights(rng.random((count, len(pools))))
        parts = [mixes[:, [simplex.pools.index(p) for p in pools]]]
    else:
        parts = [rng.dirichlet(np.ones(len(pools)), count)]
    at = len(pools)
    for option in options:
        parts.append(x[rng.integers(0, len(x), count), at : at + option.width])
        at += option.width
    return np.hstack(parts)
