"""The surrogate: a planted optimum is found, noise is refused, formulas meet hand-worked values."""

import math

import numpy as np
import pytest

from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.tune import surrogate
from raytune_agents.tune.surrogate import Fit, Option, Refusal

BEST = np.array([0.5, 0.2, 0.3])


def runs(count, seed, noise=0.02):
    """Positives only and random mixes over three pools; scores fall with the squared distance."""
    rng = np.random.default_rng(seed)
    x = np.vstack([[1.0, 0.0, 0.0], rng.dirichlet(np.ones(3), count - 1)])
    return x, 0.6 - 1.2 * ((x - BEST) ** 2).sum(axis=1) + rng.normal(0, noise, count)


def mixes(count=20_000, seed=9):
    return np.random.default_rng(seed).dirichlet(np.ones(3), count)


def test_a_planted_optimum_is_found_inside_its_interval():
    fitted = surrogate.fit_surrogate(*runs(21, 0), 3)
    assert isinstance(fitted, Fit)
    assert fitted.rank_correlation > 0.85
    best = surrogate.optimum(fitted, mixes(), np.array([[1.0, 0.0, 0.0]]), Resampling(100))
    assert best.row == pytest.approx(BEST, abs=0.08)
    assert best.row.sum() == pytest.approx(1.0)
    assert (best.interval[:, 0] <= BEST).all()
    assert (best.interval[:, 1] >= BEST).all()
    assert best.point_scores[0] == pytest.approx(0.6, abs=0.03)
    gains = best.draws[:, 0] - best.draws[:, 1]
    assert np.quantile(gains, 0.025) > 0  # better than positives only, on the drawn surfaces too
    assert gains.mean() == pytest.approx(1.2 * (0.25 + 0.04 + 0.09), abs=0.12)


def test_noise_is_refused_with_the_correlation_it_had():
    answers = [
        surrogate.fit_surrogate(
            mixes(16, seed), np.random.default_rng(100 + seed).normal(size=16), 3
        )
        for seed in range(1, 6)
    ]
    assert all(isinstance(a, Refusal) for a in answers)
    assert all(a.rank_correlation < 0.51 for a in answers)
    assert "rank correlation" in answers[0].reason


def test_too_few_configurations_and_constant_scores_are_refused():
    x, y = runs(11, 0)
    few = surrogate.fit_surrogate(x, y, 3)
    assert (few.runs, few.needed, few.rank_correlation) == (11, 12, None)
    assert "3 pools need 12" in few.reason
    seeds = surrogate.fit_surrogate(
        np.repeat(x, 3, axis=0), np.repeat(y, 3), 3
    )  # 33 runs of 11 mixes
    assert seeds.runs == 11
    flat = surrogate.fit_surrogate(runs(14, 0)[0], np.full(14, 0.25), 3)
    assert "all 14 runs scored 0.25" in flat.reason
    assert surrogate.fit_surrogate(np.empty((0, 3)), np.empty(0), 3).runs == 0


def test_seeds_of_one_mix_are_left_out_together():
    """Noise per mix, shared by its seeds: left-out runs have twins, left-out mixes do not."""
    rng = np.random.default_rng(103)
    x, y = mixes(14, 3), rng.normal(size=14)
    answer = surrogate.fit_surrogate(
        np.repeat(x, 3, axis=0), np.repeat(y, 3) + rng.normal(0, 0.01, 42), 3
    )
    assert isinstance(answer, Refusal)


def test_the_log_linear_fit_recovers_its_own_law():
    """score = sum_j b_j log(w_j + 0.01): the best mix has w_j + 0.01 = 1.03 b_j / sum b."""
    x = mixes(24, 4)
    weights = np.array([0.6, 0.3, 0.1])
    y = np.log(x + 0.01) @ weights
    fitted = surrogate.fit_surrogate(x, y, 3)
    assert fitted.model == "log-linear"
    assert fitted.rank_correlation > 0.99
    best = surrogate.optimum(fitted, mixes(100_000), how=Resampling(2))
    assert best.row == pytest.approx(1.03 * weights - 0.01, abs=0.02)


