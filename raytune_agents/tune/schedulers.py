"""Who proposes and who stops: Ray Tune's searchers and schedulers by name.

A stop is a comparison of single runs, so a trial is stopped only where it is further below the best
score of its rung than two equal runs differ by chance (the noise measured first). Ray does not keep
a scheduler's state through a restore; ours reads the earlier reports from the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import (
    ASHAScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.schedulers.pb2 import PB2
from ray.tune.search.optuna import OptunaSearch

from raytune_agents.config import ConfigError, TuneConfig
from raytune_agents.storage import read_jsonl
from raytune_agents.tune.axes import Axis
from raytune_agents.tune.space import Space, is_text
from raytune_agents.tune.trial import OBJECTIVE

APART = 1.96 * math.sqrt(2)  # standard deviations by which two runs differ, at 95 %
POPULATION = ("pbt", "pb2")
BRACKETS = 3  # of HyperBand: from stopping early to late
# These fix the shapes or the meaning of a checkpoint, so a population keeps them.
KEPT = ("train.lora", "train.global_batch_size")


class Patient:
    """A scheduler that spares a trial whose score cannot be told from the best of its rung.

    `noise`: report number -> standard deviation of the objective between equal runs.
    """

    def watch(self, ledger: Path, stage: str, noise: dict[int, float]) -> Any:
        self.ledger, self.stage, self.noise = ledger, stage, noise
        self.seen: dict[int, dict[str, float]] = {}
        self.read = False
        return self

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if not self.read:
            self.read = True
            for line in lines(self.ledger, self.stage):
                self.note(line["trial_id"], line)
                self.replay(trial, line)
        self.note(trial.trial_id, result)
        decision = super().on_trial_result(controller, trial, result)  # type: ignore[misc]
        if decision != TrialScheduler.STOP or not self.spared(result):
            return decision
        self.forget(trial)
        return TrialScheduler.CONTINUE

    def note(self, trial_id: str, result: dict[str, Any]) -> None:
        self.seen.setdefault(int(result["report"]), {})[trial_id] = result[OBJECTIVE]

    def spared(self, result: dict[str, Any]) -> bool:
        """Whether the score is within the noise of the rung's best."""
        number = int(result["report"])
        best = max(self.seen[number].values())
        return best - result[OBJECTIVE] <= APART * self.noise.get(number, 0.0)

    def replay(self, trial: Any, line: dict[str, Any]) -> None:
        """Take in a report of before the restore."""

    def forget(self, trial: Any) -> None:
        """Undo what the scheduler noted about a stop that does not happen."""


class Asha(Patient, ASHAScheduler):
    """Asynchronous successive halving (arXiv 1810.05934) on trained tokens."""

    def replay(self, trial: Any, line: dict[str, Any]) -> None:
        other: Any = SimpleNamespace(trial_id=line["trial_id"])
        for bracket in self._brackets:  # which one it was in is not known
            bracket.on_result(other, line[self._time_attr], line[str(self._metric)])


