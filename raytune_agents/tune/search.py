"""Ray Tune over the mix and the hyper-parameters together.

The pool is tokenised once and lies in the object store; a trial is a weighted choice of it, trained
in the trial's own process (a nested TorchTrainer leaks its CPUs when a scheduler stops the trial)
and scored by one teacher-forced pass over val rows. A killed search is restored; finished trials
are kept."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.tune import Callback

from raytune_agents import mix
from raytune_agents.config import TrainSection, TuneSection
from raytune_agents.train.worker import Job
from raytune_agents.tune.space import Space

METRIC = "exact_match"
OBJECTIVE = (
    "objective"  # exact match, and val loss as the tie-break of trials that match nothing yet
)


def objective(exact_match: float, val_loss: float) -> float:
    """exact_match - 0.01 * val_loss: the score to maximise. The loss moves it by less than one row
    in a hundred a nat, so it orders only trials whose exact match is (almost) equal."""
    return exact_match - 0.01 * val_loss


def resolve(
    sample: dict[str, Any], space: Space, base: dict[str, Any]
) -> tuple[dict, dict[str, Any]]:
    """A proposal -> (mix weights, dumped TrainSection with the proposal's train options)."""
    options = space.resolve(sample)
    weights = options.get("mix.weights", base["weights"])
    section = json.loads(json.dumps(base["section"]))
    for key, value in options.items():
        if key.startswith("train."):
            *path, last = key.split(".")[1:]
            inner = section
            for part in path:
                inner = inner[part]
            inner[last] = value
    return weights, TrainSection(**section).model_dump()


def trial(
    sample: dict[str, Any],
    *,
    space: Space,
    pool: list[dict[str, Any]],
    val: list[dict[str, Any]],
    base: dict[str, Any],
    job: Job,
    tune: TuneSection,
) -> None:
    """One trial, in this process: choose rows, train, report at most `rungs` times, go on from a
    checkpoint where there is one."""
    from ray import tune as ray_tune

    from raytune_agents.train import worker

    started = time.monotonic()
    weights, section = resolve(sample, space, base)
    costs = [(r["row_id"], r["pool"], r["trained_tokens"]) for r in pool]
    chosen = mix.choose(costs, weights, tune.tokens, base["max_epochs"], job.seed)
    by_id = {r["row_id"]: r for r in pool}
    data = [by_id[i] for i in chosen.ids]
    steps = max(1, math.ceil(len(data) / section["batch_rows"]))
    section |= {"save_steps": math.ceil(steps / tune.rungs), "max_steps": steps}
    out = tempfile.mkdtemp(prefix="raytune-agents-trial-")
    job = replace(job, section=section, columns="", out=out)
    facts = {"of": steps, "weights": weights, "tokens": sum(chosen.tokens.values())}
    checkpoint = ray_tune.get_checkpoint()
    try:
        report = reporter(val, facts, started)
        if checkpoint:
            with checkpoint.as_directory() as folder:
                worker.fit(job, [report], folder, rows=data)
        else:
            worker.fit(job, [report], rows=data)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def reporter(val: list[dict[str, Any]], facts: dict[str, Any], started: float) -> Any:
    """A TRL callback that scores the model at every save and reports score and checkpoint."""
    from ray import tune as ray_tune
    from transformers import TrainerCallback

    from raytune_agents.train.score import teacher_forced

    class Report(TrainerCallback):
        setup_s = 0.0

        def on_train_begin(self, args, state, control, **kwargs):
            self.setup_s = time.monotonic() - started

        def on_save(self, args, state, control, model=None, processing_class=None, **kwargs):
            score = teacher_forced(model, val, processing_class.pad_token_id)
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            metrics = facts | score
            metrics[OBJECTIVE] = objective(score["exact_match"], score["val_loss"])
            metrics["step"] = state.global_step
            metrics["tokens"] = facts["tokens"] * state.global_step // facts["of"]
            metrics |= {"setup_s": self.setup_s, "seconds": time.monotonic() - started}
            ray_tune.report(metrics, checkpoint=ray_tune.Checkpoint.from_directory(folder))

    return Report()


def tuner(
    trainable: Any,
    space: Space,
    points: list[dict[str, Any]],
    tune: TuneSection,
    seed: int,
    folder: Path,
) -> Any:
    """A new Tuner: seeded Optuna TPE that starts with `points`, ASHA on the reports."""
    from ray import tune as ray_tune
    from ray.tune.search.optuna import OptunaSearch

    goal = {"metric": OBJECTIVE, "mode": "max"}
    searcher = OptunaSearch(
        space=space.tune_space(), seed=seed, points_to_evaluate=points[: tune.trials], **goal
    )
    scheduler = ray_tune.schedulers.ASHAScheduler(
        max_t=tune.rungs + 1,  # a trial reports at most `rungs` times: none is cut by this
        grace_period=min(tune.grace, tune.rungs),
        reduction_factor=max(2, tune.reduction),
        **goal,
    )
    return ray_tune.Tuner(
        trainable,
        tune_config=ray_tune.TuneConfig(
            num_samples=tune.trials,
            search_alg=searcher,
            scheduler=scheduler,
            max_concurrent_trials=tune.concurrent,
            reuse_actors=True,
        ),
        run_config=ray_tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            verbose=0,
            callbacks=[Speak()],
            failure_config=ray_tune.FailureConfig(max_failures=1),
            checkpoint_config=ray_tune.CheckpointConfig(num_to_keep=1),
        ),
    )


