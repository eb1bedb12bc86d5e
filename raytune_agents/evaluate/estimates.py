"""Means, rates, quantiles and calibration over many rows, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Self

import numpy as np

from raytune_agents.config import EvaluateConfig
from raytune_agents.records import JsonObject
from raytune_agents.storage import adapter_of

CELLS = 4_000_000  # numbers drawn at a time in a bootstrap: 32 MB
BINS = 10  # of confidence, for the calibration error


class JsonRecord:
    """A dataclass that is stored as a JSON object."""

    __slots__ = ()

    def record(self) -> JsonObject:
        """As a JSON object."""
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Self:
        """The inverse; what a record lacks has its default, what we do not know is left out. Raises
        ValueError where it has another shape."""
        return adapter_of(cls).validate_python(record)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Estimate(JsonRecord):
    """A statistic over `n` rows with the ends of its interval; None without rows."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made: bootstrap resamples, confidence level, seed."""

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0

    @classmethod
    def of(cls, config: EvaluateConfig, seed: int) -> Resampling:
        return cls(config.resamples, config.confidence, seed)

    def tails(self) -> list[float]:
        return [(1 - self.confidence) / 2, (1 + self.confidence) / 2]

    def interval(self, estimates: np.ndarray) -> tuple[float, float]:
        """The percentile interval of resampled estimates."""
        low, high = np.quantile(estimates, self.tails())
        return float(low), float(high)


DEFAULT = Resampling()


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    Within [0, 1] and of non-zero width also for rates of 0 and 1. Source: Wilson, JASA 1927.
    """
    z, p = NormalDist().inv_cdf((1 + confidence) / 2), successes / n
    middle, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


Statistic = Callable[[np.ndarray], np.ndarray]


def resampled(n: int, how: Resampling, statistic: Statistic, shift: int = 0) -> np.ndarray:
    """A statistic of n rows drawn with replacement, [resamples]. `statistic` takes the drawn rows'
    numbers [block, n] and gives [block]; blocks hold at most CELLS numbers. `shift` is added to the
    seed, for draws that must not go together."""
    # Seeded, so that the same answers give the same intervals in every report.
    rng, found = np.random.default_rng(how.seed + shift), []
    for start in range(0, how.resamples, step := max(1, CELLS // n)):
        found.append(statistic(rng.integers(0, n, (min(step, how.resamples - start), n))))
    return np.concatenate(found)


def bootstrapped(n: int, how: Resampling, statistic: Statistic) -> Estimate:
    """A statistic of n rows with its percentile interval (`resampled`)."""
    if not n:
        return Estimate()
    low, high = how.interval(resampled(n, how, statistic))
    return Estimate(float(statistic(np.arange(n)[None])[0]), low, high, n)


def _numbers(values: Iterable[float | None]) -> np.ndarray:
    kept = np.array([v for v in values if v is not None], dtype=float)
    if not np.isfinite(kept).all():
        raise ValueError("a value is not finite; write None where a metric does not apply")
    return kept


def _row_means(values: np.ndarray) -> Statistic:
    return lambda drawn: values[drawn].mean(1)


def mean_of(values: Iterable[float | None], how: Resampling) -> Estimate:
    """The mean; None values are left out of n. Rates (all values 0 or 1) get Wilson's interval,
    because the bootstrap's has no width at 0 and 1; all else a percentile bootstrap.
    Raises ValueError where a value is not finite."""
    kept = _numbers(values)
    if not len(kept):
        return Estimate()
    # By the values, not by the metric's name: shares that happen to be whole are rates too.
    if np.isin(kept, (0.0, 1.0)).all():
        ends = wilson(int(kept.sum()), len(kept), how.confidence)
        return Estimate(float(kept.mean()), *ends, len(kept))
    return bootstrapped(len(kept), how, _row_means(kept))


def quantile_of(values: Iterable[float | None], q: float, how: Resampling) -> Estimate:
    """The q-quantile with a percentile bootstrap. Raises as `mean_of`."""
    kept = _numbers(values)
    return bootstrapped(len(kept), how, lambda drawn: np.quantile(kept[drawn], q, axis=1))


def perplexity_of(nll: Sequence[float], tokens: Sequence[float], how: Resampling) -> Estimate:
    """exp(sum of nll * tokens / sum of tokens), in [1, inf), 1 where every token is certain; with
    a percentile bootstrap over rows. `nll` in nats per token of a row, `tokens` its length."""
    t = np.asarray(tokens, dtype=float)
    total = np.asarray(nll, dtype=float) * t
    return bootstrapped(len(t), how, lambda drawn: np.exp(total[drawn].sum(1) / t[drawn].sum(1)))


def calibration_of(
    confidence: Sequence[float], right: Sequence[float], how: Resampling
) -> Estimate:
    """Expected calibration error: sum over BINS equal bins of confidence of
    n_bin / n * |mean confidence - share right|, in [0, 1]; 0 is best.

    A small sample overstates it. Source: Guo et al., arXiv 1706.04599, section 3.
    """
    sure, hits = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    # A confidence of 1 belongs to the last bin.
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)

    def error(drawn: np.ndarray) -> np.ndarray:
        gaps = (sure - hits)[drawn]
        of = bins[drawn]
        # |sum of gaps in a bin| = n_bin * |mean confidence - share right|
        return sum(abs(np.where(of == b, gaps, 0.0).sum(1)) for b in range(BINS)) / len(sure)

    return bootstrapped(len(sure), how, error)


def macro_mean(suites: Mapping[str, Iterable[float | None]], how: Resampling) -> Estimate:
    """The unweighted mean of the suites' means, so that a large suite counts no more than a small
    one (as BFCL's overall accuracy). Each resample draws rows within every suite; n counts rows."""
    parts = [kept for values in suites.values() if len(kept := _numbers(values))]
    if not parts:
        return Estimate()

    # Shifted: with one seed, suites of equal size would all draw the same places.
    means = [resampled(len(kept), how, _row_means(kept), shift) for shift, kept in enumerate(parts)]
    low, high = how.interval(np.mean(means, axis=0))
    value = float(np.mean([kept.mean() for kept in parts]))
    return Estimate(value, low, high, sum(map(len, parts)))
