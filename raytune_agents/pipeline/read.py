"""The read step: sources -> trajectories with their split. Two passes over Parquet, flat memory.

Whether a test_seen row may stay one is known only when all training rows were seen: so the first
pass writes `work/`, and the second settles those rows and writes the step's files.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raytune_agents import readers, split
from raytune_agents.config import ConfigError, ReadConfig, SourceConfig
from raytune_agents.records import RecordError, Trajectory, arrow_schema, to_row
from raytune_agents.redact import redact
from raytune_agents.runs import Counts, RowFiles, Step, write_table

if TYPE_CHECKING:
    from raytune_agents.pipeline.context import Context

SHOWN_TASKS = 12
TABLE_ROWS, TABLE_CHARS = 2_000, 1 << 23  # what a reading worker holds before it hands it on
WITH_TOOLS = ("train", "test_seen")  # splits whose rows' gold tools decide about a split
PARSED = (
    *arrow_schema(),
    pa.field("where", pa.string()),
    pa.field("error", pa.string()),  # "" = a good row
    pa.field("gold_tools", pa.list_(pa.string())),
    pa.field("task_type", pa.string()),
)


def parse_source(
    source: SourceConfig, section: ReadConfig, config_hash: str, seed: int
) -> Iterator[pa.Table]:
    """Rows of one source, with their split, as tables of PARSED; a bad row has its error."""
    held: list[dict[str, Any]] = []
    size = 0
    blank = to_row(Trajectory())
    for where, raw in readers.list_raw(source):
        try:
            if isinstance(raw, RecordError):
                raise raw
            rows = readers.read_row(raw, where, source.format, source.min_rating, source.rating_max)
            for row in rows:
                row = split.assign(row, section.split, seed)
                tools = sorted(split.gold_tools(row)) if row.split in WITH_TOOLS else []
                notes = {"where": where, "error": "", "gold_tools": tools,
                         "config_hash": config_hash, "seed": row.seed or seed}  # fmt: skip
                held.append(to_row(row) | notes | {"task_type": row.meta.get("task_type")})
                size += len(held[-1]["messages"]) + len(held[-1]["tools"]) + len(held[-1]["meta"])
        except RecordError as error:
            held.append(blank | {"where": where, "error": str(error) or "bad row"})
        if len(held) >= TABLE_ROWS or size >= TABLE_CHARS:
            yield parsed_table(held)
            held, size = [], 0
    yield parsed_table(held)


def parsed_table(held: list[dict[str, Any]]) -> pa.Table:
    """PARSED columns of flat rows. What a file's name or an error quotes may be no text: it is
    escaped."""
    for row in held:
        for key in ("where", "error", "task_type"):
            if row.get(key) is not None:
                row[key] = str(row[key]).encode("utf-8", "backslashreplace").decode()
    columns = [pa.array([row.get(f.name) for row in held], f.type) for f in PARSED]
    return pa.Table.from_arrays(columns, schema=pa.schema(PARSED))


def units(sources: list[SourceConfig]) -> list[dict[str, str]]:
    """One work item a file, so that files are read in parallel; a limited source stays whole."""
    out = []
    for source in sources:
        if source.format != "auto":
            readers.resolve(source.format)
        whole = source.path == "bfcl" or source.limit is not None or readers.is_hub(source.path)
        paths = [source.path] if whole else readers.files(source.path)
        out += [{"source": source.model_copy(update={"path": p}).model_dump_json()} for p in paths]
    return out


def read(context: Context, step: Step) -> tuple[Counts, dict[str, Any]]:
    """Sources -> trajectories with their split; bad rows -> quarantine.jsonl."""
    section = context.config.read
    counts, train, tasks = Counts(), set(), Counter()
    work = RowFiles(step.folder / "work")
    with context.display.step("read") as bar, (step.folder / "quarantine.jsonl").open("w") as bad:
        for table in parsed(context, step):
            counts.rows_in += len(table)
            good = pc.equal(table["error"], "")
            for item in table.filter(pc.invert(good)).select(["where", "error"]).to_pylist():
                counts.failed[item["error"].partition(":")[0][:80]] += 1
                line = {"where": item["where"], "reason": item["error"]}
                bad.write(redact(json.dumps(line)) + "\n")
            table = table.filter(good).drop_columns(["where", "error"])
            tasks.update(task_outcomes(table))
            train |= train_tools(table)
            work.add(table.drop_columns(["task_type"]))
            bar.update(len(table))
    work.close()
    check_errors(counts, section.max_error_share, step)
    splits, sources = settle(step.folder, train, counts)
    split.check(splits, section.split)
    shutil.rmtree(work.folder)
    step.log(splits=dict(splits), sources=dict(sources))
    if not tasks:
        return counts, {"splits": dict(splits)}
    found = task_table(tasks)
    for task, told in sorted(found.items(), key=lambda x: -x[1]["in"])[:SHOWN_TASKS]:
        context.display.say(f"read      task {task}: {told['in']} rows, {told['kept']} kept")
    return counts, {"splits": dict(splits), "task_types": found}


def task_outcomes(table: pa.Table) -> Iterator[tuple[str, str]]:
    """(task, what became of it) of the rated interactions among PARSED rows."""
    for task, pool in zip(table["task_type"].to_pylist(), table["pool"].to_pylist()):
        if task is not None:
            yield task, "below min_rating" if pool.startswith("negative") else "kept"


def task_table(tasks: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Task -> {"in", "below min_rating", "kept"}, rows."""
    out: dict[str, dict[str, int]] = {}
    for (task, word), n in tasks.items():
        told = out.setdefault(task, {"in": 0, "below min_rating": 0, "kept": 0})
        told["in"] += n
        told[word] += n
    return out


