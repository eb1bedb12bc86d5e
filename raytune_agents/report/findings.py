"""What a run's numbers say: the verdict, the arms, the data, the curves.

Pure: values in, values out. Nothing is scored again here: scores and differences are read; only
counts and shares are made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raytune_agents.report.text import DASH, finite, number, seconds

HEADLINE = "exact_match"
SPLIT_ORDER = ("test_unseen", "test_seen", "val")
FAMILIES = ("positive", "synthetic", "negative")
LESS_IS_BETTER = (
    *("hallucinat", "latency", "first_token", "tokens", "error", "refusal", "loop", "perplexity"),
    *("loss", "memory", "seconds", "energy", "time", "fault.", "end.", "steps", "train_", "nll"),
)
AMOUNTS = (
    *("tokens", "perplexity", "loss", "memory", "steps", "energy", "train_rows"),
    *("nll", "judge_score"),
)
NAMES = {
    "exact_match": "exact match",
    "function_accuracy": "right function",
    "parameter_accuracy": "right arguments",
    "format_adherence": "valid format",
    "hallucination_rate": "hallucination",
    "energy_j": "energy in J",
    "train_energy_j": "energy of training in J",
    "nll": "surprise in nats a token",
}
ANSWERED = tuple(NAMES)[:5]  # of single answers
PLAYED = ("task_completion", "loop_rate", "recovery", "steps")  # of whole trajectories
OTHERS = (  # of what else an arm is asked for
    *("multi_turn_accuracy", "instruction_following", "perplexity", "nll"),
    *("judge_score", "judge_wins"),
)
FIRST = (HEADLINE, PLAYED[0], *OTHERS)  # what a split's chart is of, in this order
MAIN = (*ANSWERED, *PLAYED, *OTHERS, "latency_p50_s", "output_tokens")  # columns of an arms' table
CURVES = (
    *("loss", "eval_loss", "val_loss", "exact_match", "val_exact_match"),
    *("tokens_per_s", "peak_memory_mib", "learning_rate", "grad_norm"),
)
NO_CURVES = ("step", "of", "time", "seconds", "epoch", "num_tokens", "total_flos")


@dataclass(frozen=True)
class Metric:
    """How a metric is written. `kind`: share (shown in percent), seconds or amount."""

    key: str

    @property
    def kind(self) -> str:
        if "seconds" in self.key or (self.key.endswith("_s") and "_per_" not in self.key):
            return "seconds"
        return "amount" if any(a in self.key for a in AMOUNTS) else "share"

    @property
    def name(self) -> str:
        key = self.key.removesuffix("_s") if self.kind == "seconds" else self.key
        return NAMES.get(key, key.replace("_", " ").replace(".", ": "))

    @property
    def up(self) -> bool:
        """Whether more is better."""
        return "_per_s" in self.key or not any(word in self.key for word in LESS_IS_BETTER)

    def show(self, value: Any) -> str:
        value = finite(value)
        if value is None:
            return DASH
        share = f"{value * 100:.1f} %"
        return {"share": share, "seconds": seconds(value)}.get(self.kind, number(value))

    def range(self, low: Any, high: Any) -> str:
        """An interval with one unit, or '' where an end is missing."""
        low, high = finite(low), finite(high)
        if low is None or high is None:
            return ""
        if self.kind == "share":
            return f"{low * 100:.1f} – {high * 100:.1f} %"
        return f"{self.show(low)} – {self.show(high)}"

    def size(self, value: float) -> str:
        """How large a difference is, without its sign; of shares in percentage points."""
        value = abs(value)
        share = f"{value * 100:.1f}"
        return {"share": share, "seconds": seconds(value)}.get(self.kind, number(value))

    def change(self, value: Any) -> str:
        """A difference with its sign."""
        value = finite(value)
        if value is None:
            return DASH
        return ("+" if value > 0 else "−" if value < 0 else "") + self.size(value)


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


# --- the verdict ---


@dataclass(frozen=True)
class Verdict:
    """The run in one sentence. `tone`: better, none, worse or unknown; `arm`: the best, or ""."""

    text: str
    tone: str
    arm: str = ""
    split: str = ""
    notes: tuple[str, ...] = ()


def verdict(scores: Mapping, differences: Mapping, confidence: float = 0.95) -> Verdict:
    """Which arm beats base in exact match on the hardest split, by how much and how surely."""
    metric = Metric(HEADLINE)
    for split in ordered({s for by in differences.values() for s in by}):
        cells = {arm: by.get(split, {}).get(HEADLINE, {}) for arm, by in differences.items()}
        found = {arm: c for arm, c in cells.items() if finite(c.get("value")) is not None}
        if found:
            break
    else:
        text = "There is no verdict yet: no arm has been compared with the base model."
        return Verdict(text, "unknown")
    arm = max(found, key=lambda name: found[name]["value"])
    cell, tone = found[arm], better(metric, found[arm])
    size, change = metric.size(cell["value"]), metric.change(cell["value"])
    ends = " to ".join(metric.change(cell.get(k)) for k in ("low", "high"))
    sure = f"{confidence * 100:.0f} % interval {ends}, n = {number(cell.get('n'))}"
    levels = [scores.get(a, {}).get(split, {}).get(HEADLINE, {}) for a in (arm, "base")]
    if all(levels):
        sure = " against ".join(metric.show(c.get("value")) for c in levels) + f"; {sure}"
    text = {
        "better": f"{arm} beats the base model on {split} by {size} points of exact match",
        "worse": f"No arm beats the base model on {split}: even the best, {arm}, is {size} points "
        "of exact match below it",
        "": f"No arm is shown to beat the base model on {split}: the closest, {arm}, differs by "
        f"{change} points of exact match, and the interval includes zero",
    }[tone]
    notes = _notes(arm, split, differences[arm], len(found))
    return Verdict(f"{text} ({sure}).", tone or "none", arm, split, tuple(notes))


def _notes(arm: str, split: str, by: Mapping, arms: int) -> list[str]:
    """What belongs beside the verdict: other splits, regressions, and how small a test this is."""
    notes: list[str] = []
    lost: dict[str, list[str]] = {}
    if split != SPLIT_ORDER[0]:
        notes.append(f"{SPLIT_ORDER[0]} was not compared: this says nothing about unseen tools.")
    words = {"better": "better than", "worse": "worse than", "": "not distinguishable from"}
    for other in ordered(by):
        for metric, cell in ((Metric(k), c) for k, c in by[other].items()):
            word, size = better(metric, cell), metric.change(cell.get("value"))
            if metric.key == HEADLINE and other != split:
                line = f"On {other}, {arm} is {words[word]} base in exact match ({size} points)."
                notes.append(line)
            elif metric.key != HEADLINE and word == "worse":
                lost.setdefault(metric.name, []).append(f"{size} on {other}")
    if lost:
        parts = ", ".join(f"{name} ({', '.join(sizes)})" for name, sizes in lost.items())
        notes.insert(0, f"{arm} is worse than base in {parts}.")
    cell = by[split][HEADLINE]
    n, least, holm = (finite(cell.get(k)) for k in ("n", "detectable", "p_holm"))
    if n and least is not None:
        notes.append(
            f"With {number(n)} paired rows, true differences below {least * 100:.0f} points would "
            "often be missed (power under 80 %)."
        )
    if arms > 1:
        p = "" if holm is None else f"; p = {number(holm, 2)} after Holm's correction over the arms"
        notes.append(f"{arm} is the best of {arms} arms, and its interval is for it alone{p}.")
    return notes


# --- the arms ---


def arms(*names: Iterable[str]) -> list[str]:
    """All arms in the order they are first named, base first."""
    found = dict.fromkeys(name for part in names for name in part)
    return sorted(found, key=lambda name: name != "base")


def board(scores: Mapping, differences: Mapping, split: str) -> dict[str, Any]:
    """One split's table: `main` metrics and `more` of them; `cells` {arm: {metric: cell}}.

    A cell: value, interval, n, change, range, p and word ("better", "worse" or "").
    """
    keys = dict.fromkeys(m for by in scores.values() for m in by.get(split, {}))
    cells = {}
    for arm, by in scores.items():
        given, changes = by.get(split, {}), differences.get(arm, {}).get(split, {})
        cells[arm] = {k: _cell(Metric(k), given.get(k, {}), changes.get(k, {})) for k in keys}
    paired = dict.fromkeys(m for by in differences.values() for m in by.get(split, {}))
    known = MAIN if any(k in keys for k in FIRST) else tuple(k for k in paired if k in keys)
    main = [Metric(k) for k in known if k in keys]
    more = [Metric(k) for k in keys if k not in known]
    return {"split": split, "main": main, "more": more, "cells": cells}


def _cell(metric: Metric, score: Mapping, change: Mapping) -> dict[str, Any]:
    adjusted = change.get("p_holm", change.get("p"))
    return {
        "value": metric.show(score.get("value")),
        "n": finite(score.get("n")),
        "interval": metric.range(score.get("low"), score.get("high")),
        "change": metric.change(change.get("value")) if change else "",
        "range": " to ".join(metric.change(change.get(k)) for k in ("low", "high")),
        "p": finite(adjusted),
        "word": better(metric, change),
    }


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share of `hits` in n (Wilson 1927); (0, 1) where n is 0."""
    if n == 0:
        return 0.0, 1.0
    p, zz = hits / n, z * z / n
    half = z * math.sqrt(p * (1 - p) / n + zz / (4 * n))
    return max(0.0, (p + zz / 2 - half) / (1 + zz)), min(1.0, (p + zz / 2 + half) / (1 + zz))


