"""The section on learning from failure: what each round of an arm measured, asked for and got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raytune_agents.report import charts
from raytune_agents.report.boards import Figure, Grid
from raytune_agents.report.safe_text import clip, finite, whole

MOST_FAULTS, MOST_CLUSTERS = 6, 8  # shown of an arm, of a round
COUNTS = ("hard", "easy", "retired", "new_tasks", "rows", "tokens")
HEAD = ("round", "val", "outcome", "in band", "too hard", *COUNTS[1:], "lost")


@dataclass(frozen=True)
class ShownArm:
    """One arm's rounds, as the page has them. `faults`: their shares of sampled answers; `asked`:
    of each round that has some, its notes and what was asked for."""

    name: str
    select: str
    stopped: str
    figures: list[Figure]
    grid: Grid
    faults: Grid
    asked: list[tuple[list[str], Grid]]


def rounds_view(found: Mapping[str, Mapping[str, Any]]) -> list[ShownArm]:
    """Every arm that was trained in rounds; [] where there is none."""
    arms = []
    for name, record in found.items():
        select, stopped = (str(record.get(k) or "") for k in ("select", "stopped"))
        if rounds := [r for r in record.get("rounds") or [] if isinstance(r, Mapping)]:
            grid = rounds_grid(rounds, whole(record.get("kept")))
            asked = [asked_for(r) for r in rounds if r.get("asked_for") or r.get("notes")]
            parts = (rounds_figures(name, rounds), grid, faults_grid(rounds), asked)
            arms.append(ShownArm(name, select, stopped, *parts))
    return arms


def rounds_grid(rounds: Sequence[Mapping[str, Any]], kept: int) -> Grid:
    """A line per record of rounds.json: val, outcome, tasks by band, rows, what was lost. What an
    older record lacks is 0."""
    lines = []
    for r in rounds:
        number = whole(r.get("round"))
        outcome = str(r.get("worse") or "")
        if not outcome:
            outcome = "good" if whole(r.get("rows")) else "nothing to train on"
        band = f"{whole(r.get('in_band'))} ({(finite(r.get('in_band_share')) or 0.0) * 100:.0f} %)"
        cells = [band, *(whole(r.get(name)) for name in COUNTS), losses(r)]
        if not number:  # the start, of which only val is known
            outcome, cells = "start", [""] * len(cells)
        if number == kept:
            outcome = "kept" if number else "start, kept"
        lines.append((str(number), [percent(r.get("val")), outcome, *cells]))
    head = [h.replace("_", " ") for h in HEAD]
    return Grid("Rounds", head, lines, words=["outcome", "lost"])


def faults_grid(rounds: Sequence[Mapping[str, Any]]) -> Grid:
    """A line per round with answers: shares of the frequent faults. No lines without faults."""
    faults = frequent_faults(rounds)
    lines = [
        (str(whole(r.get("round"))), [percent(shares_of_faults(r).get(f)) for f in faults])
        for r in rounds
        if faults and whole(r.get("answers"))
    ]
    head = ["round", *(fault.replace("_", " ") for fault in faults)]
    return Grid("Faults, shares of sampled answers", head, lines)


def losses(record: Mapping[str, Any]) -> str:
    """What a round lost, by reason: "5 cut_at_max_tokens, 1 leak"."""
    lost = record.get("lost")
    found = lost.items() if isinstance(lost, Mapping) else ()
    return clip(", ".join(f"{whole(n)} {why}" for why, n in found), 160)


def percent(share: Any) -> str:
    return f"{(finite(share) or 0.0) * 100:.1f} %"


def shares_of_faults(record: Mapping[str, Any]) -> dict[str, float]:
    """Shares of the sampled answers, in [0, 1]."""
    answers = whole(record.get("answers"))
    faults = (record.get("faults") or {}) if answers else {}
    return {str(f): n / answers for f, n in faults.items()}


def asked_for(record: Mapping[str, Any]) -> tuple[list[str], Grid]:
    """The notes of a round, and its largest clusters of failures with what was asked for."""
    clusters = sorted(record.get("asked_for") or [], key=lambda c: -whole(c.get("failures")))
    lines = [
        (about(c), [whole(c.get(k)) for k in ("failures", "wanted", "got")])
        for c in clusters[:MOST_CLUSTERS]
    ]
    notes = [clip(str(line), 400) for line in record.get("notes") or []]
    head = ["asked for", "failures", "wanted", "got"]
    return notes, Grid(f"Round {whole(record.get('round'))}", head, lines)


def about(cluster: Mapping[str, Any]) -> str:
    """A cluster in words: "wrong_value in weather.city, 1 call, question"."""
    where = ".".join(str(cluster[k]) for k in ("tool", "argument") if cluster.get(k))
    calls, phrasing = whole(cluster.get("calls")), str(cluster.get("phrasing") or "")
    parts = [f"{cluster.get('fault')} in {where}" if where else str(cluster.get("fault"))]
    parts += [f"{calls} call{'s' * (calls != 1)}"] if phrasing else []
    return clip(", ".join([*parts, *([phrasing] if phrasing else [])]), 160)


def frequent_faults(rounds: Sequence[Mapping[str, Any]]) -> list[str]:
    """The faults with the largest share of answers in any round, at most MOST_FAULTS."""
    largest: dict[str, float] = {}
    for record in rounds:
        for fault, share in shares_of_faults(record).items():
            largest[fault] = max(share, largest.get(fault, 0.0))
    return sorted(largest, key=lambda f: (-largest[f], f))[:MOST_FAULTS]


def rounds_figures(name: str, rounds: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Val score, and the share of tasks in the success band, by round."""
    out = []
    for key, title, first, css in (
        ("val", f"{name}: exact match on val, %", 0, "c1"),
        ("in_band_share", f"{name}: tasks in the success band, %", 1, "c2"),
    ):
        numbers = {whole(r.get("round")): finite(r.get(key)) or 0.0 for r in rounds}
        points = [(n, share * 100) for n, share in numbers.items() if n >= first]
        if len(points) > 1:
            chart = charts.line_chart({title: points}, {title: css}, title, "round", dots=True)
            out.append(Figure(title, chart))
    return out
