"""The steps generate and mix. Thin: the rules live in the modules they call."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from raytune_agents import agents, engine, mix, negatives
from raytune_agents.dedup import space
from raytune_agents.generate import stream, tasks
from raytune_agents.records import RecordError, Trajectory, finish, from_row, to_table
from raytune_agents.runs import Counts, Shards, Step, read_rows, write_rows, write_table

if TYPE_CHECKING:
    from raytune_agents.pipeline import Context

TRIES = 8  # rows that are tried for one wanted fault


# --- generate ---


def generate(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """Synthetic positives with paraphrased requests, the model's own failures, edited negatives."""
    config, counts, extra = context.config, Counts(), {}
    train = [
        r
        for r in read_rows(context.run.folder / "read")
        if r.split == "train" and not r.reject_reason
    ]
    drawn = draw_tasks(config.generate, config.seed)
    chat, seed, engine_section = context.chat, config.seed, config.engine
    called = sample_fitting(
        [row for row in train if row.calls], config.negatives.mined_tasks, chat, f"{seed}/mined"
    )
    context.start_engine()
    made = make_shards(
        context,
        step,
        "tflan",
        drawn,
        lambda rows: stream.paraphrase(rows, chat, config.generate, engine_section, seed),
    )
    mined = make_shards(
        context,
        step,
        "mined",
        called,
        lambda rows: stream.mine(rows, chat, config.negatives, engine_section, seed),
    )
    per_row = {"tflan": 1, "mined": config.negatives.mined_samples}
    for name, summaries, rows in (("tflan", made, drawn), ("mined", mined, called)):
        counts.rows_in += len(rows) * per_row[name]
        for summary in summaries:
            counts.rows_out += summary["rows"]
            counts.rejected.update({f"{name}:{k}": n for k, n in summary["rejected"].items()})
            counts.failed.update(summary["failed"])
            extra.setdefault(name, Counter()).update(summary["notes"])
    check_outage(counts, config.read.max_error_share)
    synthetic = read_rows(step.folder / "tflan")
    edited, refused = edit_rows(
        [*train, *synthetic], extra.get("mined", Counter()), config.negatives, seed
    )
    edited = [replace(row, config_hash=step.config_hash) for row in edited]
    write_rows(step.folder / "edited" / "rows-00000.parquet", edited)
    counts.rows_in += len(edited) + refused.total()
    counts.rows_out += len(edited)
    counts.rejected.update({f"edited:{k}": n for k, n in refused.items()})
    extra["edited"] = Counter(row.fault for row in edited)
    return counts, {name: dict(notes) for name, notes in extra.items()}


def sample_fitting(rows: list[Trajectory], count: int, chat: Any, seed: str) -> list[Trajectory]:
    """At most `count` random rows that are short enough to be trained on."""
    order = random.Random(seed).sample(rows, len(rows))
    fitting = (row for row in order if len(chat.prompt_ids(row)) < chat.max_length)
    return list(itertools.islice(fitting, count))


