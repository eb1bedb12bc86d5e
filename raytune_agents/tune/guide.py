"""Trials -> a guideline: which mix, how sure, what to try next, in numbers and in plain words.

A failed trial is listed with its error and is no bad score. Trials that a scheduler stopped early
count at the report that enough of them reached (`trials`). Where the numbers do not carry a
recommendation, the guideline says so, and what would.

Left out on purpose: Ray, and the confirming runs themselves; `compare` judges those.
"""

from __future__ import annotations

import math
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
    """The guideline of the trials `found`, as plain values; `markdown` puts it into words.

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
        "open": [{"pool": p} for p in wide] + [{"end": name} for name in tried_ends],
    }


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


# --- in words ------------------------------------------------------------------------------------


def markdown(guide: dict[str, Any]) -> str:
    """`guide.md`: two paragraphs in plain words, then the tables behind them."""
    parts = ["# Guideline", _which(guide), " ".join(_next(guide))]
    if guide["recommended"]:
        shares, spans = guide["recommended"], guide["interval"]
        rows = [(p, f"{share:.2f}", _span(spans[p])) for p, share in shares.items()]
        parts.append(_table(("pool", "share", "interval"), rows))
        rows = [
            (_plain(k), f"{b['gain']:+.3f}", _span(b["interval"], 3), _score(b["measured"]))
            for k, b in guide["baselines"].items()
        ]
        parts.append(_table(("against", "predicted gain", "interval", "measured score"), rows))
        ranked = sorted(guide["importance"].items(), key=lambda item: -item[1])
        rows = [(axis, f"{share:.0%}") for axis, share in ranked]
        parts.append(_table(("axis", "variance it explains alone"), rows))
    if guide["failed"]:
        lines = [(t["trial_id"], " ".join(t["error"].split())[:200]) for t in guide["failed"]]
        rows = [(name, error.replace("|", "/")) for name, error in lines]
        parts.append(_table(("failed trial", "error"), rows))
    return "\n\n".join(parts) + "\n"


def _which(guide: dict[str, Any]) -> str:
    """Paragraph 1: which mix, and how sure."""
    name = _plain(guide["metric"])
    if guide["refused"]:
        return f"There is no recommendation: {guide['refused']}.{_best_so_far(guide, name)}"
    fit = (
        f"A {guide['model']} fit over {guide['runs']} scored runs puts runs it has not seen in "
        f"order with a rank correlation of {guide['rank_correlation']:.2f}."
    )
    others = " and ".join(
        f"{b['gain']:+.3f} over the {_plain(k)} mix (interval {_span(b['interval'], 3)})"
        for k, b in guide["baselines"].items()
    )
    mix = _mix(guide["recommended"])
    chosen = ", ".join(f"{k} {v}" for k, v in guide["config"].items())
    chosen = f" The other options that go with it: {chosen}." if chosen else ""
    if guide["verdict"] == "gain":
        return (
            f"Train on {mix} of the trained tokens. The predicted {name} is {guide['score']:.3f}, "
            f"{others}.{chosen} {fit} The gain is predicted, not yet measured."
        )
    return (
        f"There is no evidence that another mix beats the plain ones. The best guess is {mix}, "
        f"with a predicted {name} of {guide['score']:.3f}, {others}; where an interval reaches 0, "
        f"the difference may be none.{chosen} {fit}"
    )


def _best_so_far(guide: dict[str, Any], name: str) -> str:
    best = guide["best"]
    if not best:
        return ""
    runs = "one run" if best["seeds"] == 1 else f"mean of {best['seeds']} runs"
    mix = f" with {_mix(best['weights'])}" if best["weights"] else ""
    return (
        f" The best configuration so far scored {best['score']:.3f} ({name}, {runs}){mix}; the "
        f"best of {guide['runs']} noisy runs looks better than it is, so this alone is no evidence."
    )


def _next(guide: dict[str, Any]) -> list[str]:
    """Paragraph 2, a sentence each: how far apart equal runs land, and what to try next."""
    noise, spread, said = guide["noise"], guide["spread"], []
    if noise is not None:
        said.append(
            f"Runs of one configuration differ by a standard deviation of {noise:.3f} and all runs "
            f"by {spread:.3f}, so two single runs that are less than "
            f"{1.96 * math.sqrt(2) * noise:.3f} apart cannot be told apart."
        )
    elif guide["runs"]:
        said.append(
            "No configuration was run twice, so it is not known how far apart two equal runs land: "
            "run the best one with three seeds."
        )
    if guide["failed"]:
        count = len(guide["failed"])
        said.append(
            f"{count} failed {'trial is' if count == 1 else 'trials are'} listed below and not "
            "counted as scores: mend the cause before adding more."
        )
    if guide["missing"]:
        said.append(f"Add at least {guide['missing']} different configurations (tune.trials).")
    elif guide["refused"] and noise is not None and spread < 1.5 * noise:
        said.append(
            "More trials will not help while the noise is as large as the differences: score more "
            "rows (tune.rows) or train longer (tune.tokens)."
        )
    elif guide["refused"]:
        said.append("Add trials that differ in their mix, or widen the options that are searched.")
    said += [_unsettled(guide, item) for item in guide["open"]]
    return said + ([_confirm(guide)] if guide["recommended"] else [])


def _unsettled(guide: dict[str, Any], item: dict[str, str]) -> str:
    if "pool" in item:
        span = _span(guide["interval"][item["pool"]])
        return f"The share of {item['pool']} is not settled ({span}): add trials in that range."
    value = guide["config"][item["end"]]
    return f"The best {item['end']} ({value}) is near an end of what was tried: widen its range."


def _confirm(guide: dict[str, Any]) -> str:
    """Seeds an arm to see the smallest gain: 2 * ((1.96 + 0.84) * noise / gain)^2, at least 3.

    That is a two-sided test at 5 % with a power of 80 % for two means of equal variance.
    """
    plain = "Confirm on held-out tools: train this mix and the plain ones at the full budget"
    gain = min((b["gain"] for b in guide["baselines"].values()), default=0.0)
    if guide["noise"] is None or gain <= 0:
        return f"{plain}, with at least three seeds each."
    seeds = max(3, math.ceil(2 * (2.8 * guide["noise"] / gain) ** 2))
    if seeds > 30:
        return (
            f"A gain of {gain:.3f} would need about {seeds} seeds an arm to be seen above the "
            "noise: treat the mixes as equal and look for a larger effect."
        )
    return f"{plain}, with {seeds} seeds each: that many show a gain of {gain:.3f} above the noise."


def _mix(weights: dict[str, float]) -> str:
    named = [f"{w:.0%} {p}" for p, w in sorted(weights.items(), key=lambda item: -item[1])]
    return ", ".join(named[:-1]) + f" and {named[-1]}" if len(named) > 1 else "".join(named)


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _span(pair: Sequence[float], digits: int = 2) -> str:
    return f"{pair[0]:.{digits}f} to {pair[1]:.{digits}f}"


def _score(value: float | None) -> str:
    return "not run" if value is None else f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
