"""What trials say before any fit: comparable scores, repeats, leaders, the best, columns."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from raytune_agents.records import canonical
from raytune_agents.tune import surrogate
from raytune_agents.tune.surrogate import Option
from raytune_agents.tune.trials import BestRun, Level, Scored, Trial, finished_scores

NOT_OPTIONS = {"seed", "mix.weights"}  # of a config, when configurations are compared


def at_level(trials: Sequence[Trial], metric: str) -> tuple[int, list[Level], list[Scored]]:
    """(report number, all report numbers, the trials with a score there).

    Scores after different numbers of tokens are not comparable, so all are read at one report: the
    last one that enough trials for a fit reached, else the one that most reached. A finished trial
    keeps its last score at later ones; one without reports counts by its `score` at each. The
    second value says of each report how well it orders the trials that went to the last one.
    """
    good = [t for t in trials if not t.error]
    pools = {p for t in good for p in t.mix}
    top = max((len(t.reports) for t in good), default=0) or 1
    values = {
        n: [(t, v) for t in good if (v := _value(t, metric, n)) is not None]
        for n in range(1, top + 1)
    }
    # What `fit_surrogate` needs: repeats of a configuration count once.
    needed = surrogate.configurations_needed(len(pools))
    enough = [n for n, got in values.items() if len(_groups(got)) >= needed]
    level = max(enough) if enough else max(values, key=lambda n: (len(values[n]), n))
    levels = []
    for n, got in values.items():
        both = [(v, _value(t, metric, top)) for t, v in got]
        both = [(a, b) for a, b in both if b is not None]
        rank = surrogate.rank_correlation([a for a, _ in both], [b for _, b in both])
        levels.append(Level(n, len(got), rank if n < top else None))
    return level, levels, values[level]


def _value(trial: Trial, metric: str, report: int) -> float | None:
    """The score at the n-th report; None where the trial has none or it is not finite."""
    reports = [r for r in trial.reports if r.get(metric) is not None]
    if not reports:
        value = trial.score
    elif len(reports) >= report:
        value = reports[report - 1][metric]
    else:
        # A stopped trial would have gone on to another score; a finished one has its last.
        value = reports[-1][metric] if trial.status == "finished" else None
    return float(value) if value is not None and math.isfinite(value) else None


def guideline_metric(objective: Mapping[str, float]) -> str:
    """What the guideline is about: exact match where it carries the objective, else the sum."""
    rest = sum(abs(w) for m, w in objective.items() if m != "exact_match")
    return "exact_match" if objective.get("exact_match", 0.0) >= 10 * rest else "objective"


def leaders(trials: Sequence[Trial], count: int) -> list[Trial]:
    """The best `count` different configurations among the trials that went to the end."""
    groups = _groups(finished_scores(trials))
    groups.sort(key=lambda g: -float(np.mean([y for _, y in g])))
    return [group[0][0] for group in groups[:count]]


def noise_by_report(trials: Sequence[Trial]) -> dict[int, float]:
    """Report number -> standard deviation of the objective between runs of one configuration."""
    found: dict[int, list[float]] = defaultdict(list)
    for t in trials:
        for r in [] if t.error else t.reports:
            found[int(r["report"])].append(float(r["objective"]))
    # Of a sample: with two repeats, dividing by n would halve the variance.
    return {n: float(np.std(v, ddof=1)) for n, v in found.items() if len(v) > 1}


def seed_noise(scored: Sequence[Scored]) -> float | None:
    """Pooled standard deviation between repeats, sqrt(sum (y - mean)^2 / sum (n - 1)), or None."""
    groups = [[score for _, score in g] for g in _groups(scored)]
    free = sum(len(g) - 1 for g in groups)
    squares = sum(len(g) * float(np.var(g)) for g in groups)
    return math.sqrt(squares / free) if free else None


def _groups(scored: Sequence[Scored]) -> list[list[Scored]]:
    """The runs of each configuration: equal mix and options, whatever the seed."""
    groups = defaultdict(list)
    for trial, score in scored:
        config = {k: v for k, v in trial.config.items() if k not in NOT_OPTIONS}
        # Weights of two seeds of one mix differ in their last digits.
        mix = {p: round(w, 6) for p, w in sorted(trial.mix.items())}
        groups[canonical([config, mix])].append((trial, score))
    return list(groups.values())


def best(scored: Sequence[Scored]) -> BestRun | None:
    """The configuration with the best mean score; None where nothing was scored."""
    groups = _groups(scored)
    if not groups:
        return None
    top = max(groups, key=lambda g: np.mean([score for _, score in g]))
    trial = top[0][0]
    mean = float(np.mean([score for _, score in top]))
    return BestRun(trial.trial_id, mean, len(top), trial.mix, dict(trial.config))


def failed_trials(trials: Sequence[Trial]) -> list[dict[str, str]]:
    """The trials that raised, or whose last score is not a number, with the reason."""
    reasons = {
        t.trial_id: t.error or ("" if math.isfinite(t.score or 0) else f"its score is {t.score}")
        for t in trials
    }
    return [{"trial_id": i, "error": reason} for i, reason in reasons.items() if reason]


def options_of(trials: Sequence[Trial]) -> list[Option]:
    """A coding for each option other than the mix and the seed in which the trials differ."""
    configs = [trial.config for trial in trials]
    names = sorted({name for config in configs for name in config} - NOT_OPTIONS)
    tried = {name: [config.get(name) for config in configs] for name in names}
    return [Option.of(n, v) for n, v in tried.items() if len({canonical(x) for x in v}) > 1]


def row_of(trial: Trial, pools: Sequence[str], options: Sequence[Option]) -> list[float]:
    """The surrogate's columns: shares of the pools, then each option's."""
    weights, config = trial.mix, trial.config
    shares = [weights.get(p, 0.0) / sum(weights.values()) for p in pools]
    return shares + [c for o in options for c in o.code(config.get(o.name))]
