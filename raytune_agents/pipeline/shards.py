"""Long work in shards on disk, as a Ray Data stream: a killed step goes on, and an engine that
stays down costs the rows of its shards, counted.

A shard is the unit of commit: what a worker makes of its rows goes straight to the disk, and the
driver hears only counts. Shards travel to the workers in blocks; a worker has several under way, so
that the long answers of one leave no room idle in the engines."""

from __future__ import annotations

import json
import logging
import pickle
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from raytune_agents.config import ConfigError
from raytune_agents.config.base import json_values
from raytune_agents.evaluate.measured import Lines
from raytune_agents.generate.rewrite import Shard
from raytune_agents.inference import client
from raytune_agents.inference.endpoint import Refused
from raytune_agents.infra import telemetry
from raytune_agents.infra.logs import log_in_worker
from raytune_agents.infra.placement import shards_under_way
from raytune_agents.infra.provenance import code_revision
from raytune_agents.pipeline import keys
from raytune_agents.pipeline.context import Context
from raytune_agents.records import JsonObject, Trajectory, content_hash, to_table
from raytune_agents.runs import ANSWERS, Counts, Shards, Step
from raytune_agents.storage import append_jsonl

log = logging.getLogger(__name__)
Row = TypeVar("Row")
BLOCK_ROUNDS = 4  # shards of a task per thread: few, as a task that dies is done again whole
NOTES = b"shard_notes"  # key of a shard's notes in its Parquet metadata


@dataclass(frozen=True)
class ShardReport:
    """What the driver hears of a shard. With an outage nothing was committed."""

    asked: int = 0
    kept: int | None = None  # of `asked`; None where nothing is chosen
    tokens: int = 0
    outage: str = ""  # what the engine said when it went down
    refused: str = ""  # why no other shard needs to try
    lost: dict[str, str] = field(default_factory=dict)  # id of a row -> why no engine answers it
    notes: JsonObject = field(default_factory=dict)


def map_shards(
    context: Context,
    name: str,
    parts: Mapping[int, Sequence[Row]],
    work: Callable[[int, list[Row]], ShardReport],
    done: int = 0,
    at_once: int | None = None,
) -> Iterator[tuple[int, ShardReport]]:
    """`work(number, rows)` for every part on Ray's workers, `at_once` at a time (default: enough to
    fill the engines), as they end. `done`: rows of shards that an earlier run finished."""
    import ray

    if not parts:
        return
    context.resources  # noqa: B018  Ray must run before Ray Data is used

    placed, longest = context.placement, max(map(len, parts.values()))
    most = min(len(parts), at_once or shards_under_way(placed.engines, context.slots, longest))
    # A shard mostly waits for the engine: threads of a few processes, which are slow to start.
    tasks = min(most, placed.have.cpus)
    threads = most // tasks

    def answer_shards(block: pa.Table) -> Iterator[pa.Table]:
        # Before the threads: one that imports it while another does gets a half-made module.
        import transformers  # noqa: F401

        numbers, rows = block["shard"].to_pylist(), map(pickle.loads, block["rows"].to_pylist())
        with ThreadPoolExecutor(threads) as pool:
            # In their order: where Ray tries the task again, it takes the reports by their place.
            for number, report in zip(numbers, pool.map(work, numbers, rows)):
                yield pa.table({"shard": [number], "report": [json.dumps(asdict(report))]})

    blocks = ray.data.from_arrow(blocks_of(parts, tasks, threads))
    blocks.context.target_max_block_size = 1  # each report is heard when its shard ends
    found = blocks.map_batches(
        answer_shards,
        batch_size=None,  # a block whole
        batch_format="pyarrow",
        num_cpus=0.01,  # of the CPUs, the engine has what there is
        compute=ray.data.TaskPoolStrategy(size=tasks),
    )
    found.set_name(name)
    rows, ids = iter(found.iter_rows()), {"run": context.config.name, "step": name}
    # Closed by the context if an error ends the loop early.
    context.streams.append(rows)
    asked = kept = 0
    with context.display.step(name, done + sum(map(len, parts.values())), done) as bar:
        for item in rows:
            report, note = ShardReport(**json.loads(item["report"])), None
            if report.kept is not None and report.asked:
                asked, kept = asked + report.asked, kept + report.kept
                note = f"{kept / asked:.0%} accepted"
                telemetry.set_to("raytune_acceptance", kept / asked, **ids)
            telemetry.add("raytune_tokens", report.tokens, **ids)
            bar.update(len(parts[item["shard"]]), report.tokens, note=note)
            yield item["shard"], report
    context.streams.remove(rows)


