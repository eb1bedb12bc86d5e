"""The search in stages over Ray Tune: noise, search, leaders, confirm.

Each stage is a Tuner in a folder of its own and ends with its trials in one JSON file; a stage that
has it is not run again, one that was killed is restored: finished trials are kept, a half-done one
goes on from its checkpoint. The budget ends any stage with what is known.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.tune import Callback

from raytune_agents.infra import telemetry
from raytune_agents.runs import read_json, write_json
from raytune_agents.tune import nested, schedulers, spend
from raytune_agents.tune.tables import as_trial
from raytune_agents.tune.trial import POINT, Given, trial

Tell = Callable[[int, int, str], None]
KEEP = ("report", "step", "tokens", "exact_match", "val_loss", "objective", "seconds", "setup_s",
        "process")  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where and on what a search runs. `folder` is the step's; `needs`: a trial's own resources."""

    folder: Path
    budget: spend.Budget
    needs: dict[str, float]
    tell: Tell

    @property
    def ledger(self) -> Path:
        return self.folder / "metrics.jsonl"


@dataclass
class Plan:
    """What one stage tries: given points (with a grid over them), or a searcher's proposals."""

    name: str
    points: list[dict[str, Any]]
    proposals: int = 0  # 0: the points only, none of which is stopped
    known: Sequence[tuple[dict[str, Any], float]] = ()
    noise: dict[int, float] = field(default_factory=dict)  # by report

    @property
    def total(self) -> int:
        return self.proposals or len(self.points)


def run(stage: Plan, given: Given, place: Place) -> list[dict[str, Any]]:
    """The trials of a stage as plain values, best first. A failed trial is among them with its
    error and no score. [] where the budget was spent before it."""
    from ray import tune as ray_tune

    done = place.folder / "stages" / f"{stage.name}.json"
    if done.is_file():
        return read_json(done)
    if not stage.total or place.budget.reason:
        return []
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "2")
    os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends no stage half-done
    folder = place.folder / "ray" / stage.name
    Speak.begin(stage, place)
    trainable = ray_tune.with_parameters(trial, given=given)
    trainable = ray_tune.with_resources(trainable, place.needs)
    if ray_tune.Tuner.can_restore(str(folder)):
        search = ray_tune.Tuner.restore(
            str(folder), trainable=trainable, resume_unfinished=True, resume_errored=True
        )
    else:
        search = tuner(trainable, stage, given, place, folder)
    starts = place.folder / "stages" / f"{stage.name}.starts.json"
    times = [*(read_json(starts) if starts.is_file() else []), time.time()]
    write_json(starts, times)
    found = search.fit()  # the budget may end before all have begun
    if given.tune.num_workers > 1:
        nested.free_all()
    results = [found[i] for i in range(len(found))]
    begun = [r for r in results if (Path(r.path) / "params.json").is_file()]
    trials = [as_trial(result, given, stage.name) | {"starts": times} for result in begun]
    trials.sort(key=lambda t: (t["objective"] is None, -(t["objective"] or 0.0)))
    write_json(done, trials)
    return trials


def tuner(trainable: Any, stage: Plan, given: Given, place: Place, folder: Path) -> Any:
    """A new Tuner of the stage."""
    from ray import tune as ray_tune

    tune, how = given.tune, {}
    drawn = tune.searcher in ("random", *schedulers.POPULATION)  # else the searcher has the space
    if stage.proposals:
        how = {
            "search_alg": schedulers.searcher(
                tune, given.space, stage.points, stage.known, given.job.seed
            ),
            "scheduler": schedulers.scheduler(
                tune, given.space, place.ledger, stage.name, stage.noise
            ),
            "num_samples": stage.proposals,
        }
        space = given.space.tune_space() if drawn else {}
    else:
        space = {POINT: ray_tune.grid_search(stage.points)}
    population = tune.searcher in schedulers.POPULATION and stage.proposals
    if not stage.proposals or not drawn:  # a population is started whole: each of it has its turn
        how["max_concurrent_trials"] = tune.concurrent
    return ray_tune.Tuner(
        trainable,
        param_space=space,
        tune_config=ray_tune.TuneConfig(reuse_actors=tune.num_workers == 1, **how),
        run_config=ray_tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            verbose=0,
            callbacks=[Speak(), *([Free()] if tune.num_workers > 1 else [])],
            stop=place.budget,
            failure_config=ray_tune.FailureConfig(max_failures=1),
            checkpoint_config=ray_tune.CheckpointConfig(num_to_keep=4 if population else 1),
        ),
    )


class Speak(Callback):
    """Says how far the stage is, and writes every report into the ledger. Pickled by reference, so
    what it needs stays on the class."""

    place: Place
    stage: Plan
    done, best = 0, float("-inf")

    @classmethod
    def begin(cls, stage: Plan, place: Place) -> None:
        cls.stage, cls.place, cls.done, cls.best = stage, place, 0, float("-inf")

    def on_trial_result(self, iteration, trials, trial, result, **info):
        Speak.best = max(Speak.best, result["objective"])
        wall = time.time() - spend.SESSION
        line = {"stage": self.stage.name, "trial_id": trial.trial_id}
        line |= {k: result[k] for k in KEEP} | {"session": spend.SESSION, "wall": wall}
        self.place.folder.mkdir(parents=True, exist_ok=True)
        with self.place.ledger.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def on_trial_complete(self, iteration, trials, trial, **info):
        Speak.done += 1
        ids = {"run": self.place.folder.parent.name, "stage": self.stage.name}
        telemetry.add("raytune_trials", 1, outcome=trial.status.lower(), **ids)
        best = "" if Speak.best == float("-inf") else f"best {Speak.best:.3f}"
        self.place.tell(Speak.done, self.stage.total, f"{self.stage.name}: {best}")

    on_trial_error = on_trial_complete


class Free(Callback):
    """While trials nest Ray Train runs: what a stopped one held goes to the next."""

    every_s, last = 1.0, 0.0

    def on_step_end(self, iteration, trials, **info):
        if time.monotonic() - self.last > self.every_s:
            nested.free()
            self.last = time.monotonic()
