"""The search with the real model: three trials end to end, killed half-way and gone on with; a
failed trial, a spent budget."""

from __future__ import annotations

import pytest
from conftest import TINY, cli, second_of

from raytune_agents import config, tune
from raytune_agents.storage import read_json

FAILING = "tune.space={train.lora.target_modules: {choice: [[no_such_module], all-linear]}}"


@pytest.mark.faults
def test_a_killed_search_keeps_its_trials_and_goes_on_in_the_middle_of_one(story) -> None:
    run, before = story.folder, story.reports
    assert before, "the search ended before it could be killed"
    assert story.codes[1] != 0
    trials = {t["trial_id"]: t for t in read_json(run / "tune" / "trials.json")}
    assert len(trials) == 3
    assert {t["status"] for t in trials.values()} == {"finished"}
    first, done = before[0]["trial_id"], second_of(before)
    kept = [x for x in before if x["trial_id"] == first]
    assert [r["seconds"] for r in trials[first]["reports"]] == [x["seconds"] for x in kept]
    reports = trials[done[0]["trial_id"]]["reports"]
    assert reports[0]["seconds"] == done[0]["seconds"]  # not run again
    assert reports[-1]["from_step"] > 0  # the checkpoint's step
    assert [r["report"] for r in reports] == list(range(1, len(reports) + 1))


def test_every_plain_mix_is_among_the_trials(tiny) -> None:
    mixes = [t["weights"] for t in read_json(tiny[0] / "tune" / "trials.json")]
    assert any(m["positive"] == pytest.approx(1) for m in mixes)
    assert any(m["positive"] == pytest.approx(m["negative"]) for m in mixes)


def test_the_search_is_read_back_in_every_form(tiny) -> None:
    run, _ = tiny
    grid = tune.search_results(run)
    scores = {t["trial_id"]: t["score"] for t in read_json(run / "tune" / "trials.json")}
    assert {r.metrics["trial_id"]: r.metrics["exact_match"] for r in grid} == scores
    base = read_json(run / "tune" / "stages" / "base.json")
    assert [(t["error"], t["score"] is None) for t in base] == [("", False)]
    shown = cli("trials", str(run), "--best", "1", timeout=60)
    assert shown.returncode == 0
    assert "1 trials" in shown.stdout
    best = config.load_config(run / "tune" / "best.yaml")
    first = read_json(run / "tune" / "trials.json")[0]
    assert list(best.train.arms) == ["best"]
    assert best.mix.weights == pytest.approx(first["weights"], abs=1e-4)
    assert best.train.learning_rate == first["config"]["train.learning_rate"]
    guide = read_json(run / "tune" / "guide.json")
    assert guide["verdict"] == "refused"  # three trials are too few for three pools
    assert 0 < guide["times"]["busy_share"] <= 1


@pytest.mark.slow
def test_a_failed_trial_has_an_error_and_no_score_and_the_budget_ends_the_search(labelled) -> None:
    spent = (
        "tune.num_samples=8",
        "tune.tokens=60",
        "tune.num_rungs=1",
        "tune.rows=4",
        "tune.noise=0",
        "tune.settle_learning_rate=0",
        "tune.search_alg=random",
        "seed=6",  # draws: fails, trains, trains
    )
    words = (f"runs_dir={labelled}", *spent, FAILING, "budget.max_tokens=200")
    done = cli("run", "--steps", "tune", str(TINY), *words, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout + done.stderr
    assert "of stage search failed" in told
    assert "Traceback" not in told  # the trial's folder has it
    folder = labelled / "tiny" / "tune"
    trials = read_json(folder / "trials.json")
    failed = [t for t in trials if t["status"] == "failed"]
    assert failed
    assert all(t["score"] is None and "no_such_module" in t["error"] for t in failed)
    assert "budget.max_tokens=200 is spent" in read_json(folder / "guide.json")["ended"]
    assert sum(t["tokens"] for t in trials) < 480  # of 8 * 60 or more
    assert "no_such_module" in (folder / "guide.md").read_text()
