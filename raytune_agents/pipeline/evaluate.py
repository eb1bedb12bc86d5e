"""The evaluate step: every arm answers the test rows on one engine; scores and differences.

    rows.parquet         the rows that were asked (also perturbed ones and the tasks of plays)
    answers.parquet      a line an arm and row      perturbed.parquet  the same of perturbed rows
    plays.parquet        a line an arm, task and trial
    multi_turn.parquet   a line an arm and BFCL conversation
    likelihood.parquet   a line an arm and val row
    judged.parquet       a line an arm (but base) and row that a judge compared
    general.parquet      a line an arm and lm-eval question
    costs.json           {arm: {cost: number}}
    scores.json, differences.json   {arm: {split: {metric: cell}}}      robustness.json

Scores are made from these files alone, so that they can be made again without the engine.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from raytune_agents.config import Config, ConfigError
from raytune_agents.evaluate import (
    general,
    harness,
    instructions,
    judge,
    likelihood,
    multi_turn,
    rollouts,
    suites,
)
from raytune_agents.evaluate.harness import Arm, Lines
from raytune_agents.generate.held import SYNTHETIC
from raytune_agents.inference import engine
from raytune_agents.pipeline import answering
from raytune_agents.pipeline.rows import held_out_rows, training_rows
from raytune_agents.pipeline.shards import check_outage
from raytune_agents.records import Trajectory
from raytune_agents.runs import (
    Counts,
    Manifest,
    Step,
    read_json,
    write_json,
    write_rows,
    write_table,
)
from raytune_agents.train import adapter_card

if TYPE_CHECKING:
    from raytune_agents.pipeline.context import Context

BASE_KEYS = ("name", "revision", "template", "tools")
# kinds of lines beside answers -> the module that scores them; each has a Parquet file of its name
MODULES = {
    "plays": rollouts,
    "multi_turn": multi_turn,
    "likelihood": likelihood,
    "judged": judge,
    "general": general,
}
KINDS = ("answers", *MODULES)


def evaluate(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """The base and every arm answer the same rows on one engine; scores and paired differences."""
    config = context.config
    check_bases(config, context.run.folder)
    suite, perturbed, tasks = asked(context)
    entries, val = multi_turn.entries(config.evaluate.multi_turn), val_rows(context)
    write_rows(step.folder / "rows.parquet", [*suite.rows, *perturbed, *tasks])
    found: dict[str, Lines] = {name: [] for name in KINDS}
    arms, costs, why = arms_of(config, context.run.folder), {}, ""
    for arm in arms:
        before = used(context)
        found["answers"] += answering.arm_answers(context, step, [*suite.rows, *perturbed], arm)
        found["plays"] += answering.arm_plays(context, step, tasks, arm)
        found["multi_turn"] += answering.arm_talks(context, step, entries, arm)
        found["likelihood"] += answering.arm_likelihoods(context, step, val, arm)
        after = used(context)
        why = why or after.get("why", "nothing was asked")
        costs[arm.name] = harness.training_costs(context.run.folder, arm.name) | spent(
            before, after
        )
    write_json(step.folder / "costs.json", costs)
    found["judged"] = answering.verdicts(context, step, suite.rows, found["answers"])
    found["general"] = answering.abilities(context, step, arms)
    counts = counts_of(found)
    check_outage(counts, config.read.max_error_share)
    counts.rows_in += suite.rejected.total()
    counts.rejected = suite.rejected
    write_scores(step.folder, found, config)
    for name in config.train.arms:
        adapter_card.write(context.run.folder, name)
    shutil.rmtree(step.folder / "shards", ignore_errors=True)
    if why:
        context.display.say(f"evaluate  energy is not known: {why}", style="dim")
    return counts, {"arms": list(costs), "energy": why or "measured"}


def used(context: Context) -> dict[str, Any]:
    """What the engine has used so far; {} before its start."""
    return (engine.usage() or {}) if context.engine is not None else {}


def spent(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float | None]:
    """An arm's costs on the engine: its peak memory, and the joules of the machine while the arm
    answered (with the engine's start for the first), None where the machine does not tell."""
    out: dict[str, float | None] = {"energy_j": None}
    if after.get("energy_j") is not None:
        since = before.get("energy_j") or 0.0
        restarted = after["energy_j"] < since
        out["energy_j"] = after["energy_j"] - (0.0 if restarted else since)
    if after.get("peak_memory_mib"):
        out["engine_peak_memory_mib"] = after["peak_memory_mib"]
    return out


def counts_of(found: Mapping[str, Lines]) -> Counts:
    """What was asked for in all kinds, and what failed, by reason."""
    lines = [line for kind in found.values() for line in kind]
    counts = Counts(rows_in=len(lines))
    counts.failed.update(failure(line) for line in lines if failure(line))
    counts.rows_out = counts.rows_in - counts.failed.total()
    return counts


def failure(line: Mapping[str, Any]) -> str:
    """Why a line has no value; a play has no column of its own for it."""
    if "failed" in line:
        return line["failed"]
    return line["end"] if line["task_completion"] is None else ""


def write_scores(folder: Path, found: Mapping[str, Lines], config: Config) -> None:
    """All result files, from the lines of every kind and costs.json."""
    section, seed = config.evaluate, config.seed
    clean = [a for a in found["answers"] if not a["perturbation"]]
    noisy = [a for a in found["answers"] if a["perturbation"]]
    files = dict(found) | {"answers": clean, "perturbed": noisy}
    for name, lines in files.items():
        if lines:
            write_table(folder / f"{name}.parquet", pa.Table.from_pylist(lines))
    gains, scores = harness.differences(clean, section, seed), harness.scores(clean, section, seed)
    for name, module in MODULES.items():
        if found[name]:
            gains = merged(gains, module.gains(found[name], section, seed))
            scores = merged(scores, module.scores(found[name], section, seed))
    costs = read_json(folder / "costs.json")
    write_json(folder / "scores.json", harness.with_costs(scores, gains, costs))
    write_json(folder / "differences.json", gains)
    if noisy:
        write_json(folder / "robustness.json", harness.robustness(clean, noisy, section, seed))


def merged(one: harness.Cells, other: harness.Cells) -> harness.Cells:
    """The metrics of both, by arm and split."""
    out: harness.Cells = {}
    for table in (one, other):
        for arm, by in table.items():
            for split, cells in by.items():
                out.setdefault(arm, {}).setdefault(split, {}).update(cells)
            out.setdefault(arm, {})
    return out


def lines_of(path: Path) -> Lines:
    """The rows of a Parquet file; [] where it is absent."""
    return pq.read_table(path).to_pylist() if path.is_file() else []


# --- what is asked ---


def arms_of(config: Config, run: Path) -> list[Arm]:
    """The base, then every arm with its adapter and the marker that its good rows carried, and once
    more without a marker where it says `ask_unmarked`."""
    from raytune_agents.train.methods import METHODS

    arms = [Arm(harness.BASE)]
    for name, arm in config.train.arms.items():
        adapter = str(run / "train" / name / "adapter")
        arms.append(Arm(name, adapter, METHODS[arm.method].asked(config.train.of(arm))))
        if arm.ask_unmarked:
            arms.append(Arm(f"{name}-unmarked", adapter))
    return arms


def check_bases(config: Config, run: Path) -> None:
    """Raises ConfigError where an arm is not there, or was trained on another base model or another
    prompt than the one that is asked: its difference to base would not be the training's."""
    for name in config.train.arms:
        manifest = Manifest.load(run / "train" / name)
        if manifest is None:
            raise ConfigError(
                f"evaluate: arm {name!r} is not trained in {run}; run `raytune-agents run "
                "--steps train` first"
            )
        trained, now = manifest.config["model"], config.model.model_dump(mode="json")
        odd = [k for k in BASE_KEYS if trained.get(k) != now[k]]
        if odd:
            was = ", ".join(f"model.{k}={trained.get(k)!r}" for k in odd)
            have = ", ".join(f"model.{k}={now[k]!r}" for k in odd)
            raise ConfigError(
                f"evaluate: arm {name!r} was trained with {was}, not {have}; run `raytune-agents "
                "run --steps train` again, or write the model it was trained on"
            )


def asked(context: Context) -> tuple[suites.Suite, list[Trajectory], list[Trajectory]]:
    """The rows of all splits and suites, their perturbed twins, and the tasks to play."""
    config, suite = context.config, suites.Suite()
    section, seed = config.evaluate, config.seed
    folder = context.run.folder
    left_out = read_json(folder / "read" / "manifest.json").get("left_out", {})
    for name in (s for s in section.splits if s not in left_out):
        suite.add(name, held_out_rows(folder, name), section.limit)
    if synthetic := held_out_rows(folder, SYNTHETIC):
        suite.add(SYNTHETIC, synthetic, section.limit)
    trained = list(training_rows(context.run.folder).values()) if others(section) else []
    for name, source in section.sources.items():
        found = suites.source_rows(name, source, trained)
        suite.rejected.update(found.rejected)
        suite.add(name, found.rows, section.limit)
    if section.unseen_agents:
        made = suites.unseen_agent_rows(section.unseen_agents, section.unseen_rows, seed)
        suite.add(suites.UNSEEN_AGENTS, suites.without_seen_tools(made, trained))
    if section.instruction_rows:
        suite.add(instructions.SPLIT, instructions.rows(section.instruction_rows, seed))
    perturbed, untouched = suites.perturbed_rows(suite.rows, section, seed)
    suite.rejected.update(untouched)
    tasks = suites.goals(suites.players(config), section.trajectories.tasks, seed)
    known = {row.query for row in trained}
    fresh = [task for task in tasks if task.query not in known]
    if len(fresh) < len(tasks):
        suite.rejected["trained_goal"] += len(tasks) - len(fresh)
    return suite, perturbed, fresh


def others(section: Any) -> bool:
    """Whether rows are asked that the run did not split itself."""
    return bool(section.sources or section.unseen_agents or section.trajectories.tasks)


def val_rows(context: Context) -> list[Trajectory]:
    """The val rows whose likelihood is measured: the first by id that have an answer."""
    good = [row for row in held_out_rows(context.run.folder, "val") if row.target]
    return good[: context.config.evaluate.perplexity_rows]
