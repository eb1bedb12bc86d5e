"""The section on learning from failure: what each round of an arm measured, asked for and got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raytune_agents.records import JsonObject
from raytune_agents.report import charts
from raytune_agents.report.boards import Figure
from raytune_agents.report.safe_text import clip, finite, whole

MOST_FAULTS, MOST_CLUSTERS = 6, 8  # shown of an arm, of a round
BANDS = ("hard", "in_band", "easy", "retired")


@dataclass(frozen=True)
class ShownRound:
    """A line of the table; shares are of sampled answers and of measured tasks, in [0, 1]."""

    number: int
    val: float
    tasks: dict[str, int]  # by BANDS
    in_band_share: float
    new_tasks: int
    rows: int
    tokens: int
    outcome: str
    faults: dict[str, float] = field(default_factory=dict)
    asked_for: list[JsonObject] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ShownArm:
    """One arm's rounds, as the page has them."""

    name: str
    select: str
    stopped: str
    rounds: list[ShownRound]
    figures: list[Figure]
    faults: list[str]  # the columns of the table of faults


def shown_round(record: Mapping[str, Any], kept: int) -> ShownRound:
    """A record of rounds.json as the page has it; what an older one lacks is 0."""
    number, answers = whole(record.get("round")), whole(record.get("answers"))
    faults = record.get("faults") or {}
    outcome = str(record.get("worse") or "")
    if number and not outcome:
        outcome = "good" if whole(record.get("rows")) else "nothing to train on"
    if number == kept:
        outcome = "kept"
    clusters = sorted(record.get("asked_for") or [], key=lambda c: -whole(c.get("failures")))
    return ShownRound(
        number=number,
        val=finite(record.get("val")) or 0.0,
        tasks={name: whole(record.get(name)) for name in BANDS},
        in_band_share=finite(record.get("in_band_share")) or 0.0,
        new_tasks=whole(record.get("new_tasks")),
        rows=whole(record.get("rows")),
        tokens=whole(record.get("tokens")),
        outcome=outcome,
        faults={str(f): n / answers for f, n in faults.items()} if answers else {},
        asked_for=[{"about": about(c)} | dict(c) for c in clusters[:MOST_CLUSTERS]],
        notes=[clip(str(line), 400) for line in record.get("notes") or []],
    )


def about(cluster: Mapping[str, Any]) -> str:
    """A cluster in words: "wrong_value in weather.city, 1 call, question"."""
    where = ".".join(str(cluster[k]) for k in ("tool", "argument") if cluster.get(k))
    calls, phrasing = whole(cluster.get("calls")), str(cluster.get("phrasing") or "")
    parts = [f"{cluster.get('fault')} in {where}" if where else str(cluster.get("fault"))]
    parts += [f"{calls} call{'s' * (calls != 1)}"] if phrasing else []
    return clip(", ".join([*parts, *([phrasing] if phrasing else [])]), 160)


def rounds_view(found: Mapping[str, Mapping[str, Any]]) -> list[ShownArm]:
    """Every arm that was trained in rounds; [] where there is none."""
    arms = []
    for name, record in found.items():
        kept = whole(record.get("kept"))
        lines = [shown_round(r, kept) for r in record.get("rounds") or [] if isinstance(r, Mapping)]
        if lines:
            arms.append(
                ShownArm(
                    name=name,
                    select=str(record.get("select") or ""),
                    stopped=str(record.get("stopped") or ""),
                    rounds=lines,
                    figures=rounds_figures(name, lines),
                    faults=frequent_faults(lines),
                )
            )
    return arms


def frequent_faults(lines: Sequence[ShownRound]) -> list[str]:
    """The faults with the largest share of answers in any round, at most MOST_FAULTS."""
    largest: dict[str, float] = {}
    for line in lines:
        for fault, share in line.faults.items():
            largest[fault] = max(share, largest.get(fault, 0.0))
    return sorted(largest, key=lambda f: (-largest[f], f))[:MOST_FAULTS]


def rounds_figures(name: str, lines: Sequence[ShownRound]) -> list[Figure]:
    """Val score, and the share of tasks in the success band, by round."""
    val = {"val": [(line.number, line.val * 100) for line in lines]}
    band = {"in band": [(line.number, line.in_band_share * 100) for line in lines if line.number]}
    out = []
    for title, series, css in (
        (f"{name}: exact match on val, %", val, "c1"),
        (f"{name}: tasks in the success band, %", band, "c2"),
    ):
        points = {key: xy for key, xy in series.items() if len(xy) > 1}
        if points:
            colours = dict.fromkeys(points, css)
            out.append(Figure(title, charts.line_chart(points, colours, title, "round", dots=True)))
    return out