def test_importance_is_the_variance_an_axis_explains_alone():
    """score = 2a + b, independent uniform a and b: shares 4/5 and 1/5; c is not used."""

    class Plane:
        def predict(self, rows):
            return 2 * rows[:, 0] + rows[:, 1]

    rows = np.random.default_rng(0).random((50_000, 3))
    rows[:, 2] = rows[:, 2] > 0.5
    fitted = Fit("plane", 1.0, Plane(), rows[:2], rows[:2, 0])
    shares = surrogate.importance(fitted, rows, {"a": [0], "b": [1], "c": [2]})
    assert shares["a"] == pytest.approx(0.8, abs=0.01)
    assert shares["b"] == pytest.approx(0.2, abs=0.01)
    assert shares["c"] == pytest.approx(0.0, abs=0.01)
    rows[:, :2] = 0.5
    assert surrogate.importance(fitted, rows, {"a": [0]}) == {"a": 0.0}


def test_another_option_is_fitted_beside_the_mix():
    rng = np.random.default_rng(206)
    x, y = runs(30, 6)
    rate = rng.random(30)
    fitted = surrogate.fit_surrogate(np.column_stack([x, rate]), y - 2 * (rate - 0.7) ** 2, 3)
    candidates = np.column_stack([mixes(), rng.random(20_000)])
    best = surrogate.optimum(fitted, candidates, how=Resampling(20))
    assert best.row[3] == pytest.approx(0.7, abs=0.1)
    assert best.row[:3] == pytest.approx(BEST, abs=0.12)


def test_options_are_scaled_and_come_back():
    rate = Option.of("train.learning_rate", [1e-4, 1e-2, 5e-4])
    assert rate.log
    assert rate.code(1e-3) == pytest.approx([0.5])
    assert rate.decode(np.array([0.5])) == pytest.approx(1e-3)
    assert rate.code(None) == [0.5]
    rank = Option.of("train.lora.r", [4, 8, 8, 16])
    assert not rank.log
    assert rank.code(8) == pytest.approx([1 / 3])
    assert rank.decode(np.array([0.45])) == 8
    method = Option.of("tune.method", ["nat", "sft", "nat"])
    assert method.code("sft") == [0.0, 1.0]
    assert method.decode(np.array([0.7, 0.3])) == "nat"
    targets = Option.of("train.lora.target_modules", ["all-linear", ["q_proj"], None])
    assert targets.width == 3
    assert targets.decode(np.array(targets.code(["q_proj"]))) == ["q_proj"]
    assert Option.of("train.lora.use_dora", [True, False]).width == 2  # a flag is not a number


def test_the_tied_kernel_has_the_gradient_it_claims():
    """Central differences in the log of each length scale: one for the mix, one for the rest."""
    x = np.column_stack([mixes(6, 1), np.linspace(0, 1, 6)])
    kernel = surrogate.TiedMatern(np.array([0.5, 2.0]), pools=3)
    _, slopes = kernel(x, eval_gradient=True)
    assert slopes.shape == (6, 6, 2)
    for axis, step in enumerate(np.eye(2) * 1e-5):
        up, down = (kernel.clone_with_theta(kernel.theta + sign * step)(x) for sign in (1, -1))
        assert slopes[:, :, axis] == pytest.approx((up - down) / 2e-5, abs=1e-6)


def test_rank_correlation_by_hand():
    """Ranks 1 2 3 4 against 2 1 3 4: 1 - 6 * 2 / (4 * 15) = 0.8."""
    assert surrogate.rank_correlation([1, 2, 3, 4], [2, 1, 3, 4]) == pytest.approx(0.8)
    assert surrogate.rank_correlation([1, 2], [1, 2]) is None
    assert surrogate.rank_correlation([1, 2, 3], [5, 5, 5]) is None


def test_chance_needs_a_higher_correlation_for_few_runs(monkeypatch):
    """The bar is max(0.5, 1.96 / sqrt(n - 1)): 0.591 for 12 configurations."""
    x, y = runs(12, 11, noise=0.0)
    monkeypatch.setattr(surrogate, "rank_correlation", lambda a, b: 0.58)
    refused = surrogate.fit_surrogate(x, y, 3)
    assert f"{1.96 / math.sqrt(11):.2f} is needed" in refused.reason
    assert isinstance(surrogate.fit_surrogate(*runs(18, 11, noise=0.0), 3), Fit)
