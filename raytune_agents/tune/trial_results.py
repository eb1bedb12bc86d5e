"""Ray Tune's results -> trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raytune_agents.storage import read_json
from raytune_agents.train.job import CHECKPOINT
from raytune_agents.tune.trial_spec import POINT, TrialInputs
from raytune_agents.tune.trials import Report, Trial, last_of_runs

# What Ray adds to every report, beside what a trial reports of itself.
RAYS = (
    *("training_iteration", "time_total_s", "timestamp", "time_this_iter_s", "pid", "n", "of"),
    *("time_since_restore", "iterations_since_restore"),
)


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
