"""Asking for the evaluate step: every arm's answers, roll-outs, conversations and likelihoods, the
judge's verdicts and lm-eval's values, each kept in shards on disk, so that a killed step goes on
and an arm that is added is asked alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from raytune_agents.config import EvaluateConfig
from raytune_agents.evaluate import general, harness, judge, likelihood, multi_turn, rollouts
from raytune_agents.evaluate.baselines import Arm
from raytune_agents.evaluate.harness import Asker
from raytune_agents.evaluate.latency import LatencyRow, measure_latency
from raytune_agents.evaluate.measured import AnswerRow, Lines, answer_row
from raytune_agents.evaluate.quantized import QuantizedAnswer, answer_quantized, spread
from raytune_agents.inference import client
from raytune_agents.infra import cluster
from raytune_agents.infra.provenance import marks, package_records
from raytune_agents.pipeline import keys
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.shards import (
    Questions,
    cut,
    in_shards,
    kept_shards,
    lines_table,
    shard_lines,
)
from raytune_agents.records import Trajectory
from raytune_agents.runs import Manifest, Step

Ask = Callable[[Sequence[Any]], Lines]


def identity(arm: Arm) -> list[Any]:
    """What an arm is, besides its name: its training's outputs, not its place on the disk."""
    # A run folder may be moved or copied, and its answers with it.
    trained = Manifest.load(Path(arm.adapter).parent) if arm.adapter else None
    shots = [shot.id for shot in arm.shots]
    return [trained.outputs if trained else "", arm.marker, shots, arm.constrained]


def asker_of(context: Context, arm: Arm, options: EvaluateConfig) -> Asker:
    return Asker.of(arm, context.chat, options, context.config.engine)


