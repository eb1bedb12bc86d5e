"""What the numbers of a run say: the verdict, comparisons, data and trials as plain tables. Pure: values in, values out.

Nothing is scored again here: scores and differences are read; only counts, shares and orders are made from rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raytune_agents.report.text import DASH, finite, number, seconds

HEADLINE = "exact_match"
SPLIT_ORDER = ("test_unseen", "test_seen", "val")
FAMILIES = ("positive", "synthetic", "negative")
LESS_IS_BETTER = (
    "hallucination",
    "latency",
    "tokens",
    "error",
    "refusal",
    "loop",
    "perplexity",
    "loss",
    "memory",
    "seconds",
    "energy",
    "time",
)
NAMES = {
    "exact_match": "exact match",
    "function_accuracy": "right function",
    "parameter_accuracy": "right arguments",
    "format_adherence": "valid format",
    "hallucination_rate": "hallucinated tool",
}


@dataclass(frozen=True)
class Metric:
    """How a metric is written. `kind`: share (shown in percent), seconds or amount."""

    key: str

    @property
    def kind(self) -> str:
        if "latency" in self.key or self.key.endswith("_s"):
            return "seconds"
        amounts = ("tokens", "perplexity", "loss", "memory", "steps", "energy")
        return "amount" if any(a in self.key for a in amounts) else "share"

    @property
    def name(self) -> str:
        key = self.key.removesuffix("_s") if self.kind == "seconds" else self.key
        return NAMES.get(key, key.replace("_", " "))

    @property
    def up(self) -> bool:
        """Whether more is better."""
        return not any(word in self.key for word in LESS_IS_BETTER)

    def show(self, value: Any) -> str:
        value = finite(value)
        if value is None:
            return DASH
        return {"share": f"{value * 100:.1f} %", "seconds": seconds(value)}.get(
            self.kind, number(value)
        )

    def change(self, value: Any) -> str:
        """A difference with its sign; of shares in percentage points, without the unit."""
        value = finite(value)
        if value is None:
            return DASH
        sign = "+" if value > 0 else "−" if value < 0 else ""
        return sign + self.size(value)

    def size(self, value: float) -> str:
        """How large a difference is, without its sign."""
        value = abs(value)
        return {"share": f"{value * 100:.1f}", "seconds": seconds(value)}.get(
            self.kind, number(value)
        )


def ordered(splits: Iterable[str]) -> list[str]:
    """Splits with the hardest first: unseen tools, seen tools, val, then the others by name."""
    rank = {s: i for i, s in enumerate(SPLIT_ORDER)}
    return sorted(splits, key=lambda s: (rank.get(s, len(rank)), s))


def better(metric: Metric, cell: Mapping[str, Any]) -> str:
    """ "better" or "worse" where the interval of a difference excludes zero, else ""."""
    low, high = finite(cell.get("low")), finite(cell.get("high"))
    if low is None or high is None or low <= 0 <= high:
        return ""
    return "better" if (low > 0) == metric.up else "worse"


# --- the verdict ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """The run in one sentence. `tone`: better, none, worse or unknown; `arm` is the best one or ""."""

    text: str
    tone: str
    arm: str = ""
    split: str = ""
    notes: tuple[str, ...] = ()


def verdict(scores: Mapping, differences: Mapping, confidence: float = 0.95) -> Verdict:
    """Which arm beats the base model in exact match on the hardest split, by how much, and how sure that is."""
    splits = ordered({s for arm in differences.values() for s in arm})
    found = {
        arm: by[splits[0]][HEADLINE]
        for arm, by in differences.items()
        if splits and finite(by.get(splits[0], {}).get(HEADLINE, {}).get("value")) is not None
    }
    if not found:
        return Verdict(
            "There is no verdict yet: no arm has been compared with the base model.", "unknown"
        )
    split, metric = splits[0], Metric(HEADLINE)
    arm = max(found, key=lambda a: found[a]["value"])
    cell, tone = found[arm], better(metric, found[arm])
    sure = f"{confidence * 100:.0f} % interval {metric.change(cell.get('low'))} to {metric.change(cell.get('high'))}"
    size = f"{sure}, n = {number(cell.get('n'))}"
    levels = [
        scores.get(a, {}).get(split, {}).get(HEADLINE, {}).get("value") for a in (arm, "base")
    ]
    values = f"{metric.show(levels[0])} against {metric.show(levels[1])}"
    if tone == "better":
        text = (
            f"{arm} beats the base model on {split} by {metric.size(cell['value'])} points of exact match: "
            f"{values} ({size})."
        )
    elif tone == "worse":
        text = (
            f"No arm beats the base model on {split}: even the best, {arm}, is worse in exact match by "
            f"{metric.size(cell['value'])} points: {values} ({size})."
        )
    else:
        text = (
            f"No arm is shown to beat the base model on {split}: the closest, {arm}, differs by "
            f"{metric.change(cell['value'])} points of exact match: {values} ({size}), "
            "and the interval includes zero."
        )
    return Verdict(text, tone or "none", arm, split, tuple(_notes(split, found, arm, differences)))


def _notes(split: str, found: Mapping, arm: str, differences: Mapping) -> list[str]:
    """What has to be said beside the verdict: regressions of the best arm, other arms, how small a test this is."""
    notes = []
    for other in ordered(differences[arm]):
        lost = [
            f"{Metric(m).name} {Metric(m).change(c.get('value'))}"
            for m, c in differences[arm][other].items()
            if better(Metric(m), c) == "worse" and m != HEADLINE
        ]
        if differences[arm][other].get(HEADLINE) and other != split:
            cell = differences[arm][other][HEADLINE]
            word = {"better": "better", "worse": "worse", "": "not distinguishable"}[
                better(Metric(HEADLINE), cell)
            ]
            notes.append(
                f"On {other}, {arm} is {word} in exact match "
                f"({Metric(HEADLINE).change(cell.get('value'))} points)."
            )
        if lost:
            notes.append(f"{arm} is worse than base on {other} in: {', '.join(lost)}.")
    cell = found[arm]
    low, high, n = (finite(cell.get(k)) for k in ("low", "high", "n"))
    if low is not None and high is not None and n:
        least = 2.8 * (high - low) / (2 * 1.96)
        notes.append(
            f"With {number(n)} paired rows, differences below about {least * 100:.0f} points are likely "
            "to be missed (80 % power)."
        )
    if len(found) > 1:
        notes.append(
            f"{arm} is the best of {len(found)} arms; the intervals are not widened for that choice."
        )
    return notes


# --- data ------------------------------------------------------------------------------------------------


def _count(value: Any) -> int:
    return int(finite(value) or 0)


def funnel(manifests: Mapping[str, Mapping]) -> list[dict[str, Any]]:
    """Rows in, out, rejected and failed of every step, whether they add up, and the reasons."""
    table = []
    for step, manifest in manifests.items():
        rows = manifest.get("rows") or {}
        rejected, failed = (dict(rows.get(k) or {}) for k in ("rejected", "failed"))
        line = {
            "step": step,
            "in": finite(rows.get("in")),
            "out": finite(rows.get("out")),
            "rejected": sum(map(_count, rejected.values())),
            "failed": sum(map(_count, failed.values())),
            "reasons": sorted(
                ((_count(n), r) for part in (rejected, failed) for r, n in part.items()),
                reverse=True,
            ),
            "seconds": finite(manifest.get("seconds")),
        }
        known = line["in"] is not None and line["out"] is not None
        line["lost"] = (
            line["in"] - line["out"] - line["rejected"] - line["failed"] if known else None
        )
        table.append(line)
    return table


def family(pool: str) -> str:
    return pool.split(".", 1)[0]


def pools(groups: Sequence[Mapping], mix: Mapping[str, Mapping]) -> list[dict[str, Any]]:
    """Rows of each pool: all, accepted, in the train split; and its trained tokens in every arm's mix."""
    table: dict[str, dict[str, Any]] = {}
    for g in groups:
        line = table.setdefault(
            g["pool"], {"pool": g["pool"], "rows": 0, "accepted": 0, "train": 0}
        )
        line["rows"] += g["n"]
        line["accepted"] += 0 if g["reject_reason"] else g["n"]
        line["train"] += g["n"] if g["split"] == "train" and not g["reject_reason"] else 0
    rank = {f: i for i, f in enumerate(FAMILIES)}
    return sorted(table.values(), key=lambda p: (rank.get(family(p["pool"]), 9), p["pool"]))


