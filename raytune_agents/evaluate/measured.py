"""What evaluation stores, typed: one row per arm and thing that was asked or rolled out.

`Measured` is what every kind has, and all that scores are made from; `AnswerRow` is one answer with
what a reader of the report wants to see of its row. As records they are rows of Parquet files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from sys import intern
from typing import Any, Self, TypeVar

from raytune_agents.evaluate.metrics import ANSWER_METRICS
from raytune_agents.evaluate.scoring import Scored, Values
from raytune_agents.records import FlatRow, Trajectory

BASE = "base"
# suites on which no call is right: rows whose right tool is taken away, and BFCL's own
IRRELEVANCE, BFCL_IRRELEVANCE = "irrelevance", "bfcl_irrelevance"
Lines = list[FlatRow]  # rows of a Parquet file
Row = TypeVar("Row")
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement. `failed`: why there is none ("" where there is); `values` by metric, None
    where a metric does not apply."""

    arm: str
    split: str
    id: str
    failed: str = ""
    values: Values = field(default_factory=dict)

    @classmethod
    def of_columns(cls, record: Mapping[str, Any], names: Sequence[str]) -> Measured:
        """A record whose named columns hold the values."""
        values = {name: record[name] for name in names}
        return cls(record["arm"], record["split"], record["id"], record["failed"], values)


@dataclass(frozen=True, slots=True)
class AnswerRow(Measured):
    """One answer of one arm to one row; `error` and `fault` as in `Scored`. A perturbed row names
    its `perturbation` and the id of the row that it was made `of`."""

    source: str = ""
    perturbation: str = ""
    of: str = ""
    query: str = ""
    tools: str = ""  # JSON text
    gold: str = ""
    answer: str = ""
    error: str = ""
    fault: str = ""

    def record(self) -> FlatRow:
        """As a row of answers.parquet: every metric is a column, None where it was not measured."""
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "values"}
        # All columns always: files of two runs then have one schema.
        every = dict.fromkeys((m.name for m in ANSWER_METRICS), None)
        return facts | every | self.values

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `record`; columns that an older run lacks have their defaults."""
        names = {f.name for f in fields(cls)} - {"values"}
        # Interned: the texts of one row, and the tools of many, stand once for all arms.
        known = {name: intern(record[name] or "") for name in names if name in record}
        values = {
            k: v if v is None or math.isfinite(v) else None
            for k, v in record.items()
            # Whatever else is a number is a metric, also a user's own.
            if k not in names and (v is None or isinstance(v, int | float))
        }
        return cls(**known, values=values)


def answer_row(
    row: Trajectory,
    arm: str,
    answer: str = "",
    scored: Scored | None = None,
    costs: Values | None = None,
    failed: str = "",
) -> AnswerRow:
    """An answer to `row` with its scores, or why there is none."""
    perturbation = row.meta.get("perturbation", "")
    return AnswerRow(
        arm=arm,
        split=row.split,
        id=row.id,
        failed=failed,
        values=(scored.values if scored else {}) | (costs or {}),
        source=row.source,
        perturbation=perturbation,
        of=row.parents[0] if perturbation else "",
        query=row.query,
        tools=json.dumps([asdict(t) for t in row.tools], ensure_ascii=False),
        gold=row.gold,
        answer=answer,
        error=scored.error if scored else "",
        fault=scored.fault if scored else "",
    )


def grouped_rows(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """{key: its rows}, both in the order of the rows."""
    out: dict[Key, list[Row]] = {}
    for row in rows:
        out.setdefault(key(row), []).append(row)
    return out


def values_by_row(rows: Iterable[Measured], metric: str, key: str = "id") -> dict[str, float]:
    """{row id: value} of the rows that have one."""
    return {
        getattr(r, key): value
        for r in rows
        if not r.failed and (value := r.values.get(metric)) is not None
    }
