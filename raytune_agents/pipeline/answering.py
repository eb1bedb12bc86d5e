"""Asking for the evaluate step: every arm's answers, roll-outs, conversations and likelihoods, the
judge's verdicts and lm-eval's values, each kept in shards on disk, so that a killed step goes on
and an arm that is added is asked alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_agents.config import EvaluateConfig
from raytune_agents.evaluate import general, harness, judge, likelihood, multi_turn, rollouts
from raytune_agents.evaluate.baselines import Arm
from raytune_agents.evaluate.harness import AskOptions
from raytune_agents.evaluate.latency import LatencyRow, measure_latency
from raytune_agents.evaluate.measured import AnswerRow, Lines, answer_row
from raytune_agents.evaluate.quantized import QuantizedAnswer, answer_quantized, spread
from raytune_agents.inference import client, endpoint
from raytune_agents.infra import cluster
from raytune_agents.pipeline.shards import (
    Questions,
    cut,
    in_shards,
    kept_shards,
    lines_table,
    shard_lines,
)
from raytune_agents.pipeline.writer import chat_client
from raytune_agents.records import JsonObject, Trajectory
from raytune_agents.runs import Manifest, Step

if TYPE_CHECKING:
    from raytune_agents.pipeline.context import Context


def identity(arm: Arm) -> list[Any]:
    """What an arm is, besides its name: its training's outputs, not its place on the disk."""
    # A run folder may be moved or copied, and its answers with it.
    trained = Manifest.load(Path(arm.adapter).parent) if arm.adapter else None
    shots = [shot.id for shot in arm.shots]
    return [trained.outputs if trained else "", arm.marker, shots, arm.constrained]


def answers_of(
    context: Context, rows: list[Trajectory], arm: Arm, options: EvaluateConfig
) -> Questions:
    """All answers of one arm."""
    chat, ask_options = context.chat, AskOptions.of(options, context.config.engine)

    def ask(part: Sequence[Trajectory]) -> Lines:
        return [row.record() for row in harness.answer_shard(part, chat, arm, ask_options)]

    def lost(row: Trajectory) -> Lines:
        return [answer_row(row, arm.name, failed=client.INFRA_FAILED).record()]

    own = [*identity(arm), ask_options.max_tokens, ask_options.room]
    return Questions(f"ask {arm.name}", cut(rows, options.shard_rows), ask, lost, own)


