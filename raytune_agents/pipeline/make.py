"""The generate step: synthetic positives of every pool, the model's own failures, edited negatives.

Thin: what is drawn, said, checked and edited is decided in `generate` and `negatives`.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_agents import engine, negatives, teacher
from raytune_agents.config import Config, ConfigError
from raytune_agents.filters.shape import parses
from raytune_agents.generate import checks, draw, stream
from raytune_agents.negatives import choice
from raytune_agents.records import Trajectory, from_row, to_table
from raytune_agents.runs import Counts, Shards, Step, read_rows, write_rows

if TYPE_CHECKING:
    from raytune_agents.pipeline import Context

PARTS = ("synthetic", "mined", "edited")  # folders of the step


def generate(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """Synthetic positives with reworded requests, the model's own failures, edited negatives."""
    config, seed, chat = context.config, context.config.seed, context.chat
    train = [
        r
        for r in read_rows(context.run.folder / "read")
        if r.split == "train" and not r.reject_reason and not parses(r)
    ]
    drawn = draw.draw(config.generate, seed)
    called = sample_fitting(
        [row for row in train if row.calls], config.negatives.mined_tasks, chat, f"{seed}/mined"
    )
    voice, executor = voice_of(context), checks.executor(config.generate)
    if called or not voice.taught:
        context.start_engine()
    works = {
        "synthetic": lambda rows: stream.positives(rows, voice, executor, config.generate, seed),
        "mined": lambda rows: stream.mine(rows, chat, config.negatives, config.engine, seed),
    }
    counts, notes = Counts(), {}
    per_row = {"synthetic": 1, "mined": config.negatives.mined_samples}
    for name, rows in (("synthetic", drawn.rows), ("mined", called)):
        notes[name] = Counter()
        counts.rows_in += len(rows) * per_row[name]
        for summary in make_shards(context, step, name, rows, works[name]):
            counts.rows_out += summary["rows"]
            counts.rejected.update({f"{name}:{k}": n for k, n in summary["rejected"].items()})
            counts.failed.update(summary["failed"])
            notes[name].update(summary["notes"])
    check_outage(counts, config.read.max_error_share)
    counts.rows_in += drawn.similar.total()
    counts.rejected.update({f"synthetic:{p}:similar": n for p, n in drawn.similar.items()})
    synthetic = read_rows(step.folder / "synthetic")
    edited, refused = choice.edited([*train, *synthetic], notes["mined"], config.negatives, seed)
    edited = [replace(row, config_hash=step.config_hash) for row in edited]
    write_rows(step.folder / "edited" / "rows-00000.parquet", edited)
    counts.rows_in += len(edited) + refused.total()
    counts.rows_out += len(edited)
    counts.rejected.update({f"edited:{k}": n for k, n in refused.items()})
    notes["edited"] = Counter(row.fault for row in edited)
    extra: dict[str, Any] = {name: dict(found) for name, found in notes.items()}
    extra["funnel"] = funnel(drawn, counts, synthetic)
    if voice.taught:
        extra["teacher"] = teacher.spent()
    return counts, extra


def funnel(drawn: draw.Drawn, counts: Counts, kept: list[Trajectory]) -> list[dict[str, Any]]:
    """Of every pool: rows attempted, those that fell out at each stage, those kept; and `short`,
    the rows that the agents' specs could not give."""
    tried = Counter(draw.pool_of(row) for row in drawn.rows) + drawn.similar
    left = Counter(draw.pool_of(row) for row in kept)
    lines = []
    for pool in sorted(tried | drawn.short, key=lambda p: -tried[p]):
        fell = {s: counts.rejected[f"synthetic:{pool}:{s}"] for s in checks.STAGES}
        lines.append({"pool": pool, "tried": tried[pool], **fell, "kept": left[pool],
                      "short": drawn.short[pool]})  # fmt: skip
    return lines


def voice_of(context: Context) -> stream.Voice:
    """Who words and judges: the engine, or the teacher, which is started here. Raises
    ConfigError."""
    config, section = context.config, context.config.generate
    taught = bool(section.teacher.base_url)
    if taught:
        context.resources  # noqa: B018  Ray must run before its actors
        context.teacher = teacher.start(
            section.teacher, section.cache != "off", context.run.folder / "teacher.jsonl"
        )
    m = config.model
    model = " ".join([m.name, m.revision or "", m.dtype, str(context.model)])
    return stream.Voice(context.chat, config.engine, model, taught, section.cache == "all")


def check(config: Config, needs_key: bool = True) -> None:
    """What can be refused before Ray starts: pools, faults, agents, tool modules, the teacher's
    key. Raises ConfigError."""
    draw.shares(config.generate.pools)
    checks.executor(config.generate)
    if needs_key:
        teacher.key_from_env(config.generate.teacher)
    negatives.check_names(config.negatives.faults)


def sample_fitting(rows: list[Trajectory], count: int, chat: Any, seed: str) -> list[Trajectory]:
    """At most `count` random rows that are short enough to be trained on."""
    order = random.Random(seed).sample(rows, len(rows))
    fitting = (row for row in order if len(chat.prompt_ids(row)) < chat.max_length)
    return list(itertools.islice(fitting, count))


def make_shards(
    context: Context,
    step: Step,
    name: str,
    rows: list[Trajectory],
    work: Callable[[list[Trajectory]], stream.Shard],
) -> list[dict[str, Any]]:
    """Run `work` on the unfinished shards of `rows`; returns the summary of every shard."""
    import ray

    size = context.config.generate.shard_rows
    parts = [rows[i : i + size] for i in range(0, len(rows), size)]
    shards = Shards(step.folder / name)
    missing, folder = shards.missing(len(parts)), shards.folder
    context.resources  # noqa: B018  Ray must run before rows are put into its store
    held = {k: ray.put(to_table(parts[k])) for k in missing}  # not in every task's closure

    made_by = step.config_hash

    def one(number: int) -> dict[str, Any]:
        rows = [from_row(item) for item in ray.get(held[number]).to_pylist()]
        shard = work(rows)
        summary = {
            "rows": len(shard.rows),
            "rejected": dict(shard.rejected),
            "failed": dict(shard.failed),
            "notes": dict(shard.notes),
        }
        if not shard.outage:
            table = to_table([replace(r, config_hash=made_by) for r in shard.rows])
            note = {b"summary": json.dumps(summary).encode()} | (table.schema.metadata or {})
            Shards(folder).commit(number, table.replace_schema_metadata(note))
        return {"tokens": shard.tokens, "outage": shard.outage, "summary": summary,
                "shard": number, "refused": shard.refused, "kept": len(shard.rows),
                "asked": len(rows)}  # fmt: skip

    lost = {}
    for done in context.map_shards(name, missing, one, size):
        if done["refused"]:
            raise ConfigError(done["refused"])
        if done["outage"]:
            lost[done["shard"]] = done["summary"]
            context.outage(step, name, done)
    return [lost.get(k) or shard_summary(shards.path(k)) for k in range(len(parts))]


def check_outage(counts: Counts, limit: float) -> None:
    """Raises EngineDown where more rows than `limit` were lost to the engine; finished shards
    stay."""
    lost = counts.failed[engine.INFRA_FAILED]
    if lost > limit * counts.rows_in:
        raise engine.EngineDown(
            f"{lost} of {counts.rows_in} rows are infra_failed, more than read.max_error_share="
            f"{limit}; the same command asks for the missing ones again"
        )


def shard_summary(path: Path) -> dict[str, Any]:
    """The counts that a shard carries in its Parquet metadata."""
    import pyarrow.parquet as pq

    return json.loads(pq.read_schema(path).metadata[b"summary"])
