"""Commands that look at a run: status, trace, trials, report. They read its folder only."""

from __future__ import annotations

import json
import operator
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from raytune_agents.cli.shared_options import (
    OVERRIDES,
    RUN,
    console,
    errors,
    load_tree,
    printed_errors,
    refuse,
    run_folder,
    say,
    table_of,
)

if TYPE_CHECKING:
    from raytune_agents.config import Config

Trial = Mapping[str, Any]
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
SHOWN = ("rank", "trial_id", "score", "objective")
IF_DIFFERENT = ("stage", "status", "method", "seed", "reports", "seconds")


# --- status ---


def status(run: RUN) -> None:
    """Where a run is: every step's state, seconds, rows or last figures."""
    with printed_errors():
        folder = run_folder(run)
        rows = list(step_states(folder, time.time()))
    console.print(table_of(str(folder), ("step", "state", "s", ""), rows, left=4))


def step_states(run: Path, now: float) -> Iterator[tuple[str, str, str, str]]:
    """(step, state, seconds, note) of every step; state is done, running, stopped or waiting, and
    started where a file system without locks does not tell running from stopped.

    A started step without a manifest is under way where a process has the run, and else was killed
    or failed."""
    from raytune_agents.infra.run_lock import user_of
    from raytune_agents.runs import STARTED, STEPS, Manifest, Started
    from raytune_agents.storage import newest_write, read_json

    user = user_of(run)
    for name in STEPS:
        folder = run / name
        if manifest := Manifest.load(folder):
            yield name, "done", f"{manifest.seconds:.0f}", manifest.rows.line()
        elif (folder / STARTED).is_file():
            record, wrote = read_json(folder / STARTED, Started), newest_write(folder)
            state = "started" if user is None else "running" if user else "stopped"
            until = wrote if state == "stopped" else now
            notes = [f"last write {max(0.0, now - wrote):.0f} s ago", last_figures(folder)]
            notes += [user] if user else ["the same command goes on"] * (state == "stopped")
            seconds = max(0.0, until - record.started - record.idle)
            yield name, state, f"{seconds:.0f}", "; ".join(filter(None, notes))
            user = "" if user else user  # a later step was left by an older command
        else:
            yield name, "waiting", "", ""


def last_figures(folder: Path) -> str:
    """What a step under way last wrote: its newest arm's training step, else its shards."""
    from raytune_agents.report.safe_text import finite
    from raytune_agents.runs import METRICS
    from raytune_agents.storage import files_below, read_jsonl, written_at

    arms = sorted(folder.glob(f"*/{METRICS}"), key=written_at)
    names = ("step", "of", "loss", "tokens_per_s")
    found = [[finite(line.get(n)) for n in names] for line in read_jsonl(arms[-1])] if arms else []
    lines = [[v for v in line if v is not None] for line in found]
    if whole := [line for line in lines if len(line) == len(names)]:
        figures = "step {:.0f}/{:.0f}, loss {:.3f}, {:.0f} tokens/s".format(*whole[-1])
        return f"{arms[-1].parent.name}: {figures}"
    shards = sum(fnmatch(file.name, "rows-*.parquet") for file in files_below(folder))
    return f"{shards} shards on disk" if shards else ""


# --- trace ---


def trace(
    row_id: Annotated[str, typer.Argument(help="id of a row, or how it starts")], run: RUN
) -> None:
    """Where a row came from: parents, steps, seeds, verdicts; who trained on it and answered it."""
    from raytune_agents.report import lineage
    from raytune_agents.report.safe_text import clip

    with printed_errors():
        found = lineage.trace_row(run_folder(run), row_id)
    for depth, row in enumerate(found.rows):
        say(f"{'row' if not depth else 'from'} {row.id}  {row.pool}  {row.split}")
        config = f", config {row.config_hash}" if row.config_hash else ""
        say(f"     step {row.step or 'read'}, seed {row.seed}{config}")
        say(f"     source {row.source} {row.source_id}")
        say(f"     {lineage.row_verdict(row)}")
        say(f"     request: {clip(row.query, 300)}")
        calls = ", ".join(f"{c.name}({c.arguments})" for c in row.calls)
        say(f"     calls: {clip(calls, 300) or 'none'}")
    for name in found.missing:
        say(f"from {name}  (in no file of this run)")
    for arm, times in found.trained.items():
        say(f"trained on by {arm}: {times} times")
    for answer in found.answers:
        good = answer.values.get("exact_match")
        word = "not scored" if good is None else "right" if good else answer.fault or "wrong"
        say(f"answered by {answer.arm}: {word}: {clip(answer.answer or answer.failed, 200)}")


# --- report ---


def report_command(
    config: Annotated[str, typer.Argument(help="run folder, its name, or YAML file of its config")],
    overrides: OVERRIDES = None,
    rescore: Annotated[bool, typer.Option(help="score stored answers again first")] = False,
    official: Annotated[bool, typer.Option(help="BFCL's own score files of them")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="figures for a script, no page")] = False,
    serve: Annotated[bool, typer.Option(help="show it on loopback while the run goes on")] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="of --serve: 8080; 0 takes a free one")
    ] = None,
) -> None:
    """The page of a run, as far as it got; or its stored answers scored again, with no engine."""
    with printed_errors():
        if port is not None and not serve:
            refuse("--port is of --serve; write that, or leave it out")
        if serve and as_json:
            refuse("--serve shows a page, --json prints figures; write one of them")
        place = folder_or_config(config)
        step = rescore or official or not (serve or as_json or place.is_dir())
        if step:
            tree, shown = load_tree(str(place), overrides), errors if as_json else console
            folder = report_step(tree, shown, rescore, official)
        else:
            folder = report_folder(place, overrides)
        if serve:
            from raytune_agents.report.live import LiveReport

            with LiveReport(folder, 8080 if port is None else port) as server:
                say(f"http://127.0.0.1:{server.server_port}/ until Ctrl-C")
                server.serve_forever()
        elif as_json:
            from raytune_agents.report import digest_of

            print(json.dumps(digest_of(folder), indent=1))
        elif step:
            from raytune_agents.cli.summary import show_summary

            show_summary(folder, ("report",))
        else:
            from raytune_agents.report import write_report

            say(f"report: {write_report(folder)}")


