"""The Python API: one function per step, typed config in, typed result out.

A function runs its step, and those before it that are not done, as `raytune-agents run --steps`
does: in the run folder `runs_dir/name` of the config, skipping what is done. Where rows flow, the
result is a Ray Dataset over the step's files; Ray is started (or joined) as `resources` says, and
stays up for it. Errors are the same as on the command line: ConfigError for what a user can mend.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from raytune_agents.config import Config
from raytune_agents.config import ConfigError as ConfigError  # handed on
from raytune_agents.config import load_config as load_config  # handed on
from raytune_agents.mirror import folder_of_run
from raytune_agents.runs import METRICS, STEPS, Manifest, steps_named
from raytune_agents.storage import read_jsonl

if TYPE_CHECKING:
    import ray.data

    from raytune_agents.evaluate.scoreboard import Differences, Scores
    from raytune_agents.progress import Display
    from raytune_agents.tune.trials import Trial


@dataclass(frozen=True)
class RunResult:
    """A run's folder, and what each of its finished steps says of itself."""

    folder: Path
    manifests: dict[str, Manifest]


@dataclass(frozen=True)
class TrainedArm:
    """One arm: its adapter's folder (or full weights), and its training log, one entry per
    optimiser step (step, loss in nats, tokens, seconds, ...)."""

    adapter: Path
    rows: int
    seconds: float
    log: list[dict[str, float]]


@dataclass(frozen=True)
class Evaluation:
    """{arm: {split: {metric: Estimate}}}, and the paired differences to the base."""

    scores: Scores
    differences: Differences


@dataclass(frozen=True)
class SearchResult:
    """All trials, the best first; the guideline in words, and the config that it recommends (None
    where no trial has a score)."""

    trials: list[Trial]
    guideline: str
    best_config: Path | None


def run(config: Config, steps: Iterable[str] = STEPS, display: Display | None = None) -> RunResult:
    """Run the steps that are not done. Raises ConfigError, BadLoss, EngineDown."""
    from raytune_agents.pipeline.run import run_steps
    from raytune_agents.progress import Display

    folder = run_steps(config, steps_named(steps), display or Display()).run.folder
    found = {name: Manifest.load(folder / name) for name in STEPS}
    return RunResult(folder, {name: made for name, made in found.items() if made})


def _made(config: Config, step: str) -> Path:
    """The folder of a step, after it and those before it."""
    return run(config, STEPS[: STEPS.index(step) + 1]).folder / step


def _rows(config: Config, folder: Path, *patterns: str) -> ray.data.Dataset:
    """The Parquet files of a step's folder."""
    import ray

    from raytune_agents.infra import cluster

    cluster.connect(config.resources, keep=True)
    files = [str(p) for pattern in patterns for p in sorted(folder.glob(pattern))]
    return ray.data.read_parquet(files)


def read(config: Config) -> ray.data.Dataset:
    """The rows of the sources with their split: columns of `records.arrow_schema`."""
    return _rows(config, _made(config, "read"), "*.parquet")


def generate(config: Config) -> ray.data.Dataset:
    """Synthetic positives, rows without a right call, mined failures, edited negatives, and rows
    kept back; column `pool` tells which, `reject_reason` is "" where a row is kept."""
    from raytune_agents.pipeline.generate import HELD, PARTS

    return _rows(
        config, _made(config, "generate"), *(f"{part}/*.parquet" for part in (*PARTS, HELD))
    )


def label(config: Config) -> ray.data.Dataset:
    """All rows, read and generated, with `reject_reason` ("" = accepted) and `quality`."""
    return _rows(config, _made(config, "label"), "*.parquet")


def mix(config: Config) -> dict[str, ray.data.Dataset]:
    """The training rows of every arm in order: columns id and pool."""
    folder = _made(config, "mix")
    return {name: _rows(config, folder, f"{name}.parquet") for name in config.train.arms}


def train(config: Config) -> dict[str, TrainedArm]:
    """Every arm of the config, trained."""
    folder = _made(config, "train")
    found = {}
    for name in config.train.arms:
        manifest = Manifest.load(folder / name)
        if manifest is not None:
            log = read_jsonl(folder / name / METRICS)
            found[name] = TrainedArm(
                folder / name / "adapter", manifest.rows.rows_out, manifest.seconds, log
            )
    return found


def evaluate(config: Config) -> Evaluation:
    """The scores of base and arms on the test rows, and how surely an arm is better."""
    from raytune_agents.evaluate.scoreboard import read_boards

    return Evaluation(*read_boards(_made(config, "evaluate")))


def tune(config: Config) -> SearchResult:
    """The search of mix and hyper-parameters."""
    from raytune_agents.tune.trial_tables import load_trials

    folder = run(config, ("read", "generate", "label", "tune")).folder
    best, guide = folder / "tune" / "best.yaml", folder / "tune" / "guide.md"
    return SearchResult(
        load_trials(folder) if config.tune.num_samples else [],
        guide.read_text(encoding="utf-8") if guide.is_file() else "",
        best if best.is_file() else None,
    )


def report(config: Config | str | Path) -> Path:
    """The offline page of a run, as far as it got; of a config's run, or of a run folder."""
    from raytune_agents.report import write_report

    if isinstance(config, Config):
        return write_report(folder_of_run(config))
    return write_report(Path(config))
