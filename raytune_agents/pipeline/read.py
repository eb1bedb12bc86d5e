"""The read step: sources -> trajectories with their split. Two passes over Parquet, flat memory.

Which tools may be kept back is known only when all rows were seen: so the first pass writes `work/`
with what the split needs of each row, and the second splits and writes the step's files. Ray's
workers write in both; the driver sees SEEN of each row, never its text.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raytune_agents import readers, split
from raytune_agents.agents import load_spec
from raytune_agents.config import ConfigError, ReadConfig, SourceConfig
from raytune_agents.infra import cluster
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.file_spans import spans_of
from raytune_agents.readers.decode import FileSpan
from raytune_agents.readers.notes import SourceNotes
from raytune_agents.readers.unpack import SourceError
from raytune_agents.records import (
    ROW_FAULTS,
    SPLITS,
    FlatRow,
    JsonObject,
    RecordError,
    ToolSpec,
    Trajectory,
    arrow_schema,
    content_hash,
    finish,
    to_row,
)
from raytune_agents.redact import redact
from raytune_agents.runs import Counts, Step
from raytune_agents.storage import (
    RowFiles,
    StoredRows,
    bunched,
    joined_table,
    with_column,
    write_table,
)

SHOWN_TASKS = 12
MOST_TASKS = 2_000  # that read files: of more files each reads several
TABLE_ROWS, TABLE_CHARS = 2_000, 1 << 23  # what a reading worker holds before it hands it on
MOST_BAD = 1_000_000  # bad rows of a source of which most are bad
MOST_REASONS = 1_000  # that are counted apart: a reason may hold what a row calls its tool
FACTS = (  # split.RowFacts
    pa.field("gold_tools", pa.list_(pa.string())),
    pa.field("ties", pa.list_(pa.string())),
    pa.field("position", pa.float64()),
)
NOTES = (  # of the first trajectory of a raw row: readers.SourceRow
    pa.field("format", pa.string()),
    pa.field("sure", pa.float64()),
    pa.field("unread", pa.map_(pa.string(), pa.string())),
    pa.field("redacted", pa.map_(pa.string(), pa.int64())),
)
PARSED = (
    *arrow_schema(),
    pa.field("where", pa.string()),
    pa.field("error", pa.string()),  # "" = a good row
    *FACTS,
    pa.field("task_type", pa.string()),
    *NOTES,
)


NOTED = [f.name for f in NOTES]
LOOSE = ("where", "error", "task_type", *NOTED)  # of PARSED, what is no part of work/
SEEN = (*LOOSE, "gold_tools", "ties", "position", "split", "pool")


def write_parsed(folder: Path, number: int, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The good rows of one source's PARSED to files of `folder`, in whose names `number` stands;
    SEEN of all its rows."""
    files = RowFiles(folder, f"rows-{number:05d}")
    for table in tables:
        files.add(table.filter(pc.equal(table["error"], "")).drop_columns(LOOSE))
        yield table.select(SEEN)
    files.close()


def parse_source(
    source: SourceConfig,
    config: ReadConfig,
    config_hash: str,
    seed: int,
    span: FileSpan | None = None,
) -> Iterator[pa.Table]:
    """Rows of one source, or of some of its lines, as tables of PARSED; a bad row has its error.
    Raises SourceError where there are more than MOST_BAD and most of them are bad: a few bytes can
    stand for billions."""
    held: list[FlatRow] = []
    size = bad = 0
    blank = to_row(Trajectory())
    catalogue = catalogue_of(source)
    for number, found in enumerate(readers.read_source(source, span), 1):
        made, error = [], found.error
        try:
            made = [flat_row(with_catalogue(row, catalogue), config, seed) for row in found.rows]
        except ROW_FAULTS as cause:  # a row whose gold or calls cannot be told apart for the split
            error = str(cause) if isinstance(cause, RecordError) else f"split: {cause!r:.100}"
        if error:
            made, bad = [blank | {"error": error}], bad + 1
            if bad > MOST_BAD and bad > max(config.max_error_share, 0.5) * number:
                raise SourceError(
                    f"{source.path}: {bad:,} of its first {number:,} rows are bad ({error[:80]}); "
                    "leave the source out, or write the format that it has"
                )
        else:  # of the raw row, not of each of its trajectories
            notes: FlatRow = {"format": found.format, "sure": found.sure}
            notes["redacted"] = list(found.redacted.items())
            made[0] |= notes | {"unread": list(found.unread.items())}
        for flat in made:
            held.append(flat | {"where": found.where, "config_hash": config_hash})
            size += sum(len(flat[name]) for name in ("messages", "tools", "meta"))
        # By size too: a coding session alone can be megabytes.
        if len(held) >= TABLE_ROWS or size >= TABLE_CHARS:
            yield parsed_table(held)
            held, size = [], 0
    yield parsed_table(held)


def catalogue_of(source: SourceConfig) -> list[ToolSpec]:
    """The tools of the source's agent, [] without one. Raises ConfigError."""
    return list(load_spec(source.agent).toolspecs) if source.agent else []


