"""Paired comparisons: p-values, intervals and corrections against values worked by hand."""

import numpy as np
import pytest

from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.evaluate.paired import (
    bonett_price,
    by_group,
    detectable,
    holm,
    holm_corrected,
    mcnemar,
    paired,
    paired_seeds,
    sign_flip,
)


def values(*numbers) -> dict:
    return {f"r{i:03}": v for i, v in enumerate(numbers)}


def test_mcnemar_by_hand():
    # 6 differing pairs, 5 wins: 2 (C(6,5) + C(6,6)) / 2^6 = 14/64
    assert mcnemar(5, 1) == mcnemar(1, 5) == pytest.approx(14 / 64)
    assert mcnemar(8, 0) == pytest.approx(2 / 256)
    assert mcnemar(3, 3) == pytest.approx(1.0)
    assert mcnemar(0, 0) == 1.0


def test_sign_flip_by_hand():
    # three equal differences: only +++ and --- reach the mean, 2 of 8 sign patterns
    assert sign_flip(np.array([0.3, 0.3, 0.3]), 20_000, 0) == pytest.approx(0.25, abs=0.02)
    assert sign_flip(np.zeros(5), 100, 0) == 1.0


def test_paired_rates():
    base = values(*[0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    arm = values(*[1, 1, 1, 1, 1, 1, 1, 1, 1, 0])
    cell = paired(base, arm)
    assert (cell.value, cell.n, cell.wins, cell.losses) == (
        pytest.approx(0.4),
        10,
        5,
        1,
    )
    assert cell.p == pytest.approx(14 / 64)
    assert cell.low < 0.4 < cell.high <= 1.0
    # sd of five +1, one -1, four 0: sqrt((6 - 10 * 0.16) / 9)
    sd = (4.4 / 9) ** 0.5
    assert cell.detectable == pytest.approx((1.959964 + 0.841621) * sd / 10**0.5, abs=1e-5)
    swapped = paired(arm, base)
    assert (swapped.value, swapped.p) == (pytest.approx(-0.4), cell.p)


def test_pairs_are_by_id_not_by_place():
    base, arm = {"a": 1.0, "b": 0.0, "c": 1.0}, {"c": 1.0, "b": 0.0, "a": 1.0}
    cell = paired(base, arm)
    assert (cell.value, cell.wins, cell.losses) == (0.0, 0, 0)


def test_rows_where_the_metric_does_not_apply_are_left_out():
    cell = paired(values(1, None, 0, 1), values(0, 1, None, 1))
    assert (cell.n, cell.value) == (2, -0.5)
    cell = paired(values(None), values(1))
    assert (cell.n, cell.value, cell.p) == (0, None, None)


def test_other_rows_are_refused():
    with pytest.raises(ValueError, match="different rows"):
        paired(values(1, 0), values(1, 0, 1))
    with pytest.raises(ValueError, match="not finite"):
        paired(values(1.0), values(float("inf")))


def test_equal_arms_do_not_claim_certainty():
    same = values(*[0, 1] * 20)
    cell = paired(same, same)
    assert (cell.value, cell.p) == (0.0, 1.0)
    # a = b = 1/42: 1.959964 * sqrt((2/42) / 42)
    half = 1.959964 * (2 / 42 / 42) ** 0.5
    assert (cell.low, cell.high) == (
        pytest.approx(-half, abs=1e-6),
        pytest.approx(half, abs=1e-6),
    )
    assert bonett_price(0, 0, 40, 0.95) == (cell.low, cell.high)
    assert cell.detectable > 0.1
    shares = paired(values(*[0.25, 0.5] * 20), values(*[0.25, 0.5] * 20))
    assert (shares.low, shares.high) == (cell.low, cell.high)
    times = paired(values(*[3.0, 5.0] * 20), values(*[3.0, 5.0] * 20))  # nothing bounds these
    assert (times.low, times.high) == (0.0, 0.0)


def test_pairs_that_all_differ_alike_do_not_claim_certainty():
    lost = paired(values(1), values(0))
    # a = 1/3, b = 2/3: -1/3 +- 1.959964 * sqrt((1 - 1/9) / 3)
    assert (lost.value, lost.low) == (-1.0, -1.0)
    assert lost.high == pytest.approx(-1 / 3 + 1.959964 * (8 / 27) ** 0.5, abs=1e-6)
    seeds = paired_seeds({0: values(1)}, dict.fromkeys(range(3), values(0)))
    assert (seeds.low, seeds.high) == (lost.low, lost.high)
    shares = paired(values(*[0.5] * 40), values(*[0.75] * 40))
    assert (shares.low, shares.high) == bonett_price(10, 0, 40, 0.95)


def test_five_pairs_tell_nothing_apart():
    assert [paired(values(*[0] * n), values(*[1] * n)).sign for n in (1, 5, 6)] == [0, 0, 1]
    assert [paired(values(*[3.0] * n), values(*[2.0] * n)).sign for n in (5, 6)] == [0, -1]
    assert paired(values(0, 1, 0, 1, 0, 1), values(0, 1, 0, 1, 1, 0)).sign == 0


def test_numbers_that_are_not_rates():
    rng = np.random.default_rng(0)
    base = values(*rng.normal(5, 1, 100))
    arm = {k: v + 0.5 for k, v in base.items()}
    cell = paired(base, arm)
    assert cell.value == pytest.approx(0.5)
    assert (cell.low, cell.high) == (pytest.approx(0.5), pytest.approx(0.5))
    assert cell.p == pytest.approx(1 / 2001)


def test_the_interval_covers_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for i in range(200):
        base = (rng.random(150) < 0.4).astype(float)
        arm = np.where(rng.random(150) < 0.5, base, rng.random(150) < 0.6).astype(float)
        cell = paired(values(*base), values(*arm), Resampling(400, 0.9, i))
        hits += cell.low <= 0.1 <= cell.high  # 0.5 * (0.6 - 0.4)
    assert 165 <= hits <= 194


def test_detectable_by_hand():
    # 300 rows, 20 % differing: 2.801585 * sqrt(0.2 / 300)
    assert detectable(300, 0.2**0.5) == pytest.approx(2.801585 * (0.2 / 300) ** 0.5, abs=1e-6)
    assert detectable(1200, 0.5) == pytest.approx(detectable(300, 0.5) / 2)
    with pytest.raises(ValueError, match="n=0"):
        detectable(0, 1.0)


def test_detectable_is_found_four_times_in_five():
    rng, n, found = np.random.default_rng(2), 400, 0
    delta = detectable(n, 0.5)
    for _ in range(300):
        d = rng.normal(delta, 0.5, n)
        found += abs(d.mean()) / (d.std(ddof=1) / n**0.5) > 1.96
    assert 216 <= found <= 264  # 0.8 of 300 within about 3.5 standard errors


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {
        "a": pytest.approx(0.03), "b": pytest.approx(0.06), "c": pytest.approx(0.06)}  # fmt: skip
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_arms_are_corrected_together():
    base = values(*[0] * 8, *[1] * 8)
    good = values(*[1] * 16)
    others = {"good": good, "same": base, "void": dict.fromkeys(base)}
    got = holm_corrected({name: paired(base, arm) for name, arm in others.items()})
    assert got["good"].p == pytest.approx(2 / 256)
    assert got["good"].p_holm == pytest.approx(4 / 256)  # two arms could be compared
    assert got["same"].p_holm == 1.0
    assert got["void"].p_holm is None


def test_groups_come_with_regressions_first():
    base, arm = values(0, 0, 1, 1), values(1, 1, 0, 1)
    groups = {"r000": "up", "r001": "up", "r002": "down", "r003": "down"}
    got = by_group(base, arm, groups)
    assert [(g, c.value, c.n) for g, c in got.items()] == [("down", -0.5, 2), ("up", 1.0, 2)]


# --- seeds ---


def test_one_seed_a_side_is_the_paired_comparison():
    rng = np.random.default_rng(0)
    base = values(*(rng.random(100) < 0.3).astype(float))
    arm = values(*(rng.random(100) < 0.5).astype(float))
    one, many = paired(base, arm), paired_seeds({0: base}, {0: arm})
    assert one.value == pytest.approx(many.value)
    assert (one.low, one.high) == (pytest.approx(many.low), pytest.approx(many.high))
    assert many.few_seeds


def test_seeds_that_disagree_widen_the_interval():
    rng = np.random.default_rng(0)
    base = {0: values(*(rng.random(300) < 0.4).astype(float))}
    calm = {s: values(*(rng.random(300) < 0.5).astype(float)) for s in range(4)}
    wild = {s: values(*(rng.random(300) < p).astype(float))
            for s, p in enumerate((0.2, 0.4, 0.6, 0.8))}  # fmt: skip
    narrow, wide = paired_seeds(base, calm), paired_seeds(base, wild)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    assert not wide.few_seeds
    assert wide.p > narrow.p
    # value: mean over seeds and rows
    mean = np.mean([list(v.values()) for v in wild.values()]) - np.mean(list(base[0].values()))
    assert wide.value == pytest.approx(mean)


def test_seeds_without_spread_between_rows():
    # every row the same within a seed: only the seeds vary, means 0 and 1, drawn twice
    arm = {0: values(0, 0), 1: values(1, 1)}
    cell = paired_seeds({0: values(0, 0)}, arm, Resampling(4000))
    assert (cell.value, cell.low, cell.high) == (0.5, 0.0, 1.0)
    # P(d <= 0) = 1/4: both draws are seed 0
    assert cell.p == pytest.approx(0.5, abs=0.05)


def test_missing_seeds_and_rows_are_refused():
    with pytest.raises(ValueError, match="no seed"):
        paired_seeds({}, {0: values(1)})
    with pytest.raises(ValueError, match="different rows"):
        paired_seeds({0: values(1, 0)}, {0: values(1, 0), 1: values(1)})
    assert paired_seeds({0: values(None)}, {0: values(1)}).n == 0


def test_seeds_that_all_agree_do_not_claim_certainty():
    same = values(*[0, 1] * 20)
    cell = paired_seeds({0: same}, dict.fromkeys(range(3), same))
    assert (cell.low, cell.high) == bonett_price(0, 0, 40, 0.95)
