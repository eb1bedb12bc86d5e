"""The no-regression gate over the trials of a search: what a mix may not lose while it gains.

Each whole trial is held against a reference by its answers to the val rows that want no call
(`evaluate.gate` says why, and which reference).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.evaluate.gate import MARGIN, Outcome, guarded, reference_arm
from raytune_agents.evaluate.paired import paired
from raytune_agents.tune.trials import Hits, Trial

METRIC = "irrelevance"


@dataclass(frozen=True)
class GateSummary:
    """`outcomes`: {trial id: kept, lost or not proven}; `reference`: its name, "" where there is
    none; `value`: its irrelevance; `rows`: val rows that want no call."""

    metric: str = METRIC
    reference: str = ""
    value: float | None = None
    rows: int = 0
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)

    @property
    def least(self) -> float | None:
        """The value that a mix must be predicted to reach."""
        return None if self.value is None else self.value - MARGIN


def reference_hits(base: Trial | None, positives: Sequence[Trial]) -> tuple[str, Hits]:
    """(name, hits) of what no mix may fall behind; ("", {}) where nothing was scored."""
    relevance = base.reports[-1].get("relevance") if base and base.reports else None
    whole = next((t for t in positives if t.status == "finished"), None)
    name = reference_arm(relevance, "positives_only" if whole else "")
    trial = base if name == "base" else whole if name else None
    return (name, trial.hits()) if trial else ("", {})


def judge_search(
    trials: Sequence[Trial], base: Trial | None, positives: Sequence[Trial], how: Resampling
) -> GateSummary:
    """The gate over all whole trials."""
    name, hits = reference_hits(base, positives)
    known = hits.get(METRIC)
    if not known:
        return GateSummary()
    outcomes = {
        t.trial_id: guarded(paired(known, found, how))
        for t in trials
        if t.status == "finished" and (found := t.hits().get(METRIC))
    }
    return GateSummary(METRIC, name, sum(known.values()) / len(known), len(known), outcomes)
