"""The label step: rules, leaks, contradictions and duplicates write reject_reason; nothing is lost.

    1  workers: rules, leaks, fingerprints     -> work/{rows,prints}, leaks.jsonl
    2  the fingerprints, grouped (dedup.step)  -> pairs (row, survivor)
    3  workers: marks, quality                 -> rows-*.parquet

Ray's workers read and write the rows; the driver holds the pairs, and 16 bytes per row for the
diversity part of the quality. Leaks come before duplicates: no survivor is a leak.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raytune_agents import filters, readers
from raytune_agents.config import Config, LabelConfig, SourceConfig
from raytune_agents.dedup import step as dedup
from raytune_agents.dedup.leaks import LeakIndex
from raytune_agents.dedup.minhash import sketches
from raytune_agents.dedup.text import key_bits, near_text, request_text
from raytune_agents.filters.quality import quality, signature
from raytune_agents.filters.shape import is_held_out
from raytune_agents.infra import cluster
from raytune_agents.pipeline import generate, read
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.label_quality import PARTS, write_labels
from raytune_agents.records import (
    ROW_FAULTS,
    SPLITS,
    FlatRow,
    JsonObject,
    Options,
    Trajectory,
    arrow_schema,
    content_hash,
    from_row,
)
from raytune_agents.runs import Counts, RowsLost, Step
from raytune_agents.storage import RowFiles, row_groups, with_column

if TYPE_CHECKING:
    import ray

BATCH = 1024
SHOWN = 300  # characters of a request in leaks.jsonl
Score = Callable[[Sequence[Trajectory]], list[float | None]]
PRINTS = dedup.PRINTS.append(pa.field("signature", pa.uint64()))
# What the driver hears of a batch: its rows, and its leaks as JSON.
LABELLED = pa.schema([("rows", pa.int64()), ("leaks", pa.list_(pa.string()))])


# --- 1: workers ---


def sketched(rows: list[Trajectory], config: LabelConfig) -> tuple[np.ndarray, np.ndarray]:
    """Sketches of the rows' questions and of what near duplicates share; each text once."""
    requests = [request_text(r) for r in rows] if config.decontaminate else [""] * len(rows)
    near = config.duplicates == "minhash"
    near_texts = [near_text(r) for r in rows] if near else [""] * len(rows)
    at = {text: i for i, text in enumerate(dict.fromkeys([*requests, *near_texts]))}
    sketch = sketches(list(at))
    return sketch[[at[t] for t in requests]], sketch[[at[t] for t in near_texts]]


def label_rows(
    batch: pa.Table, config: LabelConfig, index: LeakIndex, score: Score | None = None
) -> pa.Table:
    """A batch of trajectories with reject_reason, quality, and leak and nll in `meta`; and, for the
    second pass, PARTS of all rows and PRINTS of the accepted ones. `score` gives the NLL of
    accepted training rows. A row on which this fails is labelled `label_error`."""
    try:
        return _labelled_rows(batch, config, index, score)
    except ROW_FAULTS as error:
        if len(batch) == 1:
            return _unlabelled(batch, error)
    half = len(batch) // 2  # find the row by halves: there is one in a million
    parts_of = (batch.slice(0, half), batch.slice(half))
    return pa.concat_tables(label_rows(part, config, index, score) for part in parts_of)


def _unlabelled(batch: pa.Table, error: Exception) -> pa.Table:
    """The columns of `label_rows` for one row that cannot be labelled."""
    labels = {"reject_reason": [filters.label_error("keys", error)], "quality": [0.0]}
    return with_labels(batch, labels, np.zeros((1, len(PARTS))), pa.Table.from_pylist([{}], PRINTS))


def _labelled_rows(
    batch: pa.Table, config: LabelConfig, index: LeakIndex, score: Score | None
) -> pa.Table:
    rules = filters.active_rules(config)
    rows = [filters.reasoned(from_row(flat), rules) for flat in batch.to_pylist()]
    request_sketches, near_sketches = sketched(rows, config)
    # A held-out row is no leak of itself.
    train = np.array([i for i, r in enumerate(rows) if not is_held_out(r)], np.int64)
    for i, leak in zip(train, index.find([rows[i] for i in train], request_sketches[train])):
        rows[i] = leak.mark(rows[i]) if leak else rows[i]
    if score:
        good = [i for i in train if not rows[i].reject_reason]
        for i, nll in zip(good, score([rows[i] for i in good])):
            rows[i] = replace(rows[i], meta=rows[i].meta | {"nll": nll})
    scored = [filters.scored_parts(r) for r in rows]
    rows, parts = [r for r, _ in scored], np.array([t for _, t in scored]).reshape(-1, 3)
    # Without rarity, which needs all rows: `write_labels` makes it whole.
    worth = quality(*parts.T)
    rows = [replace(r, quality=float(q)) for r, q in zip(rows, worth)]
    kept = np.array([i for i, r in enumerate(rows) if not r.reject_reason], np.int64)
    good = [rows[i] for i in kept]
    prints = dedup.fingerprints(good, kept, near_sketches[kept], config)
    signs = [key_bits(content_hash(signature(r))) for r in good]
    prints = prints.append_column("signature", pa.array(signs, pa.uint64()))
    positions = np.full(len(rows), -1)
    positions[kept] = np.arange(len(kept))
    prints = prints.take(pa.array(positions, mask=positions < 0))  # null for rejected rows
    metas = [
        json.dumps(r.meta, default=str) if r.meta.keys() & {"leak", "nll"} else was
        for r, was in zip(rows, batch["meta"].to_pylist())
    ]
    labels = {"reject_reason": [r.reject_reason for r in rows], "meta": metas, "quality": worth}
    return with_labels(batch, labels, parts, prints)


