"""The page: findings and charts put into report.html; style and script are inlined, nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from raytune_agents.records import Trajectory
from raytune_agents.report import cases as case_tables
from raytune_agents.report import charts, findings
from raytune_agents.report.findings import HEADLINE, Metric
from raytune_agents.report.folder import Run, trajectories
from raytune_agents.report.text import clip, finite, number, pretty_json, seconds, visible

LIMIT_BYTES = 5_000_000
CASE_STEPS = (
    400,
    200,
    100,
    50,
    20,
    5,
)  # how many wrong cases are tried until the page fits LIMIT_BYTES


@cache
def environment() -> jinja2.Environment:
    """Autoescape is on for everything, and every printed value first passes `visible`."""
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("raytune_agents.report", "."),
        autoescape=True,
        finalize=visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"clip": clip, "number": number, "seconds": seconds, "pretty_json": pretty_json}
    return env


def asset(name: str) -> str:
    return (files("raytune_agents.report") / name).read_text(encoding="utf-8")


def script_hash(text: str) -> str:
    """The CSP source of an inline script: only this script may run, whatever else came into the page."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def render(run: Run, context: dict[str, Any]) -> str:
    """The page from `build`'s context, under LIMIT_BYTES: fewer wrong cases are listed where more would not fit."""
    script = asset("report.js")
    page = ""
    for most in CASE_STEPS:
        page = (
            environment()
            .get_template("report.html")
            .render(
                context,
                style=Markup(asset("report.css")),
                script=Markup(script),
                csp=script_hash(script),
                errors=errors(run, context["cases"], most),
            )
        )
        if len(page.encode()) < LIMIT_BYTES:
            break
    return page


def build(run: Run) -> dict[str, Any]:
    """Everything the page shows but the error cases, which depend on the room that is left."""
    names = findings.arms(run.scores, run.metrics, run.mix)
    css = {arm: charts.colour(i if names[0] == "base" else i + 1) for i, arm in enumerate(names)}
    confidence = finite((run.config.get("evaluate") or {}).get("confidence")) or 0.95
    verdict = findings.verdict(run.scores, run.differences, confidence)
    splits = findings.ordered({s for by in run.scores.values() for s in by})
    grouped = case_tables.group(run.answers)
    return {
        "run": run,
        "arms": names,
        "css": css,
        "verdict": verdict,
        "confidence": confidence,
        "splits": splits,
        "cases": grouped,
        "tiles": tiles(run, verdict),
        "funnel": findings.funnel(run.manifests),
        "pools": findings.pools(run.groups, run.mix),
        "mixes": findings.mixes(run.mix),
        "examples": pool_examples(run),
        "faults": fault_charts(run, css),
        "curves": curve_charts(run, css),
        "boards": [board(run, s, css) for s in splits],
        "changes": changes(run, grouped, verdict, names),
        "details": details(grouped, names, css),
        "trials": trial_charts(run),
        "facts": facts(run),
    }


def tiles(run: Run, verdict: findings.Verdict) -> list[tuple[str, str, str]]:
    """(label, value, note) of the figures at the top."""
    metric, found = Metric(HEADLINE), []
    if verdict.arm:
        cell = run.differences[verdict.arm][verdict.split][HEADLINE]
        note = f"points of exact match, {verdict.arm} against base on {verdict.split}"
        found.append(("difference", metric.change(cell["value"]), note))
    accepted = sum(g["n"] for g in run.groups if not g["reject_reason"])
    if run.groups:
        found.append(
            ("rows", number(accepted), f"accepted of {number(sum(g['n'] for g in run.groups))}")
        )
    asked = {(a.get("split"), a.get("id")) for a in run.answers}
    if asked:
        arms = {a.get("arm") for a in run.answers}
        found.append(("test rows", number(len(asked)), f"answered by {len(arms)} arms"))
    total = sum(finite(m.get("seconds")) or 0.0 for m in run.manifests.values())
    found.append(("time", seconds(total), f"in {len(run.manifests)} steps"))
    return found


def pool_examples(run: Run, each: int = 3) -> list[dict[str, Any]]:
    """Up to `each` accepted rows a pool family, of different kinds first; ids are hashes, so the choice is even and fixed."""
    chosen: dict[str, list[dict[str, str]]] = {}
    for family in dict.fromkeys(
        [*findings.FAMILIES, *(findings.family(r["pool"]) for r in run.ids)]
    ):
        rows = sorted(
            (r for r in run.ids if findings.family(r["pool"]) == family),
            key=lambda r: (bool(r["reject_reason"]), r["id"]),
        )
        kinds: dict[tuple[str, str], int] = {}
        for r in rows:
            r["turn"] = kinds[r["pool"], r["fault"]] = kinds.get((r["pool"], r["fault"]), 0) + 1
        chosen[family] = sorted(rows, key=lambda r: (r["turn"], bool(r["reject_reason"])))[:each]
    whole = trajectories(run, [r["id"] for rows in chosen.values() for r in rows])
    return [
        {"family": family, "rows": [shown(whole[r["id"]]) for r in rows if r["id"] in whole]}
        for family, rows in chosen.items()
        if rows
    ]