def mixes(mix: Mapping[str, Mapping]) -> list[dict[str, Any]]:
    """Of every arm: trained tokens and epochs by pool, and the pool's share of the tokens."""
    out = []
    for arm, facts in mix.items():
        tokens, epochs = facts.get("tokens") or {}, facts.get("epochs") or {}
        total = sum(_count(n) for n in tokens.values())
        parts = [
            {
                "pool": p,
                "tokens": _count(n),
                "epochs": finite(epochs.get(p)),
                "share": _count(n) / total if total else 0.0,
            }
            for p, n in tokens.items()
        ]
        out.append({"arm": arm, "total": total, "parts": parts})
    return out


def tally(pairs: Iterable[tuple[str, float]], most: int = 14) -> list[tuple[str, float]]:
    """Sums by name, largest first; past `most` names the rest is one line."""
    counts: Counter[str] = Counter()
    for name, n in pairs:
        counts[name] += n
    top = sorted(counts.items(), key=lambda kv: (-kv[1], kv[0]))
    rest = sum(n for _, n in top[most:])
    return top[:most] + ([(f"{len(top) - most} others", rest)] if rest else [])


# --- arms ------------------------------------------------------------------------------------------------


def arms(scores: Mapping, *others: Iterable[str]) -> list[str]:
    """All arms, base first, in the order of the scores, then those seen elsewhere."""
    names = dict.fromkeys([*scores, *(n for names in others for n in names)])
    return sorted(names, key=lambda n: n != "base")