def draw_tasks(section: Any, seed: int) -> list[Trajectory]:
    """The rows to attempt, spread evenly over the agents; all are training rows."""
    specs = [agents.load(name) for name in section.agents]
    each = [section.rows // len(specs) + (i < section.rows % len(specs)) for i in range(len(specs))]
    return [
        with_tools(replace(row, split="train"), section.tools, seed)
        for spec, n in zip(specs, each)
        for row in tasks.tasks(spec, n, seed)
    ]


def with_tools(row: Trajectory, count: int, seed: int) -> Trajectory:
    """The row with at most `count` candidate tools (never fewer than it calls), in their order."""
    called = {call.name for call in row.calls}
    others = [tool.name for tool in row.tools if tool.name not in called]
    kept = called | set(
        random.Random(f"{seed}/{row.id}").sample(
            others, k=max(0, min(len(others), count - len(called)))
        )
    )
    return finish(replace(row, tools=tuple(tool for tool in row.tools if tool.name in kept)))


def make_shards(
    context: Context, step: Step, name: str, rows: list[Trajectory], work: Any
) -> list[dict]:
    """Run `work` on the unfinished shards of `rows`; returns the summary of every shard."""
    size = context.config.generate.shard_rows
    parts = [rows[i : i + size] for i in range(0, len(rows), size)]
    shards = Shards(step.folder / name)
    folder, items = (
        shards.folder,
        {k: to_table(parts[k]).to_pylist() for k in shards.missing(len(parts))},
    )

    made_by = step.config_hash

    def one(number: int) -> dict[str, Any]:
        shard = work([from_row(item) for item in items[number]])
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
        return {"tokens": shard.tokens, "outage": shard.outage, "summary": summary, "shard": number}

    lost = {}
    for done in context.map_shards(name, list(items), one, size):
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


def edit_rows(
    good: list[Trajectory], mined: Counter, section: Any, seed: int
) -> tuple[list[Trajectory], Counter]:
    """Verified negatives of good training rows, faults drawn after the mined distribution. Returns
    the rows and, by reason, the attempts that gave none."""
    rows = [row for row in good if row.calls]
    rng = random.Random(f"{seed}/edited")
    names = [f for f in section.faults or negatives.FAULTS if fits(rows, f, rng)]
    if not names:
        return [], Counter()
    wanted = negatives.choose_faults(
        mined, round(section.per_positive * len(rows)), section.uniform_floor, rng, names
    )
    out, refused = [], Counter()
    for k, fault in enumerate(wanted):
        for row in rng.choices(rows, k=TRIES):
            bad, reason = negatives.edit(row, fault, seed + k)
            if bad is not None or reason != "not_applicable":
                break
        if bad is None:
            refused[f"{fault} {reason}".strip()] += 1
        else:
            out.append(bad)
    return out, refused


def fits(rows: list[Trajectory], fault: str, rng: random.Random) -> bool:
    """Whether some of the rows admit the fault at all (a single answer has no wrong order)."""
    probe = rng.sample(rows, min(len(rows), 64))
    return any(negatives.edit(row, fault, 0)[1] != "not_applicable" for row in probe)


# --- mix ---


def training_rows(folder: Path) -> dict[str, Trajectory]:
    """Accepted rows of the train split, by id."""
    return {
        r.id: r for r in read_rows(folder / "label") if r.split == "train" and not r.reject_reason
    }


def token_counts(context: Context, rows: list[Trajectory]) -> tuple[dict[str, int], Counter]:
    """Trained (answer) tokens of every row, and the reasons of rows that cannot be trained on."""
    counts, refused = {}, Counter()
    with context.display.step("tokens", len(rows)) as bar:
        for row in rows:
            try:
                counts[row.id] = sum(e.trained_tokens for e in context.chat.encode(row))
            except RecordError as error:
                refused[str(error)] += 1
            bar.update(1)
    return counts, refused


def mix_arms(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """The training rows of every arm: mix/ARM.parquet with columns id and pool, in training
    order."""
    from raytune_agents.train import methods

    config = context.config
    rows = training_rows(context.run.folder)
    cost, refused = token_counts(context, list(rows.values()))
    arms: dict[str, Any] = {}

    def diverse(ids: list[str], count: int) -> list[str]:
        order = space.arranged([rows[i] for i in ids], config.mix.select, count, config.seed)
        return [ids[k] for k in order]

    arrange = None if config.mix.select == "random" else diverse
    for name, arm in config.train.arms.items():
        arm_cost = methods.costs(arm.method, rows, cost, context.chat, config.train.of(arm))
        pool = [(i, rows[i].pool, n) for i, n in arm_cost.items()]
        weights = mix.taken(arm.weights or config.mix.weights, pool)
        budget = arm.tokens or config.mix.tokens
        chosen = mix.choose(pool, weights, budget, config.mix.max_epochs, config.seed, arrange)
        table = pa.table({"id": chosen.ids, "pool": [rows[i].pool for i in chosen.ids]})
        write_table(step.folder / f"{name}.parquet", table)
        arms[name] = {
            "rows": len(chosen.ids),
            "tokens": chosen.tokens,
            "epochs": chosen.epochs,
            "short": {k: v for k, v in chosen.short.items() if v},
        }
        step.log(arm=name, **arms[name])
    counts = Counts(rows_in=len(rows), rows_out=len(cost), rejected=refused)
    return counts, {"arms": arms}
