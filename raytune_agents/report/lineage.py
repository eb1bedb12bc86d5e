"""Where a row came from: its parents, the step and seed that made each, verdicts, and its uses.

The same for `raytune-agents trace` and for the error browser of the page. Reads Parquet files only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from raytune_agents.config import ConfigError
from raytune_agents.evaluate.measured import AnswerRow
from raytune_agents.records import Trajectory, from_row
from raytune_agents.storage import StoredRows, damage_named, read_table

# label's rows are read's and generate's with their verdicts, so they come first
FILES = (
    "label/rows*.parquet",
    "evaluate/rows.parquet",
    "read/rows*.parquet",
    "generate/rows*.parquet",
    "generate/*/rows*.parquet",
    "train/*/round-*/new/rows*.parquet",  # with their leaks looked for, so before `drawn`
    "train/*/round-*/*/rows*.parquet",
)


class UnknownRow(ConfigError):
    """An id that no file of the run has, or that fits several rows."""


@dataclass(frozen=True)
class Trace:
    """A row, its ancestors (parents first, each once), the arms trained on it, its answers."""

    rows: list[Trajectory]
    missing: list[str] = field(default_factory=list)  # parents that no file has
    trained: dict[str, int] = field(default_factory=dict)  # arm -> times in its mix
    answers: list[AnswerRow] = field(default_factory=list)


def row_files(run: Path) -> list[Path]:
    """The files of a run that hold trajectories, the most finished ones first."""
    return [path for pattern in FILES for path in sorted(run.glob(pattern))]


def rows_of(run: Path, ids: Iterable[str]) -> dict[str, Trajectory]:
    """The rows of some ids, by id; the most finished copy of each."""
    wanted, found = set(ids), {}
    for file in row_files(run):
        left = sorted(wanted - found.keys())
        lines = read_table(file, filters=[("id", "in", left)]).to_pylist() if left else []
        with damage_named(file):
            found |= {line["id"]: from_row(line) for line in lines}
    return found


def stored_rows(run: Path, family: str) -> Iterator[Trajectory]:
    """The accepted rows of a pool family in label's files, read a batch at a time."""
    for row in StoredRows(run / "label"):
        if row.pool.partition(".")[0] == family and not row.reject_reason:
            yield row


def ancestors(run: Path, ids: Iterable[str]) -> dict[str, Trajectory]:
    """The rows of some ids and all rows they were made from, by id."""
    found: dict[str, Trajectory] = {}
    seen: set[str] = set()
    while level := set(ids) - seen:
        seen |= level
        fresh = rows_of(run, level)
        found |= fresh
        ids = [parent for row in fresh.values() for parent in row.parents]
    return found


def chain(row_id: str, rows: dict[str, Trajectory]) -> tuple[list[Trajectory], list[str]]:
    """The row, then its parents, then theirs, each once; and the ids that `rows` lacks."""
    order, missing, queue = {}, [], [row_id]
    while queue:
        key = queue.pop(0)
        if key in order or key in missing:
            continue
        if key in rows:
            order[key] = rows[key]
            queue += rows[key].parents
        else:
            missing.append(key)
    return list(order.values()), missing


def whole_id(run: Path, start: str) -> str:
    """The one id that starts so. Raises UnknownRow."""
    found: set[str] = set()
    for file in row_files(run):
        ids = read_table(file, columns=["id"]).column("id").to_pylist()
        found.update(name for name in ids if name and name.startswith(start))
    if start in found or len(found) == 1:
        return start if start in found else found.pop()
    if found:
        near = ", ".join(sorted(found)[:5])
        raise UnknownRow(f"{start!r} fits {len(found)} rows ({near} ...); write more of the id")
    raise UnknownRow(
        f"no row of {run} has id {start!r}; see label/rows-*.parquet, evaluate/answers.parquet"
    )


def trace_row(run: Path, row_id: str) -> Trace:
    """Everything a run says about a row. Raises UnknownRow."""
    key = whole_id(run, row_id)
    rows, missing = chain(key, ancestors(run, [key]))
    trained = {}
    for file in sorted((run / "mix").glob("*.parquet")):
        times = len(read_table(file, filters=[("id", "==", key)]))
        trained |= {file.stem: times} if times else {}
    trained |= round_uses(run, key)
    answers = []
    for name in ("answers", "perturbed"):
        file = run / "evaluate" / f"{name}.parquet"
        if file.is_file():
            lines = read_table(file, filters=[("id", "==", key)]).to_pylist()
            with damage_named(file):
                answers += map(AnswerRow.read, lines)
    return Trace(rows, missing, trained, answers)


def round_uses(run: Path, row_id: str) -> dict[str, int]:
    """How often each round of an arm trained on a row, by "ARM round-K"."""
    import numpy as np

    found = {}
    for file in sorted(run.glob("train/*/round-*/rows.npy")):
        parts = sorted(file.parent.glob("columns/facts-*.parquet"))
        facts = [read_table(part, columns=["id", "examples"]).to_pydict() for part in parts]
        ids = [i for part in facts for i, n in zip(*part.values()) for _ in range(n)]
        with damage_named(file):
            times = sum(ids[k] == row_id for k in np.load(file))
        if times:
            found[f"{file.parts[-3]} {file.parent.name}"] = times
    return found


def row_verdict(row: Trajectory) -> str:
    """What is known about a row, in words."""
    parts = [f"rejected: {row.reject_reason}" if row.reject_reason else "accepted"]
    parts += [f"made in round {row.meta['round']}"] if "round" in row.meta else []
    leak = row.meta.get("leak")
    parts += [f"shows row {leak['of']} by {leak['how']} ({leak['share']:g})"] if leak else []
    parts += [f"fault {row.fault}"] if row.fault else []
    parts += [f"outcome {row.outcome:g}"] if row.outcome is not None else []
    parts += [f"quality {row.quality:.2f}"] if row.quality is not None else []
    return ", ".join(parts)