def with_catalogue(row: Trajectory, tools: Sequence[ToolSpec]) -> Trajectory:
    """The row with the agent's tools where it lists none."""
    return row if row.tools or not tools else finish(replace(row, tools=tuple(tools)))


def with_fewer_tools(row: Trajectory, most: int | None) -> Trajectory:
    """The row with at most `most` tools, in their order: those that it calls, or that its gold
    does, and others by a hash. Raises RecordError where its gold has no names."""
    if most is None or len(row.tools) <= most:
        return row
    called = {call.name for call in row.calls} | split.gold_tools(row)
    others = [t.name for t in row.tools if t.name not in called]
    # By a hash: the same in every run, and not the first tools of the list in every row.
    others.sort(key=lambda name: content_hash([row.id, name]))
    kept = called | set(others[: max(0, most - len(row.tools) + len(others))])
    return finish(replace(row, tools=tuple(t for t in row.tools if t.name in kept)))


def flat_row(row: Trajectory, config: ReadConfig, seed: int) -> FlatRow:
    """A trajectory as PARSED has it. Raises ROW_FAULTS, RecordError with the reason."""
    row = with_fewer_tools(row, config.tools)
    facts = split.row_facts(row, config.split, seed)
    return to_row(row) | {
        "error": "",
        "gold_tools": facts.tools,
        "ties": facts.ties,
        "position": facts.position,
        "seed": row.seed or seed,
        "task_type": row.meta.get("task_type"),
    }


def parsed_table(held: list[FlatRow]) -> pa.Table:
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
            readers.reader_named(source.format)
        # A limit counts over all files of a source, so one worker reads them.
        packaged = source.path == "bfcl" or readers.is_packaged(source.path)
        whole = packaged or source.limit is not None or readers.is_hub(source.path)
        paths = [source.path] if whole else readers.files(source.path)
        out += [{"source": source.model_copy(update={"path": p}).model_dump_json()} for p in paths]
    return out


def hub_parts(source: SourceConfig) -> list[SourceConfig]:
    """A hub set made of files as a source per file, any other source as it is. Asks the hub, as
    `units`, which a run that is past this step looks at too, does not."""
    hub = source.limit is None and readers.is_hub(source.path)
    urls = readers.hub_files(source.path) if hub else []
    return [source.model_copy(update={"path": url}) for url in urls] or [source]


def read(context: Context, step: Step) -> tuple[Counts, JsonObject]:
    """Sources -> trajectories with their split; bad rows -> quarantine.jsonl."""
    config = context.config.read
    counts, survey = Counts(), split.Survey(config.split)
    tasks: dict[str, Counter[str]] = defaultdict(Counter)
    noted = SourceNotes()
    work = step.folder / "work"
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    with context.display.step("read") as bar, (step.folder / "quarantine.jsonl").open("w") as bad:
        for table in parsed(context, step):
            counts.rows_in += len(table)
            good = pc.equal(table["error"], "")
            for item in table.filter(pc.invert(good)).select(["where", "error"]).to_pylist():
                why = item["error"].partition(":")[0][:80]
                few = why in counts.failed or len(counts.failed) < MOST_REASONS
                counts.failed[why if few else "another reason"] += 1
                line = {"where": item["where"], "reason": item["error"]}
                bad.write(redact(json.dumps(line)) + "\n")
            table = table.filter(good)
            count_tasks(tasks, table)
            for facts, source_split in facts_of(table):
                survey.add(facts, source_split)
            for row in table.filter(pc.is_valid(table["format"])).select(NOTED).to_pylist():
                noted.add(row["format"], row["sure"], dict(row["unread"]), dict(row["redacted"]))
            bar.update(len(table))
    # Tools alone are a run too: nothing was read, so nothing can be wrong.
    if config.sources:
        check_errors(counts, config.max_error_share, step)
    splitter = survey.splitter(context.config.seed)
    if survey.few:
        # Few rows fit in memory, and situations can only be told from whole rows.
        free = [row for row in StoredRows(work) if row.split not in SPLITS]
        splitter.few = split.few_splits(free, config.split, context.config.seed)
    splits, sources = settle(step.folder, splitter, counts)
    shutil.rmtree(work, ignore_errors=True)
    left_out = absent(splits, splitter, survey)
    for line in split_lines(splits, left_out, survey):
        context.display.say(f"read      {line}")
    for line in noted.lines():
        context.display.say(f"read      {line}")
    step.log(splits=dict(splits), sources=dict(sources))
    notes = {"splits": dict(splits), "left_out": left_out} | noted.manifest()
    for task, counted in sorted(tasks.items(), key=lambda x: -x[1]["in"])[:SHOWN_TASKS]:
        context.display.say(f"read      task {task}: {counted['in']} rows, {counted['kept']} kept")
    return counts, notes | ({"task_types": tasks} if tasks else {})