def parsed(context: Context, step: Step) -> Iterable[pa.Table]:
    """Tables of PARSED from Ray's workers, in the order of the sources."""
    import ray

    section, seed, config_hash = context.config.read, context.config.seed, step.config_hash
    items = units(section.sources)  # a missing file stops here, before Ray
    context.resources  # noqa: B018
    ray.data.DataContext.get_current().execution_options.preserve_order = True

    def parse(batch: dict[str, Any]) -> Iterator[pa.Table]:
        for text in batch["source"]:
            source = SourceConfig.model_validate_json(text)
            yield from parse_source(source, section, config_hash, seed)

    found = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        parse, batch_size=1
    )
    return found.iter_batches(batch_size=None, batch_format="pyarrow")


def train_tools(table: pa.Table) -> set[str]:
    """The names of the tools that training rows show."""
    names = table.filter(pc.equal(table["split"], "train"))["gold_tools"]
    return set(pc.unique(pc.list_flatten(names)).to_pylist())


def settle(folder: Path, train: set[str], counts: Counts) -> tuple[Counter, Counter]:
    """`work/` -> the step's files, each test_seen row settled; adds to `counts` what came out.
    Returns the accepted rows by split and all rows by source."""
    splits, sources = Counter(), Counter()
    for path in sorted((folder / "work").glob("*.parquet")):
        table = pq.read_table(path)
        column = [
            split.settle(name, tools, train)
            for name, tools in zip(table["split"].to_pylist(), table["gold_tools"].to_pylist())
        ]
        table = table.drop_columns(["gold_tools"])
        at = table.schema.get_field_index("split")
        table = table.set_column(at, table.schema.field(at), pa.array(column, pa.string()))
        write_table(folder / path.name, table)
        words = [r.partition(":")[0] for r in table["reject_reason"].to_pylist()]
        counts.rejected.update(w for w in words if w)
        counts.rows_out += sum(not w for w in words)
        splits.update(s for s, w in zip(column, words) if not w)
        sources.update(table["source"].to_pylist())
    return splits, sources


def check_errors(counts: Counts, limit: float, step: Step) -> None:
    """Raises ConfigError where more rows than `limit` were bad, or none was good."""
    bad = counts.failed.total()
    if counts.rows_in == bad or bad > limit * counts.rows_in:
        worst = ", ".join(f"{n} {reason}" for reason, n in counts.failed.most_common(3))
        raise ConfigError(
            f"read: {bad} of {counts.rows_in} rows are bad ({worst or 'no rows'}), more than "
            f"read.max_error_share={limit}; see {step.folder / 'quarantine.jsonl'}"
        )