def with_labels(
    batch: pa.Table, labels: dict[str, Any], parts: np.ndarray, prints: pa.Table
) -> pa.Table:
    """The batch with other values in the columns of `labels`, and PARTS and PRINTS beside them."""
    for name, values in labels.items():
        batch = with_column(batch, name, values)
    for name, values in zip(PARTS, parts.T):
        batch = batch.append_column(name, pa.array(values, pa.float64()))
    for field in PRINTS:
        batch = batch.append_column(field, prints[field.name])
    return batch


@lru_cache(maxsize=1)
def _fetched(shared: ray.ObjectRef[LeakIndex]) -> LeakIndex:
    """An object of the store, unpacked once in a worker rather than once a batch."""
    import ray

    return ray.get(shared)


def _label_groups(
    items: dict[str, Any],
    config: LabelConfig,
    index: list[ray.ObjectRef[LeakIndex]],
    work: str,
    score: Score | None = None,
) -> Iterator[pa.Table]:
    """`label_rows` of the row groups that `items` names, into `work`; for each batch the number of
    its rows and the leaks among them."""
    found = (items[name] for name in ("file", "group", "first", "number"))
    for file, group, first, number in zip(*found):
        with pq.ParquetFile(str(file)) as opened:
            batches = opened.iter_batches(BATCH, row_groups=[int(group)])
            tables = (pa.Table.from_batches([batch]).cast(arrow_schema()) for batch in batches)
            done = (label_rows(table, config, _fetched(index[0]), score) for table in tables)
            for table in store_labelled(Path(work), int(number), int(first), done):
                leaks = [json.dumps(leak) for leak in leaks_in(table)]
                yield pa.table({"rows": [len(table)], "leaks": [leaks]}, schema=LABELLED)


def store_labelled(
    work: Path, number: int, first: int, tables: Iterable[pa.Table]
) -> Iterator[pa.Table]:
    """Tables of `label_rows` into WORK/{rows,prints}, under `number`; handles are the numbers of
    the rows, from `first`. Yields the tables as they are written."""
    rows = RowFiles(work / "rows", f"rows-{number:05d}")
    prints = RowFiles(work / "prints", f"prints-{number:05d}")
    for table in tables:
        start = first + rows.rows
        handles = pa.array(np.arange(start, start + len(table)), pa.uint64())
        table = with_column(table, "handle", handles)
        # A rejected row has none: it is no reason to reject another one.
        prints.add(table.select(PRINTS.names).filter(pc.is_valid(table["group"])))
        rows.add(table.drop_columns([name for name in PRINTS.names if name != "handle"]))
        yield table
    rows.close()
    prints.close()


class _Labeller:
    """`_label_groups` with the model at hand, for an actor."""

    def __init__(
        self, config: LabelConfig, index: list[ray.ObjectRef[LeakIndex]], work: str, model: Options
    ):
        from raytune_agents.train.score import RowNll

        self.config, self.index, self.work = config, index, work
        self.score = RowNll(**model)

    def __call__(self, items: dict[str, Any]) -> Iterator[pa.Table]:
        return _label_groups(items, self.config, self.index, self.work, self.score)


# --- what no training row may show ---


def evaluation_sets(config: Config) -> list[tuple[str, SourceConfig]]:
    """(name, set): those of `label` and of `evaluate`, less those that are read as a source: such a
    set has test rows of its own."""
    named = [
        ("bfcl" if s.path == "bfcl" else Path(s.path).name.partition(".")[0], s)
        for s in config.label.evaluation_sets
    ]
    read = {s.path for s in config.read.sources}
    return [
        (name, s)
        for name, s in [*named, *config.evaluate.sources.items()]
        if s.path not in read and (s.path != "bfcl" or readers.bfcl.installed())
    ]


