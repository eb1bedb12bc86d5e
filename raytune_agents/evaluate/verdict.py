"""The run in one sentence: is the headline arm better, where, and what was lost.

The headline arm is chosen on val rows, never on test rows: the best of several arms on the test
would be partly luck. What was lost is said as loudly as what was gained: the gate is part of the
sentence, and every metric whose interval lies on the bad side is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from raytune_agents.evaluate.baselines import BASELINES
from raytune_agents.evaluate.estimates import JsonRecord
from raytune_agents.evaluate.gate import GateResult, as_points, ends_in_points, least_shown
from raytune_agents.evaluate.measured import BASE, Measured, values_by_row
from raytune_agents.evaluate.metrics import METRICS, Metric, metric_named
from raytune_agents.evaluate.paired import Difference
from raytune_agents.evaluate.scoreboard import VAL, Differences, Scores

HEADLINE = "exact_match"
SPLIT_ORDER = ("test_unseen", "test_seen")  # the hardest first
Tone = Literal["better", "none", "worse", "unknown"]


@dataclass(frozen=True, slots=True)
class Conclusion(JsonRecord):
    """What the run shows. `tone`: of the headline metric on the hardest split; `arm`: the headline
    arm ("" where none was compared), chosen as `chosen` says; `gained`, `lost`: metrics whose
    interval excludes zero, in words; `gate`: the gate's sentence."""

    text: str = "There is no verdict yet: no arm has been compared with the base model."
    tone: Tone = "unknown"
    arm: str = ""
    split: str = ""
    chosen: str = ""
    gate: str = ""
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def ordered_splits(splits: Iterable[str]) -> list[str]:
    """Splits with the hardest first: unseen tools, seen tools, then the others by name."""
    rank = {s: i for i, s in enumerate(SPLIT_ORDER)}
    return sorted(splits, key=lambda s: (rank.get(s, len(rank)), s))


def change_of(metric: Metric, difference: Difference) -> str:
    """ "better" or "worse" where the difference is told apart from zero (`Difference.sign`), else
    ""."""
    if not metric.better or not difference.sign:
        return ""
    return "better" if (difference.sign > 0) == (metric.better == "higher") else "worse"


def choose_headline(rows: Sequence[Measured], arms: Sequence[str]) -> tuple[str, str]:
    """The arm with the highest mean exact match on val rows, and how it was chosen. Without val
    rows the first arm is taken, so that the test rows choose nothing."""
    means: dict[str, float] = {}
    count = 0
    for arm in arms:
        found = values_by_row((r for r in rows if (r.arm, r.split) == (arm, VAL)), HEADLINE)
        if found:
            means[arm], count = sum(found.values()) / len(found), len(found)
    if not means:
        first = next(iter(arms), "")
        return first, "there were no val rows to choose by; it is the first arm" if first else ""
    # Of equal ones the first of the config: val cannot tell them apart.
    best = max(means, key=lambda arm: means[arm])
    level = f"{means[best] * 100:.1f} % of {count} val rows"
    return best, f"chosen on val ({level}), not on the test"


