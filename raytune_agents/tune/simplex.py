"""The mix as independent variables: u in [0, 1] a pool -> weights that sum to 1, and back.

Independent uniform u give a Dirichlet draw, so any searcher can propose mixes without knowing that
weights sum to 1. Vectorised: a surrogate asks for 100,000 mixes at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import gammainc, gammaincinv, gammaln

from raytune_agents.config import ConfigError

SMALLEST = 2e-4  # smaller shares are 0 (RegMix, arXiv 2407.01492, synthesis of mixes)


@dataclass(frozen=True)
class Simplex:
    """Weights over pools that sum to 1, drawn from a Dirichlet with floors and caps.

    alpha_i = pools * prior_i. Prior uniform is the uniform distribution on the simplex; prior
    natural takes prior_i in proportion to sqrt(size_i) (RegMix). `sizes` are the pools' trained
    tokens and `tokens` is one trial's budget: with `epochs` a pool, cap_i = epochs_i * size_i /
    tokens (Olmix, k = 4).
    """

    key: str
    pools: tuple[str, ...]
    prior: str = "uniform"
    floors: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    tokens: int | None = None
    when: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def names(self) -> list[str]:
        return [f"{self.key}:{pool}" for pool in self.pools]

    def domains(self) -> dict[str, Any]:
        from ray import tune

        return {name: tune.uniform(0.0, 1.0) for name in self.names()}

    def value(self, sample: Mapping[str, Any]) -> dict[str, float]:
        """The normalised weights of a proposal, by pool."""
        row = self.weights(np.array([[float(sample[name]) for name in self.names()]]))[0]
        return dict(zip(self.pools, row.tolist()))

    def invert(self, value: Mapping[str, float]) -> dict[str, float]:
        """The proposal that gives these weights, moved inside the floors and caps first."""
        low, high = self.box()
        wanted = np.array([float(value.get(pool, 0.0)) for pool in self.pools])
        inside = _into_box(wanted[None] / wanted.sum(), low, high)[0]
        free = 1.0 - low.sum()
        # Floors that sum to 1 leave nothing to share out: any numbers will do.
        share = np.clip(inside - low, 0.0, None) / free if free > 1e-9 else np.ones(len(low))
        alpha, some = self._alpha(), share > 0
        # Any common scale of the gammas gives the same mix; this one keeps every u below 1.
        scale = min(alpha.sum(), (gammaincinv(alpha[some], 0.999) / share[some]).min())
        return dict(zip(self.names(), gammainc(alpha, share * scale).tolist()))

    def weights(self, u: np.ndarray) -> np.ndarray:
        """Uniform numbers [n, pools] -> weights [n, pools] inside floors and caps; rows sum to 1.

        gamma_i = quantile of Gamma(alpha_i) at u_i, share_i = gamma_i / sum, in logs because small
        alphas underflow: log quantile ~ (log u + log Gamma(alpha + 1)) / alpha. A row of zeros is
        read as 0.5. What is above a cap goes to the other pools in proportion to their room.
        """
        alpha = self._alpha()
        # The quantile at 1 is infinite.
        u = np.where((u <= 0).all(axis=1, keepdims=True), 0.5, np.clip(u, 0.0, 1.0 - 1e-12))
        with np.errstate(divide="ignore"):
            gamma, log_u = gammaincinv(alpha, u), np.log(u)
            # Below that the quantile is 0 in float64, and its logarithm is lost.
            logs = np.where(gamma > 1e-300, np.log(gamma), (log_u + gammaln(alpha + 1)) / alpha)
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        # So that a pool can be left out at all: a Dirichlet draw is 0 with probability 0.
        shares[shares < SMALLEST] = 0.0
        shares /= shares.sum(axis=1, keepdims=True)
        low, high = self.box()
        return _into_box(low + (1.0 - low.sum()) * shares, low, high)

    def mixes(self) -> dict[str, dict[str, float]]:
        """Mixes every search contains: natural (where sizes are known), stratified, positives."""
        positive = [float(p.split(".")[0] == "positive") for p in self.pools]
        wanted = {"stratified": [1.0] * len(self.pools), "positives_only": positive}
        if self.sizes:
            wanted = {"natural": [self.sizes[p] for p in self.pools], **wanted}
        return {
            name: self.value(self.invert(dict(zip(self.pools, mix))))
            for name, mix in wanted.items()
            if sum(mix) > 0
        }

    def _alpha(self) -> np.ndarray:
        if self.prior == "uniform":
            return np.ones(len(self.pools))
        self._need_sizes("prior natural")
        root = np.sqrt([self.sizes[p] for p in self.pools])
        return len(self.pools) * root / root.sum()

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Floors and caps as arrays [pools]. Raises ConfigError where no mix fits between them."""
        low = np.array([self.floors.get(p, 0.0) for p in self.pools])
        high = np.ones(len(self.pools))
        if self.epochs:
            self._need_sizes(f"epochs {self.epochs}")
            budget = self.tokens or sum(self.sizes.values())
            ends = [self.epochs.get(p, np.inf) * self.sizes[p] / budget for p in self.pools]
            high = np.minimum(high, ends)
        if low.sum() > 1 or high.sum() < 1 or (low > high).any():
            raise ConfigError(
                f"tune.space.{self.key}: no mix fits floors {_by(self.pools, low)} and caps "
                f"{_by(self.pools, high)}; write floors that sum to at most 1, none above its "
                "cap, and caps that sum to at least 1 (more epochs or fewer tune.tokens raise them)"
            )
        return low, high

    def _need_sizes(self, what: str) -> None:
        missing = [p for p in self.pools if not self.sizes.get(p, 0) > 0]
        if missing:
            raise ConfigError(
                f"tune.space.{self.key}: {what} needs rows in every pool and {missing} "
                "have none that is known; take them out of the simplex or write prior: uniform"
            )


def _into_box(rows: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Rows [n, pools] clipped to [low, high]; the rest is spread in proportion to the room left."""
    clipped = np.clip(rows, low, high)
    rest = 1.0 - clipped.sum(axis=1, keepdims=True)
    # Too little is added below the caps, too much is taken above the floors.
    room = np.where(rest > 0, high - clipped, clipped - low)
    total = np.maximum(room.sum(axis=1, keepdims=True), 1e-300)
    return clipped + rest * room / total


def _by(pools: tuple[str, ...], values: np.ndarray) -> dict[str, float]:
    return {p: round(float(v), 4) for p, v in zip(pools, values)}