def report_step(config: Config, shown: Console, rescore: bool, official: bool) -> Path:
    """The report step of a config's run, its stored answers scored again first where wanted; the
    run's folder. `shown`: where progress goes."""
    from raytune_agents.pipeline import rescore as stored
    from raytune_agents.pipeline.run import run_steps
    from raytune_agents.progress import Display

    display = Display(shown)
    for wanted, work in ((rescore, stored.rescore), (official, stored.official)):
        if wanted:
            work(config, display).close()
    return run_steps(config, ("report",), display).run.folder


def report_folder(place: Path, overrides: list[str] | None) -> Path:
    """The run folder that a folder or a config names. Raises ConfigError."""
    from raytune_agents.mirror import folder_of_run

    if not place.is_dir():
        return folder_of_run(load_tree(str(place), overrides))
    if overrides:
        refuse(f"{overrides[0]!r}: a finished run takes options with --rescore alone; leave it out")
    return place


def folder_or_config(text: str) -> Path:
    """A config, or a run folder by its path or its name. Raises ConfigError for neither."""
    path = Path(text).expanduser()
    config = path.is_file() or path.suffix in (".yaml", ".yml", ".json") or "=" in text
    return path if config else run_folder(text)


# --- trials ---


def trials(
    run: RUN,
    where: Annotated[
        list[str] | None,
        typer.Option("--filter", help="column and value, for example 'mix.negative>0.2'"),
    ] = None,
    best: Annotated[int | None, typer.Option(min=1, help="only the best N")] = None,
    failures: Annotated[bool, typer.Option(help="only failed trials, with their errors")] = False,
    csv: Annotated[Path | None, typer.Option(help="write the rows to this CSV file")] = None,
    parquet: Annotated[Path | None, typer.Option(help="write them to this Parquet file")] = None,
) -> None:
    """The trials of a search: table, filters, best, failures; CSV or Parquet."""
    from raytune_agents.tune import trial_tables

    with printed_errors():
        found = trial_tables.trial_rows(trial_tables.load_trials(run_folder(run)))
        rows = chosen_trials(found, where or [], best, failures)
        columns = ["rank", *found[0]] if found else ["rank"]
        for path, write in ((csv, trial_tables.write_csv), (parquet, trial_tables.write_parquet)):
            if path:
                write(rows, path, columns)
                say(f"{len(rows)} trials: {path}")
    if not rows:
        say(f"no such trial: none of {len(found)} fits")
    elif not (csv or parquet):
        console.print(trials_table(rows, failures))


def chosen_trials(
    rows: Sequence[Trial], where: Sequence[str], best: int | None, failures: bool
) -> list[Trial]:
    """The rows that fit, best objective first, with their rank among all. Raises ConfigError for a
    filter that names no column or no comparison."""
    order = sorted(rows, key=lambda r: (r["objective"] is None, -(r["objective"] or 0.0)))
    ranked: list[Trial] = [{"rank": i + 1, **r} for i, r in enumerate(order)]
    for text in where:
        keep = condition(text, list(ranked[0]) if ranked else [])
        ranked = [r for r in ranked if keep(r)]
    if failures:
        ranked = [r for r in ranked if r["error"]]
    return [r for r in ranked if r["objective"] is not None][:best] if best else ranked


def condition(text: str, columns: Sequence[str]) -> Callable[[Trial], bool]:
    """`mix.negative>0.2` -> a test of a row; a row without the value does not fit."""
    parts = re.fullmatch(rf"\s*([\w.]+)\s*({'|'.join(COMPARE)})\s*(.+?)\s*", text)
    if not parts:
        refuse(f"--filter {text!r} compares nothing; write for example 'score>=0.4'")
    name, sign, wanted = parts.groups()
    if columns and name not in columns:
        refuse(f"--filter {text!r}: no column {name}; columns: {', '.join(columns)}")
    try:
        value: Any = json.loads(wanted)
    except (ValueError, RecursionError):
        value = wanted
    holds = COMPARE[sign]

    def keep(row: Trial) -> bool:
        have = row.get(name)
        if have is None:
            return False
        same = isinstance(have, int | float) == isinstance(value, int | float)
        return holds(have, value) if same else holds(str(have), str(value))

    return keep


def trials_table(rows: Sequence[Trial], failures: bool) -> Table:
    """Rank and scores, then state, options and shares that differ; errors where asked. The
    other metrics of a trial would not fit a terminal: they are in the CSV file."""
    own = [c for c in rows[0] if c in IF_DIFFERENT or "." in c]
    columns = [*SHOWN, *(c for c in own if len({str(r[c]) for r in rows}) > 1 or len(rows) == 1)]
    columns += ["error"] if failures else []
    cells = [[value_text(row[c]) for c in columns] for row in rows]
    heads = [c.removeprefix("train.") for c in columns]
    return table_of(f"{len(rows)} trials", heads, cells, left=0)


def value_text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
