"""Tokenised rows on disk: Arrow files that every training process maps into its memory, so that it
holds the rows' numbers and lengths, never their tokens.

Arrow's stream format is the one that `datasets` maps; Parquet would be unpacked into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raytune_agents.storage import whole_file

if TYPE_CHECKING:
    from datasets import Dataset

FILES = "rows-*.arrow"  # of a folder of columns, in the order of their rows
BATCH_ROWS = 1000  # of one Arrow record batch, as `datasets` writes them
TOKENS, MASK = pa.list_(pa.int32()), pa.list_(pa.int8())
# Without these, a file whose rows all lack weights would have a column of another type.
TYPES = {
    **dict.fromkeys(
        ("input_ids", "labels", "prompt_ids", "chosen_ids", "rejected_ids", "completion_ids"),
        TOKENS,
    ),
    **dict.fromkeys(("chosen_mask", "rejected_mask", "completion_mask"), MASK),
    "weights": pa.list_(pa.float32()),
}


def columns_table(made: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows of a method's columns as a table; all rows have the names of the first."""
    names = made[0] if made else ()
    return pa.table({n: pa.array([row[n] for row in made], TYPES.get(n)) for n in names})


def write_columns(path: Path, made: Sequence[Mapping[str, Any]]) -> None:
    """One file of a folder of columns."""
    table = columns_table(made)
    with (
        whole_file(path) as work,
        pa.OSFile(str(work), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table, max_chunksize=BATCH_ROWS)


def padded_lengths(table: Any) -> np.ndarray:
    """Padded tokens that each row of columns becomes, [rows]; a pair (and a KTO row with its
    mismatched twin) is two sequences."""
    names = table.column_names

    def size(name: str) -> np.ndarray:
        return pc.list_value_length(table.column(name)).to_numpy()

    if "length" in names:
        return table.column("length").to_numpy()
    if "input_ids" in names:
        return size("input_ids")
    sides = [n for n in ("chosen_ids", "rejected_ids", "completion_ids") if n in names]
    return 2 * (size("prompt_ids") + np.max([size(n) for n in sides], axis=0))


@dataclass(frozen=True)
class TrainingRows:
    """What one training takes of its columns: `data` has all of them, `numbers` [rows] says which,
    in the order of the mix."""

    data: Dataset
    numbers: np.ndarray

    @classmethod
    def mapped(
        cls, folder: Path, rows: Path | None = None, links: Path | None = None
    ) -> TrainingRows:
        """The files of a folder, mapped; `rows`: a .npy of numbers, else all. `links`: where each
        process has links of its own to the files. TRL puts what it adds to a data set (the
        reference's log-probabilities) beside its first file, where the other processes look for it;
        so that is the training's folder, not the one that other trainings read."""
        from datasets import Dataset, concatenate_datasets

        files = sorted(folder.glob(FILES))
        if links is not None:
            files = [own_link(file, links) for file in files]
        data = concatenate_datasets([Dataset.from_file(str(file)) for file in files])
        return cls(data, np.arange(len(data)) if rows is None else np.load(rows))

    @property
    def lengths(self) -> np.ndarray:
        return padded_lengths(self.data.data)[self.numbers]

    @property
    def loss_tokens(self) -> int:
        return int(self.data.data.column("trained_tokens").to_numpy()[self.numbers].sum())

    @property
    def ids(self) -> Any:
        """Row ids, as an Arrow array."""
        return self.data.data.column("row_id").take(pa.array(self.numbers))

    @property
    def digest(self) -> str:
        """Hash of which rows these are and how long: ids are hashes of the rows' content."""
        # In a fixed byte order: a checkpoint may be gone on from on another machine.
        found = hashlib.sha256(self.lengths.astype("<i8").tobytes())
        for batch in self.ids.chunks:
            found.update("\n".join(batch.to_pylist()).encode())
        return found.hexdigest()

    def ordered(self, order: Sequence[int], without: set[str]) -> tuple[Dataset, Any]:
        """These rows in training order, without the named columns; and their ids."""
        chosen = TrainingRows(self.data, self.numbers[np.asarray(order, np.int64)])
        spare = [name for name in self.data.column_names if name in without]
        # `select` keeps a list of row numbers: the rows stay mapped.
        return self.data.remove_columns(spare).select(chosen.numbers), chosen.ids


def own_link(file: Path, folder: Path) -> Path:
    """A link to the file that only this process of a training has."""
    from raytune_agents.train.sharding import worker_rank

    folder.mkdir(parents=True, exist_ok=True)
    link = folder / f"{worker_rank()}-{file.name}"
    link.unlink(missing_ok=True)
    # Absolute: a relative link would be read from its own folder.
    link.symlink_to(file.resolve())
    return link


def all_null(data: Dataset, name: str) -> bool:
    """Whether no row has a value in a column."""
    column = data.select_columns([name]).with_format("arrow")
    return all(batch[name].null_count == len(batch) for batch in column.iter(BATCH_ROWS))