def shown(row: Trajectory) -> dict[str, Any]:
    """What the page shows of a row: facts, tool names and its turns as (role, text, calls)."""
    turns = [
        {
            "role": m.role,
            "text": clip(m.content),
            "thought": clip(m.thought, 400),
            "trained": m.trained,
            "calls": [f"{c.name}({clip(c.arguments, 600)})" for c in m.tool_calls[:8]],
        }
        for m in row.messages
    ]
    cut = max(0, len(turns) - 8)
    return {
        "id": row.id,
        "pool": row.pool,
        "fault": row.fault,
        "source": row.source,
        "step": row.step,
        "reason": row.reject_reason,
        "split": row.split,
        "parents": row.parents[:3],
        "cut": cut,
        "tools": clip(", ".join(t.name for t in row.tools), 300),
        "turns": turns[:4] + turns[cut + 4 :],
    }


def fault_charts(run: Run, css: Mapping[str, str]) -> list[dict[str, Any]]:
    """Faults of the negative rows, reject reasons, and what each arm gets wrong."""
    charted = []

    def add(title: str, note: str, pairs: list[tuple[str, float]], css_class: str = "c1") -> None:
        if pairs:
            svg = charts.bars(findings.tally(pairs), title, css_class)
            charted.append(
                {"title": title, "note": note, "svg": svg, "total": sum(n for _, n in pairs)}
            )

    negative = [g for g in run.groups if g["fault"]]
    add("Faults in the negative rows", "rows by fault", [(g["fault"], g["n"]) for g in negative])
    add(
        "Reasons of rejected rows",
        "rows by reason",
        [(g["reject_reason"], g["n"]) for g in run.groups if g["reject_reason"]],
        "c0",
    )
    for arm in findings.arms({}, dict.fromkeys(a["arm"] for a in run.answers)):
        wrong = [
            (a["fault"] or a.get("error") or "unnamed", 1)
            for a in run.answers
            if a["arm"] == arm and not a["exact_match"]
        ]
        add(
            f"What {arm} gets wrong",
            "wrong answers by fault, all splits",
            wrong,
            css.get(arm, "c0"),
        )
    return charted


def curve_charts(run: Run, css: Mapping[str, str]) -> list[dict[str, Any]]:
    """One chart a metric, a line an arm."""
    return [
        {
            "title": key.replace("_", " "),
            "svg": charts.lines(by, css, f"{key} by step", "optimiser step"),
        }
        for key, by in findings.curves(run.metrics).items()
    ]


def board(run: Run, split: str, css: Mapping[str, str]) -> dict[str, Any]:
    """One split: the table, and the charts of exact match and of its difference to base."""
    metrics, lines = findings.board(run.scores, run.differences, split)
    metric = Metric(HEADLINE)

    def rows(table: Mapping) -> list[dict[str, Any]]:
        found = []
        for arm, by in table.items():
            cell = by.get(split, {}).get(HEADLINE) or {}
            low, value, high = (finite(cell.get(k)) for k in ("low", "value", "high"))
            if value is not None:
                found.append(
                    {
                        "name": arm,
                        "value": value,
                        "low": low,
                        "high": high,
                        "css": css.get(arm, "c0"),
                    }
                )
        return found

    figures = [
        charts.intervals(
            rows(run.scores),
            f"Exact match on {split}",
            f"exact match, {split}",
            lambda v: f"{v * 100:.0f} %",
        ),
        charts.intervals(
            rows(run.differences),
            f"Difference to base on {split}",
            "points more than base",
            metric.change,
            zero=0.0,
        ),
    ]
    return {"split": split, "metrics": metrics, "lines": lines, "charts": [f for f in figures if f]}


def changes(
    run: Run, cases: list, verdict: findings.Verdict, names: list[str]
) -> dict[str, Any] | None:
    """Before / after: the best arm (or the last one) against base."""
    asked = {a.get("arm") for a in run.answers}
    arm = (
        verdict.arm
        if verdict.arm in asked
        else next((n for n in reversed(names) if n in asked - {"base"}), "")
    )
    split = verdict.split or next(iter(findings.ordered({c["split"] for c in cases})), "")
    if not arm or "base" not in asked:
        return None
    return {
        "arm": arm,
        "split": split,
        "counts": case_tables.change(cases, arm, split),
        "cases": case_tables.examples(cases, arm, split),
    }


