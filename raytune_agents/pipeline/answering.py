"""Asking for the evaluate step: every arm's answers, plays, talks and likelihoods, the judge's
verdicts and lm-eval's values, each in shards on disk, so that a killed step goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from raytune_agents.evaluate import general, harness, judge, likelihood, multi_turn, rollouts
from raytune_agents.evaluate.harness import Arm, Lines
from raytune_agents.inference import endpoint, engine
from raytune_agents.pipeline.shards import cut, in_shards
from raytune_agents.pipeline.writer import voice_of
from raytune_agents.records import Trajectory
from raytune_agents.runs import Shards, Step

if TYPE_CHECKING:
    from raytune_agents.pipeline.context import Context


def arm_answers(context: Context, step: Step, rows: list[Trajectory], arm: Arm) -> Lines:
    """All answers of one arm; shards that are on disk are not asked again."""
    config = context.config
    ask = partial(harness.answer_shard, chat=context.chat, arm=arm, section=config.evaluate,
                  engine_section=config.engine)  # fmt: skip
    return in_shards(
        context, step, f"ask {arm.name}", cut(rows, config.evaluate.shard_rows), ask,
        lambda row: [harness.failed(row, arm.name, engine.INFRA_FAILED)],
    )  # fmt: skip


def arm_plays(context: Context, step: Step, tasks: list[Trajectory], arm: Arm) -> Lines:
    """All plays of one arm."""
    config = context.config
    trials = config.evaluate.trajectories.trials
    play = partial(rollouts.play_shard, chat=context.chat, arm=arm, section=config.evaluate,
                   engine_section=config.engine, seed=config.seed)  # fmt: skip
    return in_shards(
        context, step, f"play {arm.name}",
        cut(tasks, max(1, config.evaluate.shard_rows // trials)), play,
        lambda task: [rollouts.failed(arm.name, task, trial, engine.INFRA_FAILED)
                      for trial in range(trials)],
    )  # fmt: skip


def arm_talks(context: Context, step: Step, entries: list[multi_turn.Entry], arm: Arm) -> Lines:
    """All multi-turn conversations of one arm with BFCL's classes."""
    config = context.config
    talk = partial(multi_turn.talk_shard, chat=context.chat, arm=arm, section=config.evaluate,
                   engine_section=config.engine)  # fmt: skip
    return in_shards(
        context, step, f"talk {arm.name}", cut(entries, config.evaluate.shard_rows), talk,
        lambda entry: [multi_turn.failed(arm.name, entry, engine.INFRA_FAILED)],
    )  # fmt: skip


def arm_likelihoods(context: Context, step: Step, rows: list[Trajectory], arm: Arm) -> Lines:
    """The likelihood of val rows under one arm."""
    config = context.config
    measure = partial(likelihood.measure_shard, chat=context.chat, arm=arm,
                      engine_section=config.engine)  # fmt: skip
    return in_shards(
        context, step, f"measure {arm.name}", cut(rows, config.evaluate.shard_rows), measure,
        lambda row: [likelihood.failed(row, arm.name, engine.INFRA_FAILED)],
    )  # fmt: skip


def verdicts(context: Context, step: Step, rows: list[Trajectory], answers: Lines) -> Lines:
    """The judge's verdicts on every arm's answers against the base's, [] where none is asked for.
    Raises ConfigError where the teacher refuses."""
    config = context.config
    section, seed = config.evaluate.judge, config.seed
    if not section.rows:
        return []
    known = {(row.split, row.id): row for row in rows}
    pairs, voice = judge.pairs(known, answers, section), voice_of(context)

    def ask(part: Sequence[Mapping[str, Any]]) -> Lines:
        try:
            return judge.judge(part, voice, section, seed)
        except endpoint.Refused as error:  # no other shard needs to try: the step stops on it
            raise engine.EngineDown(str(error)) from None

    return in_shards(
        context,
        step,
        "judge",
        cut(pairs, config.evaluate.shard_rows),
        ask,
        lambda pair: [judge.failed(pair, engine.INFRA_FAILED)],
    )


def abilities(context: Context, step: Step, arms: Sequence[Arm]) -> Lines:
    """lm-eval's values of every arm, one process after the other; [] where no task is named."""
    section, out = context.config.evaluate.general, []
    if not section.tasks:
        return []
    context.free_gpu(1)
    config = context.config
    gpu = context.resources.gpus > 0
    for arm in (arm for arm in arms if not arm.name.endswith("-unmarked")):
        shards = Shards(step.folder / "shards" / f"general-{arm.name}")
        if shards.missing(1):
            with context.display.step(f"general {arm.name}", 1) as bar:
                lines = general.run(context.model, config.model.dtype, arm, section,
                                    config.seed, gpu)  # fmt: skip
                bar.update(1)
            shards.commit(0, pa.table({"line": [json.dumps(x) for x in lines]}))
        out += map(json.loads, pq.read_table(shards.path(0))["line"].to_pylist())
    return out
