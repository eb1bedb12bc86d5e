"""The search in stages over Ray Tune, each a Tuner in a folder of its own.

A stage ends with its trials in one JSON file; a stage that has it is not run again, one that was
killed is restored: finished trials are kept, a half-done one goes on from its checkpoint. The
budget ends any stage with what is known.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ray import tune as ray_tune
from ray.tune import Callback

from raytune_agents.infra import telemetry
from raytune_agents.storage import append_jsonl, read_json, write_json
from raytune_agents.train.job import CHECKPOINT
from raytune_agents.tune import schedulers
from raytune_agents.tune.axes import Sample
from raytune_agents.tune.ledger import SESSION, SearchBudget
from raytune_agents.tune.trial import free_workers, run_trial
from raytune_agents.tune.trial_spec import POINT, TrialInputs
from raytune_agents.tune.trials import Report, Trial, best_first, last_of_runs

log = logging.getLogger(__name__)
Progress = Callable[[int, int, str], None]  # trials done, trials in all, a note
LEDGER_KEYS = (
    *("report", "step", "tokens", "exact_match", "val_loss"),
    *("objective", "seconds", "setup_s", "process"),
)
# What Ray adds to every report, beside what a trial reports of itself.
RAYS = (
    *("training_iteration", "time_total_s", "timestamp", "time_this_iter_s", "pid", "n", "of"),
    *("time_since_restore", "iterations_since_restore"),
)


@dataclass(frozen=True)
class SearchContext:
    """Where and on what a search runs. `folder`: the step's; `resources`: one trial's own,
    on nodes with these labels."""

    folder: Path
    budget: SearchBudget
    resources: dict[str, float]
    label_selector: dict[str, str]
    progress: Progress

    @property
    def ledger(self) -> Path:
        return self.folder / "metrics.jsonl"


@dataclass
class StageSpec:
    """What one stage tries: given points, or the proposals of a search algorithm."""

    name: str
    points: list[Sample]
    proposals: int = 0  # 0: the points only, none of which is stopped
    known: Sequence[tuple[Sample, float]] = ()
    noise: dict[int, float] = field(default_factory=dict)  # by report

    @property
    def total(self) -> int:
        return self.proposals or len(self.points)


def run_stage(stage: StageSpec, inputs: TrialInputs, context: SearchContext) -> list[Trial]:
    """The trials of a stage, best first. A failed trial is among them with its error and no score.
    [] where the budget was spent before it."""
    done = context.folder / "stages" / f"{stage.name}.json"
    # Written last, and whole: the stage has ended.
    if done.is_file():
        return [Trial(**values) for values in read_json(done)]
    if not stage.total or context.budget.reason:
        return []
    # How much of a stage a kill of the driver can lose, in seconds.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "2")
    os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends no stage half-done
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")  # its folder keeps the traceback
    folder = context.folder / "ray" / stage.name
    ProgressCallback.begin(stage, context)
    trainable = ray_tune.with_parameters(run_trial, inputs=inputs)
    resources: Any = context.resources
    if labels := context.label_selector:
        resources = ray_tune.PlacementGroupFactory([resources], bundle_label_selector=[labels])
    trainable = ray_tune.with_resources(trainable, resources)
    if ray_tune.Tuner.can_restore(str(folder)):
        tuner = ray_tune.Tuner.restore(
            # Errored too: a node that died with its trials is no fault of theirs.
            str(folder),
            trainable=trainable,
            resume_unfinished=True,
            resume_errored=True,
        )
    else:
        tuner = make_tuner(trainable, stage, inputs, context, folder)
    starts = context.folder / "stages" / f"{stage.name}.starts.json"
    # A start per session: what lies between a kill and the next start is no search time.
    times = [*(read_json(starts) if starts.is_file() else []), time.time()]
    write_json(starts, times)
    found = tuner.fit()  # the budget may end before all have begun
    free_workers(context.folder)
    results = [found[i] for i in range(len(found))]
    begun = [r for r in results if (Path(r.path) / "params.json").is_file()]
    trials = best_first([trial_of(result, inputs, stage.name, times) for result in begun])
    if failed := [t.error for t in trials if t.error]:
        share = f"{len(failed)} of {len(trials)} trials of stage {stage.name}"
        log.warning("tune: %s failed: %s", share, failed[0])
    write_json(done, [asdict(t) for t in trials])
    return trials


def make_tuner(
    trainable: Any, stage: StageSpec, inputs: TrialInputs, context: SearchContext, folder: Path
) -> Any:
    """A new Tuner of the stage."""
    tune = inputs.tune
    how: dict[str, Any] = {}
    if stage.proposals:
        how = {
            "search_alg": schedulers.search_algorithm(
                tune, inputs.space, stage.points, stage.known, inputs.job.seed
            ),
            "scheduler": schedulers.asha(tune, context.ledger, stage.name, stage.noise),
            "num_samples": stage.proposals,
        }
        # Optuna has the space itself; random search takes the Tuner's.
        space = inputs.space.tune_space() if tune.search_alg == "random" else {}
    else:
        # One variable with whole samples as its values: each is run once, as it is given.
        space = {POINT: ray_tune.grid_search(stage.points)}
    if not stage.proposals or tune.search_alg != "random":  # that one has a limit of its own
        how["max_concurrent_trials"] = tune.max_concurrent_trials
    return ray_tune.Tuner(
        trainable,
        param_space=space,
        # A kept process has its imports and the mapped pool. Nested trials train in others.
        tune_config=ray_tune.TuneConfig(reuse_actors=tune.num_workers == 1, **how),
        run_config=ray_tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            verbose=0,
            callbacks=[ProgressCallback()],
            stop=context.budget,
            # A second try for a killed process; what is wrong with a trial fails twice.
            failure_config=ray_tune.FailureConfig(max_failures=1),
            checkpoint_config=ray_tune.CheckpointConfig(num_to_keep=1),
        ),
    )


class ProgressCallback(Callback):
    """Says how far the stage is, and writes every report into the ledger. Pickled by reference, so
    what it needs stays on the class."""

    context: SearchContext
    stage: StageSpec
    done, best = 0, float("-inf")

    @classmethod
    def begin(cls, stage: StageSpec, context: SearchContext) -> None:
        cls.stage, cls.context, cls.done, cls.best = stage, context, 0, float("-inf")

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any
    ) -> None:
        if result["step"] >= result["of"]:  # earlier reports are of other rungs
            ProgressCallback.best = max(ProgressCallback.best, result["objective"])
        line = {"stage": self.stage.name, "trial_id": trial.trial_id}
        line |= {k: result[k] for k in LEDGER_KEYS}
        line |= {"session": SESSION, "wall": time.time() - SESSION}
        self.context.folder.mkdir(parents=True, exist_ok=True)
        append_jsonl(self.context.ledger, line)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        # What a nested Ray Train run held goes to the next trial.
        free_workers(self.context.folder, trial.trial_id)
        # On the class, as in `begin`: Ray makes copies of the callback.
        ProgressCallback.done += 1
        ids = {"run": self.context.folder.parent.name, "stage": self.stage.name}
        telemetry.add("raytune_trials", 1, outcome=trial.status.lower(), **ids)
        best = "" if self.best == float("-inf") else f"best {self.best:.3f}"
        log.info("%s: trial %s %s, %s", self.stage.name, trial.trial_id, trial.status, best)
        self.context.progress(self.done, self.stage.total, f"{self.stage.name}: {best}")

    on_trial_error = on_trial_complete


def trial_of(result: Any, inputs: TrialInputs, stage: str, starts: list[float]) -> Trial:
    """A Ray Tune Result -> a trial."""
    tried = result.config or read_json(Path(result.path) / "params.json")  # failed before a report
    sample = dict(tried.get(POINT) or tried)
    config = inputs.space.resolve(sample)
    weights = config.pop("mix.weights", inputs.weights)
    metrics, reports = result.metrics or {}, _reports(result)
    text = _error_text(result, bool(reports))
    finished = bool(reports) and reports[-1]["step"] >= metrics.get("of", 0)
    failed = bool(text)
    error = f"{type(result.error or RuntimeError()).__name__}: {_cause(text)}" if failed else ""
    good = bool(reports) and not failed and "objective" in reports[-1]  # NaN is no score
    return Trial(
        trial_id=metrics.get("trial_id") or Path(result.path).name,
        stage=stage,
        arm=str(sample.get("arm", "")),
        status="failed" if failed else "finished" if finished else "stopped",
        sample=sample,
        config=config,
        weights=metrics.get("weights") or weights,
        method=config.get("tune.method", inputs.job.method),
        seed=int(sample.get("seed", inputs.job.seed)),
        reports=reports,
        score=reports[-1]["exact_match"] if good else None,
        objective=reports[-1]["objective"] if good else None,
        tokens=reports[-1]["tokens"] if reports else 0,
        seconds=sum(r["time"] - r["began"] for r in last_of_runs(reports)),
        error=error,
        checkpoint=_checkpoint(result),
        starts=starts,
    )


def _checkpoint(result: Any) -> str:
    """The folder of the last adapter; that of a nested run lies below its checkpoint."""
    if result.checkpoint:
        return result.checkpoint.path
    nested = (result.metrics or {}).get("checkpoint_path")
    return str(Path(nested) / CHECKPOINT) if nested else ""


def _error_text(result: Any, reported: bool) -> str:
    """What a trial raised, "" if nothing: also where the budget ended before its second try."""
    if result.error is not None:
        return str(result.error)
    last = Path(result.path) / "error.txt"
    return last.read_text(encoding="utf-8") if last.is_file() and not reported else ""


def _reports(result: Any) -> list[Report]:
    """Every report once, numbers only; a report made again after a kill counts as the later one."""
    frame = result.metrics_dataframe
    if frame is None or "report" not in frame:  # it failed before its first
        return []
    # Ray flattens the config and nested values under names with a slash.
    names = [n for n in frame.select_dtypes("number") if "/" not in n and n not in RAYS]
    last = frame[names].drop_duplicates("report", keep="last").sort_values("report")
    # NaN: the column of a report that had no such metric.
    return [row.dropna().to_dict() for _, row in last.astype(float).iterrows()]


def _cause(text: str) -> str:
    """The line of a remote traceback that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # A traceback ends with the error; lines below it are Ray's frames and carets.
    named = [line for line in lines if not line.startswith(("File ", "ray::", "^", "~"))]
    return (named or lines or [""])[-1][:300]