def pareto(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points no other beats, cheap first: less x and more y are better."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def curves(
    metrics: Mapping[str, Sequence[Mapping]], most: int = 12
) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """metric -> arm -> [(step, value)], the best-known metrics first, at most `most` of them."""
    keys = dict.fromkeys(k for lines in metrics.values() for line in lines for k in line)
    rank = {k: i for i, k in enumerate(CURVES)}
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for key in sorted(keys.keys() - set(NO_CURVES), key=lambda k: (rank.get(k, len(rank)), k)):
        for arm, lines in metrics.items():
            points = [(float(x["step"]), v) for x in lines if (v := finite(x.get(key))) is not None]
            if points:
                found.setdefault(key, {})[arm] = points
    return dict(list(found.items())[:most])


# --- the data ---


def _count(value: Any) -> int:
    return int(finite(value) or 0)


def funnel(manifests: Mapping[str, Mapping]) -> list[dict[str, Any]]:
    """Rows in, out, rejected and failed of every step, reasons, and rows not accounted for."""
    table = []
    for step, manifest in manifests.items():
        rows = manifest.get("rows") or {}
        parts = [
            {r: _count(n) for r, n in (rows.get(k) or {}).items()} for k in ("rejected", "failed")
        ]
        rejected, failed = (sum(part.values()) for part in parts)
        came, left = finite(rows.get("in")), finite(rows.get("out"))
        reasons = sorted(((n, r) for part in parts for r, n in part.items()), reverse=True)
        table.append(
            {
                "step": step,
                "in": came,
                "out": left,
                "rejected": rejected,
                "failed": failed,
                "lost": None if came is None or left is None else came - left - rejected - failed,
                "reasons": reasons,
                "seconds": finite(manifest.get("seconds")),
            }
        )
    return table


