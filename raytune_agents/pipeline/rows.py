"""Rows of a run's steps: those that may be trained on, and those that are held out."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raytune_agents.records import Trajectory
from raytune_agents.storage import StoredRows, first_by_id

# Rows of one split that the generate step holds as objects: about 2 GiB of 500-token rows.
MOST_SOURCE_ROWS = 20_000
MOST_VAL_ROWS = 4096  # that the driver holds as objects: no step scores so many


def accepted(table: pa.Table, split: str) -> Any:
    """Whether each row of a table is an accepted one of the split, [rows]."""
    return pc.and_(pc.equal(table["split"], split), pc.equal(table["reject_reason"], ""))


def drawn_rows(
    folder: Path, seed: int, most: int = MOST_SOURCE_ROWS
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
