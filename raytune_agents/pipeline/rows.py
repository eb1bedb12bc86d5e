"""Rows of a run's steps: those that may be trained on, and those that are held out."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raytune_agents.config import LabelConfig
from raytune_agents.dedup.leaks import Leak, LeakIndex, surest
from raytune_agents.dedup.minhash import sketches
from raytune_agents.dedup.text import request_text
from raytune_agents.infra import cluster
from raytune_agents.pipeline.context import Context
from raytune_agents.records import JsonObject, Trajectory, from_row
from raytune_agents.storage import GROUP_ROWS, StoredRows, first_by_id, row_groups

NEW = "new"  # folder of a round: the new tasks that it keeps
MOST_SPLIT_ROWS = 20_000  # of one split, that the driver holds as objects
MOST_VAL_ROWS = 4096  # that the driver holds as objects: no step scores so many


def accepted(table: pa.Table, split: str) -> Any:
    """Whether each row of a table is an accepted one of the split, [rows]."""
    return pc.and_(pc.equal(table["split"], split), pc.equal(table["reject_reason"], ""))


def drawn_rows(
    folder: Path, seed: int, most: int = MOST_SPLIT_ROWS
) -> tuple[list[Trajectory], Counter[str]]:
    """Rows that the read step accepted, of each split at most `most`, each as likely as any other
    (reservoir sampling, Vitter 1985, algorithm R); and how many rows each split has."""
    rng, found = random.Random(f"{seed}/drawn_rows"), Counter[str]()
    kept: dict[str, list[Trajectory]] = defaultdict(list)
    for row in StoredRows(folder / "read", lambda table: pc.equal(table["reject_reason"], "")):
        found[row.split] += 1
        own = kept[row.split]
        if len(own) < most:
            own.append(row)
        elif (place := rng.randrange(found[row.split])) < most:
            own[place] = row
    return [row for rows in kept.values() for row in rows], found


def stored_training_rows(folder: Path, ids: Sequence[str] | None = None) -> StoredRows:
    """Accepted rows of the train split, all or those of the ids, read anew by every iteration."""
    wanted = None if ids is None else pa.array(ids, pa.string())

    def matches(table: pa.Table) -> Any:
        mine = accepted(table, "train")
        return mine if wanted is None else pc.and_(mine, pc.is_in(table["id"], value_set=wanted))

    return StoredRows(folder / "label", matches)


def round_folders(folder: Path) -> list[Path]:
    """The folders of new tasks that rounds drew after the label step; they are trained on too."""
    return sorted(folder.glob(f"train/*/round-*/{NEW}"))


def all_training_rows(folder: Path) -> Iterator[Trajectory]:
    """Accepted rows of the train split, and those that rounds drew, a batch held at a time."""
    for source in (folder / "label", *round_folders(folder)):
        yield from StoredRows(source, lambda table: accepted(table, "train"))


def training_rows(folder: Path, ids: Sequence[str] | None = None) -> dict[str, Trajectory]:
    """The same by id, as objects."""
    return {row.id: row for row in stored_training_rows(folder, ids)}


def held_out_rows(folder: Path, split: str) -> Iterator[Trajectory]:
    """Accepted rows of a split that is not trained on: real rows, and those that the generate step
    keeps back."""
    for source in (folder / "read", folder / "generate" / "held"):
        yield from StoredRows(source, lambda table: accepted(table, split))


def answered_val_rows(folder: Path) -> list[Trajectory]:
    """Accepted val rows that end in an answer, by id, so that limits take the same rows whatever
    files the steps wrote; MOST_VAL_ROWS at most."""
    return first_by_id((r for r in held_out_rows(folder, "val") if r.target), MOST_VAL_ROWS)


def group_tables(file: str, group: int) -> Iterator[pa.Table]:
    """The training rows of one row group, a few held at a time."""
    with pq.ParquetFile(str(file)) as opened:
        for batch in opened.iter_batches(GROUP_ROWS // 16, row_groups=[group]):
            table = pa.Table.from_batches([batch])
            yield table.filter(accepted(table, "train"))


def without_trained(
    context: Context, folders: Iterable[Path], rows: Sequence[Trajectory]
) -> list[Trajectory]:
    """The rows in order; those that show a training row of the folders read `contaminated:SET`.
    Ray's workers compare them with one row group each, so that nobody holds all training rows."""
    items = row_groups(file for folder in folders for file in sorted(folder.glob("*.parquet")))
    texts = sketches([request_text(row) for row in rows])
    if sum(item["rows"] for item in items) <= GROUP_ROWS:  # sooner done than a worker is started
        each: Iterator[JsonObject] = (leaks_among(item, rows, texts) for item in items)
    else:
        context.resources  # noqa: B018  Ray must run
        each = cluster.map_items("leaks", items, leaks_among, rows, texts)
    found: list[list[Leak]] = [[] for _ in rows]
    for done in each:
        for place, leak in done["leaks"]:
            found[place].append(Leak(**leak))
    first = map(surest, found)
    return [leak.mark(row) if leak else row for row, leak in zip(rows, first)]


def leaks_among(item: JsonObject, rows: Sequence[Trajectory], texts: Any) -> JsonObject:
    """What rows, whose questions have the sketches `texts`, show of one row group's training
    rows."""
    tables = group_tables(item["file"], item["group"])
    trained = (from_row(flat) for table in tables for flat in table.to_pylist())
    found = LeakIndex(trained, LabelConfig()).find(rows, texts)
    return {"leaks": [(place, asdict(leak)) for place, leak in enumerate(found) if leak]}