def evaluation_rows(
    context: Context, files: list[Path], seen: Counter[str], shown: dict[str, str]
) -> Iterator[Trajectory]:
    """Rows of val and test, then of the evaluation sets under the set's name. Fills `seen` (rows by
    set) and `shown` (id -> request)."""

    def rows() -> Iterator[Trajectory]:
        for file in files:
            for flat in pq.read_table(file, filters=[("split", "in", SPLITS[1:])]).to_pylist():
                yield from_row(flat)
        for name, source in evaluation_sets(context.config):
            if source.path == "bfcl" and not source.categories:
                # Compared with all of it, not only with the categories that are evaluated by
                # default.
                source = source.model_copy(update={"categories": list(readers.bfcl.CATEGORIES)})
            for read_row in readers.read_source(source):
                seen[f"{name}: bad row"] += not read_row.rows
                yield from (replace(r, source=name, split="") for r in read_row.rows)

    for row in rows():
        seen[row.split or row.source] += 1
        shown[row.id] = row.query[:SHOWN]
        yield row


# --- the step ---


def validate_label(config: Config) -> None:
    """What can be refused before anything starts: rules, the embedding, evaluation sets. Raises
    ConfigError or SourceError."""
    filters.active_rules(config.label)
    if config.label.embed:
        dedup.embedder(config.label)
    read.units([s for _, s in evaluation_sets(config)])


def label(context: Context, step: Step) -> tuple[Counts, JsonObject]:
    """Rules, leaks, contradictions and duplicates write reject_reason; every row is written
    again."""
    config, folder = context.config.label, context.run.folder
    own = sorted((folder / "read").glob("*.parquet"))
    made = (folder / "generate" / name for name in generate.PARTS)
    files = [*own, *(f for part in made for f in sorted(part.glob("*.parquet")))]
    seen, shown, leaks = Counter(), {}, Counter()
    compared = evaluation_rows(context, own, seen, shown) if config.decontaminate else ()
    index = LeakIndex(compared, config)
    work = step.folder / "work"
    # From a run that was killed: handles are numbers of rows in this run's files.
    shutil.rmtree(work, ignore_errors=True)
    with (
        context.display.step("label") as bar,
        (step.folder / "leaks.jsonl").open("w", encoding="utf-8") as report,
    ):
        for batch in labelled(context, files, index, work):
            for leak in map(json.loads, batch["leaks"]):
                leak["evaluation_request"] = shown.get(leak["of"], "")
                leaks[f"{leak['set']} {leak['how']}"] += 1
                report.write(json.dumps(leak, ensure_ascii=False) + "\n")
            bar.update(int(batch["rows"]))
    pairs = dedup.pairs_of(work / "prints", config)
    counts, extra = write_labels(work / "rows", work / "prints", pairs, step.folder)
    rows_to_label = sum(pq.read_metadata(file).num_rows for file in files)
    if counts.rows_in != rows_to_label:
        raise RowsLost(f"label: {rows_to_label} rows to label, {counts.rows_in} written")
    shutil.rmtree(work)
    return counts, extra | {"compared_with": dict(seen), "leaks": dict(leaks)}


def labelled(
    context: Context, files: list[Path], index: LeakIndex, work: Path
) -> Iterable[FlatRow]:
    """LABELLED of the rows that Ray's workers write into `work`, in the order of the files."""
    import ray

    config, gpus = context.config.label, context.resources.gpus
    # In a list it stays a reference: Ray would unpack a bare one for every task.
    arguments = {"config": config, "index": [ray.put(index)], "work": str(work)}
    items = numbered(row_groups(files))
    # An item names a whole row group, and a worker holds one at a time.
    options: Options = {"batch_size": 1}
    # Which of two equal rows stays depends on their order, so it may not depend on the workers.
    ds = cluster.in_order(ray.data.from_items(items, override_num_blocks=len(items)), "label")
    if config.difficulty:
        context.free_gpu(gpus)
        dtype, path = context.config.model.dtype, str(context.model)
        arguments["model"] = {"path": path, "dtype": dtype, "chat": context.chat}
        # Actors keep the model loaded; tasks would load it for every row group.
        pool = ray.data.ActorPoolStrategy(size=max(1, gpus))
        options |= {"fn_constructor_kwargs": arguments, "compute": pool, "num_gpus": gpus and 1}
        ds = ds.map_batches(_Labeller, **options)
    else:
        ds = ds.map_batches(_label_groups, fn_kwargs=arguments, **options)
    return ds.iter_rows()


def numbered(items: list[JsonObject]) -> list[JsonObject]:
    """Row groups with their number, and the number of their first row over all of them."""
    firsts = accumulate((item["rows"] for item in items), initial=0)
    return [x | {"number": k, "first": first} for k, (x, first) in enumerate(zip(items, firsts))]


def leaks_in(table: pa.Table) -> Iterator[JsonObject]:
    """What matched what: a dict for every contaminated row."""
    leaked = table.filter(pc.starts_with(table["reject_reason"], "contaminated:"))
    for flat in leaked.select(arrow_schema().names).to_pylist():
        row = from_row(flat)
        leak = row.meta["leak"]
        yield {
            "row": row.id,
            "source": row.source,
            "set": row.reject_reason.partition(":")[2],
            **{name: leak[name] for name in ("of", "how", "share")},
            "request": row.query[:SHOWN],
        }
