"""Public models' figures (anchors.yaml) beside ours, in the BFCL categories that the run was
asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import yaml

from raytune_agents.evaluate.measured import IRRELEVANCE, AnswerRow
from raytune_agents.evaluate.scoreboard import VAL
from raytune_agents.evaluate.verdict import HEADLINE
from raytune_agents.report.boards import Grid
from raytune_agents.report.safe_text import DASH

ANCHORS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))


def anchor_grid(answers: Sequence[AnswerRow], arms: Iterable[str], config: Mapping) -> Grid:
    """The anchors, then every arm that answered rows of BFCL: the mean of the categories that it
    was asked, with their rows."""
    groups, lines = ANCHORS["groups"], list(ANCHORS["models"].items())
    found: dict[str, dict[str, list[float]]] = {}
    for answer in answers:
        kind, _, category = answer.source.partition("/")
        value = answer.values.get(HEADLINE)
        if kind == "bfcl" and value is not None and answer.split not in (VAL, IRRELEVANCE):
            found.setdefault(answer.arm, {}).setdefault(category, []).append(value)
    for arm in arms:
        cells = [_group(found.get(arm, {}), categories) for categories in groups.values()]
        lines += [(arm, cells)] if set(cells) != {DASH} else []
    lead = f"{ANCHORS['source']}. Only a run that was asked whole categories is on the same scale."
    if trained_on_bfcl(config):
        lead += " This run was trained on other rows of BFCL, so its figures are no BFCL scores."
    return Grid("Public models, for context", ["model", *groups], lines, lead)


def _group(values: Mapping[str, Sequence[float]], categories: Sequence[str]) -> str:
    measured = [values[c] for c in categories if c in values]
    if not measured:
        return DASH
    rows = sum(map(len, measured))
    mean = fmean(map(fmean, measured))
    return f"{mean * 100:.1f} % of {rows} rows in {len(measured)} of {len(categories)} categories"


def trained_on_bfcl(config: Mapping) -> bool:
    """Whether the run's own rows are BFCL's: its figures on other rows of BFCL are then no BFCL
    scores."""
    sources = (config.get("read") or {}).get("sources") or []
    return any(isinstance(s, Mapping) and s.get("path") == "bfcl" for s in sources)