def run(
    given: dict[str, Any],
    points: list[dict[str, Any]],
    folder: Path,
    *,
    cpus: float,
    gpus: float,
    tell: Callable[[int, int, str], None],
) -> list[dict[str, Any]]:
    """Search (or go on searching in `folder`) and return the trials as plain values, best first.

    `given` holds the arguments of `trial` but the sample; `points` are tried first. A failed trial
    is in the list with its error and no score.
    """
    from ray import tune as ray_tune

    tune, space = given["tune"], given["space"]
    Speak.tell, Speak.total, Speak.done = staticmethod(tell), tune.trials, 0
    trainable = ray_tune.with_parameters(trial, **given)
    trainable = ray_tune.with_resources(trainable, {"CPU": cpus, "GPU": gpus})
    if ray_tune.Tuner.can_restore(str(folder)):
        search = ray_tune.Tuner.restore(
            str(folder), trainable=trainable, resume_unfinished=True, resume_errored=True
        )
    else:
        search = tuner(trainable, space, points, tune, given["job"].seed, folder)
    trials = [as_trial(result, space) for result in search.fit()]
    return sorted(trials, key=lambda t: (t["score"] is None, -(t["score"] or 0.0)))


class Speak(Callback):
    """Says how far the search is. Pickled by reference, so `tell` and the counts stay here."""

    tell: Callable[[int, int, str], None] = staticmethod(lambda done, total, note: None)
    total, done, best = 0, 0, float("-inf")

    def on_trial_result(self, iteration, trials, trial, result, **info):
        Speak.best = max(Speak.best, result[METRIC])

    def on_trial_complete(self, iteration, trials, trial, **info):
        Speak.done += 1
        Speak.tell(Speak.done, Speak.total, f"best exact match {max(Speak.best, 0):.3f}")

    on_trial_error = on_trial_complete


def as_trial(result: Any, space: Space) -> dict[str, Any]:
    """A Ray Tune Result -> {trial_id, status, config, weights, reports, score, seconds, error}."""
    config = space.resolve(result.config)
    frame = result.metrics_dataframe
    keys = ("step", METRIC, "val_loss", "tokens", OBJECTIVE, "setup_s", "seconds")
    reports = (
        []
        if frame is None
        else [{k: float(r[k]) for k in keys if k in r} for r in frame.to_dict("records")]
    )
    metrics = result.metrics or {}
    failed = result.error is not None
    finished = bool(reports) and metrics.get("step") == metrics.get("of")
    weights = config.pop("mix.weights", {})
    return {
        "trial_id": metrics.get("trial_id", ""),
        "config": config,
        "weights": weights,
        "reports": reports,
        "status": "failed" if failed else "finished" if finished else "stopped",
        "score": None if failed or not reports else reports[-1][METRIC],
        "seconds": reports[-1]["seconds"] if reports else 0.0,
        "error": f"{type(result.error).__name__}: {str(result.error).splitlines()[0]}"
        if failed
        else "",
    }
