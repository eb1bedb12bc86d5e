"""Duplicates and contradictions of any number of rows: fingerprint -> group by answer or question.

No step needs all rows in one place. The worker that labels a row also makes its fingerprint (keys,
rank, sketch: about 330 bytes). Fingerprints lie in Parquet files; a hash shuffle on Ray Data brings
those of equal answers together, and the clusters of each partition are found there. Only (row,
survivor) pairs come back. A row that is alone with its answer needs no look at its sketch, so only
the others' fingerprints are moved. Where those fit in LOCAL_BYTES the same functions run on them in
one piece: a shuffle of a few thousand rows would take longer than everything else.

Rows without any call form one group, which one worker must hold: 330 bytes per row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_agents.config import ConfigError, LabelConfig
from raytune_agents.config.lookup import user_object
from raytune_agents.dedup.minhash import PERMUTATIONS, clusters, first_of_each
from raytune_agents.dedup.space import semantic_owner, unit_vectors
from raytune_agents.dedup.text import (
    calls_key,
    exact_key,
    group_key,
    key_bits,
    near_text,
    situation_key,
)
from raytune_agents.filters.shape import is_held_out, row_family
from raytune_agents.records import Trajectory
from raytune_agents.storage import row_groups

LOCAL_BYTES = 1 << 26
MOST_TASKS = 200  # that read fingerprints; each takes less than a second a row group
# row_id: its first 64 bits; rank: the smallest survives; group: rows of one answer; exact: equal
# rows; request: rows of one situation, 0 = takes no part; answer: a hash of the calls as a
# multiset; proved: the source knows that the row succeeded
PRINTS = pa.schema(
    [
        ("handle", pa.uint64()),
        ("row_id", pa.uint64()),
        ("rank", pa.float64()),
        ("group", pa.uint64()),
        ("exact", pa.uint64()),
        ("sketch", pa.binary()),
        ("vector", pa.binary()),
        ("request", pa.uint64()),
        ("answer", pa.uint64()),
        ("proved", pa.bool_()),
    ]
)
DUPLICATES = ("handle", "row_id", "rank", "group", "exact", "sketch", "vector")
CONTRADICTIONS = ("handle", "row_id", "rank", "request", "answer", "proved")
DUPLICATE_WORDS = ("duplicate_of", "near_duplicate_of", "semantic_duplicate_of")
# survivor: the first 64 bits of its id; word: what the row is called
PAIRS = pa.schema([("handle", pa.uint64()), ("survivor", pa.uint64()), ("word", pa.string())])


def survival_rank(row: Trajectory) -> float:
    """Smaller is better: quality first, then pool positive."""
    return -2.0 * round(row.quality or 0.0, 6) - 1e-7 * (row_family(row) == "positive")


def fingerprints(
    rows: Sequence[Trajectory], handles: np.ndarray, sketch: np.ndarray, config: LabelConfig
) -> pa.Table:
    """PRINTS of accepted rows; `sketch` uint8 [rows, count] are those of `text.near_text`.

    `handles` uint64 [rows] is what a row is recognised by. Negatives, held-out rows and rows
    without a call contradict nobody.
    """

    def bits(keys: Iterable[str]) -> np.ndarray:
        return np.array([key_bits(key) for key in keys], np.uint64)

    exact, answer = bits(map(exact_key, rows)), bits(map(group_key, rows))
    near = config.duplicates == "minhash"
    asks = [bool(r.calls) and row_family(r) != "negative" and not is_held_out(r) for r in rows]
    vectors = embed_texts([near_text(r) for r in rows], config)
    columns = {
        "handle": handles.astype(np.uint64),
        "row_id": bits(r.id for r in rows),
        "rank": np.array([survival_rank(r) for r in rows], np.float64),
        "group": answer if near else exact ^ answer,  # the answer's key holds the split
        "exact": exact,
        "sketch": pa.array([s.tobytes() if near else b"" for s in sketch], pa.binary()),
        "vector": pa.array([v.tobytes() for v in vectors], pa.binary()),
        "request": bits(situation_key(r) if a else "0" for r, a in zip(rows, asks)),
        "answer": bits(calls_key(r) if a else "0" for r, a in zip(rows, asks)),
        "proved": np.array([r.outcome is not None and r.outcome >= 0.5 for r in rows], np.bool_),
    }
    return pa.table(columns, schema=PRINTS)


def embedder(config: LabelConfig) -> Callable[[list[str]], Any]:
    """The user's function of `label.embed`. Raises ConfigError where it cannot be found."""
    return user_object(config.embed, "label.embed")


