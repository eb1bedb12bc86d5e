"""The confirming runs: is the recommended mix better than the plain ones, measured, not predicted?

The recommended mix, the best trial, and the natural, stratified and positives-only mixes are
trained at the full budget with the same other options and several seeds, and answer the rows of
test_unseen that no trial has seen. `evaluate.paired` judges, with seeds as a random factor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_agents.evaluate.paired import paired_seeds
from raytune_agents.runs import read_json
from raytune_agents.tune.space import Space
from raytune_agents.tune.surrogate import rank_correlation

GUIDED, BEST = "recommended", "best_trial"


def points(
    guide: Mapping[str, Any], best: Mapping[str, Any], space: Space, seeds: int, first: int
) -> list[dict[str, Any]]:
    """The samples to run: each arm with `seeds` seeds from `first` on. Plain mixes take the other
    options of the recommended mix, or of the best trial where there is none."""
    simplex, arms = space.simplex(), {}
    options = dict(best["sample"])
    if guide["recommended"]:
        for axis in space.axes:
            if axis.key in guide["config"]:
                options |= axis.invert(guide["config"][axis.key]) or {}
        if simplex:
            arms[GUIDED] = options | simplex.invert(guide["recommended"])
    arms[BEST] = dict(best["sample"])
    for name, mix in space.baselines().items():
        arms[name] = options | (simplex.invert(mix) if simplex else {})
    return [
        sample | {"arm": name, "seed": first + k, "full": True}
        for k in range(seeds)
        for name, sample in arms.items()
    ]


def judge(
    trials: Sequence[Mapping[str, Any]], guide: Mapping[str, Any], seed: int, confidence: float
) -> dict[str, Any]:
    """{arms: {name: {score, seeds, rows}}, base, gains: {arm: paired difference to the base},
    rank_to_full}.

    The base is the best plain mix, so a gain is one over all of them. `rank_to_full` is the rank
    correlation over the arms between their predicted or searched score and their full one, None
    below three arms with both.
    """
    hits: dict[str, dict[int, dict[str, float]]] = {}
    for t in trials:
        if t["score"] is not None and t["checkpoint"]:
            path = Path(t["checkpoint"]) / "hits.json"
            hits.setdefault(t["arm"], {})[t["seed"]] = read_json(path)
    if not hits:
        return {"arms": {}, "base": "", "gains": {}, "rank_to_full": None}
    arms = {
        name: {
            "score": sum(sum(h.values()) / len(h) for h in by_seed.values()) / len(by_seed),
            "seeds": len(by_seed),
            "rows": len(next(iter(by_seed.values()))),
        }
        for name, by_seed in hits.items()
    }
    plain = [name for name in arms if name not in (GUIDED, BEST)] or [BEST]
    base = max(plain, key=lambda name: arms[name]["score"])
    gains = {
        name: paired_seeds(hits[base], by_seed, confidence=confidence, seed=seed).record()
        for name, by_seed in hits.items()
        if name != base
    }
    small = {name: b.get("measured") for name, b in guide["baselines"].items()}
    small |= {GUIDED: guide["score"], BEST: guide["best"].get("score")}
    both = [(small[n], arms[n]["score"]) for n in arms if small.get(n) is not None]
    rank = rank_correlation([a for a, _ in both], [b for _, b in both])
    return {"arms": arms, "base": base, "gains": gains, "rank_to_full": rank}


def sentence(confirmed: Mapping[str, Any]) -> str:
    """One sentence a gain that matters: measured, with its interval, or that there is none."""
    if not confirmed.get("arms"):
        return ""
    name = GUIDED if GUIDED in confirmed["gains"] else BEST
    base, arms = confirmed["base"], confirmed["arms"]
    what = f"the {name.replace('_', ' ')} mix"
    gain = confirmed["gains"].get(name)
    if gain is None or gain.get("value") is None:
        return f"The confirming runs hold nothing to compare {what} with."
    seeds, rows = arms[name]["seeds"], arms[name]["rows"]
    span = f"{gain['value']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
    over = f"over the best plain mix ({base.replace('_', ' ')}, {arms[base]['score']:.3f})"
    runs = f"{seeds} {'seed' if seeds == 1 else 'seeds'} each on {rows} held-out rows"
    if gain["low"] > 0:
        return f"Confirmed at the full budget, {runs}: {what} gains {span} {over}."
    if gain["high"] < 0:
        return f"Not confirmed: at the full budget, {runs}, {what} loses {span} {over}."
    return f"No gain is confirmed: at the full budget, {runs}, {what} is at {span} {over}."
