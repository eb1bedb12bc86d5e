"""A run folder -> one offline HTML page, report.md and CSV files.

Reads only what the steps wrote; shows what is there and names what is missing. No ray, torch, vllm.
The page needs no network: style, script and charts are in it; its content policy forbids the rest.
"""

from __future__ import annotations

from pathlib import Path

from raytune_agents.records import JsonObject
from raytune_agents.redact import redact
from raytune_agents.report import page, tables
from raytune_agents.report.digest import run_digest
from raytune_agents.report.folder import ReportError, read_run
from raytune_agents.storage import write_text

__all__ = ["ReportError", "digest_of", "write_report"]


def write_report(run_dir: Path) -> Path:
    """Write RUN/report.html, RUN/report.md and RUN/report/*.csv; returns the path of the page.

    Raises ReportError where `run_dir` holds no step's manifest.
    """
    run_dir = Path(run_dir)
    run = read_run(run_dir)
    context = page.page_context(run)
    for name, table in tables.report_tables(run, context).items():
        _put(run_dir / "report" / f"{name}.csv", tables.csv_text(table))
    _put(run_dir / "report.md", tables.markdown(run, context))
    return _put(run_dir / "report.html", page.render_page(run, context))


def digest_of(run_dir: Path) -> JsonObject:
    """The run's figures for a script (`digest`). Raises as `write_report`."""
    return run_digest(read_run(Path(run_dir)))


def _put(path: Path, text: str) -> Path:
    """Write a whole file or none, without secrets."""
    write_text(path, redact(text))
    return path