def details(cases: list, names: list[str], css: Mapping[str, str]) -> list[dict[str, Any]]:
    """Exact match by number of calls, by category and by tool: tables with a cell an arm."""
    asked = [n for n in names if any(n in c["answers"] for c in cases)]
    out = []
    for title, key, most in (
        ("By number of calls", case_tables.calls_of, 8),
        ("By category", case_tables.category_of, 24),
        ("By tool", case_tables.tool_of, 24),
    ):
        lines = case_tables.shares(cases, asked, key)
        if len(lines) > 1:
            out.append(
                {
                    "title": title,
                    "arms": asked,
                    "lines": lines[:most],
                    "every": lines,
                    "more": len(lines) - most,
                }
            )
    return out


def errors(run: Run, cases: list, most: int) -> dict[str, Any]:
    """The error browser: cases, their faults as numbers (names stay out of attributes), and their lineage."""
    chosen = case_tables.wrong(cases, most)
    every = [c for c in cases if case_tables.faults(c)]
    names = sorted({f for c in chosen for f in case_tables.faults(c)})
    origin = trajectories(run, [c["id"] for c in chosen])
    return {
        "cases": [
            c
            | {
                "faults": [names.index(f) for f in case_tables.faults(c)],
                "origin": origin.get(c["id"]),
            }
            for c in chosen
        ],
        "names": names,
        "splits": findings.ordered({c["split"] for c in chosen}),
        "total": len(every),
    }


def trial_charts(run: Run) -> dict[str, Any]:
    """Trials as a table, their rungs as lines, score against each weight, and the triangle for three pools."""
    table = findings.trials(run.trials)
    scored = [t for t in table if t["best"] is not None]
    best = [t["best"] for t in scored]
    low, high = (min(best), max(best)) if best else (0.0, 0.0)

    def shade(t: Mapping) -> str:
        return f"q{round(4 * (t['best'] - low) / (high - low)) if high > low else 2}"

    def note(t: Mapping) -> str:
        return f"trial {t['name']}: {t['best'] * 100:.1f} % with " + ", ".join(
            f"{k} {v:.2f}" for k, v in t["weights"].items()
        )

    names = list(dict.fromkeys(k for t in scored for k in t["weights"]))
    rungs = {
        f"{t['rank']}": [
            (float(r["step"]), v * 100)
            for r in t["reports"]
            if finite(r.get("step")) is not None and (v := finite(r.get(HEADLINE))) is not None
        ]
        for t in scored
    }
    rungs = {k: v for k, v in rungs.items() if v}
    figures = [
        (
            "Reports of each trial (%)",
            charts.lines(
                rungs,
                {k: "q4" if k == "1" else "q1" for k in rungs},
                "exact match by step, the best trial strong",
                "optimiser step",
                230,
                dots=True,
            ),
        )
    ]
    totals = [(t, sum(t["weights"].values())) for t in scored]
    if len(names) == 3:
        points = [
            {
                "name": str(t["rank"]),
                "css": shade(t),
                "note": note(t),
                "weights": [t["weights"].get(n, 0.0) / total for n in names],
            }
            for t, total in totals
            if total > 0
        ]
        figures.append(
            (
                "Mix of each trial, darker is better",
                charts.ternary(points, names, "mix of each trial"),
            )
        )
    for name in names:
        points = [
            {
                "name": str(t["rank"]),
                "x": t["weights"].get(name, 0.0) / total,
                "y": t["best"] * 100,
                "css": shade(t),
                "note": note(t),
            }
            for t, total in totals
            if total > 0
        ]
        figures.append(
            (
                f"Score (%) against {name}",
                charts.scatter(points, f"score against the weight of {name}", f"weight of {name}"),
            )
        )
    return {
        "table": table,
        "weights": names,
        "charts": [(t, s) for t, s in figures if s],
        "options": list(dict.fromkeys(k for t in table for k in t["config"])),
    }


def facts(run: Run) -> dict[str, Any]:
    """What it takes to repeat the run: command, seeds, revisions, versions, hardware, keys and the config."""

    def merged(key: str) -> dict[str, str]:
        out: dict[str, set[str]] = {}
        for manifest in run.manifests.values():
            value = manifest.get(key)
            for k, v in (
                value.items() if isinstance(value, dict) else [(key, value)] if value else []
            ):
                out.setdefault(k, set()).add(
                    v if isinstance(v, str) else json.dumps(v, default=str)
                )
        return {k: " / ".join(sorted(v)) for k, v in out.items()}

    return {
        "seed": run.config.get("seed"),
        "revision": merged("revision").get("revision", ""),
        "versions": merged("versions"),
        "hardware": merged("hardware"),
        "keys": [
            (s, m.get("key") or "", m.get("started") or "", m.get("finished") or "")
            for s, m in run.manifests.items()
        ],
        "config": clip(yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True), 40_000),
    }
