"""The guideline: a planted gain is recommended, noise is refused, failures are listed."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from proposals import draw

from raytune_agents import config
from raytune_agents.config import ConfigError
from raytune_agents.evaluate.paired import Difference
from raytune_agents.tune import confirm, guideline, guideline_text, trial_stats
from raytune_agents.tune.search_space import parse_space
from raytune_agents.tune.trials import Trial

SPACE = parse_space({
    "mix.weights": {"simplex": ["positive", "synthetic", "negative"]},
    "train.learning_rate": {"loguniform": [3e-4, 3e-3]},
})  # fmt: skip
BEST = {"positive": 0.7, "synthetic": 0.05, "negative": 0.25}


def trial(number, weights, score, rate=1e-3, status="finished", reports=3, **more):
    """A trial whose reports rise to `score` in three steps."""
    shown = [{"step": 10 * n, "exact_match": score * n / 3, "tokens": 400 * n} for n in (1, 2, 3)]
    made = Trial(
        f"t{number}",
        status=status,
        config={"train.learning_rate": rate},
        weights=weights,
        reports=shown[:reports],
        score=shown[reports - 1]["exact_match"],
        seconds=30.0,
    )
    return replace(made, **more)


def planted(noise, count=24, seed=1):
    """Baselines, random mixes and three runs of the first; the score falls away from BEST."""
    rng, noises = random.Random(seed), np.random.default_rng(seed)
    proposals = [*SPACE.baseline_samples(), *(draw(SPACE, rng) for _ in range(count))]
    found = []
    for number, proposal in enumerate([*proposals, proposals[0], proposals[0]]):
        options = SPACE.resolve(proposal)
        weights, rate = options["mix.weights"], options["train.learning_rate"]
        far = sum((weights[p] - share) ** 2 for p, share in BEST.items())
        score = 0.5 - far - 0.1 * math.log10(rate / 1e-3) ** 2 + noises.normal(0, noise)
        found.append(trial(number, weights, score, rate))
    return found


@pytest.fixture(scope="module")
def clear():
    """A clear optimum, one failed trial among the runs."""
    failed = replace(
        trial(99, BEST, 0.0, status="failed", reports=1),
        score=None,
        reports=[],
        error="OutOfMemoryError: 12 | 8\nat line 3",
    )
    return guideline.recommend([*planted(0.005), failed], SPACE)


def test_a_planted_gain_is_recommended_with_its_interval(clear):
    assert (clear.verdict, clear.refused) == ("gain", "")
    assert clear.recommended == pytest.approx(BEST, abs=0.1)
    assert sum(clear.recommended.values()) == pytest.approx(1.0, abs=1e-3)
    for pool, (low, high) in clear.interval.items():
        assert low - 0.03 <= clear.recommended[pool] <= high + 0.03
    assert clear.score == pytest.approx(0.5, abs=0.05)
    assert clear.rank_correlation > 0.8
    stratified = clear.baselines["stratified"]
    assert stratified.gain == pytest.approx(sum((s - 1 / 3) ** 2 for s in BEST.values()), abs=0.06)
    assert stratified.interval[0] > 0
    assert stratified.measured == pytest.approx(0.277, abs=0.02)
    assert set(clear.importance) == {*BEST, "train.learning_rate"}
    assert clear.importance["positive"] > clear.importance["train.learning_rate"]
    assert 3e-4 <= clear.config["train.learning_rate"] <= 3e-3


def test_the_words_are_made_of_the_numbers(clear):
    text = guideline_text.guideline_markdown(clear)
    title, which, then, *tables = text.strip().split("\n\n")
    assert title == "# Guideline"
    positive = clear.recommended["positive"]
    assert which.startswith(f"Train on {positive:.0%} positive, ")
    assert f"rank correlation of {clear.rank_correlation:.2f}" in which
    assert f"{clear.baselines['stratified'].gain:+.3f} over the stratified mix" in which
    assert f"standard deviation of {clear.noise:.3f}" in then
    assert "1 failed trial is listed below and not counted" in then
    assert "3 seeds each" in then
    assert tables[-1].endswith("| t99 | OutOfMemoryError: 12 / 8 at line 3 |")
    assert len(tables) == 5  # mix, gains, importance, reports, failures


def test_a_failed_trial_is_no_bad_score(clear):
    assert clear.failed == [{"trial_id": "t99", "error": "OutOfMemoryError: 12 | 8\nat line 3"}]
    assert clear.runs == 28
    alone = guideline.recommend(planted(0.005), SPACE)
    assert replace(clear, failed=[]) == alone
    diverged = trial(7, BEST, math.nan)
    assert trial_stats.failed_trials([diverged]) == [
        {"trial_id": "t7", "error": "its score is nan"}
    ]
    assert guideline.recommend([diverged]).runs == 0


def test_noise_and_few_runs_are_refused_in_words():
    rng = np.random.default_rng(4)
    mixes = [t.weights for t in planted(0.0)] * 2  # each with two seeds
    noisy = [trial(i, mix, rng.normal(0.3, 0.1)) for i, mix in enumerate(mixes)]
    answer = guideline.recommend(noisy, SPACE)
    assert (answer.verdict, answer.recommended, answer.interval) == ("refused", {}, {})
    assert answer.rank_correlation < 0.5
    said = guideline_text.guideline_markdown(answer)
    assert "There is no recommendation: the best fit orders left-out runs" in said
    assert "More trials will not help while the noise is as large" in said
    few = guideline.recommend(planted(0.005, count=3), SPACE)
    assert (few.verdict, few.missing) == ("refused", 7)  # 2 baselines and 3 more of 12
    assert "Add at least 7 different configurations" in guideline_text.guideline_markdown(few)
    assert "this alone is no evidence" in guideline_text.guideline_markdown(few)


def test_no_evidence_is_said_plainly_where_the_plain_mix_is_as_good():
    """Scores that fall with the distance from the stratified mix: nothing beats it."""
    even = [
        trial(i, t.weights, 0.4 - sum((w - 1 / 3) ** 2 for w in t.weights.values()))
        for i, t in enumerate(planted(0.0))
    ]
    answer = guideline.recommend(even, SPACE)
    assert answer.verdict == "no_gain"
    assert answer.baselines["stratified"].interval[0] <= 0
    assert (
        guideline_text.guideline_markdown(answer)
        .split("\n\n")[1]
        .startswith("There is no evidence")
    )


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([], "no trial has a score"),
        ([trial(1, {}, 0.2), trial(2, {}, 0.3)], "do not differ in their mix"),
    ],
)
def test_nothing_to_compare_is_said(found, says):
    answer = guideline.recommend(found)
    assert says in answer.refused
    assert says in guideline_text.guideline_markdown(answer)


def test_the_noise_floor_is_the_pooled_deviation_between_seeds():
    """Groups (1, 3) and (2, 2, 5): squares 2 + 6, freedom 1 + 2, so sqrt(8 / 3)."""
    one, two = {"positive": 1.0}, {"positive": 0.5, "negative": 0.5}
    scored = [
        (trial(0, one, 0), 1.0),
        (trial(1, one, 0, config={"seed": 2, "train.learning_rate": 1e-3}), 3.0),
    ]
    scored += [(trial(i, two, 0), s) for i, s in enumerate((2.0, 2.0, 5.0))]
    scored += [(trial(9, one, 0, rate=2e-3), 50.0)]  # another configuration
    assert trial_stats.seed_noise(scored) == pytest.approx(math.sqrt(8 / 3))
    assert trial_stats.seed_noise(scored[:1]) is None
    assert (
        trial_stats.best(scored[:-1]).score == 3.0
    )  # the mean of three, not the single 3.0 or 5.0
    assert trial_stats.best(scored[:-1]).seeds == 3


def test_stopped_trials_are_compared_at_a_report_that_enough_reached():
    """12 of 15 trials stop at their second report: all are read there."""
    found = planted(0.0, count=10)[:12]
    stopped = [replace(t, status="stopped", reports=t.reports[:2]) for t in found]
    full = [
        trial(20, BEST, 0.6),
        trial(21, {"positive": 1.0}, 0.5),
        trial(22, {"negative": 1.0}, 0.1),
    ]
    level, levels, scored = trial_stats.at_level(stopped + full, "exact_match")
    assert level == 2
    assert len(scored) == 15
    assert {t.trial_id: s for t, s in scored}["t20"] == pytest.approx(0.4)
    assert [entry.runs for entry in levels] == [15, 15, 3]
    assert levels[1].rank_to_last == pytest.approx(1.0)
    early = replace(trial(30, BEST, 0.6), reports=trial(30, BEST, 0.6).reports[:2])
    assert (
        len(trial_stats.at_level([early, *full], "exact_match")[2]) == 4
    )  # finished: its last one counts


def test_repeats_of_a_configuration_are_one_where_a_report_is_chosen():
    """12 whole runs of four mixes are too few mixes for a fit; report 1 has 16."""
    found = planted(0.0, count=13)[:16]
    whole = [replace(t, trial_id=f"{t.trial_id}-{k}", seed=k) for t in found[:4] for k in range(3)]
    stopped = [replace(t, status="stopped", reports=t.reports[:1]) for t in found[4:]]
    assert trial_stats.at_level(whole + stopped, "exact_match")[0] == 1
    assert trial_stats.at_level(whole + found[4:12], "exact_match")[0] == 3


def test_the_best_config_loads_unchanged(tmp_path):
    base = config.load_config(None, ["name=demo", "mix.tokens=5000", "train.lora.r=8"])
    best = Trial(
        "t1",
        weights={"positive": 2 / 3, "negative": 1 / 3},
        config={"train.learning_rate": 2e-5, "train.lora.target_modules": ["q_proj"]},
    )
    path = tmp_path / "best.yaml"
    path.write_text(guideline.best_config_yaml(best, base), encoding="utf-8")
    loaded = config.load_config(path)
    assert loaded.mix.weights == {"positive": 0.6667, "negative": 0.3333}
    assert (loaded.train.learning_rate, loaded.train.lora.r, loaded.mix.tokens) == (2e-5, 8, 5000)
    assert loaded.train.lora.target_modules == ["q_proj"]
    assert (list(loaded.train.arms), loaded.tune.num_samples) == (["best"], 0)
    assert loaded.train.arms["best"].method == base.tune.method
    assert loaded.name == "demo-best"
    with pytest.raises(ConfigError, match=r"train\.rank"):
        guideline.best_config_yaml(Trial("t2", config={"train.rank": 4}), base)


def test_the_guideline_itself_becomes_a_config(clear, tmp_path):
    path = tmp_path / "best.yaml"
    chosen = Trial("guide", weights=clear.recommended, config=clear.config)
    path.write_text(guideline.best_config_yaml(chosen, config.Config()), encoding="utf-8")
    assert config.load_config(path).train.learning_rate == clear.config["train.learning_rate"]


def test_the_surface_is_the_prediction_on_a_grid(clear):
    """A tenth of a share a step over three pools: 66 mixes, each summing to one."""
    (surface,) = clear.surfaces
    assert sorted(surface.pools) == ["negative", "positive", "synthetic"]
    assert len(surface.points) == 66
    assert all(sum(p[:3]) == pytest.approx(1) for p in surface.points)
    top = max(surface.points, key=lambda p: p[3])
    at = dict(zip(surface.pools, top))
    assert at["positive"] >= 0.5
    assert top[3] == pytest.approx(clear.score, abs=0.05)


def test_a_confirmed_arm_without_common_rows_has_dashes_for_its_difference(clear):
    held = confirm.ConfirmedArm(score=0.5, seeds=1, rows=3)
    done = confirm.Confirmed({"best_trial": held}, "natural", {"best_trial": Difference()})
    text = guideline_text.guideline_markdown(replace(clear, confirmed=done))
    assert "| best trial | 0.500 | 1 | - | - |" in text