def asked_of_arm(
    context: Context, kind: str, rows: Sequence[Any], arm: Arm, options: EvaluateConfig
) -> Questions:
    """What one arm is asked: to `ask` all answers to the rows, to `roll out` tasks, to `converse`
    with BFCL's classes, to `measure` the likelihood of val rows."""
    who, why, seed = asker_of(context, arm, options), client.INFRA_FAILED, context.config.seed
    runs, trials, steps = options.trajectories, options.trajectories.trials, options.multi_turn
    agents = keys.contents(context.config.generate.agents)
    bfcl = [mark.content for mark in marks(package_records("bfcl_eval")).values()]
    # kind -> what asks for a part, the lines of a row whose engine is lost, what decides the answer
    kinds: dict[str, tuple[Ask, Callable[[Any], Lines], list[Any]]] = {
        "ask": (
            lambda part: [a.record() for a in harness.answer_shard(part, who)],
            lambda row: [answer_row(row, arm.name, failed=why).record()],
            [who.max_tokens, who.room],
        ),
        "roll out": (
            partial(rollouts.rollout_shard, asker=who, options=runs, seed=seed),
            lambda task: [rollouts.lost_rollout(arm.name, task, k, why) for k in range(trials)],
            [runs, options.max_tokens, *agents],
        ),
        "converse": (
            partial(multi_turn.conversation_shard, asker=who, max_steps=steps.max_steps),
            lambda entry: [multi_turn.lost_conversation(arm.name, entry, why)],
            [steps.max_steps, options.max_tokens, *bfcl],
        ),
        "measure": (
            partial(likelihood.measure_shard, asker=who),
            lambda row: [likelihood.unmeasured(row, arm.name, why)],
            [],
        ),
    }
    ask, lost, own = kinds[kind]
    # Each task is rolled out `trials` times: a shard then holds as many roll-outs as answers.
    size = max(1, options.shard_rows // trials) if kind == "roll out" else options.shard_rows
    return Questions(f"{kind} {arm.name}", cut(rows, size), ask, lost, [*identity(arm), *own])


def kept_lines(
    context: Context,
    name: str,
    rows: Sequence[Any],
    decided_by: Sequence[Any],
    total: int,
    make: Callable[[], Lines],
) -> Lines:
    """Lines that are one shard of RUN/answers, made where it is not there; `total`: of its bar."""
    shards = kept_shards(context, name, [rows] if rows else [], *decided_by)
    if shards.missing(1):
        with context.display.step(name, total) as bar:
            lines = make()
            bar.update(total, sum(x.get("output_tokens") or 0 for x in lines))
        shards.commit(0, lines_table(lines))
    return shard_lines(shards.path(0))


def arm_latencies(
    context: Context, rows: list[Trajectory], options: EvaluateConfig, arms: Sequence[Arm]
) -> list[LatencyRow]:
    """Timed requests of some arms, one after the other while nothing else is asked."""
    loads, count = options.latency.loads, options.latency.rows
    total = sum(load * -(-count // load) for load in loads)

    def timed(arm: Arm) -> Lines:
        context.start_engine()
        found = measure_latency(rows, asker_of(context, arm, options), loads, count)
        return [row.record() for row in found]

    out: Lines = []
    # One after the other: requests of another arm would be part of the times.
    for arm in arms if count and rows else ():
        own = [*identity(arm), loads, count, options.max_tokens]
        try:
            make = partial(timed, arm)
            out += kept_lines(context, f"latency {arm.name}", rows, own, total, make)
        except client.EngineDown as error:
            # No latency is a gap in the report, no reason to lose the answers.
            context.display.say(f"latency of {arm.name} was not measured: {error}", "red")
    return [LatencyRow(**line) for line in out]


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
    pairs, judging = judge.judged_pairs(known, answers, options), context.chat_client()

    questions = Questions(
        "judge",
        cut(pairs, config.evaluate.shard_rows),
        partial(judge.judge_pairs, client=judging, config=options, seed=seed),
        lambda pair: [judge.unjudged(pair, client.INFRA_FAILED)],
        [options, config.generate.teacher],
    )
    return in_shards(context, step, [questions])[0]


def apart(context: Context, work: Callable[..., Any], *given: Any) -> Any:
    """What `work` returns of the model, its dtype and the rest, as a task with a GPU where there is
    one: the driver may stand on a node without."""
    context.free_gpu(1)
    have, dtype = context.resources, context.config.model.dtype
    cpus = context.placement.threads(have.node_gpus if have.gpus else 1)
    return cluster.run_task(work, (context.model, dtype, *given), cpus, int(have.gpus > 0))


def abilities(context: Context, arms: Sequence[Arm]) -> Lines:
    """lm-eval's values of every arm, one process after the other. [] where no task is named."""
    options, seed, out = context.config.evaluate.general, context.config.seed, []

    def run(arm: Arm) -> Lines:
        # A process of its own: lm-eval loads the model once more, and gives its memory back by
        # ending.
        gpu = context.resources.gpus > 0
        return apart(context, general.run_lm_eval, arm, options, seed, gpu)

    # lm-eval writes its own prompts, without markers: an unmarked arm would score the same.
    for arm in (a for a in arms if not a.baseline and not a.name.endswith("-unmarked")):
        if options.tasks:
            own = [*identity(arm), options, *keys.contents(options)]
            out += kept_lines(context, f"general {arm.name}", [], own, 1, partial(run, arm))
    return out


def quantized_answers(
    context: Context, rows: list[Trajectory], options: EvaluateConfig, arms: Sequence[Arm]
) -> list[QuantizedAnswer]:
    """The arms' answers by each kind of weights."""
    wanted, out = options.quantized, []
    own_rows = spread([row for row in rows if row.split in options.splits], wanted.rows)

    def answers(arm: Arm, kind: str) -> Lines:
        found = apart(context, answer_quantized, asker_of(context, arm, options), kind, own_rows)
        return [answer.record() for answer in found]

    for arm, kind in product(arms, wanted.kinds) if own_rows else ():
        name, own = f"weights {kind} {arm.name}", [*identity(arm), options.max_tokens]
        make = partial(answers, arm, kind)
        out += kept_lines(context, name, own_rows, own, len(own_rows), make)
    return [QuantizedAnswer(**line) for line in out]
