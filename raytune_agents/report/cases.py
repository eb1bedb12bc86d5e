"""The stored answers as cases: one test row with every arm's answer.

Pure: rows of answers.parquet in, tables out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raytune_agents.calls import parse
from raytune_agents.report.findings import ordered, wilson
from raytune_agents.report.text import finite

NO_CALL = "(no call)"
UNREADABLE = "(unreadable)"
Case = dict[str, Any]


def gold_names(gold: Any) -> list[str]:
    """Names of the gold calls of BFCL text `[{name: {arg: [allowed]}}]`; [] = no call is right."""
    try:
        calls = json.loads(gold) if isinstance(gold, str) else gold
        return [name for call in calls or [] for name in call]
    except (ValueError, TypeError):
        return []


def group(answers: Sequence[Mapping[str, Any]]) -> list[Case]:
    """Answers of all arms -> one case a test row, in the order of splits and rows.

    A case holds split, id, query, gold, tools, names (gold tools) and answers {arm: row}.
    """
    found: dict[tuple[str, str], Case] = {}
    for row in answers:
        split, key = str(row.get("split") or ""), str(row.get("id") or "")
        case = found.setdefault(
            (split, key),
            {
                "split": split,
                "id": key,
                "query": row.get("query") or "",
                "gold": row.get("gold") or "",
                "tools": row.get("tools") or "",
                "names": gold_names(row.get("gold")),
                "answers": {},
            },
        )
        case["answers"][str(row.get("arm") or "")] = row
    rank = {s: i for i, s in enumerate(ordered({s for s, _ in found}))}
    return sorted(found.values(), key=lambda c: rank[c["split"]])


def right(case: Case, arm: str) -> bool | None:
    """Whether the arm's answer is an exact match; None where the arm was not asked."""
    answer = case["answers"].get(arm)
    return None if answer is None else bool(answer["exact_match"])


def change(cases: Sequence[Case], arm: str, split: str) -> dict[str, int]:
    """How many rows of the split the arm fixed and broke against base, and where both agree."""
    pairs = Counter((right(c, "base"), right(c, arm)) for c in cases if c["split"] == split)
    return {
        "fixed": pairs[False, True],
        "broken": pairs[True, False],
        "both_right": pairs[True, True],
        "both_wrong": pairs[False, False],
    }


def examples(cases: Sequence[Case], arm: str, split: str, most: int = 5) -> list[Case]:
    """Cases to read before / after: three that the arm fixed, two it broke, then more of those."""
    kinds: dict[tuple, list[Case]] = {
        (False, True): [],
        (True, False): [],
        (False, False): [],
        (True, True): [],
    }
    for case in cases:
        pair = (right(case, "base"), right(case, arm))
        if case["split"] == split and pair in kinds:
            kinds[pair].append(case)
    fixed, broken = kinds[False, True], kinds[True, False]
    keep = fixed[:3] + broken[:2]
    rest = fixed[3:] + broken[2:] + kinds[False, False] + kinds[True, True]
    chosen = {id(c) for c in (keep + rest)[:most]}
    return [c for kind in kinds.values() for c in kind if id(c) in chosen]


def faults(case: Case) -> list[str]:
    """What is wrong in the answers of any arm, by name."""
    return sorted({name for arm in case["answers"] for name, _ in arm_faults([case], arm)})


def arm_faults(cases: Sequence[Case], arm: str) -> list[tuple[str, int]]:
    """(fault, 1) of every wrong answer of an arm; the checker's error where no fault is named."""
    found = [c["answers"][arm] for c in cases if right(c, arm) is False]
    return [(a["fault"] or a.get("error") or "unnamed", 1) for a in found]


def wrong(cases: Sequence[Case], most: int) -> list[Case]:
    """At most `most` cases that some arm got wrong; kinds (split, faults) are taken in turn."""
    kinds: dict[tuple, list[Case]] = {}
    for case in cases:
        if names := faults(case):
            kinds.setdefault((case["split"], *names), []).append(case)
    turns = sorted(
        ((i, len(kind), n) for n, kind in enumerate(kinds.values()) for i in range(len(kind)))
    )
    lists = list(kinds.values())
    chosen = {id(lists[n][i]) for i, _, n in turns[:most]}
    return [c for c in cases if id(c) in chosen]


def shares(
    cases: Sequence[Case], arms: Sequence[str], key: Callable[[Case], str]
) -> list[dict[str, Any]]:
    """Exact match by a property of the case, over all splits: a line a value, most rows first.

    A line: name, n, and a cell an arm {hits, n, value, low, high} (Wilson interval).
    """
    counts: dict[str, dict[str, list[int]]] = {}
    sizes: Counter[str] = Counter()
    for case in cases:
        name = key(case)
        sizes[name] += 1
        for arm in arms:
            if (hit := right(case, arm)) is not None:
                cell = counts.setdefault(name, {}).setdefault(arm, [0, 0])
                cell[0] += hit
                cell[1] += 1
    lines = []
    for name, n in sorted(sizes.items(), key=lambda kv: (-kv[1], kv[0])):
        cells = {}
        for arm, (hits, asked) in counts.get(name, {}).items():
            low, high = wilson(hits, asked)
            cells[arm] = {"hits": hits, "n": asked, "value": hits / asked, "low": low, "high": high}
        lines.append({"name": name, "n": n, "cells": cells})
    return lines


def tool_of(case: Case) -> str:
    """The first gold tool, or NO_CALL."""
    return case["names"][0] if case["names"] else NO_CALL


def calls_of(case: Case) -> str:
    """How many calls are right: "0 calls" .. "3 calls", "4+ calls"."""
    n = len(case["names"])
    return "4+ calls" if n > 3 else f"{n} call" + ("" if n == 1 else "s")


def category_of(case: Case) -> str:
    """The category or source column of the answers, where the evaluation wrote one; else ''."""
    row = next(iter(case["answers"].values()), {})
    return str(row.get("category") or row.get("source") or "")


def choices(cases: Sequence[Case], arm: str) -> Counter[tuple[str, str]]:
    """How often (gold tool, chosen tool) occurs in one arm's answers; only first calls count."""
    pairs: Counter[tuple[str, str]] = Counter()
    for case in cases:
        if answer := case["answers"].get(arm):
            found = parse(answer["answer"])
            none = UNREADABLE if found.error else NO_CALL
            pairs[tool_of(case), found.calls[0].name if found.calls else none] += 1
    return pairs


def costs(cases: Sequence[Case], arm: str, split: str) -> dict[str, float | None]:
    """Mean output tokens and median latency of one arm's answers on a split."""
    rows = [c["answers"][arm] for c in cases if c["split"] == split and arm in c["answers"]]
    tokens = [v for r in rows if (v := finite(r.get("output_tokens"))) is not None]
    delays = sorted(v for r in rows if (v := finite(r.get("latency_s"))) is not None)
    return {
        "output_tokens": sum(tokens) / len(tokens) if tokens else None,
        "latency_s": delays[len(delays) // 2] if delays else None,
    }
