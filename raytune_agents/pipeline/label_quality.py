"""The last pass of the label step: Ray's workers write the rows with the marks of duplicates and
contradictions, and the quality, whose diversity part needs all rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytune_agents import filters
from raytune_agents.dedup import step as dedup
from raytune_agents.filters.quality import quality, rarity
from raytune_agents.infra import cluster
from raytune_agents.records import JsonObject, arrow_schema
from raytune_agents.runs import Counts
from raytune_agents.storage import bunched, joined_table, with_column, write_table

PARTS = ("validity", "worth", "weight")  # what the quality is made of, see filters.quality


def rarities(folder: Path, pairs: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """(handle, rarity of the signature) of the rows that stay, by handle."""
    files = sorted(folder.glob("*.parquet"))
    tables = [pq.read_table(f, columns=["handle", "signature"]) for f in files]
    handles = np.concatenate([t["handle"].to_numpy() for t in tables])
    signs = np.concatenate([t["signature"].to_numpy() for t in tables])
    # Rarity among the rows that stay: a row with a hundred copies is not common.
    stay = ~np.isin(handles, pairs["handle"].to_numpy())
    return handles[stay], rarity(signs[stay]).astype(np.float32)


def write_labels(rows: Path, prints: Path, pairs: pa.Table, out: Path) -> tuple[Counts, JsonObject]:
    """work/rows -> the step's files, with the marks of `pairs` and the whole quality."""
    counts, pools, labels = Counts(), Counter(), Counter()
    shared = (pairs, *rarities(prints, pairs))
    for done in cluster.map_items("quality", bunched(rows, out), write_marked, *shared):
        counts.rows_in += done["rows"]
        counts.rejected.update(done["rejected"])
        counts.rows_out += done["kept"]
        labels.update({(source, word): n for source, word, n in done["labels"]})
        pools.update(done["pools"])
    return counts, {"pools": dict(pools), "funnel": filters.label_funnel(labels)}


def write_marked(
    item: JsonObject, pairs: pa.Table, stay: np.ndarray, rare: np.ndarray
) -> JsonObject:
    """Some files of work/rows as one of the step's; `stay` and `rare` are `rarities`. Returns what
    is counted of its rows."""
    table = joined_table(item)
    handles = table["handle"].to_numpy()
    reasons = dedup.marked(table["reject_reason"].to_pylist(), handles, pairs)
    kept = np.array([not r for r in reasons], bool)
    worth = table["quality"].to_numpy().copy()
    valid, known, weight = (table[name].to_numpy()[kept] for name in PARTS)
    seldom = rare[np.searchsorted(stay, handles[kept])]
    worth[kept] = quality(valid, known, weight, seldom)
    table = with_column(with_column(table, "reject_reason", reasons), "quality", worth)
    write_table(Path(item["out"]), table.select(arrow_schema().names))
    words = [r.partition(":")[0] for r in reasons]
    labels = Counter(zip(table["source"].to_pylist(), words))
    columns = zip(table["pool"].to_pylist(), table["split"].to_pylist(), kept)
    return {
        "rows": len(table),
        "kept": int(kept.sum()),
        "rejected": Counter(w for w in words if w),
        "labels": [(source, word, n) for (source, word), n in labels.items()],
        "pools": Counter(pool for pool, split, good in columns if good and split == "train"),
    }
