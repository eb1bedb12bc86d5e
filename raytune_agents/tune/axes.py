"""One searched option: a range or a list of choices, uniform or drawn around a prior value.

An axis is one variable of the search. Without a prior the variable is the option's own value; with
one it is u in [0, 1] under `KEY:u`, read through the prior's quantiles, so that any searcher uses
the prior without knowing of it (as for the mix, `simplex`).
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from raytune_agents.records import canonical

Sample = dict[str, Any]  # variable of the search -> value: a proposal
RANGES = {"uniform": 2, "loguniform": 2, "randint": 2, "quniform": 3, "qloguniform": 3}
SPREAD = 0.25  # standard deviation of a prior, as a share of the (log) range


@dataclass(frozen=True)
class Axis:
    """One option with a range or a list of choices. `randint` includes both ends.

    With `prior` a range is a normal around it, cut at the ends, with a standard deviation of a
    quarter of the range (in logs for the log kinds); a choice takes the prior twice as often as
    each other value.
    """

    key: str
    kind: str
    low: float = 0.0
    high: float = 1.0
    step: float = 0.0
    options: tuple[Any, ...] = ()
    when: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    prior: Any = None

    @property
    def name(self) -> str:
        """The search's variable."""
        return self.key if self.prior is None else f"{self.key}:u"

    def domains(self) -> dict[str, Any]:
        """The ray.tune domain of the variable."""
        from ray import tune

        if self.prior is not None:
            return {self.name: tune.uniform(0.0, 1.0)}
        if self.kind == "choice":
            return {self.key: tune.choice([code(o) for o in self.options])}
        if self.kind == "randint":
            # Ray leaves the upper end out.
            return {self.key: tune.randint(int(self.low), int(self.high) + 1)}
        bounds = (self.low, self.high, self.step)[: RANGES[self.kind]]
        return {self.key: getattr(tune, self.kind)(*bounds)}

    def at(self, u: float) -> Any:
        """Quantile function: u in [0, 1] -> the (coded) value."""
        if self.kind == "choice":
            ends = self._slices()
            return code(self.options[min(bisect(ends, u * ends[-1]), len(ends) - 1)])
        if self.prior is not None:
            u = float(self._prior().ppf(min(max(u, 0.0), 1.0)))
        if self.kind == "randint":
            # Every whole number has an equal slice of u; at u = 1 the last one would be passed.
            return min(int(self.low + u * (self.high + 1 - self.low)), int(self.high))
        if self.kind == "quniform":
            # Half a step past both ends, so that the ends have a whole slice too.
            return self._round(self.low - self.step / 2 + u * (self.high - self.low + self.step))
        if self.kind in ("loguniform", "qloguniform"):
            value = self.low * (self.high / self.low) ** u
            return self._round(value) if self.step else min(max(value, self.low), self.high)
        return self.low + u * (self.high - self.low)

    def _scaled(self, value: float) -> float:
        """Where a value lies between the ends, in [0, 1], in logs for the log kinds."""
        if "log" in self.kind:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def _prior(self) -> Any:
        """The prior of a range: a normal around where its value lies, truncated to [0, 1]."""
        # Here, as it is slow to load: commands that only look at trials do not draw any.
        from scipy.stats import truncnorm

        mean = self._scaled(self.prior)
        return truncnorm(-mean / SPREAD, (1 - mean) / SPREAD, mean, SPREAD)

    def _slices(self) -> list[float]:
        """Upper ends of the choices' slices; the prior's is twice as wide as another's."""
        known = self.prior is not None
        return list(accumulate(1.0 + (known and o == self.prior) for o in self.options))

    def _round(self, value: float) -> float | int:
        """The nearest multiple of `step` inside the range; an int where all of them are whole."""
        rounded = round(min(max(value, self.low), self.high) / self.step) * self.step
        whole = self.step == int(self.step)
        # 3 * 0.1 is 0.30000000000000004: equal options must be equal, also as text.
        return int(rounded) if whole else float(f"{rounded:.12g}")

    def value(self, sample: Mapping[str, Any]) -> Any:
        """The option's value in a proposal; quantised again, as some searchers ignore steps."""
        raw = sample[self.name]
        if self.prior is not None:
            raw = self.at(float(raw))
        if self.kind == "choice":
            return next(o for o in self.options if code(o) == raw)
        raw = min(max(raw, self.low), self.high)
        if self.kind == "randint":
            return round(raw)
        return self._round(raw) if self.step else raw

    def invert(self, value: Any) -> Sample | None:
        """The proposal that gives `value`; None where the axis does not hold it."""
        if self.kind == "choice":
            held = value in self.options
        else:
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            held = number and self.low <= value <= self.high
            held = held and (not self.step or math.isclose(self._round(value), value))
        if not held:
            return None
        if self.prior is None:
            return {self.key: code(value) if self.kind == "choice" else value}
        if self.kind == "choice":
            ends, at = [0.0, *self._slices()], self.options.index(value)
            # The middle of the slice: on its edge, rounding could give the choice beside it.
            return {self.name: (ends[at] + ends[at + 1]) / 2 / ends[-1]}
        inside = self._scaled(value)
        if self.kind == "randint":  # the middle of the value's slice
            inside = (value + 0.5 - self.low) / (self.high + 1 - self.low)
        elif self.kind == "quniform":
            inside = (value - self.low + self.step / 2) / (self.high - self.low + self.step)
        return {self.name: float(self._prior().cdf(inside))}

    def quantile(self, u: float) -> Sample:
        """The proposal at quantile u of the axis; u in [0, 1]."""
        return {self.name: self.at(u) if self.prior is None else u}

    def middle(self) -> Sample:
        """The proposal in the middle: the prior's value where there is one, else the median."""
        found = self.invert(self.prior) if self.prior is not None else None
        return found or self.quantile(0.5)


def code(option: Any) -> Any:
    """A choice as every searcher takes it: plain values as they are, lists and mappings as JSON."""
    return option if isinstance(option, (str, int, float, bool, type(None))) else canonical(option)
