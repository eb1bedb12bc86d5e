"""Duplicates and leakage: accepted rows that say the same, training rows that show a test row.

Rows are labelled, never dropped: `duplicate_of:ID`, `near_duplicate_of:ID`, `contradicts:ID`,
`contaminated:SPLIT`. A negative is no duplicate of its positive twin: it has the same query and
another answer. Rejected rows take no part, so a good row never points to a bad survivor.
Duplicates are looked for within a split, leaks across splits. All rows that name the same survivor
are one cluster.

Here: rows in a list. `step` does the same on Ray Datasets, `minhash` holds the sketches, `leaks`
the comparison with evaluation rows, `space` what works on embeddings.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from raytune_agents.config import LabelSection
from raytune_agents.dedup.leaks import Leak, LeakIndex
from raytune_agents.dedup.minhash import clusters, sketches
from raytune_agents.dedup.text import exact_key, group_key, key_bits, near_text, question
from raytune_agents.filters.shape import call_key, family
from raytune_agents.records import Trajectory

__all__ = [
    "Leak",
    "LeakIndex",
    "exact_key",
    "find_leaks",
    "mark_contradictions",
    "mark_duplicates",
    "mark_leaks",
    "mark_near_duplicates",
    "rank",
]


def rank(row: Trajectory) -> tuple[float, bool, str]:
    """Sort key of the survivor (smallest wins): quality, then pool positive, then the id."""
    return (-(row.quality or 0.0), family(row) != "positive", row.id)


def mark_duplicates(rows: Sequence[Trajectory]) -> list[Trajectory]:
    """The same rows in order; in each exact cluster all but the survivor are `duplicate_of:ID`."""
    best: dict[tuple[str, str], Trajectory] = {}
    keys = [(r.split or "train", exact_key(r)) if not r.reject_reason else None for r in rows]
    for row, key in zip(rows, keys):
        if key and (key not in best or rank(row) < rank(best[key])):
            best[key] = row
    return [
        row
        if key is None or row is best[key]
        else replace(row, reject_reason=f"duplicate_of:{best[key].id}")
        for row, key in zip(rows, keys)
    ]


def mark_near_duplicates(rows: Sequence[Trajectory], threshold: float = 0.8) -> list[Trajectory]:
    """The same rows in order; near duplicates name their survivor as `near_duplicate_of:ID`.

    Near: equal calls, and questions (with the answer's text where there is no call) whose
    5-gram Jaccard similarity, as MinHash estimates it, reaches `threshold`.
    """
    kept = [i for i, row in enumerate(rows) if not row.reject_reason]
    order = {i: n for n, i in enumerate(sorted(kept, key=lambda i: rank(rows[i])))}
    owner = clusters(
        np.array([key_bits(group_key(rows[i])) for i in kept], np.uint64),
        sketches([near_text(rows[i]) for i in kept]),
        np.array([order[i] for i in kept], np.int64),
        threshold,
    )
    marked = list(rows)
    for i, survivor in zip(kept, owner):
        if kept[survivor] != i:
            reason = f"near_duplicate_of:{rows[kept[survivor]].id}"
            marked[i] = replace(rows[i], reject_reason=reason)
    return marked


def mark_contradictions(rows: Sequence[Trajectory]) -> list[Trajectory]:
    """The same rows in order; of rows with one question and several answers one answer stays.

    Same question: text, tool signature, split. Same answer: the same multiset of calls. The answer
    that most rows give stays; between equals the one of the best quality; where that is equal too
    nobody knows, and all rows are labelled. Negatives, and rows without a call, take no part.
    """
    groups: dict[tuple, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if not row.reject_reason and family(row) != "negative" and row.calls:
            names = tuple(sorted(t.name for t in row.tools))
            groups[row.split or "train", question(row), names].append(i)
    marked = list(rows)
    for members in groups.values():
        answers = {i: tuple(sorted(map(call_key, rows[i].calls))) for i in members}
        counts = Counter(answers.values())
        if len(counts) < 2:
            continue
        worth = {a: (n, max(rows[i].quality or 0.0 for i in members if answers[i] == a))
                 for a, n in counts.items()}  # fmt: skip
        best = max(worth.values())
        winners = [a for a, w in worth.items() if w == best]
        for i in members:
            if len(winners) == 1 and answers[i] == winners[0]:
                continue
            rivals = [j for j in members if answers[j] != answers[i]]
            other = rows[next((j for j in rivals if answers[j] in winners), rivals[0])]
            marked[i] = replace(rows[i], reject_reason=f"contradicts:{other.id}")
    return marked


def find_leaks(
    rows: Sequence[Trajectory],
    eval_rows: Iterable[Trajectory],
    section: LabelSection | None = None,
) -> list[Leak]:
    """What matched what: every accepted row that shows an evaluation row."""
    index = LeakIndex(eval_rows, section or LabelSection())
    return [leak for leak in index.find([r for r in rows if not r.reject_reason]) if leak]


def mark_leaks(
    train_rows: Sequence[Trajectory],
    eval_rows: Iterable[Trajectory],
    section: LabelSection | None = None,
) -> list[Trajectory]:
    """Training rows in order; one that shows an evaluation row reads `contaminated:SPLIT`.

    `meta["leak"]` says which row and how it matched.
    """
    index = LeakIndex(eval_rows, section or LabelSection())
    leaks = index.find(train_rows)
    return [leak.mark(row) if leak else row for row, leak in zip(train_rows, leaks)]
