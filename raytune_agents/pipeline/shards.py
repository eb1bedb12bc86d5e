"""Long work in shards on disk, as a Ray Data stream: a killed step goes on, and an engine
that stays down costs the rows of its shards, counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raytune_agents.config import ConfigError
from raytune_agents.evaluate.harness import Lines
from raytune_agents.generate import rewrite
from raytune_agents.inference import engine
from raytune_agents.pipeline.context import Context
from raytune_agents.records import Trajectory, from_row, to_table
from raytune_agents.runs import Counts, Shards, Step


def cut(rows: list[Any], size: int) -> list[list[Any]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def make_shards(
    context: Context,
    step: Step,
    name: str,
    rows: list[Trajectory],
    work: Callable[[list[Trajectory]], rewrite.Shard],
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


def in_shards(
    context: Context,
    step: Step,
    name: str,
    parts: list[list[Any]],
    work: Callable[[Sequence[Any]], Lines],
    lost: Callable[[Any], Lines],
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
    size, most = len(parts[0]) if parts else 0, context.config.evaluate.max_concurrency
    for done in context.map_shards(name, missing, one, size, most):
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
