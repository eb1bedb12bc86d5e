"""Rows of a run's steps: those that may be trained on, and those that are held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raytune_agents.pipeline.context import Context
from raytune_agents.records import RecordError, Trajectory, from_row


def accepted(table: pa.Table, split: str) -> Any:
    """Whether each row of a table is an accepted one of the split, [rows]."""
    return pc.and_(pc.equal(table["split"], split), pc.equal(table["reject_reason"], ""))


def matching_rows(folder: Path, matches: Callable[[pa.Table], Any]) -> Iterator[Trajectory]:
    """The rows of a folder's Parquet files, in file order, for which `matches` gives true; no other
    becomes an object."""
    for file in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=1024):
                table = pa.Table.from_batches([batch])
                yield from map(from_row, table.filter(matches(table)).to_pylist())


def training_rows(folder: Path, ids: Sequence[str] | None = None) -> dict[str, Trajectory]:
    """Accepted rows of the train split by id: all, or those of the ids."""
    wanted = None if ids is None else pa.array(ids, pa.string())

    def matches(table: pa.Table) -> Any:
        mine = accepted(table, "train")
        return mine if wanted is None else pc.and_(mine, pc.is_in(table["id"], value_set=wanted))

    return {r.id: r for r in matching_rows(folder / "label", matches)}


def held_out_rows(folder: Path, split: str) -> list[Trajectory]:
    """Accepted rows of a split that is not trained on, by id: real rows, and those that the
    generate step keeps back."""
    rows = [
        row
        for place in (folder / "read", folder / "generate" / "held")
        for row in matching_rows(place, lambda table: accepted(table, split))
    ]
    return sorted(rows, key=lambda r: r.id)


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
