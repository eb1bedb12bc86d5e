"""Means, rates, quantiles, calibration and their intervals against values worked by hand."""

import math

import numpy as np
import pytest

from raytune_agents.evaluate.estimates import (
    Estimate,
    Resampling,
    bootstrapped,
    calibration_of,
    macro_mean,
    mean_of,
    perplexity_of,
    quantile_of,
    wilson,
)

HOW = Resampling(resamples=400)


def test_wilson_by_hand():
    # (0.5 + 0.192073 -+ 1.959964 sqrt(0.025 + 0.00960365)) / 1.384146
    assert wilson(5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 3.841459 / 13.841459), abs=1e-6)
    assert wilson(10, 10) == pytest.approx((10 / 13.841459, 1.0), abs=1e-6)


def test_means_and_rates():
    assert mean_of([1.0, 0.0, None, 1.0, 0.0], HOW).n == 4
    cell = mean_of([1, 0] * 5, HOW)
    assert (cell.value, cell.low) == (0.5, pytest.approx(0.23659, abs=1e-4))
    assert mean_of([None, None], HOW) == Estimate()
    shares = [0.25, 0.75, 0.5, 0.5]
    cell = mean_of(shares, Resampling(seed=3))
    assert cell.low < cell.value == 0.5 < cell.high
    assert cell == mean_of(shares, Resampling(seed=3))
    assert mean_of([0.25, 0.25], HOW).low == 0.25
    with pytest.raises(ValueError, match="not finite"):
        mean_of([math.nan, 1.0], HOW)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for i in range(200):
        values = rng.exponential(1.0, 200)
        cell = mean_of(values, Resampling(400, 0.9, i))
        hits += cell.low <= 1.0 <= cell.high
    assert 165 <= hits <= 194  # 0.9 of 200 within about three standard errors


def test_bootstrap_width_matches_the_normal_interval():
    values = np.random.default_rng(1).normal(0, 1, 400)
    cell = bootstrapped(400, Resampling(4000), lambda drawn: values[drawn].mean(1))
    assert cell.value == pytest.approx(values.mean())
    assert cell.high - cell.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)


def test_quantiles():
    cell = quantile_of(range(1, 102), 0.5, HOW)
    assert cell.value == 51.0
    assert quantile_of(range(1, 102), 0.95, HOW).value == 96.0
    assert cell.low <= 51.0 <= cell.high
    assert quantile_of([], 0.5, HOW) == Estimate()


def test_perplexity_by_hand():
    # two rows: ln 2 a token over 1 token, ln 8 over 3: exp((ln 2 + 3 ln 8) / 4) = 2^(10/4)
    cell = perplexity_of([math.log(2), math.log(8)], [1, 3], HOW)
    assert cell.value == pytest.approx(2**2.5)
    assert 2.0 <= cell.low < cell.value < cell.high <= 8.0 + 1e-9
    assert perplexity_of([0.0], [5], HOW).value == 1.0
    assert perplexity_of([], [], HOW) == Estimate()


def test_calibration_by_hand():
    # bin .9: two answers of .95, one right: |.95 - .5| = .45; bin .2: two of .25, none right: .25
    cell = calibration_of([0.95, 0.95, 0.25, 0.25], [1, 0, 0, 0], HOW)
    assert cell.value == pytest.approx(0.5 * 0.45 + 0.5 * 0.25)
    assert cell.n == 4
    assert calibration_of([1.0] * 8, [1] * 8, HOW).value == 0.0  # sure and right; 1.0 has a bin
    assert calibration_of([1.0] * 8, [0] * 8, HOW).value == 1.0
    assert calibration_of([], [], HOW) == Estimate()


def test_a_large_suite_counts_no_more_than_a_small_one():
    # (9/90 + 1) / 2, not 19/100
    suites = {"large": [1.0] * 9 + [0.0] * 81, "small": [1.0] * 10}
    cell = macro_mean(suites, HOW)
    assert cell.value == pytest.approx(0.55)
    assert cell.n == 100
    assert 0.5 < cell.low < 0.55 < cell.high < 0.6
    assert macro_mean({"empty": []}, HOW) == Estimate()
