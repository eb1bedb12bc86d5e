"""Few rows kept back as whole situations: what is asked alike, or of the same things, is on one
side, so that a test row is no training row with one word changed.

Rows are clustered (average linkage) by the greater of two likenesses: the cosine of their requests'
TF-IDF vectors and the overlap of the values that their calls hold.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from raytune_agents.agents.word_banks import leaves
from raytune_agents.calls import gold_of
from raytune_agents.dedup.text import request_text
from raytune_agents.records import Trajectory

ALIKE = 0.5  # likeness from which two rows are one situation
LARGEST = 0.3  # share of the rows that one situation may have; a larger one is cut finer


def request_values(row: Trajectory) -> frozenset[str]:
    """The texts and numbers in a row's calls; true, false and single letters tell nothing."""
    try:
        args = [c.args for c in row.calls] or gold_of(row)
    except ValueError:
        return frozenset()
    found = {str(v).casefold() for a in args for v in leaves(a) if not isinstance(v, bool)}
    return frozenset(v for v in found if len(v) > 1)


def likeness(rows: Sequence[Trajectory]) -> np.ndarray:
    """[rows, rows] in [0, 1]: how much two rows ask the same, or of the same things."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [request_text(row) for row in rows]
    out = np.eye(len(rows))
    if any(texts):
        words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\w+", sublinear_tf=True)
        with suppress(ValueError):  # no word in any text
            vectors = words.fit_transform(texts)
            out = np.maximum(out, (vectors @ vectors.T).toarray())
    values = [request_values(row) for row in rows]
    for i, own in enumerate(values):
        for j in range(i):
            same = len(own & values[j]) / len(own | values[j]) if own or values[j] else 0.0
            same = 1.0 if texts[i] == texts[j] else same
            out[i, j] = out[j, i] = max(out[i, j], same)
    return np.clip(out, 0.0, 1.0)


def situations(rows: Sequence[Trajectory]) -> list[int]:
    """The situation of each row, as a number. Equal requests are always one situation."""
    if len(rows) < 2:
        return [0] * len(rows)
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    far = 1.0 - likeness(rows)
    np.fill_diagonal(far, 0.0)
    tree = linkage(squareform(far, checks=False), "average")
    for least in (ALIKE, 0.6, 0.7, 0.8, 0.9, 1.0):
        found = fcluster(tree, max(0.0, 1.0 - least) + 1e-9, "distance").tolist()
        if max(Counter(found).values()) <= max(1, LARGEST * len(rows)):
            break
    return found


@dataclass
class _Left:
    """The situations that are not kept back yet: number -> rows."""

    rows: dict[int, list[int]]
    tools: Sequence[Collection[str]]
    order: dict[int, str]  # a hash of each situation

    def best(self, taken: Counter[str], room: int) -> int:
        """The situation that a split takes next: one whose tools stay in train, then of tools that
        the split has least of, then one that fits into its room."""
        trained = Counter(t for own in self.rows.values() for i in own for t in self.tools[i])

        def cost(k: int) -> tuple[bool, int, int, str]:
            own = Counter(t for i in self.rows[k] for t in self.tools[i])
            orphans = any(trained[t] == n for t, n in own.items())
            seen = max((taken[t] for t in own), default=taken[""])
            return orphans, seen, max(0, len(self.rows[k]) - room), self.order[k]

        return min(self.rows, key=cost)


def rows_by_situation(
    rows: Sequence[Trajectory], seed: int
) -> tuple[dict[int, list[int]], dict[int, str]]:
    """The rows of each situation, and a hash that puts situations in an order of the seed."""
    groups: dict[int, list[int]] = {}
    for i, number in enumerate(situations(rows)):
        groups.setdefault(number, []).append(i)
    named = {k: f"{seed}\0situation\0{min(rows[i].id for i in own)}" for k, own in groups.items()}
    return groups, {k: hashlib.sha256(name.encode()).hexdigest() for k, name in named.items()}


def folds(
    rows: Sequence[Trajectory], tools: Sequence[Collection[str]], count: int, seed: int
) -> list[int]:
    """The fold of each row, from 0: whole situations, the largest first, each into a fold that has
    room and fewest rows of its tools."""
    groups, order = rows_by_situation(rows, seed)
    out, room = [0] * len(rows), [-(-len(rows) // count)] * count
    taken = [Counter[str]() for _ in range(count)]
    for k in sorted(groups, key=lambda k: (-len(groups[k]), order[k])):
        own = Counter(t for i in groups[k] for t in tools[i] or {""})
        size = len(groups[k])
        fold = min(
            range(count),
            key=lambda f: (size > room[f], sum(taken[f][t] for t in own), -room[f]),
        )
        for i in groups[k]:
            out[i] = fold
        taken[fold] += own
        room[fold] -= size
    return out


def kept_back(
    rows: Sequence[Trajectory],
    tools: Sequence[Collection[str]],
    wanted: Mapping[str, int],
    seed: int,
) -> list[str]:
    """The split of each row: whole situations for each name of `wanted` until it has its rows, the
    rest "train". `tools` are each row's gold tools.

    Without enough situations a split has fewer rows, but train is never empty.
    """
    groups, order = rows_by_situation(rows, seed)
    left, out = _Left(groups, tools, order), ["train"] * len(rows)
    for name, count in wanted.items():
        taken: Counter[str] = Counter()
        size = 0
        while size < count and len(left.rows) > 1:
            best = left.best(taken, count - size)
            if size and size + len(left.rows[best]) > 1.5 * count:
                break
            for i in left.rows.pop(best):
                out[i] = name
                taken.update(tools[i] or {""})
                size += 1
    return out
