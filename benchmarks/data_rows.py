"""Rows like xLAM's in any number, with near duplicates and leaks planted among them.

A row joins two real rows: both requests, both calls, the called tools and one more of each. Values
that stand in a request and in its call are replaced in both by random text of the same shape, so
every row is new, right and grounded. Then a share of near duplicates (same calls, the request
edited) and of leaks (an evaluation request, edited) is planted and everything is shuffled. The
rows carry nothing that tells planted ones apart; `truth.json` does.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_agents.config import LabelConfig
from raytune_agents.filters import label
from raytune_agents.readers import read_row

JOINERS = (" Also, ", " In addition, ", " After that, ", " And then: ", " One more thing. ")
MAX_QUERY, MAX_TOOLS = 320, 2000  # characters; keeps a joined row at the size of xLAM's
OPENERS = ("Hello, ", "Hi there! ", "Quick question: ", "Please help: ")
CLOSERS = (" Thank you.", " Thanks!", " That is all", " please")
SYNONYMS = {"find": "look up", "get": "fetch", "please": "kindly", "provide": "give",
            "retrieve": "fetch", "also": "too", "need": "want", "details": "particulars",
            "information": "info", "create": "make", "calculate": "work out"}  # fmt: skip


@dataclass(frozen=True)
class Seed:
    """A real row, its request cut into fixed text and places for values."""

    parts: tuple[str, ...]  # fixed text at even places, a value at odd ones
    answers: str
    tools: tuple[dict[str, Any], ...]


@dataclass
class Made:
    parts: list[str]
    answers: list[dict[str, Any]]
    tools: list[dict[str, Any]]

    def line(self, number: int) -> str:
        row = {"id": number, "query": "".join(self.parts), "answers": json.dumps(self.answers),
               "tools": json.dumps(self.tools)}  # fmt: skip
        return json.dumps(row)


def _free_values(raw: dict[str, Any]) -> list[str]:
    """Values of the calls that stand once in the request and that no schema fixes."""
    properties = {
        t["name"]: t["parameters"].get("properties", {}) for t in json.loads(raw["tools"])
    }
    found = []
    for call in json.loads(raw["answers"]):
        for name, value in call["arguments"].items():
            schema = properties.get(call["name"], {}).get(name, {})
            text = str(value)
            free = isinstance(value, str) and not {"enum", "default", "pattern"} & schema.keys()
            alone = raw["query"].count(text) == 1 and raw["answers"].count(text) == 1
            if free and alone and len(text) > 3 and text.isascii() and text not in raw["tools"]:
                found.append(text)
    return sorted(set(found), key=raw["query"].index)


def seed_of(raw: dict[str, Any]) -> Seed | None:
    """A seed, or None where nothing in the row can be varied or a rule rejects it."""
    values, query = _free_values(raw), raw["query"]
    places = [(query.index(v), query.index(v) + len(v)) for v in values]
    apart = all(a[1] <= b[0] for a, b in zip(places, places[1:]))  # noqa: RUF007
    if sum(map(len, values)) < 6 or not apart or len(query) > MAX_QUERY:
        return None
    (row,) = read_row(raw, "seed:0", "xlam")
    if label(row, LabelConfig()).reject_reason:
        return None
    edges = [0, *(e for place in places for e in place), len(query)]
    parts = tuple(query[a:b] for a, b in zip(edges, edges[1:]))  # noqa: RUF007
    called = {c.name for c in row.calls}
    tools = json.loads(raw["tools"])
    others = [t for t in tools if t["name"] not in called][:1]
    kept = [t for t in tools if t["name"] in called] + others
    return Seed(parts, raw["answers"], tuple(kept)) if len(json.dumps(kept)) <= MAX_TOOLS else None


def seeds(folder: Path, *names: str) -> list[Seed]:
    """Seeds of prepared files (xLAM, Seal-Tools and SNIPS rows)."""
    out = []
    for name in names:
        with gzip.open(folder / name, "rt", encoding="utf-8") as lines:
            out += [s for s in (seed_of(json.loads(line)) for line in lines) if s]
    return out


def varied(value: str, rng: random.Random) -> str:
    """Random text of the same shape: digits for digits, letters for letters of the same case."""
    classes = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
    return "".join(next((rng.choice(c) for c in classes if x in c), x) for x in value)


def make(pair: list[Seed], rng: random.Random) -> Made:
    """One row out of two seeds, all free values drawn anew."""
    parts, answers, tools = [], [], {}
    for seed in pair:
        text, said = seed.answers, list(seed.parts)
        for i in range(1, len(said), 2):
            fresh = varied(said[i], rng)
            text = text.replace(json.dumps(said[i])[1:-1], json.dumps(fresh)[1:-1])
            said[i] = fresh
        parts += [*said, ""] if len(said) % 2 else said
        answers += json.loads(text)
        tools |= {t["name"]: t for t in seed.tools}
    middle = len(pair[0].parts)
    parts[middle] = rng.choice(JOINERS)
    return Made(parts, answers, list(tools.values()))


def _typo(text: str, rng: random.Random) -> str:
    words = [m.span() for m in re.finditer(r"[a-z]{5,}", text)]
    if not words:
        return text
    start, end = rng.choice(words)
    at = rng.randrange(start, end - 1)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _synonym(text: str, rng: random.Random) -> str:
    known = [m for m in re.finditer(r"[A-Za-z]+", text) if m[0].lower() in SYNONYMS]
    if not known:
        return text
    match = rng.choice(known)
    return text[: match.start()] + SYNONYMS[match[0].lower()] + text[match.end() :]


def edited(row: Made, rng: random.Random) -> Made:
    """The same calls, the request edited once or twice outside of its values."""
    parts = list(row.parts)
    for _ in range(rng.choice((1, 2, 3))):
        at = rng.randrange(0, len(parts), 2)
        kind = rng.randrange(9)
        if kind < 3:
            parts[at] = _typo(parts[at], rng)
        elif kind < 5:
            parts[at] = _synonym(parts[at], rng)
        elif kind == 5:
            parts[0] = rng.choice(OPENERS) + parts[0]
        elif kind < 8:
            parts[-1] += rng.choice(CLOSERS)
        else:
            parts[at] = parts[at].lower()
    if parts == row.parts:
        parts[-1] += " "
    return Made(parts, row.answers, row.tools)


def rows(
    train: list[Seed], held: list[Made], count: int, near: float, leaks: float, seed: int
) -> Iterator[tuple[Made, str]]:
    """`count` rows, each with its kind: "", "near:N" (a copy of the Nth row made) or "leak".

    Copies follow their original at a random distance.
    """
    rng = random.Random(seed)
    waiting: list[tuple[int, Made, str]] = []
    for number in range(count):
        due = [w for w in waiting if w[0] <= number]
        if due:
            waiting.remove(due[0])
            yield due[0][1:]
            continue
        if rng.random() < leaks / (1 - near):
            yield edited(rng.choice(held), rng), "leak"
            continue
        row = make(rng.sample(train, 2), rng)
        yield row, ""
        if rng.random() < near / (1 - near - leaks):
            at = number + 1 + int(rng.expovariate(1 / 200))
            waiting.append((at, edited(row, rng), f"near:{number}"))


def write(
    folder: Path, data: Path, count: int, near: float, leaks: float, per_file: int = 20_000
) -> None:
    """rows-*.jsonl, held-out eval.jsonl and truth.json ([[number, kind], ...]) under `folder`."""
    train = seeds(data, "train.jsonl.gz")
    rng = random.Random(23)
    others = seeds(data, "val.jsonl.gz", "test_seen.jsonl.gz", "test_unseen_tools.jsonl.gz")
    held = [make(rng.sample(others, 2), rng) for _ in range(1000)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "eval.jsonl").write_text("".join(r.line(i) + "\n" for i, r in enumerate(held)))
    truth, out = [], None
    for number, (row, kind) in enumerate(rows(train, held, count, near, leaks, seed=17)):
        if number % per_file == 0:
            if out:
                out.close()
            out = (folder / f"rows-{number // per_file:04d}.jsonl").open("w")
        out.write(row.line(number) + "\n")
        if kind:
            truth.append([number, kind])
    out.close()
    (folder / "truth.json").write_text(json.dumps(truth))
