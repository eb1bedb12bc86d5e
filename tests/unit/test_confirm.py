"""The confirming runs: which are run, what they are judged by, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.tune import confirm, guideline, guideline_text
from raytune_agents.tune.search_space import parse_space
from raytune_agents.tune.trials import Level, Trial

SPACE = parse_space(
    {
        "mix.weights": {"simplex": ["positive", "negative"]},
        "train.learning_rate": {"loguniform": [1e-4, 1e-2]},
    },
    {"positive": 90, "negative": 10},
)
BEST = Trial("best", sample=SPACE.simplex().invert({"positive": 0.8, "negative": 0.2})
             | {"train.learning_rate": 2e-3})  # fmt: skip
MIX, CONFIG = {"positive": 0.7, "negative": 0.3}, {"train.learning_rate": 1e-3}
PREDICTED = {"natural": 0.2, "stratified": 0.1, "best_trial": 0.3, "recommended": 0.4}


def said(judged: confirm.Confirmed) -> str:
    """The guide of a search that says nothing else."""
    return guideline_text.guideline_markdown(
        replace(guideline.recommend([], None), confirmed=judged)
    )


def test_every_arm_runs_with_every_seed_at_the_same_options():
    points = confirm.confirming_samples(MIX, CONFIG, BEST, SPACE, seeds=3, first=100)
    assert len(points) == 5 * 3
    assert {p["seed"] for p in points} == {100, 101, 102}
    assert all(p["full"] for p in points)
    resolved = {p["arm"]: SPACE.resolve(p) for p in points}
    assert resolved["recommended"]["mix.weights"] == pytest.approx(MIX)
    assert resolved["natural"]["mix.weights"] == pytest.approx({"positive": 0.9, "negative": 0.1})
    assert resolved["positives_only"]["mix.weights"]["negative"] == 0
    rates = {arm: r["train.learning_rate"] for arm, r in resolved.items()}
    assert rates.pop("best_trial") == 2e-3
    assert set(rates.values()) == {1e-3}
    refused = confirm.confirming_samples({}, CONFIG, BEST, SPACE, 3, 0)
    assert {p["arm"] for p in refused} == {
        "best_trial", "natural", "stratified", "positives_only"}  # fmt: skip


def runs(tmp_path, hits: dict[str, list[list[int]]]) -> list[Trial]:
    """One confirming run per arm and seed; `hits`: arm -> seeds -> right or wrong per row."""
    found = []
    for arm, seeds in hits.items():
        for seed, rows in enumerate(seeds):
            folder = tmp_path / f"{arm}{seed}"
            folder.mkdir()
            by_row = {"exact_match": {f"r{i}": h for i, h in enumerate(rows)}}
            (folder / "hits.json").write_text(json.dumps(by_row))
            score = sum(rows) / len(rows)
            found.append(Trial(arm, arm=arm, seed=seed, score=score, checkpoint=str(folder)))
    return found


def test_a_clear_gain_over_the_best_plain_mix_is_confirmed(tmp_path):
    """36 of 40 rows against 16 and 8: the base is the better plain mix, the gain 20 / 40 = 0.5."""
    made = {
        "recommended": [[1] * 36 + [0] * 4] * 3,
        "natural": [[1] * 16 + [0] * 24] * 3,
        "stratified": [[1] * 8 + [0] * 32] * 3,
    }
    judged = confirm.judge_confirmed(runs(tmp_path, made), PREDICTED, Resampling(seed=1))
    assert judged.base == "natural"
    assert judged.arms["natural"] == confirm.ConfirmedArm(pytest.approx(0.4), 3, 40)
    gain = judged.gains["recommended"]
    assert gain.value == pytest.approx(0.5)
    assert gain.low > 0.3
    assert judged.rank_to_full == pytest.approx(1.0)  # 0.4, 0.2, 0.1 beside 0.9, 0.4, 0.2
    told = "Confirmed at the full budget, 3 seeds each on 40 held-out rows: the recommended mix"
    assert f"{told} gains +0.500 (" in said(judged)


def test_no_gain_and_a_loss_are_said_as_they_are(tmp_path):
    equal = {"recommended": [[1, 0] * 10] * 3, "natural": [[0, 1] * 10] * 3}
    judged = confirm.judge_confirmed(runs(tmp_path, equal), PREDICTED, Resampling(seed=1))
    assert "No gain is confirmed: at the full budget, 3 seeds" in said(judged)
    worse = {"best_trial": [[0] * 19 + [1]] * 3, "stratified": [[1] * 19 + [0]] * 3}
    (tmp_path / "more").mkdir()
    found = runs(tmp_path / "more", worse)
    judged = confirm.judge_confirmed(found, PREDICTED, Resampling(seed=1))
    assert "Not confirmed: at the full budget" in said(judged)
    assert ", the best trial mix loses -0.900 (" in said(judged)


def test_the_guide_tells_what_was_confirmed_what_it_cost_and_why_it_ended(tmp_path):
    made = {"best_trial": [[1] * 20] * 3, "natural": [[1] * 5 + [0] * 15] * 3}
    whole = replace(
        guideline.recommend([], None),
        confirmed=confirm.judge_confirmed(runs(tmp_path, made), PREDICTED, Resampling(seed=1)),
        ended="budget.max_tokens=100 is spent (120)",
        spent={"tokens": 120.0, "hours": 0.5, "cost": 0.25},
        times={"busy_share": 0.9, "startup_s_cold": 12.0, "startup_s_warm": None},
    )
    text = guideline_text.guideline_markdown(whole)
    assert "Confirmed at the full budget" in text
    assert "| natural | 0.250 | 3 | the base |  |" in text
    assert "The search ended early, budget.max_tokens=100 is spent (120)" in text
    assert "| US dollars | 0.25 |" in text
    assert "| busy share | 0.90 |" in text
    assert "startup s warm" not in text
    whole = replace(whole, levels=[Level(1, 9, 0.8), Level(2, 9, None)])
    assert guideline_text.guideline_line(whole) == (
        "refused, start-up 12.0 s in a new process, busy 90%, report 1 orders as the last: 0.80"
    )


def test_no_confirming_run_says_nothing():
    judged = confirm.judge_confirmed([], PREDICTED, Resampling(seed=1))
    assert judged.arms == {}
    assert "full budget" not in said(judged)
