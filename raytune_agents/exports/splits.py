"""Which rows go to the train and the validation file. Pure: rows in, rows out, the seed repeats it.

Rows of one family (a row and what was made from it) stay on one side. Test rows go nowhere. What is
chosen are `slim` rows; `chosen` finds the whole ones again in a second pass, so that no more than
their names and labels is held.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from raytune_agents.records import Trajectory, content_hash

AGENT_FLAN = {"tflan": 200, "react": 300, "negative": 100}  # rows per agent at scale 1
AGENT_FLAN_VAL = 0.2  # 480 train + 120 val


@dataclass
class Parts:
    """Rows by file stem, and what was left out and why."""

    files: dict[str, list[Trajectory]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    missing: dict[str, int] = field(default_factory=dict)  # "qa.react" -> rows that were not there


def slim(row: Trajectory) -> Trajectory:
    """The row without its turns, tools and meta."""
    return replace(row, messages=(), tools=(), gold="", meta={})


def chosen(
    rows: Iterable[Trajectory], files: dict[str, list[Trajectory]]
) -> Iterator[tuple[str, int, Trajectory]]:
    """(file, place in it, row) for every row that `files` name, in the order of `rows`."""
    places: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for stem, members in files.items():
        for position, row in enumerate(members):
            places[row.id].append((stem, position))
    for row in rows:
        if not row.reject_reason and places.get(row.id):
            yield *places[row.id].pop(), row


def by_hash(rows: Iterable[Trajectory], seed: int) -> list[Trajectory]:
    """The rows in an order that depends on their ids and the seed alone."""
    return sorted(rows, key=lambda r: content_hash([seed, r.id]))


def source_family(row: Trajectory, by_id: dict[str, Trajectory]) -> str:
    """The id of the first ancestor that is among the rows."""
    seen = {row.id}
    while row.parents and row.parents[0] in by_id and row.parents[0] not in seen:
        row = by_id[row.parents[0]]
        seen.add(row.id)
    return row.id


def exportable(rows: Iterable[Trajectory], left_out: Counter[str]) -> list[Trajectory]:
    """The rows that may be exported; the others are counted by reason."""
    kept = []
    for row in rows:
        if row.reject_reason:
            left_out[row.reject_reason.partition(":")[0]] += 1
        elif row.split.startswith("test"):
            left_out["test row"] += 1
        else:
            kept.append(row)
    return kept


def cut_val(
    rows: list[Trajectory], n_val: int, seed: int
) -> tuple[list[Trajectory], list[Trajectory]]:
    """(train, val) with `n_val` val rows, fewer where whole families do not add up to it.

    Rows marked val are val and count first.
    """
    by_id = {r.id: r for r in rows}
    families: dict[str, list[Trajectory]] = defaultdict(list)
    for row in by_hash(rows, seed):
        families[source_family(row, by_id)].append(row)
    val: list[Trajectory] = []
    train: list[Trajectory] = []
    marked = sorted(families.values(), key=lambda f: not any(r.split == "val" for r in f))
    for group in marked:
        forced = any(r.split == "val" for r in group)
        (val if forced or len(val) + len(group) <= n_val else train).extend(group)
    return train, val


def plain(rows: Iterable[Trajectory], val_share: float, seed: int) -> Parts:
    """Files train and val: rows marked val, or `val_share` of all where no row is marked."""
    parts = Parts()
    kept = exportable(rows, parts.left_out)
    marked = sum(r.split == "val" for r in kept)
    train, val = cut_val(kept, marked or round(val_share * len(kept)), seed)
    parts.files = {"train": train, "val": val}
    return parts


def kind(row: Trajectory) -> str:
    """What a row is in the preset: tflan, react, negative, or "" for none of them."""
    first, _, second = row.pool.partition(".")
    if first == "negative":
        return "negative"
    return {"tflan": "tflan", "react": "react", "dependent": "react"}.get(second.split(".")[0], "")


def agent_flan(rows: Iterable[Trajectory], scale: float, seed: int) -> Parts:
    """Files AGENT_train and AGENT_val for every agent: 200 T-FLAN, 300 ReAct, 100 negative rows an
    agent at scale 1, cut 480 / 120. Where rows are missing, `missing` says how many of what."""
    parts = Parts()
    pools: dict[tuple[str, str], list[Trajectory]] = defaultdict(list)
    for row in exportable(rows, parts.left_out):
        where, _, agent = row.source.partition("/")
        if where == "agent" and kind(row):
            pools[agent, kind(row)].append(row)
        else:
            parts.left_out["not of an agent's three kinds"] += 1
    for agent in sorted({a for a, _ in pools}):
        taken: list[Trajectory] = []
        for name, count in AGENT_FLAN.items():
            wanted = max(1, round(count * scale))
            found = by_hash(pools[agent, name], seed)
            taken += found[:wanted]
            parts.left_out["more than the preset takes"] += len(found[wanted:])
            if len(found) < wanted:
                parts.missing[f"{agent}.{name}"] = wanted - len(found)
        train, val = cut_val(taken, round(AGENT_FLAN_VAL * len(taken)), seed)
        parts.files |= {f"{agent}_train": train, f"{agent}_val": val}
    parts.left_out = +parts.left_out
    return parts
