"""The report step: one offline page on the whole run."""

from __future__ import annotations

from raytune_agents import report as pages
from raytune_agents.pipeline.context import Context
from raytune_agents.records import JsonObject
from raytune_agents.runs import Counts, Step


def report(context: Context, step: Step) -> tuple[Counts, JsonObject]:
    """Write report.html; the manifest names it."""
    step.folder.mkdir(parents=True, exist_ok=True)
    page = pages.write_report(context.run.folder)
    return Counts(), {"page": str(page.relative_to(context.run.folder))}
