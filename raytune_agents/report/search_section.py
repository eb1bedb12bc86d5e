"""The search section: trials as a table and charts, and what the guide of the search concludes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from raytune_agents.evaluate.estimates import Estimate
from raytune_agents.evaluate.metrics import METRICS
from raytune_agents.evaluate.verdict import HEADLINE
from raytune_agents.records import JsonObject, Options
from raytune_agents.redact import visible
from raytune_agents.report import charts
from raytune_agents.report.boards import Figure, Grid
from raytune_agents.report.canvas import Chart, colour, shade
from raytune_agents.report.numbers import metric_value
from raytune_agents.report.safe_text import DASH, clip, finite, format_number

# Neither HTML nor anything that leads out of the page: the guide is text with headings and tables.
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
MARKDOWN.disable(["image", "link", "autolink", "reference"])


@dataclass(frozen=True, slots=True)
class RankedTrial:
    """A trial as the page shows it. `full`: a confirming run; `cost`: trained tokens; `weights`:
    pool -> weight; `reports`: as the search stored them; `rank`: 1 is the best."""

    name: str
    status: str
    full: bool
    cost: float | None
    score: float | None
    weights: dict[str, float]
    config: Options
    reports: list[JsonObject]
    error: str
    rank: int = 0


@dataclass(frozen=True, slots=True)
class SearchView:
    """Everything the page shows of a search; `table` is empty where there was none."""

    table: list[RankedTrial]
    grid: Grid
    figures: list[Figure]
    guide: str
    advice: list[Figure]


def ranked_trials(rows: Sequence[Mapping[str, Any]]) -> list[RankedTrial]:
    """Trials, best first; those with an error or no report last and without a score."""
    table: list[RankedTrial] = []
    for i, t in enumerate(rows):
        config = dict(t.get("config") or {})
        weights = t.get("weights") or config.get("mix.weights") or {}
        error = str(t.get("error") or "")
        table.append(
            RankedTrial(
                name=str(t.get("trial_id") or i),
                status=" ".join(str(t.get(k) or "") for k in ("status", "stage")).strip(),
                full=t.get("stage") == "confirm",
                cost=finite(t.get("tokens")),
                score=None if error else finite(t.get("score")),
                weights={k: max(finite(v) or 0.0, 0.0) for k, v in weights.items()},
                config={k: v for k, v in config.items() if k != "mix.weights"},
                reports=[r for r in t.get("reports") or [] if isinstance(r, dict)],
                error=error,
            )
        )
    table.sort(key=lambda t: (t.score is None, -(t.score or 0.0)))
    return [replace(t, rank=i + 1) for i, t in enumerate(table)]


def search_view(
    rows: Sequence[Mapping[str, Any]], guide: str, guidance: Mapping[str, Any]
) -> SearchView:
    """The trials, their charts, and what the guide concludes."""
    table = ranked_trials(rows)
    scored = [t for t in table if t.score is not None and not t.full]
    pools = list(dict.fromkeys(k for t in scored for k in t.weights))
    return SearchView(
        table=table,
        grid=trial_grid(table, pools),
        figures=search_figures(scored, pools, guidance),
        guide=Markup(MARKDOWN.render(visible(clip(guide, 20_000)))) if guide.strip() else "",
        advice=advice_figures(guidance),
    )


def trial_grid(table: Sequence[RankedTrial], pools: Sequence[str]) -> Grid:
    """A line per trial: score, weights of the pools, options."""
    options = list(dict.fromkeys(k for t in table for k in t.config))
    exact = METRICS[HEADLINE]
    head = ["trial", "rank", "status", exact.label, *pools, *options, "reports", "error"]
    lines = []
    for t in table:
        # one under way does not say its mix yet
        shares = [f"{t.weights.get(pool, 0.0):.2f}" if t.weights else DASH for pool in pools]
        values = [t.config.get(name) for name in options]
        own = [DASH if v is None else v if isinstance(v, int | float) else str(v) for v in values]
        cells = [t.rank, t.status, metric_value(exact, t.score), *shares, *own]
        lines.append((t.name, [*cells, len(t.reports), clip(t.error, 200)]))
    lead = f"{len(table)} trials, best first; one with an error has no score. Charts show ranks."
    return Grid("Trials", head, lines, lead, words=["status", "error"])


def search_figures(
    scored: Sequence[RankedTrial], pools: Sequence[str], guidance: Mapping[str, Any]
) -> list[Figure]:
    """Reports, surfaces of the mix, score against weights, cost."""
    scores = [t.score or 0.0 for t in scored]
    exact = partial(metric_value, METRICS[HEADLINE])
    points: list[dict[str, Any]] = []
    for t, score in zip(scored, scores):
        if total := sum(t.weights.values()):
            shares = {k: w / total for k, w in t.weights.items()}
            note = ", ".join(f"{k} {v:.2f}" for k, v in shares.items())
            point = {"name": str(t.rank), "y": score * 100, "shares": shares, "cost": t.cost}
            point["css"] = shade(score, min(scores), max(scores))
            point["note"] = f"trial {t.name}: {exact(t.score)} with {note}"
            point["weights"] = [shares.get(p, 0.0) for p in pools]
            points.append(point)
    stopped = sum("stopped" in t.status for t in scored)
    cut = "1 trial was" if stopped == 1 else f"{stopped} trials were"
    found = [Figure(f"Exact match (%) at each report; {cut} stopped", report_curves(scored))]
    found += mix_surfaces(points, pools, guidance)
    for pool in pools:
        at = [p | {"x": p["shares"].get(pool, 0.0)} for p in points]
        chart = charts.scatter(at, f"score against the weight of {pool}", f"weight of {pool}")
        found.append(Figure(f"Exact match (%) against {pool}", chart))
    costs = [p | {"x": p["cost"]} for p in points if p["cost"]]
    chart = charts.scatter(costs, "score against cost", "trained tokens")
    return [*found, Figure("Exact match (%) against trained tokens", chart)]


def mix_surfaces(
    points: Sequence[Mapping[str, Any]], pools: Sequence[str], guidance: Mapping[str, Any]
) -> list[Figure]:
    """Mixes of the trials over the predicted score: a triangle of three pools, else pairs."""
    surfaces = [s for s in guidance.get("surfaces") or [] if isinstance(s, Mapping)]
    title = "Mix of each trial; stronger colour is better"
    if len(pools) == 3 and points:
        field = next(
            (surface_cells(s, pools) for s in surfaces if set(s["pools"]) == set(pools)), []
        )
        chart = charts.ternary(points, pools, "mix of each trial", field)
        return [Figure(f"{title}, the predicted score below" if field else title, chart)]
    found = []
    for s in surfaces if len(pools) > 3 else []:
        names = [str(p) for p in s["pools"]]
        field = [c | {"x": c["weights"][0], "y": c["weights"][1]} for c in surface_cells(s, names)]
        at = [zip("xy", (p["shares"].get(n, 0.0) for n in names)) for p in points]
        over = [dict(p) | dict(xy) for p, xy in zip(points, at)]
        chart = charts.surface(field, over, names, f"score over {' and '.join(names)}")
        found.append(Figure(f"Predicted score: {names[0]} across, {names[1]} up", chart))
    return found


def surface_cells(surface: Mapping[str, Any], pools: Sequence[str]) -> list[dict[str, Any]]:
    """The predicted points of a surface as {weights in the order of `pools`, css, note}."""
    rows = [r for r in surface["points"] if all(finite(v) is not None for v in r)]
    scores = [r[-1] for r in rows]
    order = [list(surface["pools"]).index(p) for p in pools]
    return [
        {
            "weights": [r[i] for i in order],
            "css": shade(r[-1], min(scores), max(scores)),
            "note": f"predicted {format_number(r[-1])} at "
            + ", ".join(f"{p} {format_number(r[i])}" for p, i in zip(pools, order)),
        }
        for r in rows
    ]


def report_curves(scored: Sequence[RankedTrial]) -> Chart:
    """A line per trial over its reports: grey lines that end early were stopped."""
    lines, classes = {}, {}
    for t in scored:
        name = f"trial {t.name} (rank {t.rank})"
        points = [(finite(r.get("step")), finite(r.get(HEADLINE))) for r in t.reports]
        points = [(x, y * 100) for x, y in points if x is not None and y is not None]
        if points:
            lines[name] = sorted(points)
            classes[name] = "c0" if "stopped" in t.status else "q1"
    classes |= dict.fromkeys(list(lines)[:1], "q4")
    back_to_front = dict(reversed(lines.items()))
    label = "reports of trials"
    return charts.line_chart(back_to_front, classes, label, "optimiser step", dots=True)


def advice_figures(guidance: Mapping[str, Any]) -> list[Figure]:
    """The recommended share of each pool with its interval, and importance."""
    parts = (guidance.get(k) for k in ("recommended", "interval", "importance"))
    shares, ends, weights = (v if isinstance(v, dict) else {} for v in parts)
    rows = []
    for i, (pool, share) in enumerate(shares.items()):
        low, high, *_ = [*map(finite, ends.get(pool) or ()), None, None]
        if (value := finite(share)) is not None:
            rows.append((pool, colour(i + 1), Estimate(value, low, high)))
    known = {k: v for k, w in weights.items() if (v := finite(w)) is not None and v >= 0}
    ranked = sorted(known.items(), key=lambda kv: -kv[1])
    mix = charts.intervals(rows, "recommended mix", "share of tokens", scale=1)
    importance = charts.bars(ranked[:14], "importance of each axis")
    return [Figure("Recommended mix", mix), Figure("Importance of each axis", importance)]