class Bohb(OptunaSearch):
    """BOHB (arXiv 1807.01774): a density model over all options at once, of what was seen at the
    largest budget; a trial that was stopped counts after every whole one, by its last report."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        stopped = bool(result and result["step"] < result["of"])
        super().on_trial_complete(trial_id, None if stopped else result, error)


class Median(Patient, MedianStoppingRule):
    """Stops what is below the median of the running means (Vizier, KDD 2017)."""

    def replay(self, trial: Any, line: dict[str, Any]) -> None:
        if line["trial_id"] != trial.trial_id:
            self._results[line["trial_id"]].append(line)

    def forget(self, trial: Any) -> None:
        self._stopped_trials.discard(trial)


def lines(ledger: Path, stage: str = "") -> list[dict[str, Any]]:
    """The reports that were written down; a last line cut by a kill is left out."""
    return [line for line in read_jsonl(ledger) if not stage or line["stage"] == stage]


def check(tune: TuneConfig, space: Space) -> None:
    """Refuse what could not run, before Ray starts. Raises ConfigError."""
    if tune.searcher == "bohb" and tune.scheduler != "asha":
        raise ConfigError(
            f"tune.searcher=bohb with tune.scheduler={tune.scheduler}: BOHB is a searcher in "
            "HyperBand's brackets; write scheduler: asha, or searcher: optuna"
        )
    if tune.pareto and (len(tune.objective) < 2 or tune.searcher not in ("random", "optuna")):
        raise ConfigError(
            f"tune.pareto=true with tune.searcher={tune.searcher} and objective={tune.objective} "
            "has no front to search; write two metrics or more and searcher random or optuna"
        )
    if tune.searcher in POPULATION and tune.num_workers > 1:
        raise ConfigError(
            f"tune.searcher={tune.searcher} with tune.num_workers={tune.num_workers}: a "
            "population takes over checkpoints, which trials of several workers keep "
            "to themselves; write optuna, or tune.num_workers: 1"
        )
    if tune.searcher in POPULATION and not mutable(space, tune.searcher):
        raise ConfigError(
            f"tune.searcher={tune.searcher} has nothing to change while a trial runs; search "
            "mix.weights or train.learning_rate, or write optuna"
        )


def mutable(space: Space, searcher: str) -> dict[str, Any]:
    """Variable -> domain (pb2: [low, high]) of what a running trial can change."""
    out: dict[str, Any] = {}
    for axis in space.axes:
        fixed = is_text(axis.key) or axis.key.startswith(KEPT)
        listed = isinstance(axis, Axis) and axis.kind == "choice" and axis.prior is None
        if fixed or (listed and searcher == "pb2"):
            continue
        for name, domain in axis.domains().items():
            ends = [0.0, 1.0]
            if isinstance(axis, Axis) and axis.prior is None:
                ends = [axis.low, axis.high]
            out[name] = domain if searcher == "pbt" else ends
    return out


def searcher(
    tune: TuneConfig,
    space: Space,
    points: list[dict[str, Any]],
    known: Sequence[tuple[dict[str, Any], float]],
    seed: int,
) -> Any:
    """The searcher; it tries `points` first and knows the objective of `known` samples."""
    import optuna
    from ray.tune.search.basic_variant import BasicVariantGenerator

    points = points[: tune.trials]
    if tune.searcher == "random" or tune.searcher in POPULATION:
        most = 0 if tune.searcher in POPULATION else tune.concurrent  # Tune's own limit skips it
        return BasicVariantGenerator(points, max_concurrent=most, random_state=seed)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    goal: dict[str, Any] = {"metric": OBJECTIVE, "mode": "max"}
    if tune.pareto:
        modes = ["max" if w > 0 else "min" for w in tune.objective.values()]
        goal = {"metric": list(tune.objective), "mode": modes}
    sampler: dict[str, Any] = {"seed": seed}
    if tune.searcher == "optuna_gp":
        from optuna.samplers import GPSampler

        sampler = {"sampler": GPSampler(seed=seed)}
    if tune.searcher == "bohb":
        sampler = {"sampler": optuna.samplers.TPESampler(multivariate=True, seed=seed)}
    kind = Bohb if tune.searcher == "bohb" else OptunaSearch
    found = kind(space=space.tune_space(), points_to_evaluate=points, **goal, **sampler)
    for sample, value in [] if tune.pareto else known:
        found.add_evaluated_point(sample, value)
    return found


def scheduler(
    tune: TuneConfig, space: Space, ledger: Path, stage: str, noise: dict[int, float]
) -> Any:
    """The scheduler; rungs lie on trained tokens, a tenth early because a report may come early."""
    rung = 0.9 * tune.tokens / tune.rungs
    goal: dict[str, Any] = {"metric": OBJECTIVE, "mode": "max", "time_attr": "tokens"}
    grace: Any = min(tune.grace, tune.rungs) * rung  # Ray asks for an int, and takes a float
    if tune.searcher == "pbt":
        return PopulationBasedTraining(
            perturbation_interval=rung, hyperparam_mutations=mutable(space, "pbt"), **goal
        )
    if tune.searcher == "pb2":
        return PB2(perturbation_interval=rung, hyperparam_bounds=mutable(space, "pb2"), **goal)
    if tune.scheduler == "asha":
        asha = Asha(  # no trial is stopped by max_t: it reports at most `rungs` times
            max_t=2 * tune.tokens, grace_period=grace, reduction_factor=max(2, tune.reduction),
            brackets=min(BRACKETS, tune.rungs) if tune.searcher == "bohb" else 1, **goal,
        )  # fmt: skip
        return asha.watch(ledger, stage, noise)
    if tune.scheduler == "median":
        median = Median(grace_period=grace, min_samples_required=3, min_time_slice=10**12, **goal)
        return median.watch(ledger, stage, noise)
    return None