def rollouts_of(
    context: Context, tasks: list[Trajectory], arm: Arm, options: EvaluateConfig
) -> Questions:
    """All roll-outs of one arm."""
    config, trials = context.config, options.trajectories.trials
    roll_out = partial(
        rollouts.rollout_shard,
        chat=context.chat,
        arm=arm,
        config=options,
        engine_config=config.engine,
        seed=config.seed,
    )

    def lost(task: Trajectory) -> Lines:
        why = client.INFRA_FAILED
        return [rollouts.lost_rollout(arm.name, task, trial, why) for trial in range(trials)]

    # Each task is rolled out `trials` times: a shard then holds as many roll-outs as answers.
    parts = cut(tasks, max(1, options.shard_rows // trials))
    own = [*identity(arm), options.trajectories, options.max_tokens]
    return Questions(f"roll out {arm.name}", parts, roll_out, lost, own)


def conversations_of(
    context: Context, entries: list[JsonObject], arm: Arm, options: EvaluateConfig
) -> Questions:
    """All multi-turn conversations of one arm with BFCL's classes."""
    converse = partial(
        multi_turn.conversation_shard,
        chat=context.chat,
        arm=arm,
        config=options,
        engine_config=context.config.engine,
    )

    def lost(entry: JsonObject) -> Lines:
        return [multi_turn.lost_conversation(arm.name, entry, client.INFRA_FAILED)]

    own = [*identity(arm), options.multi_turn.max_steps, options.max_tokens]
    return Questions(f"converse {arm.name}", cut(entries, options.shard_rows), converse, lost, own)


def likelihoods_of(
    context: Context, rows: list[Trajectory], arm: Arm, options: EvaluateConfig
) -> Questions:
    """The likelihood of val rows under one arm."""
    measure = partial(
        likelihood.measure_shard, chat=context.chat, arm=arm, engine_config=context.config.engine
    )

    def lost(row: Trajectory) -> Lines:
        return [likelihood.unmeasured(row, arm.name, client.INFRA_FAILED)]

    parts = cut(rows, options.shard_rows)
    return Questions(f"measure {arm.name}", parts, measure, lost, identity(arm))


def arm_latencies(
    context: Context,
    rows: list[Trajectory],
    options: EvaluateConfig,
    arms: Sequence[Arm],
) -> list[LatencyRow]:
    """Timed requests of some arms, one after the other while nothing else is asked; one shard per
    arm."""
    loads, count = options.latency.loads, options.latency.rows
    ask_options = AskOptions.of(options, context.config.engine)
    out: list[LatencyRow] = []
    # One after the other: requests of another arm would be part of the times.
    for arm in arms if count and rows else ():
        own = [*identity(arm), loads, count, options.max_tokens]
        shards = kept_shards(context, f"latency {arm.name}", [rows], *own)
        if shards.missing(1):
            context.start_engine()
            total = sum(load * -(-count // load) for load in loads)
            with context.display.step(f"latency {arm.name}", total) as bar:
                try:
                    timed = measure_latency(rows, context.chat, arm, ask_options, loads, count)
                except client.EngineDown as error:
                    # No latency is a gap in the report, no reason to lose the answers.
                    context.display.say(f"latency of {arm.name} was not measured: {error}", "red")
                    continue
                bar.update(total, sum(r.output_tokens for r in timed))
            shards.commit(0, lines_table([r.record() for r in timed]))
        out += [LatencyRow(**line) for line in shard_lines(shards.path(0))]
    return out


def judge_verdicts(
    context: Context, step: Step, rows: list[Trajectory], answers: list[AnswerRow]
) -> Lines:
    """The judge's verdicts on every arm's answers against the base's, [] where none is asked for.
    Raises ConfigError where the teacher refuses."""
    config = context.config
    options, seed = config.evaluate.judge, config.seed
    if not options.rows:
        return []
    known = {(row.split, row.id): row for row in rows}
    pairs, judging = judge.judged_pairs(known, answers, options), chat_client(context)

    def judge_lost(pair: Mapping[str, Any]) -> Lines:
        return [judge.unjudged(pair, client.INFRA_FAILED)]

    def ask(part: Sequence[Mapping[str, Any]]) -> Lines:
        try:
            return judge.judge_pairs(part, judging, options, seed)
        except endpoint.Refused as error:  # no other shard needs to try: the step stops on it
            raise client.EngineDown(str(error)) from None

    parts = cut(pairs, config.evaluate.shard_rows)
    own = [options, config.generate.teacher]
    questions = Questions("judge", parts, ask, judge_lost, own)
    return in_shards(context, step, [questions])[0]


def abilities(context: Context, arms: Sequence[Arm]) -> Lines:
    """lm-eval's values of every arm, one process after the other, as a task with a GPU where there
    is one: the driver may stand on a node without. [] where no task is named."""
    options, out = context.config.evaluate.general, []
    if not options.tasks:
        return []
    context.free_gpu(1)
    config = context.config
    gpu = context.resources.gpus > 0
    cpus = context.placement.threads(context.resources.node_gpus if gpu else 1)
    # lm-eval writes its own prompts, without markers: an unmarked arm would score the same.
    for arm in (a for a in arms if not a.baseline and not a.name.endswith("-unmarked")):
        shards = kept_shards(context, f"general {arm.name}", [], *identity(arm), options)
        if shards.missing(1):
            with context.display.step(f"general {arm.name}", 1) as bar:
                # A process of its own: lm-eval loads the model once more, and gives its memory back
                # by ending.
                arguments = (context.model, config.model.dtype, arm, options, config.seed, gpu)
                lines = cluster.run_task(general.run_lm_eval, arguments, cpus, int(gpu))
                bar.update(1)
            shards.commit(0, lines_table(lines))
        out += shard_lines(shards.path(0))
    return out


def quantized_answers(
    context: Context, rows: list[Trajectory], options: EvaluateConfig, arms: Sequence[Arm]
) -> list[QuantizedAnswer]:
    """The arms' answers by each kind of weights, each as a task with a GPU where there is one."""
    wanted, out = options.quantized, []
    own_rows = spread([row for row in rows if row.split in options.splits], wanted.rows)
    if not wanted.kinds or not arms or not own_rows:
        return []
    context.free_gpu(1)
    config, gpu = context.config, context.resources.gpus > 0
    cpus = context.placement.threads(context.resources.node_gpus if gpu else 1)
    asked = AskOptions.of(options, config.engine)
    for arm, kind in product(arms, wanted.kinds):
        shards = kept_shards(
            context, f"{kind} {arm.name}", [own_rows], *identity(arm), asked.max_tokens
        )
        if shards.missing(1):
            with context.display.step(f"weights {kind} {arm.name}", len(own_rows)) as bar:
                given = (context.model, config.model.dtype, arm, kind, own_rows, context.chat)
                found = cluster.run_task(answer_quantized, (*given, asked), cpus, int(gpu))
                bar.update(len(own_rows))
            shards.commit(0, lines_table([answer.record() for answer in found]))
        out += [QuantizedAnswer(**line) for line in shard_lines(shards.path(0))]
    return out
