"""The evaluate step: every arm answers the test rows on one engine; scores and differences.

    rows.parquet         the rows that were asked (also perturbed ones and the tasks of plays)
    answers.parquet      a line an arm and row      perturbed.parquet  the same of perturbed rows
    plays.parquet        a line an arm, task and trial
    costs.json           {arm: {cost: number}}
    scores.json, differences.json   {arm: {split: {metric: cell}}}      robustness.json

Scores are made from these files alone, so that they can be made again without the engine.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from raytune_agents import engine
from raytune_agents.config import Config, ConfigError
from raytune_agents.evaluate import harness, rollouts, suites
from raytune_agents.evaluate.harness import Arm
from raytune_agents.pipeline.data import training_rows
from raytune_agents.pipeline.make import check_outage
from raytune_agents.records import Trajectory
from raytune_agents.runs import (
    Counts,
    Shards,
    Step,
    read_json,
    read_rows,
    write_json,
    write_rows,
    write_table,
)
from raytune_agents.train import card

if TYPE_CHECKING:
    from raytune_agents.pipeline import Context

Lines = list[dict[str, Any]]
BASE_KEYS = ("name", "revision", "template", "tools")


def evaluate(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """The base and every arm answer the same rows on one engine; scores and paired differences."""
    config = context.config
    check_bases(config, context.run.folder)
    suite, perturbed, tasks = asked(context)
    write_rows(step.folder / "rows.parquet", [*suite.rows, *perturbed, *tasks])
    answers, plays, costs = [], [], {}
    for arm in arms_of(config, context.run.folder):
        answers += arm_answers(context, step, [*suite.rows, *perturbed], arm)
        plays += arm_plays(context, step, tasks, arm)
        costs[arm.name] = harness.training_costs(context.run.folder, arm.name)
        if context.engine is not None and (peak := engine.peak_memory_mib()):
            costs[arm.name]["engine_peak_memory_mib"] = peak
    write_json(step.folder / "costs.json", costs)
    counts = counts_of(answers, plays)
    check_outage(counts, config.read.max_error_share)
    counts.rows_in += suite.rejected.total()
    counts.rejected = suite.rejected
    write_scores(step.folder, answers, plays, config)
    for name in config.train.arms:
        card.write(context.run.folder, name)
    shutil.rmtree(step.folder / "shards", ignore_errors=True)
    return counts, {"arms": list(costs)}


def counts_of(answers: Lines, plays: Lines) -> Counts:
    """Answers and plays asked for, those that failed, by reason."""
    counts = Counts(rows_in=len(answers) + len(plays))
    counts.failed.update(a["failed"] for a in answers if a["failed"])
    counts.failed.update(p["end"] for p in plays if p["task_completion"] is None)
    counts.rows_out = counts.rows_in - counts.failed.total()
    return counts


def write_scores(folder: Path, answers: Lines, plays: Lines, config: Config) -> None:
    """All result files, from answers, plays and costs.json."""
    section, seed = config.evaluate, config.seed
    clean = [a for a in answers if not a["perturbation"]]
    noisy = [a for a in answers if a["perturbation"]]
    for name, lines in (("answers", clean), ("perturbed", noisy), ("plays", plays)):
        if lines:
            write_table(folder / f"{name}.parquet", pa.Table.from_pylist(lines))
    gains = merged(
        harness.differences(clean, section, seed), rollouts.differences(plays, section, seed)
    )
    scores = merged(harness.scores(clean, section, seed), rollouts.scores(plays, section, seed))
    costs = read_json(folder / "costs.json")
    write_json(folder / "scores.json", harness.with_costs(scores, gains, costs))
    write_json(folder / "differences.json", gains)
    if noisy:
        write_json(folder / "robustness.json", harness.robustness(clean, noisy, section, seed))


def merged(one: harness.Cells, other: harness.Cells) -> harness.Cells:
    """The splits of both, by arm."""
    return {arm: one.get(arm, {}) | other.get(arm, {}) for arm in {**one, **other}}


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
        path = run / "train" / name / "manifest.json"
        if not path.is_file():
            raise ConfigError(
                f"evaluate: arm {name!r} is not trained in {run}; run `raytune-agents train` first"
            )
        trained, now = read_json(path)["config"][1], config.model.model_dump(mode="json")
        odd = [k for k in BASE_KEYS if trained.get(k) != now[k]]
        if odd:
            was = ", ".join(f"model.{k}={trained.get(k)!r}" for k in odd)
            have = ", ".join(f"model.{k}={now[k]!r}" for k in odd)
            raise ConfigError(
                f"evaluate: arm {name!r} was trained with {was}, not {have}; run `raytune-agents "
                "train` again, or write the model it was trained on"
            )


def asked(context: Context) -> tuple[suites.Suite, list[Trajectory], list[Trajectory]]:
    """The rows of all splits and suites, their perturbed twins, and the tasks to play."""
    config, suite = context.config, suites.Suite()
    section, seed = config.evaluate, config.seed
    rows = [r for r in read_rows(context.run.folder / "read") if not r.reject_reason]
    for name in section.splits:
        suite.add(name, (r for r in rows if r.split == name), section.limit)
    trained = list(training_rows(context.run.folder).values()) if others(section) else []
    for name, source in section.sources.items():
        found = suites.source_rows(name, source, trained)
        suite.rejected.update(found.rejected)
        suite.add(name, found.rows, section.limit)
    if section.unseen_agents:
        made = suites.unseen_agent_rows(section.unseen_agents, section.unseen_rows, seed)
        suite.add(suites.UNSEEN_AGENTS, suites.without_seen_tools(made, trained))
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


# --- asking ---


def arm_answers(context: Context, step: Step, rows: list[Trajectory], arm: Arm) -> Lines:
    """All answers of one arm; shards that are on disk are not asked again."""
    config, chat = context.config, context.chat
    section, engine_section = config.evaluate, config.engine

    def ask(part: Sequence[Trajectory]) -> Lines:
        return harness.answer_shard(part, chat, arm, section, engine_section)

    return in_shards(
        context,
        step,
        f"ask {arm.name}",
        cut(rows, section.shard_rows),
        ask,
        lambda row: [harness.failed(row, arm.name, engine.INFRA_FAILED)],
    )


def arm_plays(context: Context, step: Step, tasks: list[Trajectory], arm: Arm) -> Lines:
    """All plays of one arm."""
    config, chat = context.config, context.chat
    section, engine_section, seed = config.evaluate, config.engine, config.seed
    trials = section.trajectories.trials

    def play(part: Sequence[Trajectory]) -> Lines:
        return rollouts.play_shard(part, chat, arm, section, engine_section, seed)

    return in_shards(
        context,
        step,
        f"play {arm.name}",
        cut(tasks, max(1, section.shard_rows // trials)),
        play,
        lambda task: [
            rollouts.failed(arm.name, task, trial, engine.INFRA_FAILED) for trial in range(trials)
        ],
    )


def cut(rows: list[Trajectory], size: int) -> list[list[Trajectory]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def in_shards(
    context: Context,
    step: Step,
    name: str,
    parts: list[list[Trajectory]],
    work: Callable[[Sequence[Trajectory]], Lines],
    lost: Callable[[Trajectory], Lines],
) -> Lines:
    """`work` on every part, as a Ray Data stream; a part on disk is not done again, one whose
    engine stayed down gives `lost` for each of its rows."""
    shards = Shards(step.folder / "shards" / name.replace(" ", "-"))
    folder, missing = shards.folder, shards.missing(len(parts))

    def one(number: int) -> dict[str, Any]:
        try:
            lines = work(parts[number])
        except engine.EngineDown as error:
            return {"tokens": 0, "shard": number, "outage": str(error)}
        Shards(folder).commit(number, pa.table({"line": [json.dumps(x) for x in lines]}))
        tokens = int(sum(x.get("output_tokens") or 0 for x in lines))
        return {"tokens": tokens, "shard": number, "outage": ""}

    if missing:
        context.start_engine()
    down = set()
    for done in context.map_shards(name, missing, one, len(parts[0]) if parts else 0):
        if done["outage"]:
            down.add(done["shard"])
            context.outage(step, name, done)
    out: Lines = []
    for k, part in enumerate(parts):
        if k in down:
            out += [line for row in part for line in lost(row)]
        else:
            out += map(json.loads, pq.read_table(shards.path(k))["line"].to_pylist())
    return out
