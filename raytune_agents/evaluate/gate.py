"""The no-regression gate: may an arm be recommended, or did it pay for its gain elsewhere?

Tuning on calls alone teaches a model to call always: it then calls where no tool fits, and stops
doing what it is told. So two metrics are guarded, irrelevance and instruction following: each may
fall at most `MARGIN` below the reference, judged by the lower end of the paired interval (a
non-inferiority test). An interval that reaches below the margin proves neither, and is said to be
"not proven". The same gate stands in evaluation, report, `compare` and the search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from raytune_agents.evaluate.estimates import JsonRecord
from raytune_agents.evaluate.paired import LEAST_PAIRS, Difference
from raytune_agents.records import JsonObject

GUARDED = ("irrelevance", "instruction_following")
MARGIN = 0.05  # of a share: 5 points
LEAST_RELEVANCE = 0.5  # a base that calls less often is right about every no-call row for nothing
Outcome = Literal["kept", "lost", "not proven"]


def as_points(share: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    value = round((share or 0.0) * 100, 1)
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{abs(value):.1f}"


def ends_in_points(cell: Difference) -> str:
    """The interval of a difference."""
    return f"{as_points(cell.low)} to {as_points(cell.high)}"


def least_shown(cell: Difference) -> str:
    """The differences that so many rows would miss, at 80 % power."""
    if cell.detectable is None or cell.detectable >= 1:
        rows = "1 paired row is" if cell.n == 1 else f"{cell.n} paired rows are"
        return f"{rows} too few to show a difference"
    return f"{cell.n} paired rows would often miss less than {cell.detectable * 100:.0f} points"


@dataclass(frozen=True, slots=True)
class GuardedMetric(Difference):
    """One guarded metric of an arm: its paired difference to the reference, and what that shows."""

    outcome: Outcome = "not proven"


@dataclass(frozen=True, slots=True)
class GateResult(JsonRecord):
    """What an arm lost against `reference` ("" where there is none: then nothing is proven)."""

    reference: str
    metrics: dict[str, GuardedMetric]
    arm: str = ""

    @property
    def outcome(self) -> Outcome:
        if self.arm == self.reference:  # against itself nothing can be lost
            return "not proven"
        found = {m.outcome for m in self.metrics.values()}
        # One loss is enough, whatever else was kept.
        if "lost" in found:
            return "lost"
        return "kept" if self.reference and found == {"kept"} else "not proven"

    def named(self, outcome: Outcome) -> list[str]:
        """The metrics of that outcome."""
        return [name for name, m in self.metrics.items() if m.outcome == outcome]

    def words(self, *names: str) -> str:
        """For example "irrelevance −12.0 points (−17.1 to −6.8, n = 100)"."""
        said = []
        for name in names:
            cell, label = self.metrics[name], name.replace("_", " ")
            size = f"{as_points(cell.value)} points ({ends_in_points(cell)}, n = {cell.n})"
            said.append(f"{label} {'was not measured' if cell.value is None else size}")
        return ", ".join(said)

    def sentence(self, better: bool) -> str:
        """ "better, and nothing lost", or what was lost, or what is not proven."""
        gain = "better" if better else "not shown to be better"
        if self.arm == self.reference:
            return f"{gain}; that nothing was lost is not proven, because base hardly ever calls"
        if not self.reference:
            return (
                f"{gain}; that nothing was lost is not proven, because the reference hardly ever "
                "calls"
            )
        if lost := self.words(*self.named("lost")):
            return f"{gain}, but lost against {self.reference}: {lost}"
        if left := self.words(*self.named("not proven")):
            return f"{gain}; that nothing was lost against {self.reference} is not proven: {left}"
        return f"{gain}, and nothing lost"

    def record(self) -> JsonObject:
        """As a JSON object."""
        metrics = {name: m.record() for name, m in self.metrics.items()}
        return {"reference": self.reference, "outcome": self.outcome, "metrics": metrics}


def reference_arm(base_relevance: float | None, positives_only: str) -> str:
    """The arm that losses are measured against: the base where it calls often enough to be judged,
    else the arm trained on positive rows only ("" where there is none)."""
    if base_relevance is not None and base_relevance >= LEAST_RELEVANCE:
        return "base"
    return positives_only


def guarded(difference: Difference, margin: float = MARGIN) -> Outcome:
    """kept: the whole interval is above -margin; lost: it is below; else, and on fewer rows than
    LEAST_PAIRS, not proven."""
    if difference.low is None or difference.high is None or difference.n < LEAST_PAIRS:
        return "not proven"
    # The lower end decides: a wide interval must not pass for want of rows.
    if difference.low >= -margin:
        return "kept"
    return "lost" if difference.high < -margin else "not proven"


def no_regression(
    arm: str, reference: str, differences: Mapping[str, Difference], margin: float = MARGIN
) -> GateResult:
    """The gate of one arm; `differences`: {metric: arm - reference, paired by row}. A guarded
    metric that is not in it was not measured, so it is not proven."""
    # Always both: a metric that was not measured must show as not proven.
    found = {name: differences.get(name, Difference()) for name in GUARDED}
    metrics = {
        name: GuardedMetric(**asdict(d), outcome=guarded(d, margin)) for name, d in found.items()
    }
    return GateResult(reference, metrics, arm)
