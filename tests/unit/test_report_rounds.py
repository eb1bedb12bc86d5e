"""The report on rounds: shares by hand, and the page of a run that has them."""

from __future__ import annotations

import json
from dataclasses import asdict

from report_run import HOSTILE, make_run

from raytune_agents import report
from raytune_agents.report.rounds_section import (
    about,
    faults_grid,
    frequent_faults,
    rounds_grid,
    rounds_view,
)
from raytune_agents.rounds import Cluster, RoundRecord

DAYS = Cluster("wrong_value", "weather", "days", 1, "question")
FIRST = RoundRecord(
    1, val=0.25, answers=40, faults={"wrong_value": 10, "wrong_type": 2}, in_band=3, hard=5,
    easy=1, retired=1, in_band_share=0.3, new_tasks=2, rows=9, tokens=310,
    lost={"cut_at_max_tokens": 4, "leak": 1},
    asked_for=[DAYS.record() | {"failures": 7, "wanted": 4, "got": 2}],
)  # fmt: skip
SECOND = RoundRecord(2, val=0.125, answers=40, faults={"wrong_value": 4}, in_band=1, rows=4,
                     worse="val fell from 0.250 to 0.125", notes=[f"say {HOSTILE}"])  # fmt: skip
TOLD = {
    "select": "failure",
    "stopped": "round 2 made things worse",
    "kept": 1,
    "rounds": [asdict(r) for r in (RoundRecord(0, val=0.2), FIRST, SECOND)],
}


def test_a_round_as_the_page_has_it() -> None:
    """Of 40 answers 10 and 2 have a fault: 25 % and 5 %."""
    grid = rounds_grid([asdict(FIRST)], 1)
    assert grid.head == ["round", "val", "outcome", "in band", "too hard", "easy", "retired",
                         "new tasks", "rows", "tokens", "lost"]  # fmt: skip
    assert grid.lines == [
        ("1", ["25.0 %", "kept", "3 (30 %)", 5, 1, 1, 2, 9, 310, "4 cut_at_max_tokens, 1 leak"])]
    faults = faults_grid([{"round": 0}, asdict(FIRST)])
    assert faults.head == ["round", "wrong value", "wrong type"]
    assert faults.lines == [("1", ["25.0 %", "5.0 %"])]
    assert faults_grid([{"round": 0}, {"round": 1, "answers": 4}]).lines == []
    shown = rounds_grid([{"round": 0}, asdict(SECOND), {"round": 3}], 0)
    assert [cells[1] for _, cells in shown.lines] == [
        "start, kept", "val fell from 0.250 to 0.125", "nothing to train on"]  # fmt: skip
    assert frequent_faults([asdict(FIRST)]) == ["wrong_value", "wrong_type"]


def test_a_cluster_in_words() -> None:
    assert about(DAYS.record()) == "wrong_value in weather.days, 1 call, question"
    assert about(Cluster("missing_call", "news", "", 2, "long").record()) == (
        "missing_call in news, 2 calls, long"
    )
    assert about(Cluster("any").record()) == "any"


def test_no_arm_in_rounds_is_no_section() -> None:
    assert rounds_view({}) == []
    assert rounds_view({"a": {"rounds": []}}) == []


def test_the_page_shows_scores_requests_and_band(tmp_path) -> None:
    run = make_run(tmp_path / "demo")
    folder = run / "train" / "again"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rounds.json").write_text(json.dumps(TOLD))
    page = report.write_report(run).read_text()
    assert '<section id="rounds">' in page
    for words in ("wrong_value in weather.days, 1 call, question", "round 2 made things worse",
                  "3 (30 %)", "25.0 %", "val fell from 0.250 to 0.125",
                  "tasks in the success band"):  # fmt: skip
        assert words in page
    assert HOSTILE not in page
