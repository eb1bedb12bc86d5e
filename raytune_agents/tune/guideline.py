"""Trials -> a guideline in numbers: which mix, how sure, what to try next (`guideline_text` says
it).

A failed trial is listed with its error and is no bad score. Trials that a scheduler stopped early
count at the report that enough of them reached (`trials`). A mix that loses what the reference can
do (`search_gate`) is shown and never recommended. Where the numbers do not carry a recommendation,
the guideline says so, and what would.

Left out on purpose: Ray, and the confirming runs themselves; `confirm` judges those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, combinations, product

import numpy as np

from raytune_agents.config import Config, ConfigError, build_config, known_keys, set_dotted
from raytune_agents.config.loading import yaml_text
from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.records import Options
from raytune_agents.tune import surrogate, trial_stats
from raytune_agents.tune.confirm import Confirmed
from raytune_agents.tune.search_gate import GateSummary
from raytune_agents.tune.search_space import Space
from raytune_agents.tune.surrogate import Fit, Option, Refusal
from raytune_agents.tune.trials import BestRun, Level, Scored, Trial

WIDE = 0.3  # a share whose interval is wider than this is not settled


@dataclass(frozen=True)
class Baseline:
    """A plain mix beside the recommended one. `gain`: predicted, over it, with its interval;
    `measured`: its own score in the search, None where it was not run."""

    gain: float
    interval: list[float]
    measured: float | None


@dataclass(frozen=True)
class Surface:
    """Predicted scores over a grid of mixes: points [[share per pool ..., score]]."""

    pools: list[str]
    points: list[list[float]]


@dataclass(frozen=True)
class Guideline:
    """What a search found; guide.json is this record.

    recommended {pool: share}, interval {pool: [low, high]}, config {option: value} and score are
    empty where `refused` gives a reason. verdict: "gain" (better than every baseline mix, intervals
    above 0), "no_gain" or "refused". noise is the standard deviation between runs of one
    configuration, None where none was run twice; spread that of all runs.
    """

    verdict: str = "refused"
    refused: str = ""
    recommended: dict[str, float] = field(default_factory=dict)
    interval: dict[str, list[float]] = field(default_factory=dict)
    config: Options = field(default_factory=dict)
    score: float | None = None
    rank_correlation: float | None = None
    model: str = ""
    metric: str = "exact_match"
    runs: int = 0
    missing: int = 0
    noise: float | None = None
    spread: float | None = None
    importance: dict[str, float] = field(default_factory=dict)
    surfaces: list[Surface] = field(default_factory=list)
    baselines: dict[str, Baseline] = field(default_factory=dict)
    open: list[dict[str, str]] = field(default_factory=list)
    best: BestRun | None = None
    report: int = 1
    levels: list[Level] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    # what the steps around the fit add
    settled: Options = field(default_factory=dict)  # options fixed before the mix
    reused: int = 0  # trials of an earlier search that the fit started from
    gate: GateSummary | None = None
    confirmed: Confirmed | None = None
    ended: str = ""
    spent: dict[str, float] = field(default_factory=dict)
    times: dict[str, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Floor:
    """A metric that a recommended mix must be predicted to keep, by trial, and its least value."""

    values: Mapping[str, float]  # trial id -> value
    least: float


def recommend(
    found: Sequence[Trial],
    space: Space | None = None,
    metric: str = "exact_match",
    how: Resampling = surrogate.DRAWN,
    floor: Floor | None = None,
) -> Guideline:
    """The guideline of the trials `found`. More of `metric` is better; a mix that is predicted to
    fall below the floor is no candidate."""
    level, levels, scored = trial_stats.at_level(found, metric)
    pools = sorted({p for t, _ in scored for p in t.mix})
    guide = Guideline(
        metric=metric,
        runs=len(scored),
        noise=trial_stats.seed_noise(scored),
        spread=float(np.std([y for _, y in scored])) if scored else None,
        best=trial_stats.best(scored),
        report=level,
        levels=levels,
        failed=trial_stats.failed_trials(found),
    )
    if len(pools) < 2:
        none = "no trial has a score" if not scored else "the trials do not differ in their mix"
        return replace(guide, refused=f"{none}, so there is nothing to compare")
    runs = _Runs(scored, pools, trial_stats.options_of([t for t, _ in scored]), space)
    fitted = surrogate.fit_surrogate(runs.x, np.array([y for _, y in scored]), len(pools))
    guide = replace(guide, rank_correlation=fitted.rank_correlation)
    if isinstance(fitted, Refusal):
        missing = max(0, fitted.needed - fitted.runs)
        return replace(guide, refused=fitted.reason, missing=missing)
    candidates = runs.candidates(how.seed)
    if floor is not None:
        candidates = runs.above_floor(candidates, floor)
    if not len(candidates):
        return replace(guide, refused="every mix is predicted to lose what the reference can do")
    return _with_optimum(guide, runs, fitted, candidates, how)


def best_config_yaml(trial: Trial, base: Config) -> str:
    """A config that trains this trial's mix and options, with the budget of `base` and no search.

    The text loads through `config.load_config`; its one arm is "best" and its run folder the
    name of `base` with "-best". Raises ConfigError for an option that is not known.
    """
    tree = base.model_dump(mode="json", exclude_defaults=True)
    fixed = {
        "name": f"{base.name}-best",
        "train.arms": {"best": {"method": trial.config.get("tune.method", base.tune.method)}},
        "tune.num_samples": 0,
    }
    weights = {p: round(w, 4) for p, w in trial.mix.items()}
    mix = {"mix.weights": weights} if weights else {}
    for key, value in (trial.config | mix | fixed).items():
        if key not in known_keys():
            raise ConfigError(f"{key}={value!r} of the trial is no option; take it out of it")
        set_dotted(tree, key, value)
    build_config(tree)
    return yaml_text(tree)


# --- the fit to a recommendation -----------------------------------------------------------------


@dataclass(frozen=True)
class _Runs:
    """Scored trials as rows of the surrogate: shares of the pools, then the options' columns."""

    scored: Sequence[Scored]
    pools: list[str]
    options: list[Option]
    space: Space | None

    @cached_property
    def x(self) -> np.ndarray:
        rows = [trial_stats.row_of(t, self.pools, self.options) for t, _ in self.scored]
        return np.array(rows)

    @property
    def columns(self) -> dict[str, list[int]]:
        """Pool or option -> its columns."""
        widths = dict.fromkeys(self.pools, 1) | {o.name: o.width for o in self.options}
        ends = zip(widths.items(), accumulate(widths.values()))
        return {name: list(range(end - width, end)) for (name, width), end in ends}

    def candidates(self, seed: int) -> np.ndarray:
        """100,000 rows: mixes from the search's own distribution, options from what was tried."""
        rng, count = np.random.default_rng(seed), surrogate.CANDIDATES
        simplex = self.space.simplex() if self.space else None
        if simplex and sorted(simplex.pools) == self.pools:
            mixes = simplex.weights(rng.random((count, len(self.pools))))
            parts = [mixes[:, [simplex.pools.index(p) for p in self.pools]]]
        else:
            parts = [rng.dirichlet(np.ones(len(self.pools)), count)]
        for option in self.options:
            # Values that were tried: between the levels of a choice there is nothing.
            parts.append(self.x[rng.integers(0, len(self.x), count)][:, self.columns[option.name]])
        return np.hstack(parts)

    def above_floor(self, candidates: np.ndarray, floor: Floor) -> np.ndarray:
        """The candidates that are predicted to stay at or above the floor. It is fitted by the same
        surrogates; what they cannot order is held against the mean of all runs."""
        # A trial that was stopped early has no answers, so no value to hold against a floor.
        known = [i for i, (t, _) in enumerate(self.scored) if t.trial_id in floor.values]
        y = np.array([floor.values[self.scored[i][0].trial_id] for i in known])
        fitted = surrogate.fit_surrogate(self.x[known], y, len(self.pools)) if known else None
        if isinstance(fitted, Fit):
            return candidates[fitted.predict(candidates) >= floor.least]
        return candidates[:0] if len(y) and y.mean() < floor.least else candidates

    def baselines(self) -> dict[str, dict[str, float]]:
        """Name -> plain mix."""
        if self.space and self.space.simplex():
            return self.space.baselines()
        mixes = {"stratified": dict.fromkeys(self.pools, 1 / len(self.pools))}
        positive = [p for p in self.pools if p.split(".")[0] == "positive"]
        only = dict.fromkeys(positive, 1 / max(1, len(positive)))
        return mixes | ({"positives_only": only} if only else {})