def count_tasks(tasks: dict[str, Counter[str]], table: pa.Table) -> None:
    """Add the rated interactions among PARSED rows to the counts of their tasks: in, below
    min_rating, kept."""
    for task, pool in zip(table["task_type"].to_pylist(), table["pool"].to_pylist()):
        if task is not None:
            bad = pool.startswith("negative")
            tasks[task].update({"in": 1, "below min_rating": int(bad), "kept": int(not bad)})


def parsed(context: Context, step: Step) -> Iterable[pa.Table]:
    """SEEN of the rows that Ray's workers write to `work/`, in the order of the sources."""
    import ray

    config, seed, config_hash = context.config.read, context.config.seed, step.config_hash
    # A missing file stops here, before Ray.
    found = units([part for source in config.sources for part in hub_parts(source)])
    for source in config.sources:
        catalogue_of(source)  # and a spec that cannot be read
    if not found:  # tools alone: every row is made
        return []
    context.resources  # noqa: B018
    items = [item | {"number": k} for k, item in enumerate(spans_of(found))]

    work = step.folder / "work"

    def parse(batch: dict[str, Any]) -> Iterator[pa.Table]:
        tables = (
            table
            for text, span in zip(batch["source"], batch["span"])
            for table in parse_source(
                SourceConfig.model_validate_json(text),
                config,
                config_hash,
                seed,
                FileSpan(*json.loads(span)) if span else None,
            )
        )
        yield from write_parsed(work, int(batch["number"][0]), tables)

    blocks = min(len(items), MOST_TASKS)
    # In order: which of two equal rows survives the label step depends on it.
    ds = cluster.in_order(ray.data.from_items(items, override_num_blocks=blocks), "read")
    rows = ds.map_batches(parse, batch_size=None)
    return rows.iter_batches(batch_size=None, batch_format="pyarrow")


def facts_of(table: pa.Table) -> Iterator[tuple[split.RowFacts, str]]:
    """What the split needs of each row of PARSED, and the split that its source gave."""
    columns = [table[name].to_pylist() for name in ("gold_tools", "ties", "position", "split")]
    for tools, ties, position, source_split in zip(*columns):
        yield split.RowFacts(tuple(tools), tuple(ties), position), source_split


def settle(
    folder: Path, splitter: split.Splitter, counts: Counts
) -> tuple[Counter[str], Counter[str]]:
    """`work/` -> the step's files, each row with its split; adds to `counts` what came out. Returns
    the accepted rows by split and all rows by source."""
    splits: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    items, needed = [], ["gold_tools", "ties", "position", "split", "source"]
    # A split depends on those before it, so all are told here, from a few columns.
    for item in bunched(folder / "work", folder):
        table = joined_table(item, needed)
        found = [splitter.split(facts, source_split) for facts, source_split in facts_of(table)]
        counts.rejected.update(why for _, why in found if why)
        counts.rows_out += sum(not why for _, why in found)
        splits.update(name for name, why in found if not why)
        sources.update(table["source"].to_pylist())
        columns = {"split": [name for name, _ in found], "reject_reason": [why for _, why in found]}
        items.append(item | columns)
    for _ in cluster.map_items("split", items, write_split):
        pass
    return splits, sources


def write_split(item: JsonObject) -> JsonObject:
    """Some files of `work/` as one of the step's, with the columns of `item`, which have a value
    for each of their rows (else pyarrow raises)."""
    # What the split needed is not part of a trajectory.
    table = joined_table(item).drop_columns([f.name for f in FACTS])
    for name in ("split", "reject_reason"):
        table = with_column(table, name, item[name])
    write_table(Path(item["out"]), table)
    return {}


def absent(splits: Counter[str], splitter: split.Splitter, survey: split.Survey) -> dict[str, str]:
    """The splits without a row, and why."""
    few = f"{survey.free} rows are few" if survey.few else ""
    why = {"test_unseen": few or splitter.held.reason}
    return {name: why.get(name) or few or "no row" for name in SPLITS if not splits[name]}


def split_lines(
    splits: Counter[str], left_out: dict[str, str], survey: split.Survey
) -> Iterator[str]:
    """The split in words: its rows, how they were chosen, and the suites that are left out."""
    how = "whole situations kept back" if survey.few else "by a hash"
    rows = ", ".join(f"{splits[name]} {name}" for name in SPLITS if splits[name]) or "no rows"
    yield f"split {how}: {rows}"
    for name, why in left_out.items():
        yield f"no {name}: {why}"


def check_errors(counts: Counts, limit: float, step: Step) -> None:
    """Raises ConfigError where more rows than `limit` were bad (one may always be), or none was
    good."""
    bad = counts.failed.total()
    if counts.rows_in == bad or bad > max(1, limit * counts.rows_in):
        worst = ", ".join(f"{n} {reason}" for reason, n in counts.failed.most_common(3))
        raise ConfigError(
            f"read: {bad} of {counts.rows_in} rows are bad ({worst or 'no rows'}), more than "
            f"read.max_error_share={limit}; see {step.folder / 'quarantine.jsonl'}"
        )