def board(
    scores: Mapping, differences: Mapping, split: str
) -> tuple[list[Metric], list[dict[str, Any]]]:
    """One split's table: its metrics, and for every arm a cell a metric with score, interval, difference, verdict."""
    keys = dict.fromkeys(m for by in scores.values() for m in by.get(split, {}))
    metrics = [Metric(k) for k in sorted(keys, key=lambda k: (list(NAMES) + [k]).index(k))]
    lines = []
    for arm, by in scores.items():
        cells = []
        for m in metrics:
            score = by.get(split, {}).get(m.key) or {}
            change = differences.get(arm, {}).get(split, {}).get(m.key) or {}
            low, high = finite(score.get("low")), finite(score.get("high"))
            cells.append(
                {
                    "value": m.show(score.get("value")),
                    "n": finite(score.get("n")),
                    "interval": f"{m.show(low)} – {m.show(high)}"
                    if None not in (low, high)
                    else "",
                    "change": m.change(change.get("value")) if change else "",
                    "range": f"{m.change(change.get('low'))} to {m.change(change.get('high'))}"
                    if change
                    else "",
                    "p": finite(change.get("p")),
                    "word": better(m, change),
                }
            )
        lines.append({"arm": arm, "cells": cells})
    return metrics, lines


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share of `hits` in n (Wilson 1927); (0, 1) where n is 0."""
    if n == 0:
        return 0.0, 1.0
    p, zz = hits / n, z * z / n
    half = z * math.sqrt(p * (1 - p) / n + zz / (4 * n))
    return max(0.0, (p + zz / 2 - half) / (1 + zz)), min(1.0, (p + zz / 2 + half) / (1 + zz))


def curves(
    metrics: Mapping[str, Sequence[Mapping]], most: int = 9
) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """metric -> arm -> [(step, value)], the best-known metrics first, at most `most` of them."""
    first = (
        "loss",
        "eval_loss",
        "val_loss",
        "exact_match",
        "val_exact_match",
        "tokens_per_s",
        "peak_memory_mib",
        "learning_rate",
        "grad_norm",
    )
    skip = {"step", "time", "seconds", "epoch", "timestamp"}
    keys = dict.fromkeys(k for lines in metrics.values() for line in lines for k in line)
    found = {}
    for key in sorted(keys, key=lambda k: (first.index(k) if k in first else len(first), k)):
        by = {
            arm: [(float(x["step"]), v) for x in lines if (v := finite(x.get(key))) is not None]
            for arm, lines in metrics.items()
        }
        by = {arm: points for arm, points in by.items() if points}
        if by and key not in skip:
            found[key] = by
    return dict(list(found.items())[:most])


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points no other beats, cheap first: less x and more y are better."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


# --- trials ----------------------------------------------------------------------------------------------


def trials(rows: Sequence[Mapping]) -> list[dict[str, Any]]:
    """Trials, best first; those with an error or no report last and without a score."""
    table = []
    for i, t in enumerate(rows):
        reports = [r for r in t.get("reports") or [] if isinstance(r, dict)]
        error = str(t.get("error") or "")
        best = None if error else finite(_score(t.get("best"), reports))
        table.append(
            {
                "name": str(t.get("trial_id") or i),
                "status": str(t.get("status") or ""),
                "best": best,
                "weights": {k: finite(v) or 0.0 for k, v in (t.get("weights") or {}).items()},
                "config": {k: v for k, v in (t.get("config") or {}).items() if "weights" not in k},
                "reports": reports,
                "error": error,
            }
        )
    table.sort(key=lambda t: (t["best"] is None, -(t["best"] or 0.0)))
    return [t | {"rank": i + 1} for i, t in enumerate(table)]


def _score(best: Any, reports: Sequence[Mapping]) -> Any:
    """A trial's score: `best` as a number or {exact_match: ...}, else the best exact match it reported."""
    if isinstance(best, dict):
        return best.get(HEADLINE)
    if finite(best) is not None:
        return best
    return max((v for r in reports if (v := finite(r.get(HEADLINE))) is not None), default=None)
