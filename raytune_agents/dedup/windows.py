"""Texts that share most of their words in order: aligned windows of ten with few differences.

Words are 32-bit hashes, runs of a few words 64-bit ones, and a batch is looked up at once, so an
index of many texts is a handful of arrays that all workers on a machine share.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from raytune_agents.dedup.minhash import mix64
from raytune_agents.filters.grounding import split_words

WINDOW = 10  # words
DIRTY = 0.8  # share of the indexed text's words
_HITS = 1 << 21  # matches of runs held at a time
_ROWS = 1 << 14  # texts looked up at a time; with 24 bits of text and 26 of shift they fill 64
_MIDDLE = 1 << 25


def word_ids(text: str) -> np.ndarray:
    """CRC-32 of every word, int64 [words]."""
    encoded = (w.encode("utf-8", "surrogatepass") for w in split_words(text))
    return np.array([zlib.crc32(w) for w in encoded], np.int64)


def fuzzy_share(
    query: np.ndarray, other: np.ndarray, shifts: Sequence[int], mismatches: int
) -> float:
    """Share of `asked` (word ids) in windows that agree with `said` moved by one of `shifts`.

    A window is WINDOW words of which at most `mismatches` differ; several shifts, because a word
    put in or left out moves the rest. 0 where the shifts cannot cover more than DIRTY.
    """
    spans = [(max(0, -s), min(len(query), len(other) - s), s) for s in shifts]
    spans = [(low, high, s) for low, high, s in spans if high - low >= WINDOW]
    if sum(high - low for low, high, _ in spans) <= DIRTY * len(query):
        return 0.0
    equal = [query[low:high] == other[low + s : high + s] for low, high, s in spans]
    # c covered words, at least WINDOW, hold at most mismatches * ceil(c / WINDOW) wrong ones
    if sum(map(np.count_nonzero, equal)) < DIRTY * len(query) * (1 - 0.19 * mismatches):
        return 0.0
    edges = np.zeros(len(query) + 1, np.int64)  # +1 where a good window starts, -1 behind its end
    for (low, _, _), matches in zip(spans, equal):
        same = np.concatenate([[0], np.cumsum(matches)])
        good = low + np.flatnonzero(same[WINDOW:] - same[:-WINDOW] >= WINDOW - mismatches)
        np.add.at(edges, good, 1)
        np.add.at(edges, good + WINDOW, -1)
    return float(np.count_nonzero(np.cumsum(edges[:-1])) / len(query))


class WindowIndex:
    """Texts of at least WINDOW words, found by the runs of equal words that a good window has."""

    def __init__(self, texts: Sequence[str], mismatches: int):
        self.mismatches = mismatches
        # the longest run of equal words that every good window must have (pigeonhole)
        self.run = -(-(WINDOW - mismatches) // (mismatches + 1))
        # and how many such runs it has at least
        self.seeds = max(1, WINDOW - self.run * (mismatches + 1) + 1)
        ids = [word_ids(t) for t in texts]
        self.sizes = np.array([len(i) for i in ids], np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)])
        self.words = np.concatenate([*ids, np.empty(0, np.int64)]).astype(np.uint32)
        number, at, key = self._runs(ids)
        order = np.argsort(key, kind="stable")
        self.keys, self.number = key[order], number[order].astype(np.int32)
        self.at = at[order].astype(np.int32)

    def _runs(self, ids: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(text, position, key) of every run of `run` words in the texts that are long enough."""
        sizes = np.array([len(i) if len(i) >= WINDOW else 0 for i in ids], np.int64)
        flat = np.concatenate([*(i for i in ids if len(i) >= WINDOW), np.empty(0, np.int64)])
        number = np.repeat(np.arange(len(ids)), sizes)
        at = np.arange(len(flat)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        whole = np.flatnonzero(at + self.run <= np.repeat(sizes, sizes))
        key = np.zeros(len(whole), np.uint64)
        for i in range(self.run):
            key = mix64(key ^ flat[whole + i].astype(np.uint64)) + np.uint64(i)
        return number[whole], at[whole], key

    def best(self, texts: Sequence[str]) -> list[tuple[int, float] | None]:
        """For each text (indexed text, share) of the one it covers most, above DIRTY, or None."""
        found: list[tuple[int, float] | None] = []
        for first in range(0, len(texts), _ROWS):
            ids = [word_ids(t) for t in texts[first : first + _ROWS]]
            best: dict[int, tuple[int, float]] = {}
            for row, number, shifts in self._candidates(ids):
                share = fuzzy_share(self._text(number), ids[row], shifts, self.mismatches)
                if share > max(DIRTY, best.get(row, (0, 0.0))[1]):
                    best[row] = (number, share)
            found += [best.get(row) for row in range(len(ids))]
        return found

    def _text(self, number: int) -> np.ndarray:
        return self.words[self.starts[number] : self.starts[number + 1]].astype(np.int64)

    def _candidates(self, ids: Sequence[np.ndarray]) -> Iterator[tuple[int, int, list[int]]]:
        """(row, indexed text, shifts) wherever the runs in common could cover enough of it."""
        row, at, key = self._runs(ids)
        low = np.searchsorted(self.keys, key, "left")
        count = np.searchsorted(self.keys, key, "right") - low
        hits = np.concatenate([[0], np.cumsum(count)])
        begin = 0
        while begin < len(key):
            end = max(begin + 1, int(np.searchsorted(hits, hits[begin] + _HITS, "right")) - 1)
            if end < len(key):  # a row's runs stay together
                end = max(int(np.searchsorted(row, row[end], "left")), begin)
                end = end if end > begin else int(np.searchsorted(row, row[begin], "right"))
            part = slice(begin, end)
            yield from self._aligned(row[part], at[part], low[part], count[part])
            begin = end

    def _aligned(
        self, row: np.ndarray, at: np.ndarray, low: np.ndarray, count: np.ndarray
    ) -> Iterator[tuple[int, int, list[int]]]:
        total = int(count.sum())
        inside = np.arange(total) - np.repeat(np.cumsum(count) - count, count)
        hit = np.repeat(low, count) + inside
        shift = np.repeat(at, count) - self.at[hit] + _MIDDLE
        packed = (
            (np.repeat(row, count).astype(np.uint64) << np.uint64(50))
            | (self.number[hit].astype(np.uint64) << np.uint64(26))
            | shift.astype(np.uint64)
        )
        packed, seeds = np.unique(packed, return_counts=True)
        good = seeds >= self.seeds
        packed, seeds = packed[good], seeds[good]
        if not len(packed):
            return
        pair = packed >> np.uint64(26)
        head = np.flatnonzero(np.append(True, pair[1:] != pair[:-1]))
        number = (pair[head] & np.uint64((1 << 24) - 1)).astype(np.int64)
        # c covered words hold at least c / (2 * WINDOW - 1) windows that are disjoint
        windows = np.ceil(DIRTY * self.sizes[number] / (2 * WINDOW - 1))
        enough = np.add.reduceat(seeds, head) >= self.seeds * windows
        shifts = (packed & np.uint64((1 << 26) - 1)).astype(np.int64) - _MIDDLE
        tails = np.append(head[1:], len(packed))
        rows = (pair[head] >> np.uint64(24)).astype(np.int64)
        for i in np.flatnonzero(enough):
            yield int(rows[i]), int(number[i]), shifts[head[i] : tails[i]].tolist()
