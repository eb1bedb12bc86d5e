"""Does a training row show an evaluation row? Five signs, the surest first.

`query`   the same question, letters and digits only.
`ngram`   more than 80 % of the evaluation question's words lie in aligned windows of ten words with
          at most `leak_mismatches` different ones (AgentTuning, 2310.12823, appendix; Llama 2).
`minhash` 5-gram Jaccard similarity of the questions, estimated, of at least `minhash_threshold`.
`answer`  a renamed copy: the same argument values for tools of the same shape, names masked; at
          least two values that are 16 characters together.
`tool`    test_unseen only: the row calls a tool that is an unseen tool under another name, by its
          description and parameters with all names masked (at least 40 characters of description).

Questions of fewer than ten words are compared whole (`query`, `minhash`): in short requests of one
template the few words that differ are the whole point.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from raytune_agents.config import LabelSection
from raytune_agents.dedup.minhash import BAND_ROWS, similarity, sketches
from raytune_agents.dedup.text import plain, question
from raytune_agents.filters.grounding import leaves, words
from raytune_agents.records import ToolSpec, Trajectory, content_hash

WINDOW = 10  # words
DIRTY = 0.8  # share of the evaluation question's words
MIN_VALUES, MIN_VALUE_CHARS = 2, 16
MIN_DESCRIPTION = 40


@dataclass(frozen=True, slots=True)
class Leak:
    """Training row `row` shows evaluation row `of` of `split`, by the sign `how`, so much."""

    row: str
    of: str
    split: str
    how: str
    share: float = 1.0

    def mark(self, row: Trajectory) -> Trajectory:
        """The row with its reason, and this in `meta["leak"]`."""
        leak = {"of": self.of, "how": self.how, "share": round(self.share, 3)}
        return replace(
            row, reject_reason=f"contaminated:{self.split}", meta=row.meta | {"leak": leak}
        )


_MARKS = re.compile(r"[\W_]+")


def compact(text: str) -> str:
    """Letters and digits only."""
    return _MARKS.sub("", text)


@lru_cache(maxsize=16_384)
def _parameters(schema: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    """(name, schema) of every top parameter; () where the text is no object schema."""
    try:
        properties = json.loads(schema).get("properties") or {}
    except (ValueError, AttributeError):
        return ()
    return tuple((k, v if isinstance(v, dict) else {}) for k, v in properties.items())


@lru_cache(maxsize=16_384)
def shape_of(tool: ToolSpec) -> tuple[str, ...]:
    """Types and enums of the parameters, names masked, in a fixed order."""
    parameters = _parameters(tool.parameters)
    return tuple(sorted(json.dumps([p.get("type"), p.get("enum")]) for _, p in parameters))


@lru_cache(maxsize=16_384)
def masked(tool: ToolSpec) -> tuple[str, ...]:
    """Keys of a tool without its names: descriptions as they stand, and with the names masked.

    A renamed copy has one of them in common, whether or not its descriptions were rewritten. ()
    where too little is said.
    """
    parameters = _parameters(tool.parameters)
    names = {tool.name.casefold(), *(name.casefold() for name, _ in parameters)}

    def key(hidden: set[str]) -> str:
        texts = [tool.description, *(p.get("description", "") for _, p in parameters)]
        found = [re.findall(r"\w+", str(t).casefold()) for t in texts]
        said = [" ".join("_" if w in hidden else w for w in text) for text in found]
        kinds = [str(p.get("type")) for _, p in parameters]
        return content_hash([said[0], sorted(zip(kinds, said[1:])), shape_of(tool)])

    said = tool.description + "".join(str(p.get("description", "")) for _, p in parameters)
    return (key(set()), key(names)) if parameters and len(said) >= MIN_DESCRIPTION else ()


def answer_key(row: Trajectory) -> str:
    """Key of the calls, all names masked: tool shapes and values; "" where too little is said."""
    tools = {t.name: t for t in row.tools}
    shown, size, count = [], 0, 0
    for call in row.calls:
        try:
            said = sorted(str(plain(v)) for _, v in leaves(call.args))
        except ValueError:
            return ""
        count, size = count + len(said), size + sum(map(len, said))
        shown.append([shape_of(tools[call.name]) if call.name in tools else [], said])
    enough = count >= MIN_VALUES and size >= MIN_VALUE_CHARS
    return content_hash(sorted(shown, key=str)) if enough else ""


def fuzzy_share(
    asked: np.ndarray, said: np.ndarray, shifts: Sequence[int], mismatches: int
) -> float:
    """Share of `asked` (word ids) in windows that agree with `said` moved by one of `shifts`.

    A window is WINDOW words of which at most `mismatches` differ; several shifts, because a word
    put in or left out moves the rest. 0 where the shifts cannot cover more than DIRTY.
    """
    spans = [(max(0, -s), min(len(asked), len(said) - s), s) for s in shifts]
    spans = [(low, high, s) for low, high, s in spans if high - low >= WINDOW]
    if sum(high - low for low, high, _ in spans) <= DIRTY * len(asked):
        return 0.0
    equal = [asked[low:high] == said[low + s : high + s] for low, high, s in spans]
    # c covered words, at least WINDOW, hold at most mismatches * ceil(c / WINDOW) wrong ones
    if sum(map(np.count_nonzero, equal)) < DIRTY * len(asked) * (1 - 0.19 * mismatches):
        return 0.0
    edges = np.zeros(len(asked) + 1, np.int64)  # +1 where a good window starts, -1 behind its end
    for (low, _, _), matches in zip(spans, equal):
        same = np.concatenate([[0], np.cumsum(matches)])
        good = low + np.flatnonzero(same[WINDOW:] - same[:-WINDOW] >= WINDOW - mismatches)
        np.add.at(edges, good, 1)
        np.add.at(edges, good + WINDOW, -1)
    return float(np.count_nonzero(np.cumsum(edges[:-1])) / len(asked))


class LeakIndex:
    """Evaluation rows, ready to be looked up; small enough to be sent to every worker."""

    def __init__(self, rows: Iterable[Trajectory], section: LabelSection):
        self.threshold, self.mismatches = section.minhash_threshold, section.leak_mismatches
        # the longest run of equal words that every good window must have (pigeonhole)
        self.seed_words = -(-(WINDOW - self.mismatches) // (self.mismatches + 1))
        # and how many such runs it has at least
        self.seeds = max(1, WINDOW - self.seed_words * (self.mismatches + 1) + 1)
        self.names: list[tuple[str, str]] = []
        self.words: dict[str, int] = {}
        self.asked: list[np.ndarray] = []
        self.runs: dict[tuple, list[tuple[int, int]]] = defaultdict(list)
        self.keys: dict[tuple[str, str], int] = {}
        questions: dict[str, int] = {}
        for row in rows:
            number = len(self.names)
            self.names.append((row.id, row.split or row.source))
            self._add_keys(row, number)
            text = question(row)
            if text and questions.setdefault(text, number) == number:
                self._add_words(text, number)
        self.numbers = np.array(list(questions.values()), np.int64)
        self.sketch = sketches(list(questions))
        self.bands = [self._band(b, self.sketch) for b in self._starts()]
        self.tables = [dict(zip(band, range(len(band)))) for band in self.bands]

    def _add_keys(self, row: Trajectory, number: int) -> None:
        self.keys.setdefault(("query", compact(question(row))), number)
        self.keys.setdefault(("answer", answer_key(row)), number)
        if row.split == "test_unseen":
            called = {c.name for c in row.calls}
            for tool in row.tools:
                for key in masked(tool) if tool.name in called else ():
                    self.keys.setdefault(("tool", key), number)

    def _add_words(self, text: str, number: int) -> None:
        ids = np.array([self.words.setdefault(w, len(self.words)) for w in words(text)], np.int64)
        if len(ids) >= WINDOW:
            for at, run in enumerate(zip(*(ids.tolist()[i:] for i in range(self.seed_words)))):
                self.runs[run].append((number, at))
        self.asked.extend([np.empty(0, np.int64)] * (number - len(self.asked)))
        self.asked.append(ids)

    def _starts(self) -> range:
        return range(0, self.sketch.shape[1] - BAND_ROWS + 1, BAND_ROWS)

    @staticmethod
    def _band(start: int, sketch: np.ndarray) -> list[bytes]:
        block = np.ascontiguousarray(sketch[:, start : start + BAND_ROWS])
        return block.view(f"S{BAND_ROWS}")[:, 0].tolist() if len(block) else []

    def find(self, rows: Sequence[Trajectory]) -> list[Leak | None]:
        """For each row its first sign of a leak, or None; rejected rows are not looked at."""
        asked = [question(r) for r in rows]
        found = [None if r.reject_reason else self._by_key(r, q) for r, q in zip(rows, asked)]
        open_rows = [i for i, r in enumerate(rows) if not found[i] and not r.reject_reason]
        near = self._by_sketch([asked[i] for i in open_rows])
        for i, hit in zip(open_rows, near):
            fuzzy = self._by_words(asked[i])
            number, share = fuzzy or hit or (None, 0.0)
            if number is not None:
                found[i] = self._leak(rows[i], number, "ngram" if fuzzy else "minhash", share)
        return found

    def _leak(self, row: Trajectory, number: int, how: str, share: float = 1.0) -> Leak:
        return Leak(row.id, *self.names[number], how, share)

    def _by_key(self, row: Trajectory, asked: str) -> Leak | None:
        text, answer = compact(asked), answer_key(row)
        called = {c.name for c in row.calls}
        tools = (key for t in row.tools if t.name in called for key in masked(t))
        for how, key in (("query", text), ("answer", answer), *(("tool", t) for t in tools)):
            if key and (how, key) in self.keys:
                return self._leak(row, self.keys[how, key], how)
        return None

    def _by_words(self, asked: str) -> tuple[int, float] | None:
        """(evaluation row, share) of the best aligned one above DIRTY, or None."""
        ids = np.array([self.words.get(w, -1) for w in words(asked)], np.int64)
        if len(ids) < WINDOW:
            return None
        seeds: Counter[tuple[int, int]] = Counter()
        for at, run in enumerate(zip(*(ids.tolist()[i:] for i in range(self.seed_words)))):
            seeds.update((number, at - begin) for number, begin in self.runs.get(run, ()))
        shifts: dict[int, list[int]] = defaultdict(list)
        for (number, shift), count in seeds.items():
            if count >= self.seeds:
                shifts[number].append(shift)
        best = (-1, DIRTY)
        for number, found in shifts.items():
            share = fuzzy_share(self.asked[number], ids, found, self.mismatches)
            best = max(best, (number, share), key=lambda x: x[1])
        return best if best[0] >= 0 else None

    def _by_sketch(self, asked: Sequence[str]) -> list[tuple[int, float] | None]:
        """For each question the most similar evaluation question at the threshold, or None."""
        sketch = sketches(asked)
        near: list[set[int]] = [set() for _ in asked]
        for start, table in zip(self._starts(), self.tables):
            for i, band in enumerate(self._band(start, sketch)):
                if band in table:
                    near[i].add(table[band])
        found: list[tuple[int, float] | None] = []
        for i, others in enumerate(near):
            at = np.array(sorted(others), np.int64)
            scores = similarity(sketch[i], self.sketch[at]) if len(at) else np.zeros(1)
            best = int(scores.argmax())
            good = len(at) > 0 and asked[i] and scores[best] >= self.threshold
            found.append((int(self.numbers[at[best]]), float(scores[best])) if good else None)
        return found
