"""The page: the sections put into report.html; style and script are inlined, nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from raytune_agents.report import cases, charts, findings, sections, tuning
from raytune_agents.report.folder import Run
from raytune_agents.report.text import clip, finite, number, seconds, tidy_json, visible

LIMIT_BYTES = 5_000_000
LISTED = (400, 200, 100, 50, 20, 5, 0)  # wrong cases that are tried until the page fits LIMIT_BYTES


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
    env.filters |= {"clip": clip, "number": number, "seconds": seconds, "tidy_json": tidy_json}
    return env


def asset(name: str) -> str:
    return (files("raytune_agents.report") / name).read_text(encoding="utf-8")


def source_hash(script: str) -> str:
    """The CSP source of an inline script: only it may run, whatever else came into the page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def render(run: Run, context: dict[str, Any]) -> str:
    """The page from `build`'s context; fewer wrong cases are listed where LIMIT_BYTES needs it."""
    script, page = asset("report.js"), ""
    fixed = {"style": Markup(asset("report.css")), "script": Markup(script)}
    template = environment().get_template("report.html")
    for most in LISTED:
        errors = sections.errors(run, context["cases"], most)
        page = template.render(context, **fixed, csp=source_hash(script), errors=errors)
        if len(page.encode()) < LIMIT_BYTES:
            break
    return page


def build(run: Run) -> dict[str, Any]:
    """Everything the page shows but the error cases, which depend on the room that is left."""
    asked = findings.arms(str(a.get("arm") or "") for a in run.answers)
    arms = findings.arms(run.scores, run.differences, run.mix, run.metrics, asked)
    css = {arm: charts.colour(i + (arms[0] != "base")) for i, arm in enumerate(arms)}
    confidence = finite((run.config.get("evaluate") or {}).get("confidence")) or 0.95
    verdict = findings.verdict(run.scores, run.differences, confidence)
    grouped = cases.group(run.answers)
    return {
        "run": run,
        "arms": arms,
        "asked": asked,
        "css": css,
        "confidence": confidence,
        "verdict": verdict,
        "cases": grouped,
        "tiles": sections.tiles(run, verdict),
        "boards": [
            sections.board(run, split, css)
            for split in findings.ordered({s for by in run.scores.values() for s in by})
        ],
        "costs": sections.cost_charts(run, grouped, arms, css),
        "energy": str(run.manifests.get("evaluate", {}).get("energy") or ""),
        "learning": sections.learning(run, css),
        "robustness": sections.robustness(run, arms, css),
        "plays": sections.plays(run, verdict.arm),
        "changes": sections.changes(run, grouped, verdict, arms),
        "faults": sections.fault_charts(grouped, asked, css),
        "confusion": sections.confusion(grouped, asked, verdict.arm),
        "details": sections.details(grouped, asked),
        "funnel": findings.funnel(run.manifests),
        "stages": findings.stages(run.manifests),
        "pools": findings.pools(run.groups),
        "mixes": findings.mixes(run.mix),
        "data_charts": sections.data_charts(run),
        "examples": sections.examples(run),
        "curves": [
            (key.replace("_", " "), charts.lines(by, css, f"{key} by step", "optimiser step"))
            for key, by in findings.curves(run.metrics).items()
        ],
        "search": tuning.section(run.trials, run.guide, run.guidance),
        "facts": sections.facts(run),
    }
