"""Is an arm better than the base? Pairs by row: the difference, its interval, then the p-value.

Values come as {row id: value} so that rows are paired by what they are, never by their place; a
value is None where the metric does not apply. Arms of different rows are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import comb
from statistics import NormalDist
from typing import TypeVar

import numpy as np

from raytune_agents.evaluate.estimates import CELLS, DEFAULT, JsonRecord, Resampling
from raytune_agents.evaluate.measured import grouped_rows
from raytune_agents.records import JsonObject

Values = Mapping[str, float | None]
FEW_SEEDS = 3  # with fewer seeds the spread between them cannot be estimated
LEAST_PAIRS = 6  # five pairs tell nothing apart: where all fall the same way, McNemar's p is 0.06
ALIKE = 1e-12  # differences that are no further apart are one number


@dataclass(frozen=True, slots=True)
class Difference(JsonRecord):
    """Arm minus reference over the same rows; without common rows n = 0 and the numbers are None.

    `low`, `high`: the interval of `value`; `p_holm`: p corrected over the arms compared together;
    `wins`, `losses`: rows above and below (one seed per side only); `detectable`: the difference
    that `n` rows show with 80 % power; `few_seeds`: a side has fewer than three seeds.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    p: float | None = None
    p_holm: float | None = None
    wins: int = 0
    losses: int = 0
    detectable: float | None = None
    few_seeds: bool = False

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves zero out on at least LEAST_PAIRS rows, else 0."""
        if self.low is None or self.high is None or self.n < LEAST_PAIRS:
            return 0
        return (self.low > 0) - (self.high < 0)

    def record(self) -> JsonObject:
        """As a JSON object; what was not measured is left out."""
        return {k: v for k, v in asdict(self).items() if v is not None}


Kind = TypeVar("Kind", bound=Difference)


def aligned(base: Values, arm: Values) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The ids both have a value for, and the two arrays [n]. Raises ValueError on other rows."""
    if base.keys() != arm.keys():
        odd = sorted(base.keys() ^ arm.keys())
        raise ValueError(
            f"base and arm answered different rows ({len(odd)} of one only, first {odd[0]!r}); "
            "evaluate both on the same split and limit"
        )
    ids = [i for i in sorted(base) if base[i] is not None and arm[i] is not None]
    pair = [np.array([side[i] for i in ids], dtype=float) for side in (base, arm)]
    if not all(np.isfinite(side).all() for side in pair):
        raise ValueError("a value is not finite; write None where a metric does not apply")
    return ids, pair[0], pair[1]


def mcnemar(wins: int, losses: int) -> float:
    """Exact two-sided McNemar p: of the pairs that differ, wins ~ Binomial(wins + losses, 1/2).

    In (0, 1]; 1 where no pair differs. Source: McNemar 1947.
    """
    n, most = wins + losses, max(wins, losses)
    tail = sum(comb(n, k) for k in range(most, n + 1))
    return min(1.0, 2 * tail / 2**n)


