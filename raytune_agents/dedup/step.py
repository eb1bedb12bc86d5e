"""Duplicates and leaks on Ray Datasets: row -> fingerprint -> group by answer -> clusters.

No step needs all rows in one place. Each row becomes a fingerprint of about 300 bytes (keys, rank,
sketch); a hash shuffle brings the fingerprints of equal answers together; the clusters of each
partition are found there. Only (duplicate, survivor) pairs come back, and go out to the workers
that label the rows. Rows without any call form one group, which one worker must hold: 300 bytes
a row.

The dataset is executed twice, so it should be one that reads files. A row is recognised by the
column `row_hash` where there is one (`ray.data.read_parquet(..., include_row_hash=True)`), else by
its id; then two rows of one id cannot be told apart, and both stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raytune_agents.config import LabelSection
from raytune_agents.dedup.leaks import LeakIndex
from raytune_agents.dedup.minhash import PERMUTATIONS, clusters, sketches
from raytune_agents.dedup.text import exact_key, group_key, key_bits, near_text
from raytune_agents.filters.shape import family
from raytune_agents.records import Trajectory, from_row

if TYPE_CHECKING:
    import ray
    import ray.data

HANDLE, BATCH = "row_hash", 2048
FINGERPRINT = pa.schema([
    ("part", pa.int32()), ("group", pa.uint64()), ("exact", pa.uint64()),
    ("handle", pa.uint64()), ("id", pa.uint64()), ("rank", pa.float64()), ("sketch", pa.binary()),
])  # fmt: skip
PAIRS = pa.schema([("handle", pa.uint64()), ("survivor", pa.uint64()), ("exact", pa.bool_())])


def handles(batch: pa.Table) -> np.ndarray:
    """What each row is recognised by, uint64: `row_hash`, else the first 64 bits of the id."""
    if HANDLE in batch.column_names:
        return batch[HANDLE].to_numpy()
    return np.array([key_bits(i or "0") for i in batch["id"].to_pylist()], np.uint64)


def _rank(row: Trajectory) -> float:
    """Smaller is better: quality first, then pool positive."""
    return -2.0 * round(row.quality or 0.0, 6) - 1e-7 * (family(row) == "positive")


def fingerprints(batch: pa.Table, section: LabelSection) -> pa.Table:
    """FINGERPRINT rows of the accepted rows of a batch of trajectories."""
    handle = handles(batch)
    kept = np.flatnonzero([not r for r in batch["reject_reason"].to_pylist()])
    rows = [from_row(flat) for flat in batch.take(kept).to_pylist()]
    exact = np.array([key_bits(exact_key(r)) for r in rows], np.uint64)
    answer = np.array([key_bits(group_key(r)) for r in rows], np.uint64)
    near = section.duplicates == "minhash"
    group = answer if near else exact ^ answer  # the answer's key holds the split
    sketch = sketches([near_text(r) for r in rows]) if near else np.empty((len(rows), 0), np.uint8)
    columns = {
        "part": (group % np.uint64(section.partitions)).astype(np.int32),
        "group": group,
        "exact": exact,
        "handle": handle[kept].astype(np.uint64),
        "id": np.array([key_bits(r.id) for r in rows], np.uint64),
        "rank": np.array([_rank(r) for r in rows]),
        "sketch": pa.array([s.tobytes() for s in sketch], pa.binary()),
    }
    return pa.table(columns, schema=FINGERPRINT)


def pairs_of(partition: pa.Table, section: LabelSection) -> pa.Table:
    """PAIRS of one partition: its duplicates, each with the id of its survivor."""
    group, exact = partition["group"].to_numpy(), partition["exact"].to_numpy()
    handle, ids = partition["handle"].to_numpy(), partition["id"].to_numpy()
    rank = np.empty(len(ids), np.int64)
    rank[np.lexsort((handle, ids, partition["rank"].to_numpy()))] = np.arange(len(ids))
    if section.duplicates == "minhash":
        packed = partition["sketch"].combine_chunks()
        raw = b"".join(packed.to_pylist())
        sketch = np.frombuffer(raw, np.uint8).reshape(len(ids), PERMUTATIONS)
        owner = clusters(group, sketch, rank, section.minhash_threshold)
    else:
        order = np.lexsort((rank, group))
        head = np.flatnonzero(np.append(True, group[order][1:] != group[order][:-1]))
        owner = np.empty(len(ids), np.int64)
        owner[order] = np.repeat(order[head], np.diff(np.append(head, len(order))))
    moved = np.flatnonzero((owner != np.arange(len(ids))) & (handle != handle[owner]))
    columns = {
        "handle": handle[moved],
        "survivor": ids[owner[moved]],
        "exact": exact[moved] == exact[owner[moved]],
    }
    return pa.table(columns, schema=PAIRS)


def find_duplicates(ds: ray.data.Dataset, section: LabelSection) -> pa.Table:
    """PAIRS of the whole dataset, sorted by handle; runs the group-by."""
    import ray

    found = (
        ds.map_batches(
            fingerprints, batch_format="pyarrow", batch_size=BATCH, fn_kwargs={"section": section}
        )
        .groupby("part", num_partitions=section.partitions)
        .map_groups(pairs_of, batch_format="pyarrow", fn_kwargs={"section": section})
    )
    tables = [t for t in ray.get(found.to_arrow_refs()) if t.num_rows]
    table = pa.concat_tables([t.cast(PAIRS) for t in tables]) if tables else PAIRS.empty_table()
    return table.sort_by("handle")


def mark_pairs(batch: pa.Table, pairs: pa.Table) -> pa.Table:
    """The batch with `duplicate_of:ID` or `near_duplicate_of:ID` on the rows that `pairs` name."""
    known = pairs["handle"].to_numpy()
    handle = handles(batch).astype(np.uint64)
    at = np.searchsorted(known, handle)
    inside = at < len(known)
    inside[inside] = known[at[inside]] == handle[inside]
    reasons = batch["reject_reason"].to_pylist()
    survivors, exact = pairs["survivor"].to_numpy(), pairs["exact"].to_numpy()
    for i in np.flatnonzero(inside):
        word = "duplicate_of" if exact[at[i]] else "near_duplicate_of"
        reasons[i] = reasons[i] or f"{word}:{int(survivors[at[i]]):016x}"
    return _with(batch, "reject_reason", reasons)


def _with(batch: pa.Table, name: str, values: Sequence[str]) -> pa.Table:
    index = batch.schema.get_field_index(name)
    return batch.set_column(index, batch.schema.field(index), pa.array(values, pa.string()))


@lru_cache(maxsize=2)
def _fetched(shared: ray.ObjectRef) -> Any:
    """An object of the store, unpacked once in a worker rather than once a batch."""
    import ray

    return ray.get(shared)


def _with_shared(batch: pa.Table, mark: Callable, shared: ray.ObjectRef) -> pa.Table:
    return mark(batch, _fetched(shared))


def mark_with(ds: ray.data.Dataset, mark: Callable, shared: ray.ObjectRef) -> ray.data.Dataset:
    """`ds` with `mark(batch, object)` on every batch; the object of the store is `shared`."""
    return ds.map_batches(
        _with_shared, batch_format="pyarrow", batch_size=BATCH, fn_args=(mark, shared)
    )


def mark_duplicates(ds: ray.data.Dataset, section: LabelSection) -> ray.data.Dataset:
    """`ds` with duplicates labelled as `section.duplicates` says; "off" gives it back unchanged."""
    import ray

    if section.duplicates == "off":
        return ds
    return mark_with(ds, mark_pairs, ray.put(find_duplicates(ds, section)))


def mark_leaks_batch(batch: pa.Table, index: LeakIndex) -> pa.Table:
    """The batch with `contaminated:SPLIT` (and `meta["leak"]`) on training rows that leak."""
    rows = [from_row(flat) for flat in batch.to_pylist()]
    train = [r if r.split in ("", "train") else replace(r, reject_reason="held out") for r in rows]
    reasons, metas = batch["reject_reason"].to_pylist(), batch["meta"].to_pylist()
    for i, leak in enumerate(index.find(train)):
        if leak:
            marked = leak.mark(rows[i])
            reasons[i] = marked.reject_reason
            metas[i] = json.dumps(marked.meta, ensure_ascii=False, default=str)
    return _with(_with(batch, "reject_reason", reasons), "meta", metas)


def mark_leaks(
    ds: ray.data.Dataset, eval_rows: Iterable[Trajectory], section: LabelSection
) -> ray.data.Dataset:
    """`ds` with the training rows labelled that show one of `eval_rows`, which are few."""
    import ray

    if not section.decontaminate:
        return ds
    return mark_with(ds, mark_leaks_batch, ray.put(LeakIndex(eval_rows, section)))
