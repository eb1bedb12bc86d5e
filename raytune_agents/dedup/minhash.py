"""MinHash sketches and near-duplicate clusters, on whole batches of texts at once.

The permutations and the banding are datasketch's (scheme affine32); what is ours is the batch
form: the shingles of all texts lie in one array, and each permutation is one pass over it. A
sketch keeps the low byte of every minimum (b-bit MinHash, 0908.0516), which is enough to band and
to estimate similarity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from datasketch import MinHash

from raytune_agents.dedup.space import assign_survivors

SHINGLE = 5  # bytes of folded text in one shingle
PERMUTATIONS = 256
BAND_ROWS = 5  # sketch bytes that must agree in one band; as many bands as fit
_TEXTS = 1024  # sketched at a time
_CHUNK = 1 << 16  # shingles hashed at a time: stays in the cache


@lru_cache(maxsize=4)
def permutations(count: int = PERMUTATIONS) -> tuple[np.ndarray, np.ndarray]:
    """datasketch's multipliers and offsets (seed 1), uint32."""
    a, b = MinHash(num_perm=count, seed=1).permutations
    return a.astype(np.uint32), b.astype(np.uint32)


def mix64(x: np.ndarray) -> np.ndarray:
    """MurmurHash3's 64-bit finaliser: a bijection with full avalanche."""
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> np.uint64(33))