def sign_flip(differences: np.ndarray, resamples: int, seed: int) -> float:
    """Two-sided p of a paired permutation test: each difference keeps or flips its sign at random.

    p = (1 + #{|mean of flipped| >= |mean|}) / (1 + resamples), in (0, 1]; 1 where all are zero.
    """
    rng, n, hits = np.random.default_rng(seed), len(differences), 0
    # The same numbers summed in another order may differ in the last digit: that is a hit.
    seen = abs(differences.sum()) * (1 - 1e-12)
    for start in range(0, resamples, step := max(1, CELLS // n)):
        signs = rng.integers(0, 2, (min(step, resamples - start), n)) * 2 - 1
        hits += int((abs(signs @ differences) >= seen).sum())
    return (1 + hits) / (1 + resamples)


def bonett_price(wins: float, losses: float, n: int, confidence: float) -> tuple[float, float]:
    """Adjusted Wald interval of a paired difference of rates: one win and one loss are added.

    a = (wins + 1)/(n + 2), b = (losses + 1)/(n + 2): a - b +- z sqrt((a + b - (a - b)^2)/(n + 2)).
    Source: Bonett and Price, 2012.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    a, b = (wins + 1) / (n + 2), (losses + 1) / (n + 2)
    half = z * ((a + b - (a - b) ** 2) / (n + 2)) ** 0.5
    return max(-1.0, a - b - half), min(1.0, a - b + half)


def _interval_of_alike(
    one: np.ndarray, other: np.ndarray, n: int, confidence: float
) -> tuple[float, float] | None:
    """Bonett and Price's interval of n pairs of shares that all differ alike, `difference * n` of
    which count as won; None for others: there a bootstrap has a width."""
    d = other - one
    if np.ptp(d) > ALIKE or any(side.min() < 0 or side.max() > 1 for side in (one, other)):
        return None
    won = float(d.mean()) * n
    return bonett_price(max(won, 0.0), max(-won, 0.0), n, confidence)


def detectable(n: int, sd: float, power: float = 0.8, confidence: float = 0.95) -> float:
    """Minimal detectable difference of a paired test: (z_{1-a/2} + z_power) * sd / sqrt(n).

    `sd` is the standard deviation of the paired differences; for rates sd^2 = (share of rows on
    which the two differ) - difference^2. A true difference of this size is found with probability
    `power`.
    """
    if n < 1:
        raise ValueError(f"n={n} rows cannot show any difference; evaluate at least one")
    z = NormalDist().inv_cdf
    return (z((1 + confidence) / 2) + z(power)) * sd / n**0.5


def _resampled(
    table: np.ndarray, resamples: int, rng: np.random.Generator, rows: list[np.ndarray]
) -> np.ndarray:
    """Means of `table` [seeds, rows], seeds drawn anew, with the given row weights: [resamples]."""
    seeds = len(table)
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    out, at = [], 0
    for weights in rows:
        out.append(((drawn[at : at + len(weights)] @ table) * weights).sum(1))
        at += len(weights)
    return np.concatenate(out)


def _row_weights(n: int, resamples: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Bootstrap weights of n rows in blocks of at most CELLS numbers; each resample sums to 1."""
    step = max(1, CELLS // n)
    sizes = [min(step, resamples - start) for start in range(0, resamples, step)]
    # Drawing n rows with replacement is one draw of a multinomial.
    return [rng.multinomial(n, np.full(n, 1 / n), size) / n for size in sizes]


def paired(base: Values, arm: Values, how: Resampling = DEFAULT) -> Difference:
    """Arm minus base over the same rows, one seed per side.

    value = mean of arm - base; low and high by a percentile bootstrap over rows (values in [0, 1]
    whose pairs all differ alike get Bonett and Price's interval, because the bootstrap then has no
    width, and shares vary less than rates); p by exact McNemar for rates, else by a sign-flip
    permutation test. Where no pair differs, `detectable` is for a share of 3/n of differing rows
    (the rule of three). Raises ValueError on different rows.
    """
    _, b, a = aligned(base, arm)
    n, d = len(b), a - b
    if not n:
        return Difference()
    wins, losses, rates = int((d > 0).sum()), int((d < 0).sum()), np.isin((a, b), (0, 1)).all()
    ends = _interval_of_alike(b, a, n, how.confidence)
    if ends is None:
        # How often each row was drawn, as weights: a matrix product instead of a gather.
        weights = _row_weights(n, how.resamples, np.random.default_rng(how.seed))
        ends = how.interval(np.concatenate([w @ d for w in weights]))
    # Of the differences, not of the two sides: what rows have in common cancels.
    sd = float(d.std(ddof=1)) if n > 1 else 0.0
    p = mcnemar(wins, losses) if rates else sign_flip(d, how.resamples, how.seed)
    least = detectable(n, sd or min(1.0, 3 / n) ** 0.5, confidence=how.confidence)
    return Difference(float(d.mean()), *ends, n, p, wins=wins, losses=losses, detectable=least)


def paired_seeds(
    base: Mapping[int, Values], arm: Mapping[int, Values], how: Resampling = DEFAULT
) -> Difference:
    """`paired` with several training seeds per side, {seed: values}; the base may have one.

    Seeds are a random factor: each resample draws seeds of each side with replacement, then rows
    (the same for all). p is the bootstrap's, 2 min(P(d <= 0), P(d >= 0)) with one resample added to
    each. Values in [0, 1] that differ alike in all pairs get Bonett and Price's interval.
    Raises ValueError without seeds or on different rows.
    """
    if not base or not arm:
        raise ValueError("a side has no seed; give {seed: {row id: value}} for base and arm")
    first = next(iter(base.values()))
    runs = [*base.values(), *arm.values()]
    for run in runs:
        aligned(first, run)  # the same rows everywhere
    # One base is exact: it was not trained, so it has no spread between seeds.
    few = len(arm) < FEW_SEEDS or 1 < len(base) < FEW_SEEDS
    ids = [i for i in sorted(first) if all(run[i] is not None for run in runs)]
    if not ids:
        return Difference(few_seeds=True)
    one, other = (
        np.array([[run[i] for i in ids] for run in side.values()], dtype=float)
        for side in (base, arm)
    )
    rng = np.random.default_rng(how.seed)
    rows = _row_weights(len(ids), how.resamples, rng)
    # the arm's seeds are drawn first: the order decides the random numbers
    drawn = _resampled(other, how.resamples, rng, rows) - _resampled(one, how.resamples, rng, rows)
    # Every seed of the arm beside every one of the base.
    ends = _interval_of_alike(one[None], other[:, None], len(ids), how.confidence)
    # Ties count on both sides, so p is never smaller than it should be.
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (how.resamples + 1))
    value = float(other.mean() - one.mean())
    return Difference(value, *(ends or how.interval(drawn)), len(ids), p, few_seeds=few)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p: sorted p_(1..m) -> running maximum of (m - i + 1) p_(i), at most 1.

    Controls the family-wise error over arms. Source: Holm, 1979.
    """
    adjusted, running = {}, 0.0
    for i, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        # Running maximum: a larger p must not become the smaller one by its factor.
        running = max(running, (len(p_values) - i) * p_values[name])
        adjusted[name] = min(1.0, running)
    return {name: adjusted[name] for name in p_values}


def holm_corrected(cells: Mapping[str, Kind]) -> dict[str, Kind]:
    """The cells with `p_holm`, corrected over those that have a p."""
    adjusted = holm({name: cell.p for name, cell in cells.items() if cell.p is not None})
    return {name: replace(cell, p_holm=adjusted.get(name)) for name, cell in cells.items()}


def by_group(
    base: Values, arm: Values, groups: Mapping[str, str], how: Resampling = DEFAULT
) -> dict[str, Difference]:
    """`paired` within each group of rows ({row id: category}), regressions first."""
    if base.keys() != arm.keys():
        aligned(base, arm)
    cells = {
        group: paired({i: base[i] for i in ids}, {i: arm[i] for i in ids}, how)
        for group, ids in grouped_rows(base, lambda i: groups[i]).items()
    }
    return dict(sorted((c for c in cells.items() if c[1].n), key=lambda c: c[1].value or 0.0))
