"""What a run's data, mixes and curves say, beside the scores.

Pure: values in, values out. Nothing is scored again here; only counts and shares are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raytune_agents.report.boards import Grid
from raytune_agents.report.folder import RowGroup
from raytune_agents.report.safe_text import clip, finite, format_number, whole
from raytune_agents.storage import yaml_beside

FAMILIES = ("positive", "synthetic", "negative")
CURVES = (
    *("loss", "eval_loss", "val_loss", "exact_match", "val_exact_match"),
    *("tokens_per_s", "peak_memory_mib", "learning_rate", "grad_norm"),
)
# How close generated requests come to what people write: what is shown, in which words.
WORDS: dict[str, Any] = yaml_beside(__file__, "generated.yaml")
MEASURES: dict[str, list[str]] = WORDS["measures"]
SOURCES: dict[str, str] = WORDS["sources"]
NO_CURVES = ("step", "of", "time", "seconds", "epoch", "num_tokens", "total_flos")


def undominated(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points no other beats, cheap first: less x and more y are better."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def curves(
    metrics: Mapping[str, Sequence[Mapping[str, Any]]], most: int = 12
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


@dataclass(frozen=True, slots=True)
class StepFunnel:
    """What became of a step's rows. `lost`: those not accounted for, None where it is not known;
    `reasons`: (rows, why they were rejected or failed), the most frequent first."""

    step: str
    rows_in: float | None
    rows_out: float | None
    rejected: int
    failed: int
    lost: float | None
    reasons: list[tuple[int, str]]
    seconds: float | None


def step_funnel(manifests: Mapping[str, Mapping[str, Any]]) -> list[StepFunnel]:
    """The rows of every step."""
    table = []
    for step, manifest in manifests.items():
        rows = manifest.get("rows") or {}
        rejections, failures = (
            [(whole(n), r) for r, n in (rows.get(k) or {}).items()] for k in ("rejected", "failed")
        )
        rejected, failed = (sum(n for n, _ in part) for part in (rejections, failures))
        came, left = finite(rows.get("in")), finite(rows.get("out"))
        lost = None if came is None or left is None else came - left - rejected - failed
        reasons = sorted([*rejections, *failures], reverse=True)
        time = finite(manifest.get("seconds"))
        table.append(StepFunnel(step, came, left, rejected, failed, lost, reasons, time))
    return table


def stages(manifests: Mapping[str, Mapping[str, Any]]) -> list[Grid]:
    """The funnels inside read (one line per task of rated interactions), generate (per pool) and
    label (per source); stages at which no row fell out are left out."""
    tasks = manifests.get("read", {}).get("task_types")
    tasks = tasks if isinstance(tasks, Mapping) else {}
    made = manifests.get("generate", {}).get("funnel")
    labelled = manifests.get("label", {}).get("funnel")
    labelled = labelled if isinstance(labelled, Mapping) else {}
    groups: dict[str, tuple[str, list[Any]]] = {
        "read, by task": ("task", [{"task": name} | dict(x) for name, x in tasks.items()]),
        "generate, by pool": ("pool", [x for x in made or [] if isinstance(x, Mapping)]),
        "label, by source": (
            "source",
            [{"source": name or "all"} | dict(x) for name, x in labelled.items()],
        ),
    }
    tables = []
    for title, (first, lines) in groups.items():
        keys = dict.fromkeys(k for line in lines for k in line if k not in (first, "kept"))
        used = [k for k in keys if any(whole(line.get(k)) for line in lines)]
        head = [first, *used, "kept"]
        rows = [(str(x.get(first)), [whole(x.get(k)) for k in head[1:]]) for x in lines]
        tables += [Grid(title, [k.replace("_", " ") for k in head], rows)] if rows else []
    return tables


def left_after(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Of the pools' funnel together: the rows tried, and those left after each of its checks."""
    lines = [line for line in lines if isinstance(line, Mapping)]
    left = sum(whole(line.get("tried")) for line in lines)
    found = [("tried", left)] if left else []
    for check in dict.fromkeys(k for line in lines for k in line) if left else ():
        if check not in ("pool", "tried", "kept", "short"):
            left -= sum(whole(line.get(check)) for line in lines)
            found.append((check, left))
    return found