def conclusion_of(
    scores: Scores,
    differences: Differences,
    headline: tuple[str, str],
    gate: GateResult | None = None,
    confidence: float = 0.95,
    own: Mapping[str, Metric] = METRICS,
) -> Conclusion:
    """The sentence on the headline arm, (name, how it was chosen), on the hardest split on which it
    was compared with the base; then its gains, its losses and the notes."""
    arm, chosen = headline
    by = differences.get(arm, {})
    split = next((s for s in ordered_splits(by) if HEADLINE in by[s] and s != VAL), "")
    if not split:
        return Conclusion()
    cell, metric = by[split][HEADLINE], metric_named(HEADLINE, own)
    tone: Tone = change_of(metric, cell) or "none"  # type: ignore[assignment]
    found = (scores.get(a, {}).get(split, {}).get(HEADLINE) for a in (arm, BASE))
    levels = [f"{c.value * 100:.1f} %" for c in found if c is not None and c.value is not None]
    sure = f"{confidence * 100:.0f} % interval {ends_in_points(cell)}, n = {cell.n}"
    if len(levels) == 2:
        sure = f"{' against '.join(levels)}; {sure}"
    size = f"{abs(cell.value or 0.0) * 100:.1f} points of {metric.label}"
    text = {
        "better": f"{arm} beats the base model on {split} by {size}",
        "worse": f"{arm} is worse than the base model on {split}, by {size}",
        "none": f"{arm} is not shown to beat the base model on {split}: "
        f"{as_points(cell.value)} points of {metric.label} are not told apart from zero",
    }[tone]
    gained, lost = gains_and_losses(by, own)
    notes = [f"{arm} is the headline arm: {chosen}."] if chosen else []
    return Conclusion(
        f"{text} ({sure}).",
        tone,
        arm,
        split,
        chosen,
        gate.sentence(tone == "better") if gate else "",
        tuple(gained),
        tuple(lost),
        (*notes, *_notes(arm, split, by, differences)),
    )


def gains_and_losses(
    by: Mapping[str, Mapping[str, Difference]], own: Mapping[str, Metric] = METRICS
) -> tuple[list[str], list[str]]:
    """Every compared metric that is told apart from the base's, in words: those that are better and
    those that are worse."""
    found: dict[str, dict[str, list[str]]] = {"better": {}, "worse": {}}
    for split in ordered_splits(by):
        for name, cell in by[split].items():
            metric = metric_named(name, own)
            # Val chose the arm: its gain there is partly luck.
            if not metric.headline or split == VAL or _same_as_irrelevance(name, by[split]):
                continue
            if word := change_of(metric, cell):
                plain = f"{cell.value:+.3g}".replace("-", "−")
                size = as_points(cell.value) if metric.unit == "share" else plain
                found[word].setdefault(metric.label, []).append(f"{size} on {split}")
    gained, lost = (
        [f"{label} ({', '.join(sizes)})" for label, sizes in found[word].items()]
        for word in ("better", "worse")
    )
    return gained, lost


def _same_as_irrelevance(name: str, cells: Mapping[str, Difference]) -> bool:
    """Where no call is right, exact match and irrelevance are one number: it is said once."""
    other = cells.get("irrelevance")
    return name == HEADLINE and other is not None and other.value == cells[name].value


def _notes(
    arm: str, split: str, by: Mapping[str, Mapping[str, Difference]], differences: Differences
) -> list[str]:
    """How far the sentence carries: what was not compared, the other splits, the size of the test,
    the baselines."""
    notes: list[str] = []
    if split != SPLIT_ORDER[0]:
        notes.append(f"{SPLIT_ORDER[0]} was not compared: this says nothing about unseen tools.")
    for other in ordered_splits(by):
        cell = by[other].get(HEADLINE)
        if cell and other not in (split, VAL) and not _same_as_irrelevance(HEADLINE, by[other]):
            words = {"better": "better than", "worse": "worse than", "": "not told apart from"}
            word = words[change_of(METRICS[HEADLINE], cell)]
            size = as_points(cell.value)
            notes.append(f"On {other}, {arm} is {word} base in exact match ({size} points).")
    cell = by[split][HEADLINE]
    if cell.detectable is not None:
        notes.append(f"{least_shown(cell)} (power under 80 %).")
    # Baselines are no claims, so Holm did not count them.
    trained = [a for a in differences if a not in BASELINES and split in differences[a]]
    if len(trained) > 1 and cell.p_holm is not None:
        notes.append(
            f"{len(trained)} arms were compared: p = {cell.p_holm:.2g} after Holm's correction."
        )
    for name in BASELINES:
        own = differences.get(name, {}).get(split, {}).get(HEADLINE)
        if own is not None and own.value is not None and cell.value is not None:
            notes.append(
                f"{name} alone gains {as_points(own.value)} points on {split}: {arm} is "
                f"{as_points(cell.value - own.value)} points from it."
            )
    return notes
