"""Rows as a method trains them, written once for all arms and trials that share them: columns for
the training (`column_files`), and beside them FACTS, all that the mix and its checks look at.

    rows-00000.arrow, facts-00000.parquet    of each part
    part-00000.json                          the marks of both, written last: the part is whole
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raytune_agents.config import ConfigError
from raytune_agents.infra.provenance import FileMark
from raytune_agents.mix import RowKind
from raytune_agents.records import ROW_FAULTS, FlatRow, Trajectory, row_reason
from raytune_agents.runs import damage
from raytune_agents.storage import read_json, write_json, write_table
from raytune_agents.train.column_files import TrainingRows, write_columns
from raytune_agents.train.methods import Recipe
from raytune_agents.train.validate_data import PARITY_ROWS, parity, validate_columns

log = logging.getLogger(__name__)
Pairs = Mapping[str, Any] | None  # `Recipe.pairs`
KIND = ("pool", "failed", "no_call", "task")  # the fields of a RowKind
FACTS = pa.schema(
    [
        ("id", pa.string()),
        ("pool", pa.string()),
        ("failed", pa.bool_()),
        ("no_call", pa.bool_()),
        ("task", pa.bool_()),
        ("examples", pa.int32()),  # rows of columns that it became
        ("tokens", pa.int32()),  # loss tokens of all of them; 0: the method does not train on it
        ("shared", pa.int32()),  # messages that both sides of its pair begin with
        ("refused", pa.string()),  # why it became none, "" where the method does not take it
        ("fault", pa.string()),  # why training must not begin with it
    ]
)


def tokenize_rows(
    rows: Iterable[Trajectory], recipe: Recipe, pairs: Pairs
) -> tuple[list[FlatRow], pa.Table]:
    """The columns of the rows in order, and their FACTS."""
    how, chat = recipe.how, recipe.chat
    made: list[FlatRow] = []
    facts: list[FlatRow] = []
    for row in rows:
        own: list[FlatRow] = []
        refused = fault = ""
        pair = pairs.get(row.id) if pairs is not None else None
        if how.takes(row) and (pairs is None or pair):
            try:
                own = how.columns(row, chat, recipe.config, pairs)
                validate_columns(own, chat.max_length)
            except ConfigError as error:
                fault = str(error)
            except ROW_FAULTS as error:
                refused = row_reason(error)
        made += own
        kind = RowKind.of(row)
        facts.append(
            {name: getattr(kind, name) for name in KIND}
            | {
                "id": row.id,
                "examples": len(own),
                "tokens": sum(column["trained_tokens"] for column in own),
                "shared": pair.shared if pair else None,
                "refused": refused,
                "fault": fault,
            }
        )
    return made, pa.Table.from_pylist(facts, schema=FACTS)


def tokenize_part(
    folder: Path, number: int, rows: Iterable[Trajectory], recipe: Recipe, pairs: Pairs = None
) -> int:
    """Write one part of a folder of tokenised rows; the number of its rows."""
    made, facts = tokenize_rows(rows, recipe, pairs)
    names = [f"facts-{number:05d}.parquet"]
    write_table(folder / names[0], facts)
    if made:
        names.append(f"rows-{number:05d}.arrow")
        write_columns(folder / names[1], made)
    files = {name: FileMark.of(folder / name).model_dump() for name in names}
    # Last: the part counts as made where this file says what its others hold.
    write_json(part_file(folder, number), files)
    return len(facts)


def part_file(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.json"


def missing_parts(folder: Path, count: int) -> list[int]:
    """The parts that are not there whole: not made yet, or with a file that is not as it was
    written."""
    return [k for k in range(count) if not part_is_whole(folder, k)]


def part_is_whole(folder: Path, number: int) -> bool:
    path = part_file(folder, number)
    try:
        files = {n: FileMark.model_validate(mark) for n, mark in read_json(path).items()}
    except FileNotFoundError:
        return False
    except (OSError, ValueError, AttributeError) as error:  # ValidationError is a ValueError
        log.warning("%s cannot be read (%s): the part is made again", path, error)
        return False
    if broken := damage(folder, files):
        log.warning("%s: %s: part %d is made again", folder, broken, number)
    return not broken


@dataclass(frozen=True)
class Tokenized:
    """A folder of tokenised rows; in memory are its FACTS alone, of a row that stands twice once.
    `first`: the number of a row's first example among the columns, [rows]."""

    folder: Path
    facts: pa.Table
    first: np.ndarray

    @classmethod
    def load(cls, folder: Path) -> Tokenized:
        files = sorted(folder.glob("facts-*.parquet"))
        facts = pa.concat_tables([FACTS.empty_table(), *map(pq.read_table, files)])
        facts = facts.combine_chunks()
        examples = facts["examples"].to_numpy()
        # A row is in two parts where two sources hold it: its first place counts.
        once = pc.index_in(facts["id"], value_set=facts["id"].combine_chunks())
        positions = np.flatnonzero(once.to_numpy() == np.arange(len(facts)))
        first = np.cumsum(examples) - examples
        return cls(folder, facts.take(pa.array(positions)).combine_chunks(), first[positions])

    @cached_property
    def ids(self) -> list[str]:
        return self.facts["id"].to_pylist()

    @property
    def tokens(self) -> list[int]:
        """Loss tokens of every row."""
        return self.facts["tokens"].to_pylist()

    @cached_property
    def kinds(self) -> list[RowKind]:
        """What each row is; the kinds are few, and rows of one kind share it."""
        kind = lru_cache(maxsize=None)(RowKind)
        return [kind(*values) for values in zip(*(self.facts[n].to_pylist() for n in KIND))]

    @property
    def counted(self) -> list[tuple[str, RowKind, int]]:
        """(id, kind, loss tokens) of every row: what a mix chooses by."""
        return list(zip(self.ids, self.kinds, self.tokens))

    def costs(self) -> list[tuple[str, str, int]]:
        """(id, pool, loss tokens) of every row that is trained on."""
        return [(i, kind.pool, n) for i, kind, n in self.counted if n]

    def positions(self, ids: Sequence[str]) -> np.ndarray:
        """The positions of rows in `facts`. Raises KeyError for one that is not there."""
        found = pc.index_in(pa.array(ids, pa.string()), value_set=self.facts["id"].combine_chunks())
        if found.null_count:
            raise KeyError(f"{found.null_count} rows are not in {self.folder}")
        return found.to_numpy()

    def numbers(self, positions: np.ndarray) -> np.ndarray:
        """The numbers of the columns that rows became, in the order of the rows."""
        examples = self.facts["examples"].to_numpy()[positions]
        before = np.cumsum(examples) - examples
        return np.repeat(self.first[positions] - before, examples) + np.arange(examples.sum())


def validate_mixed(
    recipe: Recipe,
    rows: Tokenized,
    positions: np.ndarray,
    trajectories: Callable[[Sequence[str]], Mapping[str, Trajectory]],
) -> None:
    """What is checked of an arm's rows before it is trained, in the order of the mix;
    `trajectories` gives those of a few ids. Raises ConfigError."""
    if not len(positions):
        raise ConfigError("no row to train on (the mix is empty); check mix.weights and mix.tokens")
    faults = rows.facts["fault"].take(pa.array(positions))
    if wrong := next((why for why in faults.to_pylist() if why), ""):
        raise ConfigError(wrong)
    # A mix repeats rows: the first different ones, in its order.
    _, at = np.unique(positions, return_index=True)
    some = positions[np.sort(at)[:PARITY_ROWS]]
    facts = rows.facts.select(["id", "shared"]).take(pa.array(some)).to_pylist()
    shared = {fact["id"]: fact["shared"] for fact in facts if fact["shared"] is not None}
    made = TrainingRows.mapped(rows.folder).data.select(rows.numbers(some)).to_list()
    known = trajectories([fact["id"] for fact in facts])
    parity(recipe, known, made, shared)
