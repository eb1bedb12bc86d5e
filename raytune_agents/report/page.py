"""The page: the sections put into report.html; style and script are inlined, nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from raytune_agents.redact import visible
from raytune_agents.report import (
    boards,
    cases,
    charts,
    findings,
    overview,
    rounds_section,
    search_section,
    sections,
)
from raytune_agents.report.canvas import Chart
from raytune_agents.report.folder import RunContents
from raytune_agents.report.safe_text import clip, format_number, seconds, tidy_json
from raytune_agents.report.tables import csv_text

LIMIT_BYTES = 5_000_000
LISTED = (400, 200, 100, 50, 20, 5, 0)  # wrong cases that are tried until the page fits LIMIT_BYTES


@cache
def template_environment() -> jinja2.Environment:
    """Autoescape is on for everything, and every printed value first passes `visible`."""
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("raytune_agents.report", "."),
        autoescape=True,
        finalize=visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    named = (clip, seconds, tidy_json, data_uri, file_name)
    env.filters |= {f.__name__: f for f in named} | {"number": format_number}
    return env


def data_uri(chart: Chart) -> str:
    """A chart's table as a CSV file in the page itself; base64 holds nothing that is markup."""
    text = csv_text((chart.head, list(chart.rows)))
    return f"data:text/csv;base64,{base64.b64encode(text.encode()).decode()}"


def file_name(title: str) -> str:
    """A title as the name of a file."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:60] or "chart"


def asset(name: str) -> str:
    return (files("raytune_agents.report") / name).read_text(encoding="utf-8")


def source_hash(script: str) -> str:
    """The CSP source of an inline script: only it may run, whatever else came into the page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def render_page(run: RunContents, context: dict[str, Any]) -> str:
    """The page from `page_context`; fewer wrong cases are listed where LIMIT_BYTES needs it."""
    script, page = asset("report.js"), ""
    fixed = {"style": Markup(asset("report.css")), "script": Markup(script)}
    template = template_environment().get_template("report.html")
    for most in LISTED:
        errors = sections.error_browser(run, context["cases"], most)
        page = template.render(context, **fixed, csp=source_hash(script), errors=errors)
        if len(page.encode()) < LIMIT_BYTES:
            break
    return page


def page_context(run: RunContents) -> dict[str, Any]:
    """Everything the page shows but the error cases, which depend on the room that is left."""
    answered = boards.arms_in_order(a.arm for a in run.answers)
    arms = boards.arms_in_order(run.scores, run.differences, run.mix, run.curves, answered)
    css = boards.arm_colours(arms)
    grouped = cases.group_cases(run.answers)
    drop_figures, drops = sections.robustness_section(run, arms, css)
    return {
        "run": run,
        "arms": arms,
        "answered": answered,
        "css": css,
        "gate": run.conclusion.gate[:1].upper() + run.conclusion.gate[1:],
        "gate_tone": overview.gate_tone(run),
        "questions": {asked: answer(run) for asked, answer in overview.QUESTIONS.items()},
        "suites": overview.changes_by_suite(run, css),
        "cases": grouped,
        "boards": [boards.split_board(run, split, css) for split in boards.scored_splits(run)],
        "overall": boards.overall_grid(run),
        "grids": [
            boards.confidence_grid(run),
            boards.latency_grid(run),
            boards.quantized_grid(run),
            boards.cost_grid(run),
        ],
        "anchors": boards.anchor_grid(run.answers, answered, run.config) if run.scores else None,
        "cost_figures": sections.cost_charts(run, grouped, arms, css),
        "learning": sections.learning(run, css),
        "robustness": drops,
        "robustness_figures": drop_figures,
        "rollouts": cases.shown_rollouts(run, run.conclusion.arm),
        "changes": sections.before_after(run, grouped, arms),
        "faults": sections.fault_charts(grouped, answered, css),
        "confusion": sections.confused_tools(grouped, answered),
        "details": (where := sections.details(grouped, answered)),
        "detail_grids": [sections.detail_grid(t, lines, answered) for t, lines in where.items()],
        "funnel": findings.step_funnel(run.manifests),
        "stages": findings.stages(run.manifests),
        "generated": findings.generated_quality(run.manifests),
        "pools": findings.pools(run.groups),
        "mixes": findings.arm_mixes(run.mix),
        "data_charts": sections.data_charts(run),
        "examples": cases.example_rows(run),
        "curves": [
            boards.Figure(
                key.replace("_", " "),
                charts.line_chart(by, css, f"{key} by step", "optimiser step"),
            )
            for key, by in findings.curves(run.curves).items()
        ],
        "rounds": rounds_section.rounds_view(run.rounds),
        "search": search_section.search_view(run.trials, run.guide, run.guidance),
        "facts": sections.run_facts(run),
        "steps": sections.step_grid(run),
        "config": clip(yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True), 40_000),
    }