def stages(manifests: Mapping[str, Mapping]) -> list[dict[str, Any]]:
    """The funnels inside read (a line a task of rated interactions), generate (a pool) and label (a
    source), as tables: title, head, rows; stages at which no row fell out are left out."""
    tasks = manifests.get("read", {}).get("task_types")
    tasks = tasks if isinstance(tasks, Mapping) else {}
    made = manifests.get("generate", {}).get("funnel")
    labelled = manifests.get("label", {}).get("funnel")
    labelled = labelled if isinstance(labelled, Mapping) else {}
    given: dict[str, tuple[str, list[Any]]] = {
        "read, by task": ("task", [{"task": name} | dict(x) for name, x in tasks.items()]),
        "generate, by pool": ("pool", [x for x in made or [] if isinstance(x, Mapping)]),
        "label, by source": (
            "source",
            [{"source": name or "all"} | dict(x) for name, x in labelled.items()],
        ),
    }
    tables = []
    for title, (first, lines) in given.items():
        keys = dict.fromkeys(k for line in lines for k in line if k not in (first, "kept"))
        used = [k for k in keys if any(_count(line.get(k)) for line in lines)]
        head = [first, *used, "kept"]
        rows = [[str(x.get(first)), *(_count(x.get(k)) for k in head[1:])] for x in lines]
        tables += [{"title": title, "head": head, "rows": rows}] if rows else []
    return tables


