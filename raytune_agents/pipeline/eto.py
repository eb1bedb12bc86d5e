"""Exploration-based trajectory optimisation (ETO, arXiv 2403.02502): the policy answers training
tasks, its failures are paired with the known answers, DPO follows, and again from there.

In every round the reference is frozen: the policy at the round's start (a copy of its adapter, or
the base with the adapter off). The first policy is that of the arm's `start`, as the paper explores
from an SFT model. The val score decides: where it falls, the round is thrown away and the loop
ends. Explored are single answers; runs in worlds come as outcome pairs (train.dpo.pairs).

    train/ARM/round-K/{explored/*.parquet, adapter}      train/ARM/adapter  the best of them
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from raytune_agents.config import Config, ConfigError, NegativesConfig, TrainConfig
from raytune_agents.evaluate.baselines import Arm
from raytune_agents.evaluate.harness import AskOptions, answer_shard, with_answer_limit
from raytune_agents.evaluate.measured import values_by_row
from raytune_agents.generate import rewrite
from raytune_agents.pipeline import train_arm
from raytune_agents.pipeline.rows import held_out_rows
from raytune_agents.pipeline.shards import check_outage, make_shards
from raytune_agents.records import Trajectory
from raytune_agents.runs import Counts, Step, read_rows, write_json

if TYPE_CHECKING:
    from raytune_agents.pipeline.context import Context


def validate_eto(config: Config) -> None:
    """Rounds go on from adapters. Raises ConfigError."""
    for name, arm in config.train.arms.items():
        if arm.method == "eto" and config.train.of(arm).parameters == "full":
            raise ConfigError(
                f"train.arms.{name}: a round of eto goes on from an adapter; write parameters: lora"
            )


def train_rounds(
    context: Context,
    step: Step,
    name: str,
    section: TrainConfig,
    rows: list[Trajectory],
    pool: dict[str, Trajectory],
) -> Counts:
    """All rounds of one arm; a killed one goes on. Writes step.folder/adapter."""
    eto, start = section.eto, section.lora.start or ""
    val = val_rows(context, eto.val_rows)
    best, score = start, val_score(context, val, start)
    seen = [{"round": 0, "val_exact_match": score, "pairs": 0}]
    for k in range(1, eto.iterations + 1):
        own = Step(
            f"{step.name}/round-{k}", step.folder / f"round-{k}", step.section,
            step.inputs | {"start": best}, step.seed,
        )  # fmt: skip
        adapter = own.folder / "adapter"
        if not own.done:
            own.begin()
            asked = sample_tasks(rows, eto.tasks, f"{step.seed}/{k}")
            failures = explore_tasks(context, own, asked, section, best)
            if not failures:
                break  # every answer was right: nothing to prefer
            known = pool | {row.id: row for row in failures}
            # The engine that explored gives its memory back before training takes it.
            context.free_gpu(section.span[1])
            counts = train_arm.train_arm(
                context, own, f"{name} round {k}", "dpo",
                section.starting_at(Path(best)) if best else section, failures, known,
            )  # fmt: skip
            own.finish(counts)
        new = val_score(context, val, str(adapter))
        pairs = own.manifest.rows.rows_out
        seen.append({"round": k, "val_exact_match": new, "pairs": pairs})
        step.log(step=k, val_exact_match=new, pairs=pairs)
        # The first round has nothing to fall below: exploring with the base is always kept.
        if best and new < score:
            break
        best, score = str(adapter), new
    if not best:
        raise ConfigError(f"train.arms.{name}: no failure to learn from; raise train.eto.tasks")
    write_json(step.folder / "rounds.json", {"rounds": seen, "kept": best})
    shutil.copytree(best, step.folder / "adapter", dirs_exist_ok=True)
    return Counts(rows_in=len(rows), rows_out=len(rows))


def sample_tasks(rows: list[Trajectory], count: int, seed: str) -> list[Trajectory]:
    """At most `count` different rows with calls, drawn by the seed."""
    able = sorted({row.id: row for row in rows if row.calls}.values(), key=lambda r: r.id)
    return random.Random(seed).sample(able, min(count, len(able)))


def explore_tasks(
    context: Context, step: Step, asked: list[Trajectory], section: TrainConfig, adapter: str
) -> list[Trajectory]:
    """The policy's failures on the tasks, each with its task as parent. Finished shards stay.
    Raises EngineDown where too many tasks were lost to the engine."""
    context.start_engine()
    eto, chat, config = section.eto, context.chat, context.config
    sampling = NegativesConfig(
        mined_samples=eto.samples, max_tokens=eto.max_tokens, temperature=eto.temperature
    )
    engine_section, seed = config.engine, config.seed
    shards = make_shards(
        context, step, "explored", asked,
        lambda part: rewrite.mine(part, chat, sampling, engine_section, seed, adapter),
    )  # fmt: skip
    counts = Counts(rows_in=len(asked) * eto.samples)
    for shard in shards:
        counts.failed.update(shard["failed"])
    check_outage(counts, config.read.max_error_share)
    return read_rows(step.folder / "explored")


def val_rows(context: Context, count: int) -> list[Trajectory]:
    """The first val rows with an answer, by id. Raises ConfigError where there is none."""
    rows = [row for row in held_out_rows(context.run.folder, "val") if row.target]
    if not rows:
        raise ConfigError("eto needs val rows to stop by; write read.split.val above 0")
    return rows[:count]


def val_score(context: Context, rows: list[Trajectory], adapter: str) -> float:
    """Share of val rows that the policy answers exactly, greedily; an answer that was lost to the
    engine is not counted."""
    context.start_engine()
    config = context.config
    options = with_answer_limit(rows, context.chat, config.evaluate, config.engine)
    asked = AskOptions.of(options, config.engine)
    answers = answer_shard(rows, context.chat, Arm("eto", adapter), asked)
    found = values_by_row(answers, "exact_match")
    return sum(found.values()) / len(found) if found else 0.0