def blocks_of(parts: Mapping[int, Sequence[Row]], tasks: int, threads: int) -> list[pa.Table]:
    """The shards that each task gets: several per thread, as one that is done early waits for the
    last of its block."""
    size = min(-(-len(parts) // tasks), BLOCK_ROUNDS * threads) if threads > 1 else 1
    return [
        # Pickled: Arrow would want one schema for trajectories, tasks and pairs of answers.
        pa.table({"shard": [*block], "rows": [pickle.dumps(parts[k]) for k in block]})
        for block in cut([*parts], size)
    ]


@dataclass(frozen=True)
class ShardWork(Generic[Row]):
    """Rows in parts, and what is made of a part: the table that its shard commits."""

    name: str
    shards: Shards
    parts: Sequence[Sequence[Row]]
    make: Callable[[list[Row]], tuple[pa.Table, ShardReport]]


def run_shards(
    context: Context,
    step: Step,
    name: str,
    jobs: Sequence[ShardWork[Any]],
    at_once: int | None = None,
) -> list[dict[int, ShardReport]]:
    """Commit the table of every part of every job that is not on disk, those of all jobs in one
    stream; single rows that no engine answers go to the step's quarantine. Returns, by job, the
    reports of the parts that were lost as a whole. Raises ConfigError where a report is a
    refusal."""
    missing = [(j, k) for j, job in enumerate(jobs) for k in job.shards.missing(len(job.parts))]
    # Plain values: the closure travels to the workers.
    folders, makes = [job.shards.folder for job in jobs], [job.make for job in jobs]

    def one(number: int, rows: list[Any]) -> ShardReport:
        log_in_worker()
        job, k = missing[number]
        table, report = makes[job](rows)
        # An outage commits nothing, so the next run asks for this shard again.
        if not report.outage:
            # In the file itself: rows and their counts are committed in one rename.
            notes = {NOTES: json.dumps(report.notes).encode()}
            table = table.replace_schema_metadata(notes | (table.schema.metadata or {}))
            Shards(folders[job]).commit(k, table)
            log.info("%s: shard %d, %d rows, %d tokens", name, k, len(rows), report.tokens)
        return report

    lost: list[dict[int, ShardReport]] = [{} for _ in jobs]
    own = {number: jobs[j].parts[k] for number, (j, k) in enumerate(missing)}
    whole = sum(len(part) for job in jobs for part in job.parts)
    done = whole - sum(map(len, own.values()))
    for number, report in map_shards(context, name, own, one, done, at_once):
        job, k = missing[number]
        if report.refused:
            # A wrong key or model is refused for every shard alike: no use in asking on.
            raise ConfigError(report.refused)
        if report.outage:
            lost[job][k] = report
            step.log(shard=k, outage=report.outage)
            context.display.say(f"{jobs[job].name}: engine down, {report.outage}", "red", shard=k)
        for row, why in report.lost.items():
            where = f"{jobs[job].name}, row {row}"
            line = {"where": where, "reason": f"{client.INFRA_FAILED}: {why}"}
            append_jsonl(step.folder / "quarantine.jsonl", line)
    return lost


def cut(rows: Sequence[Row], size: int) -> list[Sequence[Row]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def make_shards(
    context: Context,
    step: Step,
    name: str,
    rows: list[Trajectory],
    work: Callable[[Sequence[Trajectory]], Shard],
) -> list[JsonObject]:
    """Trajectories made of trajectories, under STEP/NAME; the counts of every shard."""
    made_by = step.config_hash

    def one(part: Sequence[Trajectory]) -> tuple[pa.Table, ShardReport]:
        shard = work(part)
        counted = {k: dict(getattr(shard, k)) for k in ("rejected", "failed", "notes", "right")}
        told = {k: getattr(shard, k) for k in ("tokens", "outage", "refused", "lost")}
        table = to_table([replace(r, config_hash=made_by) for r in shard.rows])
        notes = {"rows": len(table), **counted}
        return table, ShardReport(asked=len(part), kept=len(table), notes=notes, **told)

    shards = Shards(step.folder / name)
    parts = cut(rows, context.config.generate.shard_rows)
    (lost,) = run_shards(context, step, name, [ShardWork(name, shards, parts, one)])
    # A shard carries its notes in its own Parquet metadata.
    return [
        lost[k].notes if k in lost else json.loads(pq.read_schema(shards.path(k)).metadata[NOTES])
        for k in range(len(parts))
    ]


@dataclass(frozen=True)
class Questions:
    """What one arm is asked: rows in parts, the lines that `ask` gives for a part, the line of each
    row that is `lost` with its engine, and all that decides the answers."""

    name: str
    parts: Sequence[Sequence[Any]]
    ask: Callable[[Sequence[Any]], Lines]
    lost: Callable[[Any], Lines]
    decided_by: Sequence[Any]


def answer_part(
    ask: Callable[[Sequence[Any]], Lines], part: list[Any]
) -> tuple[pa.Table, ShardReport]:
    """The table of the lines that `ask` gives, and what the driver hears of it."""
    try:
        lines = ask(part)
    except client.EngineDown as error:
        return pa.table({}), ShardReport(outage=str(error))
    except Refused as error:
        return pa.table({}), ShardReport(outage=str(error), refused=str(error))
    tokens = int(sum(x.get("output_tokens") or 0 for x in lines))
    lost = {
        str(x.get("id") or x.get("task")): x.get("error") or "no answer"
        for x in lines
        if client.INFRA_FAILED in (x.get("failed"), x.get("end"))
    }
    return lines_table(lines), ShardReport(tokens=tokens, lost=lost)


def lines_table(lines: Lines) -> pa.Table:
    """Lines as the table that a shard commits: JSON, as they need not have one schema."""
    return pa.table({"line": pa.array([json.dumps(x) for x in lines], pa.string())})


def shard_lines(path: Path) -> Lines:
    """The lines of a committed shard."""
    return [json.loads(line) for line in pq.read_table(path)["line"].to_pylist()]


def in_shards(context: Context, step: Step, per_arm: Sequence[Questions]) -> list[Lines]:
    """The lines of all questions, asked together and kept in `kept_shards`; a part whose engine
    stayed down gives the lost line of each of its rows."""
    if not per_arm:
        return []
    jobs: list[ShardWork[Any]] = []
    for q in per_arm:
        shards = kept_shards(context, q.name, q.parts, *q.decided_by)
        jobs.append(ShardWork(q.name, shards, q.parts, partial(answer_part, q.ask)))
    if any(job.shards.missing(len(job.parts)) for job in jobs):
        context.start_engine()
    name = per_arm[0].name + (f" and {len(per_arm) - 1} more" if len(per_arm) > 1 else "")
    down = run_shards(context, step, name, jobs, context.config.evaluate.max_concurrency)
    out: list[Lines] = [[] for _ in jobs]
    for lines, q, job, lost in zip(out, per_arm, jobs, down):
        for k, part in enumerate(job.parts):
            if k in lost:
                lines += [line for row in part for line in q.lost(row)]
            else:
                lines += shard_lines(job.shards.path(k))
    return out


def kept_shards(
    context: Context, name: str, parts: Sequence[Sequence[Any]], *decided_by: Any
) -> Shards:
    """RUN/answers/NAME-KEY, whose key has all that decides these answers: they outlive the step, so
    that an arm which is added later is asked alone."""
    config = context.config
    # One by one: the JSON text of all rows would be larger than the rows.
    each = (asdict(r) if isinstance(r, Trajectory) else dict(r) for part in parts for r in part)
    rows = [content_hash(row, 64) for row in each]
    own = [config.model, config.engine, config.evaluate.shard_rows, *decided_by]
    own += keys.contents(config.model)  # other weights may lie in the folder of that name
    # With the code: a changed template or parser may change any answer.
    key = content_hash([json_values(own, deciding=True), rows, config.seed, code_revision()])
    folder, slug = context.run.folder / ANSWERS, name.replace(" ", "-")
    for old in folder.glob(f"{slug}-*"):
        if re.fullmatch(rf"{re.escape(slug)}-[0-9a-f]{{16}}", old.name) and key not in old.name:
            # Answers to other rows or options: no step reads them again.
            shutil.rmtree(old)
    return Shards(folder / f"{slug}-{key}")


def check_outage(counts: Counts, limit: float) -> None:
    """Raises EngineDown where more rows than `limit` were lost to the engine; finished shards
    stay."""
    lost = counts.failed[client.INFRA_FAILED]
    if lost > limit * counts.rows_in:
        raise client.EngineDown(
            f"{lost} of {counts.rows_in} rows are infra_failed, more than read.max_error_share="
            f"{limit}; the same command asks for the missing ones again"
        )
