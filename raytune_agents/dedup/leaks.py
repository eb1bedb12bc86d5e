"""Does a training row show an evaluation row? Five signs, the surest first.

`query`   the same question, letters and digits only; of a conversation also in any one turn.
`ngram`   more than 80 % of the evaluation question's words lie in aligned windows of ten words with
          at most `leak_mismatches` different ones (AgentTuning, 2310.12823, appendix; Llama 2).
`minhash` 5-gram Jaccard similarity of the questions, estimated, of at least `minhash_threshold`.
`answer`  a renamed copy: the same argument values for tools of the same shape, names masked; at
          least two values that are 16 characters together. Not where the row lists the evaluation
          row's own tool beside the one that it calls: orders are shown, and cancelled, by their id.
`tool`    test_unseen only: the row calls a tool that is an unseen tool under another name, by its
          description and parameters with all names masked (at least 40 characters of description).

Questions of fewer than ten words are compared whole (`query`, `minhash`): in short requests of one
template the few words that differ are the whole point.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from raytune_agents.calls.schema import properties_of
from raytune_agents.config import LabelConfig
from raytune_agents.dedup.minhash import SketchIndex, sketches
from raytune_agents.dedup.text import comparable, folded, request_text
from raytune_agents.dedup.windows import WindowIndex
from raytune_agents.filters.grounding import unaccented
from raytune_agents.records import JsonSchema, ToolSpec, Trajectory, content_hash, scalars_in

SIGNS = ("query", "answer", "tool", "ngram", "minhash")  # the surest first
MIN_VALUES, MIN_VALUE_CHARS = 2, 16
MIN_DESCRIPTION = 40
MIN_TURN_CHARS = 12  # letters and digits of one turn among several; less is "yes" and "thank you"


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
        reason = f"contaminated:{self.split}"
        return replace(row, reject_reason=reason, meta=row.meta | {"leak": leak})


_MARKS = re.compile(r"[\W_]+")


def compact(text: str) -> str:
    """Letters and digits only, without accents."""
    return _MARKS.sub("", unaccented(text))


def _parameters(tool: ToolSpec) -> list[tuple[str, JsonSchema]]:
    """(name, schema) of every top parameter."""
    return [(k, v if isinstance(v, dict) else {}) for k, v in properties_of(tool).items()]


@lru_cache(maxsize=16_384)
def parameter_shape(tool: ToolSpec) -> tuple[str, ...]:
    """Types and enums of the parameters, names masked, in a fixed order."""
    kinds = (json.dumps([p.get("type"), p.get("enum")]) for _, p in _parameters(tool))
    return tuple(sorted(kinds))


@lru_cache(maxsize=16_384)
def masked(tool: ToolSpec) -> tuple[str, ...]:
    """Keys of a tool without its names: descriptions as they stand, and with the names masked.

    A renamed copy has one of them in common, whether or not its descriptions were rewritten. ()
    where too little is said.
    """
    parameters = _parameters(tool)
    names = {tool.name.casefold(), *(name.casefold() for name, _ in parameters)}

    def key(hidden: set[str]) -> str:
        texts = [tool.description, *(p.get("description", "") for _, p in parameters)]
        found = [re.findall(r"\w+", str(t).casefold()) for t in texts]
        masked_texts = [" ".join("_" if w in hidden else w for w in text) for text in found]
        kinds = [str(p.get("type")) for _, p in parameters]
        described = sorted(zip(kinds, masked_texts[1:]))
        return content_hash([masked_texts[0], described, parameter_shape(tool)])

    described = tool.description + "".join(str(p.get("description", "")) for _, p in parameters)
    return (key(set()), key(names)) if parameters and len(described) >= MIN_DESCRIPTION else ()


def answer_key(row: Trajectory) -> str:
    """Key of the calls, all names masked: tool shapes and values; "" where too little is said."""
    tools = {t.name: t for t in row.tools}
    shown, size, count = [], 0, 0
    for call in row.calls:
        try:
            values = sorted(str(comparable(v)) for _, v in scalars_in(call.args))
        except ValueError:
            return ""
        count, size = count + len(values), size + sum(map(len, values))
        shown.append([parameter_shape(tools[call.name]) if call.name in tools else [], values])
    enough = count >= MIN_VALUES and size >= MIN_VALUE_CHARS
    return content_hash(sorted(shown, key=str)) if enough else ""


def surest(found: Iterable[Leak]) -> Leak | None:
    """Of a row's leaks, each from an index of other rows, the one that an index of all of them
    names: the surest sign, then the largest share, then the first."""
    return min(found, key=lambda leak: (SIGNS.index(leak.how), -leak.share), default=None)


class LeakIndex:
    """Evaluation rows, ready to be looked up; arrays for the most part, so workers share it."""

    def __init__(self, rows: Iterable[Trajectory], config: LabelConfig):
        self.threshold = config.minhash_threshold
        self.names: list[tuple[str, str]] = []
        self.keys: dict[tuple[str, str], int] = {}
        self.called: list[frozenset[str]] = []  # the tools that each row calls
        questions: dict[str, int] = {}
        for row in rows:
            number = len(self.names)
            self.names.append((row.id, row.split or row.source))
            self.called.append(frozenset(c.name for c in row.calls))
            self._add_keys(row, number)
            if text := request_text(row):
                questions.setdefault(text, number)
        self.numbers = np.array(list(questions.values()), np.int64)
        self.windows = WindowIndex(list(questions), config.leak_mismatches)
        self.sketches = SketchIndex(sketches(list(questions)))

    def _add_keys(self, row: Trajectory, number: int) -> None:
        self.keys.setdefault(("query", compact(request_text(row))), number)
        answer, names = answer_key(row), " ".join(sorted(self.called[number]))
        self.keys.setdefault(("answer", answer), number)
        self.keys.setdefault(("answer", answer and f"{answer} {names}"), number)
        if row.split == "test_unseen":
            called = {c.name for c in row.calls}
            for tool in row.tools:
                for key in masked(tool) if tool.name in called else ():
                    self.keys.setdefault(("tool", key), number)

    def find(
        self, rows: Sequence[Trajectory], sketch: np.ndarray | None = None
    ) -> list[Leak | None]:
        """For each row its first sign of a leak, or None; rejected rows are not looked at.

        `sketch` uint8 [rows, count]: the sketches of the rows' questions where they are known.
        """
        requests = [request_text(r) for r in rows]
        found = [None if r.reject_reason else self._by_key(r, q) for r, q in zip(rows, requests)]
        open_rows = (i for i, row in enumerate(rows) if not (found[i] or row.reject_reason))
        left = [i for i in open_rows if requests[i]]
        queries = [requests[i] for i in left]
        sketched = sketches(queries) if sketch is None else sketch[left]
        near = self.sketches.best(sketched, self.threshold)
        for i, a, b in zip(left, self.windows.best(queries), near):
            if hit := a or b:
                number, how = int(self.numbers[hit[0]]), "ngram" if a else "minhash"
                found[i] = self._leak(rows[i], number, how, hit[1])
        return found

    def marked(self, rows: Sequence[Trajectory]) -> list[Trajectory]:
        """The rows in order; one that shows a row of the index reads `contaminated:SET`, and
        `meta["leak"]` says which row and how it matched."""
        return [leak.mark(row) if leak else row for row, leak in zip(rows, self.find(rows))]

    def _leak(self, row: Trajectory, number: int, how: str, share: float = 1.0) -> Leak:
        return Leak(row.id, *self.names[number], how, share)

    def _by_key(self, row: Trajectory, request: str) -> Leak | None:
        answer = answer_key(row)
        turns = (compact(folded(m.content)) for m in row.messages if m.role == "user")
        asked = (compact(request), *(t for t in turns if len(t) >= MIN_TURN_CHARS))
        called = {c.name for c in row.calls}
        same = answer and f"{answer} {' '.join(sorted(called))}"
        tools = (key for t in row.tools if t.name in called for key in masked(t))
        answers = (("answer", same), ("answer", answer))
        signs = (*(("query", q) for q in asked), *answers, *(("tool", t) for t in tools))
        listed = {t.name for t in row.tools}
        for how, key in signs:
            number = self.keys.get((how, key)) if key else None
            if number is None or (key == answer and self.called[number] <= listed - called):
                continue
            return self._leak(row, number, how)
        return None
