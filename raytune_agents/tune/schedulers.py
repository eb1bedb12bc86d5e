"""Who proposes and who stops: Ray Tune's search algorithms and ASHA.

A stop is a comparison of single runs, so a trial is stopped only where it is further below the best
score of its rung than two equal runs differ by chance (the noise measured first). Ray does not keep
a scheduler's state through a restore; ours reads the earlier reports from the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch

from raytune_agents.config import Config, ConfigError, TuneConfig
from raytune_agents.evaluate.scoring import SCORED
from raytune_agents.records import JsonObject, Options
from raytune_agents.train.batches import even_rows
from raytune_agents.tune import trial_tables
from raytune_agents.tune.axes import Sample
from raytune_agents.tune.ledger import reports_of
from raytune_agents.tune.search_space import Space, parse_space
from raytune_agents.tune.trial_spec import OBJECTIVE, with_options, with_workers
from raytune_agents.tune.trials import APART

STEP_ROWS = "train.global_batch_size"
TEACHER_FORCED = ("exact_match", "irrelevance", "val_loss")  # metrics of a forward pass


class NoiseAwareASHA(ASHAScheduler):
    """Asynchronous successive halving (arXiv 1810.05934) on trained tokens that spares a trial
    whose score cannot be told from the best of its rung.

    `ledger`: where the reports of this `stage` are written; `noise`: report number -> standard
    deviation of the objective between equal runs.
    """

    def __init__(self, ledger: Path, stage: str, noise: dict[int, float], **options: Any):
        super().__init__(**options)
        self.ledger, self.stage, self.noise = ledger, stage, noise
        self.seen: dict[int, dict[str, float]] = {}
        self.restored = False

    def on_trial_result(self, tune_controller: Any, trial: Any, result: JsonObject) -> str:
        if not self.restored:
            # Before the first report is judged: its rung must hold those of before the kill.
            self.restored = True
            for line in reports_of(self.ledger, self.stage):
                self._note(line["trial_id"], line)
                earlier: Any = SimpleNamespace(trial_id=line["trial_id"])
                # By every bracket: which one a trial was in is not kept.
                for bracket in self._brackets:
                    bracket.on_result(earlier, line[self._time_attr], line[OBJECTIVE])
        self._note(trial.trial_id, result)
        decision = super().on_trial_result(tune_controller, trial, result)
        number = int(result["report"])
        behind = max(self.seen[number].values()) - result[OBJECTIVE]
        within_noise = behind <= APART * self.noise.get(number, 0.0)
        return TrialScheduler.CONTINUE if within_noise else decision

    def _note(self, trial_id: str, result: JsonObject) -> None:
        self.seen.setdefault(int(result["report"]), {})[trial_id] = result[OBJECTIVE]


def validate_tune(config: Config) -> Space:
    """What of the search can be refused before Ray starts; its space. Raises ConfigError."""
    tune = config.tune
    space = parse_space(tune.space, base=config, preset=tune.preset)
    written = SCORED if tune.score == "generate" and tune.num_rungs == 1 else ()
    known = [*TEACHER_FORCED, *(m for m in written if m not in TEACHER_FORCED)]
    if wrong := [m for m in tune.objective if m not in known]:
        more = ", or set tune.score=generate and tune.num_rungs=1"
        more = more if set(wrong) <= set(SCORED) else ""
        raise ConfigError(f"tune.objective: {wrong} is not scored; write some of {known}{more}")
    axis = tune.space.get(STEP_ROWS)
    choice = axis.get("choice") if isinstance(axis, Mapping) else None
    for rows in choice or [config.train.global_batch_size]:
        team = with_workers(with_options(config.train, {STEP_ROWS: rows}), tune.num_workers)
        try:
            even_rows(team)
        except ConfigError as error:
            raise ConfigError(f"tune.num_workers={tune.num_workers}: {error}") from None
    if tune.noise == 1:
        raise ConfigError("tune.noise=1: one run has no spread; write 0 or at least 2, better 3")
    if tune.from_run:
        try:
            trial_tables.load_trials(tune.from_run)
        except FileNotFoundError as error:
            raise ConfigError(f"tune.from={tune.from_run!r}: {error}") from None
    return space


def search_algorithm(
    tune: TuneConfig,
    space: Space,
    points: list[Sample],
    known: Sequence[tuple[Sample, float]],
    seed: int,
) -> Searcher | BasicVariantGenerator:
    """The search algorithm; it tries `points` first and knows the objective of `known` samples."""
    import optuna

    # A point is a trial, so there can be no more of them.
    points = points[: tune.num_samples]
    if tune.search_alg == "random":
        return BasicVariantGenerator(
            points, max_concurrent=tune.max_concurrent_trials, random_state=seed
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler: Options = {"seed": seed}
    if tune.search_alg == "optuna_gp":
        from optuna.samplers import GPSampler

        sampler = {"sampler": GPSampler(seed=seed)}
    found = OptunaSearch(space.tune_space(), OBJECTIVE, "max", points_to_evaluate=points, **sampler)
    for sample, value in known:
        found.add_evaluated_point(sample, value)
    return found


def asha(
    tune: TuneConfig, ledger: Path, stage: str, noise: dict[int, float]
) -> NoiseAwareASHA | None:
    """The scheduler, None where none is asked for. Rungs lie on trained tokens, a tenth early
    because a report may come early."""
    if tune.scheduler == "none":
        return None
    rung = 0.9 * tune.tokens / tune.num_rungs
    grace: Any = tune.grace_period * rung  # Ray wants an int, takes a float
    # no trial is stopped by max_t: it reports at most `num_rungs` times
    return NoiseAwareASHA(
        ledger,
        stage,
        noise,
        time_attr="tokens",
        metric=OBJECTIVE,
        mode="max",
        max_t=2 * tune.tokens,
        grace_period=grace,
        reduction_factor=tune.reduction_factor,
        brackets=1,
    )
