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
        reports = [r for r in t.get("reports") or [] if isinstance(r, dict)]
        config = {k: v for k, v in (t.get("config") or {}).items() if "weights" not in k}
        weights = {k: max(finite(v) or 0.0, 0.0) for k, v in (t.get("weights") or {}).items()}
        error = str(t.get("error") or "")
        best = None if error else finite(score(t.get("best"), reports))
        line = {"name": str(t.get("trial_id") or i), "status": str(t.get("status") or "")}
        line |= {
            "best": best,
            "weights": weights,
            "config": config,
            "reports": reports,
            "error": error,
        }
        table.append(line)
    table.sort(key=lambda t: (t["best"] is None, -(t["best"] or 0.0)))
    return [t | {"rank": i + 1} for i, t in enumerate(table)]


def score(best: Any, reports: Sequence[Mapping]) -> Any:
    """A trial's score: `best` as a number or {exact_match: ...}, else the best it reported."""
    if isinstance(best, dict):
        return best.get(HEADLINE)
    if finite(best) is not None:
        return best
    return max((v for r in reports if (v := finite(r.get(HEADLINE))) is not None), default=None)


def section(rows: Sequence[Mapping], guide: str, guidance: Mapping) -> dict[str, Any]:
    """Everything the page shows of a search; `table` is empty where there was none."""
    table = trials(rows)
    scored = [t for t in table if t["best"] is not None]
    pools = list(dict.fromkeys(k for t in scored for k in t["weights"]))
    return {
        "table": table,
        "weights": pools,
        "options": list(dict.fromkeys(k for t in table for k in t["config"])),
        "charts": [(title, svg) for title, svg in figures(scored, pools) if svg],
        "guide": Markup(MARKDOWN.render(visible(clip(guide, 20_000)))) if guide.strip() else "",
        "guidance": guidance_lines(guidance),
        "importance": importance(guidance),
    }


def figures(scored: Sequence[Mapping], pools: Sequence[str]) -> list[tuple[str, Markup]]:
    """(title, chart): reports, the triangle of three pools, score against each weight."""
    best = [t["best"] for t in scored]
    points = []
    for t in scored:
        total = sum(t["weights"].values())
        if total > 0:
            shares = {k: w / total for k, w in t["weights"].items()}
            note = ", ".join(f"{k} {v:.2f}" for k, v in shares.items())
            points.append(
                {
                    "name": str(t["rank"]),
                    "y": t["best"] * 100,
                    "css": charts.shade(t["best"], min(best), max(best)),
                    "note": f"trial {t['name']}: {Metric(HEADLINE).show(t['best'])} with {note}",
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


def guidance_lines(guidance: Mapping) -> list[tuple[str, str]]:
    """What the guide concludes, as (name, value): all but importance, nested ones dotted."""
    found: list[tuple[str, str]] = []

    def walk(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}.{key}" if name else str(key), inner)
        elif isinstance(value, list) and all(finite(v) is not None for v in value):
            found.append((name, " to ".join(map(number, value))))
        elif finite(value) is not None:
            found.append((name, number(value)))
        elif value not in (None, ""):
            found.append((name, clip(value, 600)))

    walk("", {k: v for k, v in guidance.items() if k != "importance"})
    return [(name.replace("_", " "), value) for name, value in found]


def importance(guidance: Mapping) -> Markup:
    """Bars of how much each axis matters, where the guide says so."""
    given = guidance.get("importance")
    known = {k: finite(v) for k, v in given.items()} if isinstance(given, dict) else {}
    rows = sorted(
        ((k, v) for k, v in known.items() if v is not None and v >= 0), key=lambda kv: -kv[1]
    )
    return charts.bars(rows[:14], "importance of each axis")