def embed_texts(texts: Sequence[str], config: LabelConfig) -> np.ndarray:
    """Vectors of the texts, float16 [texts, n], by the user's function; n = 0 where none is
    named. A text without a vector of finite numbers is like no other. Raises ConfigError for
    anything else than a vector of each text."""
    if not config.embed or not texts:
        return np.empty((len(texts), 0), np.float16)
    try:
        vectors = np.asarray(embedder(config)(list(texts)), np.float32)
    except (TypeError, ValueError) as error:  # of the function too, or vectors of several lengths
        raise ConfigError(f"label.embed={config.embed!r}: {error}") from None
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise ConfigError(
            f"label.embed={config.embed!r} gave {list(vectors.shape)} for {len(texts)} texts; "
            "return an array [texts, n]"
        )
    vectors[~np.isfinite(vectors).all(axis=1)] = 0.0
    return unit_vectors(vectors).astype(np.float16)


def _joined(owner: np.ndarray, prints: pa.Table, rank: np.ndarray, threshold: float) -> np.ndarray:
    """`owner` with survivors of one group joined where their vectors are alike."""
    raw = b"".join(prints["vector"].to_pylist())
    vectors = np.frombuffer(raw, np.float16).reshape(len(owner), -1).astype(np.float32)
    left = np.flatnonzero(owner == np.arange(len(owner)))
    keys = prints["group"].to_numpy()[left].tolist()
    found = semantic_owner(vectors[left], keys, rank[left].tolist(), threshold)
    joined = owner.copy()
    joined[left] = left[found]
    return joined[joined]  # what followed a joined row follows on


def _order(prints: pa.Table) -> np.ndarray:
    """The place of every row by rank, then id, then handle. int64 [rows]."""
    ids, handle = prints["row_id"].to_numpy(), prints["handle"].to_numpy()
    rank = np.empty(len(ids), np.int64)
    rank[np.lexsort((handle, ids, prints["rank"].to_numpy()))] = np.arange(len(ids))
    return rank


def duplicates_of(prints: pa.Table, config: LabelConfig) -> pa.Table:
    """PAIRS of one partition by `group`: its duplicates, each with its survivor."""
    group, exact = prints["group"].to_numpy(), prints["exact"].to_numpy()
    handle, ids, rank = prints["handle"].to_numpy(), prints["row_id"].to_numpy(), _order(prints)
    if config.duplicates == "minhash":
        raw = b"".join(prints["sketch"].to_pylist())
        sketch = np.frombuffer(raw, np.uint8).reshape(len(ids), PERMUTATIONS)
        owner = near = clusters(group, sketch, rank, config.minhash_threshold)
        if config.embed and len(owner):
            owner = _joined(near, prints, rank, config.semantic_threshold)
    else:
        order = np.lexsort((rank, group))
        owner = near = np.empty(len(ids), np.int64)
        owner[order] = first_of_each(group, order)
    moved = np.flatnonzero(owner != np.arange(len(ids)))
    kind = np.where(near[moved] == owner[moved], 1, 2) * (exact[moved] != exact[owner[moved]])
    columns = {
        "handle": handle[moved],
        "survivor": ids[owner[moved]],
        "word": pa.array([DUPLICATE_WORDS[k] for k in kind], pa.string()),
    }
    return pa.table(columns, schema=PAIRS)


def contradictions_of(prints: pa.Table, config: LabelConfig) -> pa.Table:
    """PAIRS of one partition by `asked`: of rows with one situation and several answers one answer
    stays, the others name a row of it.

    Answers that are known to have succeeded stay, all of them: a task can be done in several ways.
    Where none is known, the answer that most rows give stays; between equals the one of the best
    rank; where that is equal too nobody knows, and all rows are labelled.
    """
    request_keys, answer_keys = prints["request"].to_numpy(), prints["answer"].to_numpy()
    proved = prints["proved"].to_numpy(zero_copy_only=False)
    ranks, ids, handle = (prints[c].to_numpy() for c in ("rank", "row_id", "handle"))
    order = np.lexsort((handle, ids, ranks, answer_keys, request_keys))
    order = order[request_keys[order] != 0]
    one, same = request_keys[order], np.diff(request_keys[order]) == 0
    # questions of several answers
    torn = np.unique(one[1:][same & (np.diff(answer_keys[order]) != 0)])
    order = order[np.isin(one, torn)]
    starts = np.flatnonzero(np.diff(request_keys[order], prepend=0))
    found: list[tuple[int, int]] = []
    for members in np.split(order, starts[1:]) if len(order) else ():
        answers = answer_keys[members].tolist()
        right = set(answer_keys[members[proved[members]]].tolist())
        winners = right or _winners(members, answers, ranks)
        known = bool(right) or len(winners) == 1
        of = dict(zip(answers[::-1], members[::-1]))  # answer -> its first row
        rivals = [*(a for a in of if a in winners), *of]
        for i, answer in zip(members, answers):
            if not (known and answer in winners):
                other = next(a for a in rivals if a != answer)
                found.append((int(handle[i]), int(ids[of[other]])))
    rows = [{"handle": h, "survivor": s, "word": "contradicts"} for h, s in found]
    return pa.Table.from_pylist(rows, schema=PAIRS)


