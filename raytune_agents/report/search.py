"""The search section: trials as a table and charts, and what the guide of the search concludes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from raytune_agents.report import charts
from raytune_agents.report.findings import HEADLINE, Metric
from raytune_agents.report.text import clip, finite, number, visible

# Neither HTML nor anything that leads out of the page: the guide is text with headings and tables.
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
MARKDOWN.disable(["image", "link", "autolink", "reference"])


def trials(rows: Sequence[Mapping]) -> list[dict[str, Any]]:
    """Trials, best first; those with an error or no report last and without a score."""
    table = []
    for i, t in enumerate(rows):
        config = dict(t.get("config") or {})
        weights = t.get("weights") or config.get("mix.weights") or {}
        error = str(t.get("error") or "")
        table.append(
            {
                "name": str(t.get("trial_id") or i),
                "status": str(t.get("status") or ""),
                "score": None if error else finite(t.get("score")),
                "weights": {k: max(finite(v) or 0.0, 0.0) for k, v in weights.items()},
                "config": {k: v for k, v in config.items() if k != "mix.weights"},
                "reports": [r for r in t.get("reports") or [] if isinstance(r, dict)],
                "error": error,
            }
        )
    table.sort(key=lambda t: (t["score"] is None, -(t["score"] or 0.0)))
    return [t | {"rank": i + 1} for i, t in enumerate(table)]


def section(rows: Sequence[Mapping], guide: str, guidance: Mapping) -> dict[str, Any]:
    """Everything the page shows of a search; `table` is empty where there was none."""
    table = trials(rows)
    scored = [t for t in table if t["score"] is not None]
    pools = list(dict.fromkeys(k for t in scored for k in t["weights"]))
    return {
        "table": table,
        "weights": pools,
        "options": list(dict.fromkeys(k for t in table for k in t["config"])),
        "charts": [(title, svg) for title, svg in figures(scored, pools) if svg],
        "guide": Markup(MARKDOWN.render(visible(clip(guide, 20_000)))) if guide.strip() else "",
        "advice": advice(guidance),
    }


def figures(scored: Sequence[Mapping], pools: Sequence[str]) -> list[tuple[str, Markup]]:
    """(title, chart): reports, the triangle of three pools, score against each weight."""
    scores = [t["score"] for t in scored]
    points = []
    for t in scored:
        total = sum(t["weights"].values())
        if total > 0:
            shares = {k: w / total for k, w in t["weights"].items()}
            note = ", ".join(f"{k} {v:.2f}" for k, v in shares.items())
            points.append(
                {
                    "name": str(t["rank"]),
                    "y": t["score"] * 100,
                    "css": charts.shade(t["score"], min(scores), max(scores)),
                    "note": f"trial {t['name']}: {Metric(HEADLINE).show(t['score'])} with {note}",
                    "shares": shares,
                    "weights": [shares.get(p, 0.0) for p in pools],
                }
            )
    found = [("Exact match of each trial at its reports (%)", rungs(scored))]
    if len(pools) == 3 and points:
        svg = charts.ternary(points, pools, "mix of each trial")
        found.append(("Mix of each trial; stronger colour is better", svg))
    for pool in pools:
        at = [p | {"x": p["shares"].get(pool, 0.0)} for p in points]
        svg = charts.scatter(at, f"score against the weight of {pool}", f"weight of {pool}")
        found.append((f"Exact match (%) against {pool}", svg))
    return found


def rungs(scored: Sequence[Mapping]) -> Markup:
    """A line a trial over its reports: where lines end early, the scheduler stopped the trial."""
    lines = {}
    for t in scored:
        points = [(finite(r.get("step")), finite(r.get(HEADLINE))) for r in t["reports"]]
        points = [(x, y * 100) for x, y in points if x is not None and y is not None]
        if points:
            lines[f"trial {t['name']} (rank {t['rank']})"] = sorted(points)
    strong = next(iter(lines), "")
    classes = {name: "q4" if name == strong else "q1" for name in lines}
    back_to_front = dict(reversed(lines.items()))
    return charts.lines(back_to_front, classes, "reports of trials", "optimiser step", dots=True)


def advice(guidance: Mapping) -> list[tuple[str, Markup]]:
    """(title, chart) of the recommended share of each pool with its interval, and of importance."""
    given = {k: guidance.get(k) for k in ("recommended", "interval", "importance")}
    shares, ends, weights = (v if isinstance(v, dict) else {} for v in given.values())
    rows = []
    for i, (pool, share) in enumerate(shares.items()):
        low, high = [*map(finite, ends.get(pool) or ()), None, None][:2]
        if finite(share) is not None:
            row = {"name": pool, "value": finite(share), "low": low, "high": high}
            rows.append(row | {"css": charts.colour(i + 1)})
    known = ((k, finite(v)) for k, v in weights.items())
    ranked = sorted(((k, v) for k, v in known if v is not None and v >= 0), key=lambda kv: -kv[1])
    found = [
        ("Recommended mix", charts.intervals(rows, "recommended mix", "share of tokens", number)),
        ("Importance of each axis", charts.bars(ranked[:14], "importance of each axis")),
    ]
    return [(title, svg) for title, svg in found if svg]
