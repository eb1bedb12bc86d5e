"""The search with the real model: four trials end to end, killed half-way and gone on with; a
failed trial, a spent budget."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import ROOT, TINY, cli, command

from raytune_agents import config, tune
from raytune_agents.storage import read_json

SEARCH = (
    *("tune.num_samples=4", "tune.tokens=300", "tune.num_rungs=4", "tune.rows=4"),
    *("tune.scheduler=none", "tune.noise=0", "tune.settle_learning_rate=0"),
)
FAILING = "tune.space={train.lora.target_modules: {choice: [[no_such_module], all-linear]}}"


def ledger(folder: Path) -> list[dict]:
    """The reports of the search; the base mix, which is run before it, is no trial of it."""
    path = folder / "metrics.jsonl"
    text = path.read_text().splitlines() if path.is_file() else []
    lines = [json.loads(line) for line in text if line.endswith("}")]
    return [line for line in lines if line["stage"] == "search"]


def second_of(lines: list[dict]) -> list[dict]:
    """The reports of the second trial."""
    ids = list(dict.fromkeys(x["trial_id"] for x in lines))
    return [x for x in lines if x["trial_id"] == ids[1]] if len(ids) > 1 else []


def kill_in_second_trial(words: tuple[str, ...], folder: Path) -> list[dict]:
    """kill -9 of the driver and all it started, once a report of the second trial is on disk."""
    log = (folder.parent / "killed.log").open("w")
    driver = subprocess.Popen(
        command("run", "--steps", "tune", *words), cwd=ROOT, stdout=log, stderr=log,
        start_new_session=True
    )
    stop = time.monotonic() + 900
    while True:
        assert driver.poll() is None, "the search ended before it could be killed"
        assert time.monotonic() < stop
        lines = ledger(folder)
        state = [f.stat().st_mtime for f in (folder / "ray/search").glob("experiment_state*")]
        reported = [x["session"] + x["wall"] for x in second_of(lines)]
        if reported and max(state, default=0) > reported[0] + 0.5:
            break
        time.sleep(0.05)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    return ledger(folder)


@pytest.fixture(scope="module")
def searched(labelled) -> tuple[Path, list[dict]]:
    """The run folder after a killed and repeated search, and the ledger at the kill."""
    folder, words = labelled / "tiny" / "tune", (str(TINY), f"runs_dir={labelled}", *SEARCH)
    before = kill_in_second_trial(words, folder)
    done = cli("run", "--steps", "tune", *words, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder.parent, before


def test_a_killed_search_keeps_its_trials_and_goes_on_in_the_middle_of_one(searched) -> None:
    run, before = searched
    trials = {t["trial_id"]: t for t in read_json(run / "tune" / "trials.json")}
    assert len(trials) == 4
    assert {t["status"] for t in trials.values()} == {"finished"}
    first, done = before[0]["trial_id"], second_of(before)
    kept = [x for x in before if x["trial_id"] == first]
    assert [r["seconds"] for r in trials[first]["reports"]] == [x["seconds"] for x in kept]
    reports = trials[done[0]["trial_id"]]["reports"]
    assert reports[0]["seconds"] == done[0]["seconds"]  # not run again
    assert reports[-1]["from_step"] > 0  # the checkpoint's step
    assert [r["report"] for r in reports] == list(range(1, len(reports) + 1))


def test_every_plain_mix_is_among_the_trials(searched) -> None:
    mixes = [t["weights"] for t in read_json(searched[0] / "tune" / "trials.json")]
    assert any(m["positive"] == pytest.approx(1) for m in mixes)
    assert any(m["positive"] == pytest.approx(m["negative"]) for m in mixes)


def test_the_search_is_read_back_in_every_form(searched) -> None:
    run, _ = searched
    grid = tune.search_results(run)
    scores = {t["trial_id"]: t["score"] for t in read_json(run / "tune" / "trials.json")}
    assert {r.metrics["trial_id"]: r.metrics["exact_match"] for r in grid} == scores
    shown = cli("trials", str(run), "--best", "1", timeout=60)
    assert shown.returncode == 0
    assert "1 trials" in shown.stdout
    best = config.load_config(run / "tune" / "best.yaml")
    first = read_json(run / "tune" / "trials.json")[0]
    assert list(best.train.arms) == ["best"]
    assert best.mix.weights == pytest.approx(first["weights"], abs=1e-4)
    assert best.train.learning_rate == first["config"]["train.learning_rate"]
    guide = read_json(run / "tune" / "guide.json")
    assert guide["verdict"] == "refused"  # four trials are too few for three pools
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
    folder = labelled / "tiny" / "tune"
    trials = read_json(folder / "trials.json")
    failed = [t for t in trials if t["status"] == "failed"]
    assert failed
    assert all(t["score"] is None and "no_such_module" in t["error"] for t in failed)
    assert "budget.max_tokens=200 is spent" in read_json(folder / "guide.json")["ended"]
    assert sum(t["tokens"] for t in trials) < 480  # of 8 * 60 or more
    assert "no_such_module" in (folder / "guide.md").read_text()
