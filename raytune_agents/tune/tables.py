"""Trials as plain values, as a table, and as Ray's own ResultGrid; what the search cost in time.

A trial is {stage, trial_id, status, config: {dotted option: value}, weights: {pool: share}, method,
seed, reports: [{step, tokens, objective, metrics ...}], score, objective, seconds, error ...}.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_agents.runs import read_json

REPORT = ("report", "step", "from_step", "tokens", "objective", "exact_match", "val_loss")
TIMES = ("setup_s", "seconds", "began", "time", "process")
RAYS = ("training_iteration", "time_total_s", "timestamp", "time_this_iter_s", "pid", "n", "of",
        "time_since_restore", "iterations_since_restore", "save_steps")  # fmt: skip


def as_trial(result: Any, given: Any, stage: str) -> dict[str, Any]:
    """A Ray Tune Result -> a trial. Its score is the exact match at its last report."""
    from raytune_agents.tune.trial import POINT

    tried = result.config or read_json(Path(result.path) / "params.json")  # failed before a report
    sample = dict(tried.get(POINT) or tried)
    config = given.space.resolve(sample)
    weights = config.pop("mix.weights", given.weights)
    metrics, reports = result.metrics or {}, _reports(result)
    text = _error_text(result, bool(reports))
    finished = bool(reports) and reports[-1]["step"] >= metrics.get("of", 0)
    failed = bool(text)
    error = f"{type(result.error or RuntimeError()).__name__}: {_cause(text)}" if failed else ""
    good = bool(reports) and not failed and "objective" in reports[-1]  # NaN is no score
    return {
        "stage": stage,
        "arm": str(sample.get("arm", "")),
        "trial_id": metrics.get("trial_id") or Path(result.path).name,
        "sample": sample,
        "config": config,
        "weights": metrics.get("weights") or weights,
        "method": config.get("tune.method", given.job.method),
        "seed": int(sample.get("seed", given.job.seed)),
        "reports": reports,
        "status": "failed" if failed else "finished" if finished else "stopped",
        "score": reports[-1]["exact_match"] if good else None,
        "objective": reports[-1]["objective"] if good else None,
        "tokens": reports[-1]["tokens"] if reports else 0,
        "seconds": sum(r["time"] - r["began"] for r in _last_of_runs(reports)),
        "error": error,
        "checkpoint": _checkpoint(result),
    }


def _checkpoint(result: Any) -> str:
    """The folder of the last adapter; that of a nested run lies below its checkpoint."""
    from raytune_agents.train.worker import CHECKPOINT

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


def _reports(result: Any) -> list[dict[str, float]]:
    """Every report once, numbers only; a report made again after a kill counts as the later one."""
    frame = result.metrics_dataframe
    found: dict[int, dict[str, float]] = {}
    for row in [] if frame is None else frame.to_dict("records"):
        plain = {
            k: float(v)
            for k, v in row.items()
            if isinstance(v, int | float) and not isinstance(v, bool)
            and "/" not in k and k not in RAYS and v == v
        }  # fmt: skip
        found[int(plain["report"])] = plain
    return [found[n] for n in sorted(found)]


def _last_of_runs(reports: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """The last report of each process run of the trial (a killed trial has several)."""
    return list({r["began"]: r for r in reports}.values())


def _cause(text: str) -> str:
    """The line of a remote traceback that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if not line.startswith(("File ", "ray::", "^", "~"))]
    return (named or lines or [""])[-1][:300]


def times(trials: Sequence[Mapping[str, Any]], concurrent: int = 1) -> dict[str, Any]:
    """{busy_share, startup_s_cold, startup_s_warm, wall_s} of trials in one stage.

    busy: from the first step to the last report (training, scoring, saving). A start-up is from the
    end of the process's previous trial (warm), or from the start of the search (cold, a new
    process: Ray actor, imports, pool, model), to the first step. A search that was killed has
    several starts (`starts`). None where there is none of the kind.
    """
    starts = sorted({at for t in trials for at in t["starts"]})
    runs = [
        (r["began"], r["time"], r["process"]) for t in trials for r in _last_of_runs(t["reports"])
    ]
    if not runs:
        return dict.fromkeys(("busy_share", "startup_s_cold", "startup_s_warm", "wall_s"))
    cold, warm, wall, free = [], [], 0.0, {}
    for start, end in zip(starts, [*starts[1:], float("inf")]):
        part = sorted(r for r in runs if start <= r[0] < end)
        wall += max((ended for _, ended, _ in part), default=start) - start
        for began, ended, process in part:
            (warm if process in free else cold).append(began - free.get(process, start))
            free[process] = ended
    busy = sum(ended - began for began, ended, _ in runs)
    return {
        "busy_share": busy / (wall * concurrent),
        "startup_s_cold": sum(cold) / len(cold) if cold else None,
        "startup_s_warm": sum(warm) / len(warm) if warm else None,
        "wall_s": wall,
    }


