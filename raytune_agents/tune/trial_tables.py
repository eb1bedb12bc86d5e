"""Trials as a table, as files for other programs, and as Ray's own ResultGrid; what the search
cost in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raytune_agents.records import canonical
from raytune_agents.redact import no_formula, visible
from raytune_agents.storage import read_json, whole_file, write_table
from raytune_agents.tune.trials import Trial, last_of_runs

REPORT = ("report", "step", "from_step", "tokens", "objective", "exact_match", "val_loss")
TIMES = ("setup_s", "seconds", "began", "time", "process")
Row = Mapping[str, Any]


def search_times(trials: Sequence[Trial], concurrent: int = 1) -> dict[str, float | None]:
    """{busy_share, startup_s_cold, startup_s_warm, wall_s} of trials in one stage.

    busy: from the first step to the last report (training, scoring, saving). A start-up is from the
    end of the process's previous trial (warm), or from the start of the search (cold, a new
    process: Ray actor, imports, pool, model), to the first step. A search that was killed has
    several starts (`starts`). None where there is none of the kind.
    """
    starts = sorted({at for t in trials for at in t.starts})
    runs = [(r["began"], r["time"], r["process"]) for t in trials for r in last_of_runs(t.reports)]
    if not runs:
        return dict.fromkeys(("busy_share", "startup_s_cold", "startup_s_warm", "wall_s"))
    cold, warm, wall, free = [], [], 0.0, {}
    for start, end in zip(starts, [*starts[1:], float("inf")]):
        # A session at a time: after a kill all processes are new.
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


def trial_rows(trials: Sequence[Trial]) -> list[Row]:
    """One flat row per trial: id, stage, status, seed, method, score, every option, every share;
    controls in its texts are shown."""
    rows = []
    for t in map(asdict, trials):
        row = {k: t[k] for k in ("trial_id", "stage", "status", "score", "objective")}
        row |= {k: t[k] for k in ("method", "seed", "tokens", "seconds", "error")}
        row["reports"] = len(t["reports"])
        last = (t["reports"] or [{}])[-1]
        known = {*REPORT, *TIMES, "report"}
        row |= {k: v for k, v in last.items() if k not in known and k not in row}
        row["val_loss"] = last.get("val_loss")
        row |= t["config"]
        row |= {f"mix.{p}": w for p, w in t["weights"].items()}
        rows.append(row)
    names = list(dict.fromkeys(k for row in rows for k in row))
    return [{visible(k): visible(row.get(k)) for k in names} for row in rows]


def write_tables(trials: Sequence[Trial], folder: Path) -> None:
    """trials.csv, trials.parquet and TensorBoard's HParams, with resolved options and mix."""
    rows = trial_rows(trials)
    if rows:
        write_csv(rows, folder / "trials.csv")
        write_parquet(rows, folder / "trials.parquet")
        write_hparams(trials, folder / "tensorboard")


def write_csv(rows: Sequence[Row], path: Path, columns: Sequence[str] | None = None) -> None:
    """`columns`: named even where there is no row; None = those of the rows."""
    import pandas as pd

    # As objects: a column with a gap must not turn its whole numbers into fractions.
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    with whole_file(path) as work:
        frame.map(no_formula).rename(columns=no_formula).to_csv(work, index=False)


def write_parquet(rows: Sequence[Row], path: Path, columns: Sequence[str] | None = None) -> None:
    """`columns`: as those of `write_csv`."""
    import pandas as pd
    import pyarrow as pa

    frame = pd.DataFrame(rows, columns=columns).map(
        lambda v: canonical(v) if isinstance(v, list | dict) else v
    )
    # Numbers that differ are numbers; anything else that differs is text.
    mixed = [name for name in frame if frame[name].dropna().map(type).nunique() > 1]
    frame[mixed] = frame[mixed].astype("string")
    write_table(path, pa.Table.from_pandas(frame, preserve_index=False))


def write_hparams(trials: Sequence[Trial], folder: Path) -> None:
    """One TensorBoard run per trial: its reports as scalars, its options and mix as HParams."""
    import shutil

    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    shutil.rmtree(folder, ignore_errors=True)
    for t in trials:
        with SummaryWriter(str(folder / f"{t.stage}-{t.trial_id}")) as board:
            for report in t.reports:
                for name in ("objective", "exact_match", "val_loss"):
                    board.add_scalar(name, report[name], int(report["tokens"]))
            options = t.config | {f"mix.{p}": w for p, w in t.weights.items()}
            options |= {"seed": t.seed, "tune.method": t.method}
            simple = {
                k: v if isinstance(v, bool | int | float | str) else str(v)
                for k, v in options.items()
            }
            if t.score is not None:
                scores = {"final/exact_match": t.score, "final/objective": t.objective}
                for part in hparams(simple, scores):  # add_hparams opens this file once more
                    board.file_writer.add_summary(part)
                for name, value in scores.items():
                    board.add_scalar(name, value)


def load_trials(run: str | Path) -> list[Trial]:
    """The trials of a run folder; while a search still runs, or was killed, those of its finished
    stages. Raises FileNotFoundError where there are none."""
    folder = Path(run).expanduser() / "tune"
    whole = folder / "trials.json"
    if whole.is_file():
        return read_json(whole, list[Trial])
    # A search that has not ended has no trials.json, but a file of each stage that has.
    parts = sorted(f for f in (folder / "stages").glob("*.json") if ".starts." not in f.name)
    if not parts:
        raise FileNotFoundError(
            f"{folder}: no trials; run `raytune-agents run --steps tune`, and give its run folder"
        )
    return [trial for part in parts for trial in read_json(part, list[Trial])]


def search_results(run: str | Path, stage: str = "search") -> Any:
    """Ray's ResultGrid of a stage (noise, search, leaders, confirm) of a run folder, with every
    report, path and checkpoint. Raises FileNotFoundError where the stage was not run."""
    from ray.tune import ExperimentAnalysis, ResultGrid

    folder = Path(run).expanduser().resolve() / "tune" / "ray" / stage
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such stage; `raytune-agents trials {run}` shows all")
    return ResultGrid(ExperimentAnalysis(str(folder)))