def _winners(members: np.ndarray, answers: list[int], ranks: np.ndarray) -> set[int]:
    """The answers that most rows give, and of these the ones of the best rank."""
    counts, best = Counter(answers), {}
    for i, answer in zip(members, answers):
        best[answer] = min(best.get(answer, np.inf), ranks[i])
    worth = {a: (n, -best[a]) for a, n in counts.items()}
    top = max(worth.values())
    return {a for a, w in worth.items() if w == top}


Work = Callable[[pa.Table, LabelConfig], pa.Table]


def grouped(
    folder: Path,
    by: str,
    columns: Sequence[str],
    work: Work,
    config: LabelConfig,
    without: pa.Table | None = None,
    local_bytes: int = LOCAL_BYTES,
) -> pa.Table:
    """`work` on the fingerprints in `folder`, those of equal `by` together; PAIRS by handle.

    `without`: PAIRS whose rows take no part. A row that is alone with its key takes none either:
    the keys, 8 bytes per row, are looked through here. Where the columns of the others are larger
    than `local_bytes` the group-by is Ray Data's, else it is done here.
    """
    gone = (without or PAIRS.empty_table())["handle"].to_numpy()
    files = sorted(folder.glob("*.parquet"))
    keys, share = shared_keys(files, by)
    if not len(keys):
        return PAIRS.empty_table()

    def left(table: pa.Table) -> pa.Table:
        keep = np.isin(table[by].to_numpy(), keys) & ~np.isin(table["handle"].to_numpy(), gone)
        return table if keep.all() else table.filter(pa.array(keep))

    if share * sum(_size(file, columns) for file in files) <= local_bytes:
        tables = [left(pq.read_table(f, columns=list(columns))) for f in files]
        return work(pa.concat_tables(tables), config).sort_by("handle")
    import ray

    def parts(items: dict[str, Any]) -> Iterator[pa.Table]:
        for file, group in zip(items["file"], items["group"]):
            with pq.ParquetFile(str(file)) as opened:
                batch = left(opened.read_row_group(int(group), list(columns)))
            number = (batch[by].to_numpy() % np.uint64(config.partitions)).astype(np.int32)
            yield batch.append_column("part", pa.array(number))

    items = row_groups(files)
    found = (
        ray.data.from_items(items, override_num_blocks=min(len(items), MOST_TASKS))
        .map_batches(parts, batch_size=None)
        .groupby("part", num_partitions=config.partitions)
        .map_groups(work, batch_format="pyarrow", fn_kwargs={"config": config})  # type: ignore[arg-type]
    )
    tables = [t for t in ray.get(found.to_arrow_refs()) if t.num_rows]
    table = pa.concat_tables([t.cast(PAIRS) for t in tables]) if tables else PAIRS.empty_table()
    return table.sort_by("handle")


def shared_keys(files: Sequence[Path], by: str) -> tuple[np.ndarray, float]:
    """The keys of `by` that several rows have, uint64, sorted (0 is none), and the share of rows
    that have one of them."""
    columns = [pq.read_table(f, columns=[by])[by].to_numpy() for f in files]
    every = np.concatenate([np.empty(0, np.uint64), *columns])
    found, counts = np.unique(every, return_counts=True)
    several = (counts > 1) & (found != 0)
    return found[several], float(counts[several].sum() / max(1, len(every)))


def _size(file: Path, columns: Sequence[str]) -> int:
    """Bytes of the columns of a Parquet file once they are in memory, about."""
    about = pq.read_metadata(file)
    groups = (about.row_group(i) for i in range(about.num_row_groups))
    chunks = (g.column(k) for g in groups for k in range(g.num_columns))
    return sum(c.total_uncompressed_size for c in chunks if c.path_in_schema in columns)


def pairs_of(folder: Path, config: LabelConfig, local_bytes: int = LOCAL_BYTES) -> pa.Table:
    """PAIRS of all fingerprints in `folder`, as `config` asks: contradictions, then duplicates
    among the rows that are left, so that no row points to a survivor that is itself rejected."""
    out = PAIRS.empty_table()
    if config.contradictions:
        work = contradictions_of
        out = grouped(folder, "request", CONTRADICTIONS, work, config, None, local_bytes)
    if config.duplicates != "off":
        more = grouped(folder, "group", DUPLICATES, duplicates_of, config, out, local_bytes)
        out = pa.concat_tables([out, more]).sort_by("handle")
    return out


def marked(reasons: Sequence[str], handles: np.ndarray, pairs: pa.Table) -> list[str]:
    """The reject reasons with `WORD:ID` where `pairs` (by handle) name the row."""
    known = pairs["handle"].to_numpy()
    at = np.searchsorted(known, handles)
    inside = at < len(known)
    inside[inside] = known[at[inside]] == handles[inside]
    out = list(reasons)
    rows = np.flatnonzero(inside)
    named = pairs.take(at[rows])
    for i, survivor, word in zip(rows, named["survivor"].to_pylist(), named["word"].to_pylist()):
        out[i] = out[i] or f"{word}:{survivor:016x}"
    return out