def table(trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One flat row a trial: id, stage, status, seed, method, score, every option, every share."""
    rows = []
    for t in trials:
        row = {k: t.get(k) for k in ("trial_id", "stage", "status", "score", "objective")}
        row |= {k: t.get(k) for k in ("method", "seed", "tokens", "seconds", "error")}
        row["reports"] = len(t.get("reports") or [])
        last = (t.get("reports") or [{}])[-1]
        known = {*REPORT, *TIMES, "report", "save_steps"}
        row |= {k: v for k, v in last.items() if k not in known and k not in row}
        row["val_loss"] = last.get("val_loss")
        row |= t.get("config") or {}
        row |= {f"mix.{p}": w for p, w in (t.get("weights") or {}).items()}
        rows.append(row)
    names = list(dict.fromkeys(k for row in rows for k in row))
    return [{k: row.get(k) for k in names} for row in rows]


def write(trials: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """trials.csv, trials.parquet and TensorBoard's HParams, with resolved options and mix."""
    rows = table(trials)
    if rows:
        write_csv(rows, folder / "trials.csv")
        write_parquet(rows, folder / "trials.parquet")
        write_hparams(trials, folder / "tensorboard")


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]))
        out.writeheader()
        out.writerows(rows)


def write_parquet(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    import pyarrow as pa

    from raytune_agents.records import canonical
    from raytune_agents.runs import write_table

    def plain(value: Any) -> Any:
        return canonical(value) if isinstance(value, list | dict) else value

    columns = {k: [plain(row[k]) for row in rows] for k in rows[0]}
    for name, values in columns.items():
        kinds = {type(v) for v in values if v is not None}
        if len(kinds) > 1:  # 1 and 0.5 are numbers; anything else that differs is text
            form = float if kinds <= {int, float} else str
            columns[name] = [None if v is None else form(v) for v in values]
    write_table(path, pa.table(columns))


def write_hparams(trials: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """One TensorBoard run a trial: its reports as scalars, its options and mix as HParams."""
    import shutil

    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    shutil.rmtree(folder, ignore_errors=True)
    for t in trials:
        with SummaryWriter(str(folder / f"{t['stage']}-{t['trial_id']}")) as board:
            for report in t["reports"]:
                for name in ("objective", "exact_match", "val_loss"):
                    board.add_scalar(name, report[name], int(report["tokens"]))
            options = t["config"] | {f"mix.{p}": w for p, w in t["weights"].items()}
            options |= {"seed": t["seed"], "tune.method": t["method"]}
            simple = {
                k: v if isinstance(v, bool | int | float | str) else str(v)
                for k, v in options.items()
            }
            if t["score"] is not None:
                scores = {"final/exact_match": t["score"], "final/objective": t["objective"]}
                for part in hparams(simple, scores):  # add_hparams opens this file once more
                    board.file_writer.add_summary(part)
                for name, value in scores.items():
                    board.add_scalar(name, value)


def load(run: str | Path) -> list[dict[str, Any]]:
    """The trials of a run folder; while a search still runs, or was killed, those of its finished
    stages. Raises FileNotFoundError where there are none."""
    folder = Path(run).expanduser() / "tune"
    whole = folder / "trials.json"
    if whole.is_file():
        return read_json(whole)
    parts = sorted(f for f in (folder / "stages").glob("*.json") if ".starts." not in f.name)
    if not parts:
        raise FileNotFoundError(
            f"{folder}: no trials; run `raytune-agents run --steps tune` first, and give its run "
            "folder"
        )
    return [t for part in parts for t in read_json(part)]


def results(run: str | Path, stage: str = "search") -> Any:
    """Ray's ResultGrid of a stage (noise, search, leaders, confirm) of a run folder, with every
    report, path and checkpoint. Raises FileNotFoundError where the stage was not run."""
    from ray.tune import ExperimentAnalysis, ResultGrid

    folder = Path(run).expanduser().resolve() / "tune" / "ray" / stage
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such stage; `raytune-agents trials {run}` shows all")
    return ResultGrid(ExperimentAnalysis(str(folder)))
