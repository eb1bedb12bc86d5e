"""What a command shows of a run: what it will do; when it ends the arms' scores, the rows of each
step, what to look at next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from raytune_agents.cli.shared_options import console, say, table_of
from raytune_agents.records import JsonObject
from raytune_agents.storage import read_json

if TYPE_CHECKING:
    from raytune_agents.config import Config

SOURCES = 30  # rows of the funnel's table


def trained_arms(run: Path) -> dict[str, Path]:
    """Arm -> its adapter, of a run."""
    return {adapter.parent.name: adapter for adapter in sorted(run.glob("train/*/adapter"))}


def show_summary(folder: Path, names: Sequence[str]) -> None:
    """The last lines of a command that ran the steps `names` of the run in `folder`."""
    from raytune_agents.runs import STEPS, Manifest

    if {"evaluate", "report"} & set(names):
        from raytune_agents.cli.arms import print_arms

        print_arms(folder / "evaluate")
    manifests = {name: found for name in STEPS if (found := Manifest.load(folder / name))}
    if len(names) > 1:
        for name, manifest in manifests.items():
            say(f"{name:<9} rows: {manifest.rows.line()}")
    if tuple(names) == ("generate",):
        from raytune_agents.report.findings import stages

        for found in stages({"generate": manifests["generate"].model_dump(by_alias=True)}):
            rows = [[name, *map(str, cells)] for name, cells in found.lines]
            console.print(table_of(f"funnel of {found.title}", found.head, rows))
    if "label" in names and len(names) <= 2 and "label" in manifests:
        console.print(funnel_table(manifests["label"].notes["funnel"]))
    if "report" in names and (folder / "report.html").is_file():
        say(f"report: {folder / 'report.html'}")
        for line in next_lines(folder):
            say(f"next: {line}", style="dim")


def next_lines(folder: Path) -> list[str]:
    """Commands that go on from a finished run, by what it has, as a shell takes them."""
    out, typed = [], shlex.quote(str(folder))
    if (folder / "tune" / "trials.json").is_file():
        out.append(f"raytune-agents trials {typed} --best 5")
    guide = folder / "tune" / "guide.json"
    if guide.is_file() and read_json(guide, JsonObject).get("verdict") == "gain":
        out.append(f"raytune-agents run {shlex.quote(str(folder / 'tune' / 'best.yaml'))}")
    if arms := list(trained_arms(folder)):
        out.append(f"raytune-agents export {typed} --serve app")
        arm = shlex.quote(best_arm(folder, arms))  # one arm shows the command for all
        out.append(f"raytune-agents export {typed} --model {arm} --out {arm}")
    return out


def best_arm(folder: Path, arms: Sequence[str]) -> str:
    """The headline arm of a run's verdict; the first one where it has none."""
    verdict = folder / "evaluate" / "verdict.json"
    best = read_json(verdict, JsonObject).get("arm") if verdict.is_file() else ""
    return best if best in arms else arms[0]


def outline_lines(config: Config, left: Sequence[str]) -> list[str]:
    """What a run will do before it does it: steps, arms, folder; minutes where they can be
    foreseen."""
    from raytune_agents.pipeline.first_run import duration_text, foreseen_minutes

    arms = ", ".join(f"{name} ({arm.method})" for name, arm in config.train.arms.items())
    detail = {"train": f" of {arms}", "tune": f" of {config.tune.num_samples} trials"}
    asked = [name for name in left if name != "tune" or config.tune.num_samples]
    steps = ", ".join(f"{name}{detail.get(name, '')}" for name in asked)
    minutes = foreseen_minutes(config, left)
    time = "; how long: see raytune-agents plan" if minutes is None else ""
    if minutes:  # none of mix and report, which are not measured
        time = f"; {duration_text(minutes)}"
    where = f"{config.runs_dir}/{config.name}"
    return [f"to do: {steps}", f"in {where}{time}; stopped, the same command goes on"]


def funnel_table(funnel: Mapping[str, Mapping[str, int]]) -> Table:
    """Rows in, rejected by reason, kept: one line per source, the largest first; then all."""
    table = Table(title="funnel", title_justify="left")
    for head in ("source", "rows in", "rejected", "kept"):
        table.add_column(head, justify="right" if head in ("rows in", "kept") else "left")
    sources = sorted((s for s in funnel if s), key=lambda s: -funnel[s]["in"])
    for source in [*sources[:SOURCES], ""]:
        if not source:
            table.add_section()
        counts = funnel[source]
        reasons = ", ".join(f"{n} {r}" for r, n in counts.items() if r not in ("in", "kept"))
        name = source or f"all {len(sources)} sources"
        table.add_row(Text(name), str(counts["in"]), Text(reasons or "-"), str(counts["kept"]))
    return table
