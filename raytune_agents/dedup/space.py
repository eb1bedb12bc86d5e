"""What works on vectors: semantic duplicates, and choosing rows that cover the space.

Vectors are rows of a float array [rows, dimensions], any embedding; `embed` makes plain ones
without a model. All functions are deterministic given their seed.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from raytune_agents.records import Trajectory


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a zero row stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length == 0, 1.0, length)


def embed(texts: Sequence[str], dimensions: int = 128, seed: int = 17) -> np.ndarray:
    """Unit vectors [texts, <= dimensions] by latent semantic analysis of character n-grams.

    TF-IDF of 3- to 5-grams inside words, hashed, then a truncated SVD; needs two texts or more.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    counts = HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), n_features=2**16, alternate_sign=False, norm=None
    ).transform(texts)
    # few texts fill few of the columns, and the empty ones cost most of the time
    counts = counts[:, np.flatnonzero(counts.getnnz(axis=0))]
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    size = max(1, min(dimensions, len(texts) - 1))
    return unit_vectors(TruncatedSVD(size, random_state=seed).fit_transform(weighted))


def semantic_owner(
    vectors: np.ndarray, keys: Sequence[Hashable], rank: Sequence[int], threshold: float
) -> np.ndarray:
    """For each row the index of its survivor, int64 [rows]; a survivor points to itself.

    The survivor is the first by rank of the same key with a cosine of at least `threshold`.
    """
    vectors, owner = unit_vectors(vectors), np.arange(len(vectors))
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for i in sorted(range(len(rank)), key=lambda i: rank[i]):
        groups[keys[i]].append(i)

    def alike(one: int, rest: np.ndarray) -> np.ndarray:
        return vectors[rest] @ vectors[one] >= threshold

    for group in groups.values():
        assign_survivors(np.array(group), alike, owner)
    return owner


def assign_survivors(
    members: np.ndarray, alike: Callable[[int, np.ndarray], np.ndarray], owner: np.ndarray
) -> None:
    """Give each member, best first, its survivor in place. `alike(one, rest)` says which of the
    rest are duplicates of one."""
    while len(members):
        survivor, members = members[0], members[1:]
        near = alike(survivor, members)
        owner[members[near]] = survivor
        members = members[~near]


def check_count(count: int, rows: int) -> None:
    """Raises ValueError where so many of the rows cannot be chosen."""
    if not 0 <= count <= rows:
        raise ValueError(f"count={count} of {rows} rows; write 0 to {rows}")


def facility_location(
    vectors: np.ndarray,
    count: int,
    kinds: Sequence[Hashable] = (),
    caps: Mapping[Any, int] | None = None,
) -> list[int]:
    """`count` rows that represent all, in the order of their gain.

    Greedy maximum of sum_v max_{a in A} s(a, v) / n, with s the cosine cut at 0 (QDIT, 2311.14736).
    The sum is submodular, so greedy reaches 1 - 1/e of the best; lazy evaluation (Minoux 1978)
    recomputes a gain only where its old upper bound leads. With `kinds` (one per row) at most
    `caps[kind]` rows of a kind are chosen, fewer than `count` where that leaves no more; greedy
    then reaches 1/2 (Fisher, Nemhauser, Wolsey 1978).
    Memory: one [rows] similarity vector at a time.
    """
    vectors = unit_vectors(np.asarray(vectors, np.float64))
    rows = len(vectors)
    check_count(count, rows)
    best = np.zeros(rows)

    def gain(i: int) -> float:
        covered = np.maximum(vectors @ vectors[i] - best, 0.0).sum() / rows
        # rounded: the last bits differ with the number of threads, and so would the choice
        return round(float(covered), 6)

    bounds = [(-gain(i), i, 0) for i in range(rows)]
    heapq.heapify(bounds)
    chosen: list[int] = []
    taken: Counter[Hashable] = Counter()
    limits = caps or {}
    while len(chosen) < count and bounds:
        _, i, known_at = heapq.heappop(bounds)
        if kinds and taken[kinds[i]] >= limits.get(kinds[i], 0):
            continue
        if known_at == len(chosen):
            chosen.append(i)
            taken.update([kinds[i]] if kinds else [])
            best = np.maximum(best, vectors @ vectors[i])
        else:
            heapq.heappush(bounds, (-gain(i), i, len(chosen)))
    return chosen


def k_center(vectors: np.ndarray, count: int, seed: int = 17) -> list[int]:
    """`count` rows, each the farthest from those before; the first by the seed.

    Euclidean distance; the covering radius is at most twice the best one (Gonzalez 1985).
    """
    vectors = np.asarray(vectors, np.float64)
    check_count(count, len(vectors))
    chosen: list[int] = []
    far = np.full(len(vectors), np.inf)
    while len(chosen) < count:
        at = int(far.argmax()) if chosen else random.Random(seed).randrange(len(vectors))
        chosen.append(at)
        far = np.minimum(far, np.linalg.norm(vectors - vectors[at], axis=1))
        far[chosen] = -1.0  # equal points are taken last, and none twice
    return chosen


class RowPlace(NamedTuple):
    """What a diverse choice needs of a row: its stratum (first called tool, fault, number of
    turns), and the text of its request and calls."""

    stratum: tuple[str, str, int]
    text: str

    @classmethod
    def of(cls, row: Trajectory) -> RowPlace:
        called = row.calls[0].name if row.calls else ""
        words = [row.query, *(c.name + c.arguments for c in row.calls)]
        return cls((called, row.fault, len(row.messages)), " ".join(words))


def arranged(rows: Sequence[RowPlace], how: str, count: int, seed: int) -> list[int]:
    """All row indices, those first that a diverse choice of `count` takes, then the others.

    `how`: stratified, k_center or facility (on `embed` of the texts; time and memory grow with
    rows * count and with rows).
    """
    count = min(count, len(rows))
    if how == "stratified" or len(rows) < 3:
        chosen = stratified([row.stratum for row in rows], count, seed)
    else:
        vectors = embed([row.text for row in rows], seed=seed)
        facility = how == "facility"
        chosen = facility_location(vectors, count) if facility else k_center(vectors, count, seed)
    taken = set(chosen)
    return [*chosen, *(i for i in range(len(rows)) if i not in taken)]


def stratified(keys: Sequence[Hashable], count: int, seed: int = 17) -> list[int]:
    """`count` row indices spread evenly over the strata (tool, fault, turn count ...).

    Strata are served in turn until they are empty, so none has over one row more than another
    that still had rows; which rows, and who comes first, is drawn by the seed.
    """
    check_count(count, len(keys))
    rng = random.Random(seed)
    strata: dict[Hashable, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        strata[key].append(i)
    queues = list(strata.values())
    for queue in queues:
        rng.shuffle(queue)
    rng.shuffle(queues)
    chosen: list[int] = []
    while len(chosen) < count:
        chosen += [q.pop() for q in queues if q][: count - len(chosen)]
    return chosen
