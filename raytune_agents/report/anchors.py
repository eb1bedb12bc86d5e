"""Public models' figures beside ours, in the BFCL categories that the run was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from raytune_agents.evaluate.measured import IRRELEVANCE, AnswerRow
from raytune_agents.evaluate.verdict import HEADLINE, VAL
from raytune_agents.report.boards import Grid
from raytune_agents.report.safe_text import DASH

SOURCE = "BFCL v4, official scores of December 2025: whole categories, official prompts"
# the groups of the official table, each the unweighted mean of its categories
GROUPS = {
    "non-live": ("simple_python", "multiple", "parallel", "parallel_multiple"),
    "live": ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"),
    "irrelevance": ("irrelevance", "live_irrelevance"),
}

ANCHORS = (
    ("Granite-4.0-350m", ["67.9 %", "46.1 %", "60.8 %"]),
    ("Hammer2.1-0.5b", ["66.0 %", "54.6 %", "80.8 %"]),
    ("Qwen3-0.6B", ["71.8 %", "56.6 %", "80.8 %"]),
)


def anchor_grid(answers: Sequence[AnswerRow], arms: Iterable[str], config: Mapping) -> Grid:
    """The anchors, then every arm that answered rows of BFCL: the mean of the categories that it
    was asked, with their rows."""
    found: dict[str, dict[str, list[float]]] = {}
    for answer in answers:
        kind, _, category = answer.source.partition("/")
        value = answer.values.get(HEADLINE)
        if kind == "bfcl" and value is not None and answer.split not in (VAL, IRRELEVANCE):
            found.setdefault(answer.arm, {}).setdefault(category, []).append(value)
    ours = [(arm, [_group(found[arm], g) for g in GROUPS.values()]) for arm in arms if arm in found]
    lead = f"{SOURCE}. Only a run that was asked whole categories is on the same scale."
    if trained_on_bfcl(config):
        lead += " This run was trained on other rows of BFCL, so its figures are no BFCL scores."
    lines = [*ANCHORS, *((arm, cells) for arm, cells in ours if set(cells) != {DASH})]
    return Grid("Public models, for context", ["model", *GROUPS], lines, lead)


def _group(by: Mapping[str, Sequence[float]], categories: Iterable[str]) -> str:
    measured = [by[c] for c in categories if c in by]
    if not measured:
        return DASH
    mean = sum(sum(values) / len(values) for values in measured) / len(measured)
    rows = sum(map(len, measured))
    return f"{mean * 100:.1f} % of {rows} rows in {len(measured)} of {len(tuple(categories))}"


def trained_on_bfcl(config: Mapping) -> bool:
    """Whether the run's own rows are BFCL's: its figures on other rows of BFCL are then no BFCL
    scores."""
    sources = (config.get("read") or {}).get("sources") or []
    return any(isinstance(s, Mapping) and s.get("path") == "bfcl" for s in sources)