def shingles(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(uint32 hashes of all shingles, start of each text's run in them).

    A shingle is SHINGLE successive UTF-8 bytes, packed into 64 bits and mixed. A text shorter than
    that is padded with zeros to one shingle, so no run is empty.
    """
    raw = [t.encode("utf-8", "surrogatepass").ljust(SHINGLE, b"\0") for t in texts]
    data = np.frombuffer(b"".join(raw), np.uint8)
    if not len(data):
        return np.empty(0, np.uint32), np.empty(0, np.int64)
    sizes = np.array([len(r) for r in raw])
    packed = np.zeros(len(data) - SHINGLE + 1, np.uint64)
    for i in range(SHINGLE):
        packed |= data[i : i + len(packed)].astype(np.uint64) << np.uint64(8 * i)
    ends = np.cumsum(sizes)
    inside = np.ones(len(packed), bool)  # windows that reach into the next text are left out
    for i in range(1, SHINGLE):
        inside[ends[:-1] - i] = False
    hashes = (mix64(packed[inside]) >> np.uint64(32)).astype(np.uint32)
    counts = sizes - SHINGLE + 1
    return hashes, np.concatenate([[0], np.cumsum(counts)[:-1]])


def signatures(texts: Sequence[str], count: int = PERMUTATIONS) -> np.ndarray:
    """MinHash values, uint32 [texts, count]; equal to datasketch's on the same shingle hashes."""
    hashes, starts = shingles(texts)
    a, b = permutations(count)
    out = np.empty((len(texts), count), np.uint32)
    edges = np.append(starts, len(hashes))
    first = 0
    while first < len(texts):
        last = max(first + 1, int(np.searchsorted(edges, edges[first] + _CHUNK, "right")) - 1)
        mixed = _fmix32(hashes[edges[first] : edges[last]])
        runs = edges[first:last] - edges[first]
        for k in range(count):
            out[first:last, k] = np.minimum.reduceat(mixed * a[k] + b[k], runs)
        first = last
    return out


def _fmix32(x: np.ndarray) -> np.ndarray:
    """MurmurHash3's 32-bit finaliser, which datasketch applies before its permutations."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def sketches(texts: Sequence[str], count: int = PERMUTATIONS) -> np.ndarray:
    """The low byte of every MinHash value, uint8 [texts, count]."""
    # In parts: while it is made, a sketch takes a hundred times its bytes.
    parts = (texts[i : i + _TEXTS] for i in range(0, len(texts), _TEXTS))
    made = [signatures(part, count).astype(np.uint8) for part in parts]
    return np.concatenate([np.empty((0, count), np.uint8), *made])


def similarity(sketch: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Estimated Jaccard similarity of one sketch with each row of `others`, in [0, 1].

    (m - 1/256) / (1 - 1/256) for the share m of equal bytes; standard error at most
    1 / (2 sqrt(permutations)) = 0.03.
    """
    match = (others == sketch).mean(axis=1)
    return np.maximum((match - 1 / 256) / (1 - 1 / 256), 0.0)


def bands(sketch: np.ndarray) -> Iterator[np.ndarray]:
    """Each band of the sketches as one number, uint64 [rows]."""
    for start in range(0, sketch.shape[1] - BAND_ROWS + 1, BAND_ROWS):
        band = np.zeros(len(sketch), np.uint64)
        for i in range(BAND_ROWS):
            band |= sketch[:, start + i].astype(np.uint64) << np.uint64(8 * i)
        yield band


class SketchIndex:
    """Sketches, uint8 [rows, count], found by their bands; one row stands for each bucket."""

    def __init__(self, sketch: np.ndarray):
        self.sketch = sketch
        self.bands = [np.unique(band, return_index=True) for band in bands(sketch)]

    def best(self, sketch: np.ndarray, threshold: float) -> list[tuple[int, float] | None]:
        """For each row (indexed row, similarity) of the most similar at `threshold`, or None."""
        near: dict[int, set[int]] = {}
        for band, (known, first) in zip(bands(sketch), self.bands):
            if not len(known):
                break
            at = np.minimum(np.searchsorted(known, band), len(known) - 1)
            for i in np.flatnonzero(known[at] == band):
                near.setdefault(int(i), set()).add(int(first[at[i]]))
        found: list[tuple[int, float] | None] = [None] * len(sketch)
        for i, others in near.items():
            rows = np.array(sorted(others))
            scores = similarity(sketch[i], self.sketch[rows])
            top = int(scores.argmax())
            if scores[top] >= threshold:
                found[i] = (int(rows[top]), float(scores[top]))
        return found


def first_of_each(keys: np.ndarray, order: np.ndarray) -> np.ndarray:
    """For each row of `order`, which sorts the keys, the first row that has its key."""
    ordered = keys[order]
    head = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return np.repeat(order[head], np.diff(np.append(head, len(order))))


def _candidates(keys: np.ndarray, sketch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (row, first row of its bucket) over all bands; a bucket holds one key's rows only."""
    left, right = [], []
    salted = mix64(keys)
    for band in bands(sketch):
        bucket = mix64(band ^ salted)
        order = np.argsort(bucket, kind="stable")
        first = first_of_each(bucket, order)
        pairs = first != order
        left.append(order[pairs])
        right.append(first[pairs])
    return np.concatenate(left), np.concatenate(right)


def clusters(
    keys: np.ndarray, sketch: np.ndarray, rank: np.ndarray, threshold: float
) -> np.ndarray:
    """For each row the index of its survivor; a survivor points to itself. int64 [rows].

    `keys` uint64: rows of different keys are never duplicates. `sketch` uint8 [rows, count].
    `rank`: the smallest survives. Bands give candidates, connected components gather them; within
    a component rows are taken by rank, and one joins the first survivor so far that it is similar
    to at `threshold`, else it survives. So every duplicate is like its survivor.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    owner = np.arange(len(keys))
    if len(keys) < 2:
        return owner
    left, right = _candidates(keys, sketch)
    ones = np.ones(len(left), bool)
    graph = coo_array((ones, (left, right)), shape=(len(keys), len(keys)))
    _, component = connected_components(graph, directed=False)
    shared = np.flatnonzero(np.bincount(component)[component] > 1)
    order = shared[np.lexsort((rank[shared], component[shared]))]
    heads = np.flatnonzero(np.diff(component[order], prepend=-1))
    for members in np.split(order, heads[1:]):
        assign_survivors(
            members, lambda one, rest: similarity(sketch[one], sketch[rest]) >= threshold, owner
        )
    return owner