def pool_family(pool: str) -> str:
    return pool.split(".", 1)[0]


def by_family(pools: Iterable[str]) -> list[str]:
    """Pool names or families in the order positive, synthetic, negative, others; then by name."""
    rank = {f: i for i, f in enumerate(FAMILIES)}
    return sorted(set(pools), key=lambda p: (rank.get(pool_family(p), len(rank)), p))


def pools(groups: Sequence[RowGroup]) -> Grid:
    """The rows of each pool."""
    lines = []
    for pool in by_family(g.pool for g in groups):
        own = [g for g in groups if g.pool == pool]
        accepted = [g for g in own if not g.reject_reason]
        train = [g for g in accepted if g.split == "train"]
        lines.append((pool, [sum(g.n for g in part) for part in (own, accepted, train)]))
    return Grid("Pools", ("pool", "rows", "accepted", "accepted, train"), lines)


@dataclass(frozen=True, slots=True)
class PoolShare:
    """A pool's part of an arm's mix: trained tokens, passes over it, tokens short of its weight."""

    pool: str
    tokens: int
    share: float
    epochs: float | None
    short: int


@dataclass(frozen=True, slots=True)
class ArmMix:
    """What an arm was trained on, in loss tokens."""

    arm: str
    total: int
    parts: list[PoolShare]


def arm_mixes(mix: Mapping[str, Mapping[str, Any]]) -> list[ArmMix]:
    """Of every arm: trained tokens and epochs by pool, and the pool's share of the tokens."""
    out = []
    for arm, facts in mix.items():
        tokens, epochs, short = (facts.get(k) or {} for k in ("tokens", "epochs", "short"))
        counts = {pool: whole(n) for pool, n in tokens.items()}
        total = sum(counts.values())
        parts = [
            PoolShare(pool, n, n / (total or 1), finite(epochs.get(pool)), whole(short.get(pool)))
            for pool, n in counts.items()
        ]
        out.append(ArmMix(arm, total, parts))
    return out


def tally(pairs: Iterable[tuple[Any, float]], most: int = 14) -> list[tuple[Any, float]]:
    """Sums by name, largest first; past `most` names the rest is one line."""
    counts: dict[Any, float] = {}
    for name, n in pairs:
        counts[name] = counts.get(name, 0) + n
    top = sorted(counts.items(), key=lambda kv: (-kv[1], kv[0]))
    rest = sum(n for _, n in top[most:])
    return top[:most] + ([(f"{len(top) - most} others", rest)] if rest else [])


# --- generated requests ---


@dataclass
class GeneratedQuality:
    """What was measured, and requests side by side by who worded them."""

    grid: Grid
    misfits: list[str] = field(default_factory=list)
    samples: list[tuple[str, list[str]]] = field(default_factory=list)


def generated_quality(manifests: Mapping[str, Mapping[str, Any]]) -> GeneratedQuality | None:
    """None where the run generated nothing, or by older code."""
    found = manifests.get("generate", {}).get("realism")
    if not isinstance(found, Mapping) or not finite(found.get("rows")):
        return None
    told = {**found, **(found.get("coverage") or {})}
    real = format_number(found.get("real_rows"))
    lines = []
    for key, (what, how) in MEASURES.items():
        if (value := finite(told.get(key))) is not None:
            shown = f"{value:.2f}" if key in WORDS["plain"] else f"{value * 100:.1f} %"
            lines.append((what, [shown, how.format(real=real)]))
    title = f"How real the generated requests are: {whole(found.get('rows')):,} rows"
    head = ["measure", "value", "how to read it"]
    samples = found.get("samples") or {}
    return GeneratedQuality(
        Grid(title, head, lines, words=["how to read it"]),
        [clip(str(m), 120) for m in found.get("misfits") or []],
        [
            (SOURCES.get(name, name), [clip(str(t), 240) for t in samples[name]])
            for name in dict.fromkeys((*SOURCES, *samples))
            if samples.get(name)
        ],
    )