def left_after(lines: Sequence[Mapping]) -> list[tuple[str, int]]:
    """Of the pools' funnel together: the rows tried, and those left after each of its checks."""
    lines = [line for line in lines if isinstance(line, Mapping)]
    left = sum(_count(line.get("tried")) for line in lines)
    found = [("tried", left)] if left else []
    for check in dict.fromkeys(k for line in lines for k in line) if left else ():
        if check not in ("pool", "tried", "kept", "short"):
            left -= sum(_count(line.get(check)) for line in lines)
            found.append((check, left))
    return found


def family(pool: str) -> str:
    return pool.split(".", 1)[0]


def by_family(pools: Iterable[str]) -> list[str]:
    """Pool names or families in the order positive, synthetic, negative, others; then by name."""
    rank = {f: i for i, f in enumerate(FAMILIES)}
    return sorted(set(pools), key=lambda p: (rank.get(family(p), len(rank)), p))


def pools(groups: Sequence[Mapping]) -> list[dict[str, Any]]:
    """Rows of each pool: all, accepted, and accepted in the train split."""
    table: dict[str, dict[str, Any]] = {
        p: {"pool": p, "rows": 0, "accepted": 0, "train": 0}
        for p in by_family(g["pool"] for g in groups)
    }
    for g in groups:
        line, accepted = table[g["pool"]], 0 if g["reject_reason"] else g["n"]
        line["rows"] += g["n"]
        line["accepted"] += accepted
        line["train"] += accepted if g["split"] == "train" else 0
    return list(table.values())


def mixes(mix: Mapping[str, Mapping]) -> list[dict[str, Any]]:
    """Of every arm: trained tokens and epochs by pool, and the pool's share of the tokens."""
    out = []
    for arm, facts in mix.items():
        tokens, epochs = facts.get("tokens") or {}, facts.get("epochs") or {}
        total = sum(map(_count, tokens.values()))
        short = facts.get("short") or {}
        parts = [
            {
                "pool": p,
                "short": _count(short.get(p)),
                "tokens": _count(n),
                "epochs": finite(epochs.get(p)),
                "share": _count(n) / (total or 1),
            }
            for p, n in tokens.items()
        ]
        out.append({"arm": arm, "total": total, "parts": parts})
    return out


def tally(pairs: Iterable[tuple[Any, float]], most: int = 14) -> list[tuple[Any, float]]:
    """Sums by name, largest first; past `most` names the rest is one line."""
    counts: dict[Any, float] = {}
    for name, n in pairs:
        counts[name] = counts.get(name, 0) + n
    top = sorted(counts.items(), key=lambda kv: (-kv[1], kv[0]))
    rest = sum(n for _, n in top[most:])
    return top[:most] + ([(f"{len(top) - most} others", rest)] if rest else [])