def _with_optimum(
    guide: Guideline, runs: _Runs, fitted: Fit, candidates: np.ndarray, how: Resampling
) -> Guideline:
    """The part of the guideline that needs a fit."""
    pools, axes, mixes = runs.pools, runs.columns, runs.baselines()
    points = np.array([[mix.get(p, 0.0) for p in pools] for mix in mixes.values()])
    best = surrogate.optimum(fitted, candidates, points, how)
    baselines = {}
    for i, (name, mix) in enumerate(mixes.items(), start=1):
        gains = best.draws[:, 0] - best.draws[:, i]
        same = [score for trial, score in runs.scored if trial.has_mix(mix)]
        baselines[name] = Baseline(
            gain=float(best.point_scores[0] - best.point_scores[i]),
            interval=np.quantile(gains, how.tails()).tolist(),
            measured=float(np.mean(same)) if same else None,
        )
    found = {option: best.row[axes[option.name]] for option in runs.options}
    # Scaled to [0, 1] over what was tried: near an end, the optimum may lie beyond it.
    ends = [o.name for o, columns in found.items() if o.numeric and not 0.1 < columns[0] < 0.9]
    wide = [p for p, (low, high) in zip(pools, best.interval) if high - low > WIDE]
    # Against every plain mix: to beat one of them is no reason to leave the others.
    sure = bool(baselines) and all(b.interval[0] > 0 for b in baselines.values())
    return replace(
        guide,
        verdict="gain" if sure else "no_gain",
        model=fitted.model,
        recommended=dict(zip(pools, best.row[: len(pools)].round(4).tolist())),
        interval=dict(zip(pools, best.interval[: len(pools)].round(4).tolist())),
        config={option.name: option.decode(columns) for option, columns in found.items()},
        score=float(best.point_scores[0]),
        baselines=baselines,
        # Shares of a variance: a fifth of the candidates says them as well.
        importance=surrogate.importance(fitted, candidates[:20_000], axes),
        surfaces=_surfaces(fitted, pools, best.row),
        open=[{"pool": p} for p in wide] + [{"end": name} for name in ends],
    )


def _surfaces(fitted: Fit, pools: list[str], row: np.ndarray) -> list[Surface]:
    """Predicted scores on a grid of mixes, other options as recommended. Up to three pools make one
    surface; more make one for each pair of the four largest, the rest of the mix in proportion to
    the recommended one."""
    whole, steps = len(pools) <= 3, 20 if len(pools) < 3 else 10
    top = sorted(np.argsort(-row[: len(pools)])[:4].tolist())
    out = []
    for shown in [range(len(pools))] if whole else combinations(top, 2):
        grid = [g for g in product(range(steps + 1), repeat=len(shown)) if sum(g) <= steps]
        # All pools: their shares sum to 1.
        shares = np.array([g for g in grid if sum(g) == steps or not whole]) / steps
        rows = np.tile(row, (len(shares), 1))
        rows[:, shown] = shares
        if others := [i for i in range(len(pools)) if i not in shown]:
            # Pools that the recommended mix leaves out must not divide by zero.
            rest = row[others] + 1e-9
            rows[:, others] = (1 - shares.sum(axis=1))[:, None] * rest / rest.sum()
        table = np.column_stack([shares, fitted.predict(rows)]).round(4).tolist()
        out.append(Surface([pools[i] for i in shown], table))
    return out
