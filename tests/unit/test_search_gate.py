"""What a search may not lose, and what it takes over from an earlier one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.pipeline.tune import interleaved
from raytune_agents.records import Message, ToolCall, Trajectory, finish
from raytune_agents.tune import guideline, guideline_text, reuse, search_gate
from raytune_agents.tune.search_space import parse_space
from raytune_agents.tune.trials import Trial

POOLS = ["positive", "synthetic", "negative"]
SPACE = parse_space({"mix.weights": {"simplex": POOLS}})


def trial(tmp_path, name: str, right: int, rows: int = 200, **more) -> Trial:
    """A whole trial that is silent on `right` of the rows that want no call."""
    folder = tmp_path / name
    folder.mkdir(parents=True)
    hits = {f"r{i}": float(i < right) for i in range(rows)}
    (folder / "hits.json").write_text(json.dumps({"irrelevance": hits}))
    more = {"reports": [{"relevance": 0.9, "irrelevance": right / rows}], "score": 0.3} | more
    return Trial(name, checkpoint=str(folder), **more)


def test_a_mix_that_calls_where_none_is_right_has_lost(tmp_path) -> None:
    """All of 200 rows silent before; 190 after is a loss of 5 points that they do not settle, 50
    is one of 75 points."""
    base = trial(tmp_path, "base", 200)
    rights = {"same": 200, "less": 190, "loud": 50}
    found = [trial(tmp_path, name, right) for name, right in rights.items()]
    gate = search_gate.judge_search(found, base, [], Resampling(seed=1))
    assert (gate.reference, gate.value, gate.rows) == ("base", 1.0, 200)
    assert gate.outcomes == {"same": "kept", "less": "not proven", "loud": "lost"}
    assert gate.least == pytest.approx(0.95)
    said = guideline_text.guideline_markdown(replace(guideline.recommend([]), gate=gate))
    assert "of 3 whole trials 1 kept it, 1 lost it, 1 did not prove it" in said


def test_a_base_that_never_calls_is_no_reference(tmp_path) -> None:
    base = trial(tmp_path, "base", 200, reports=[{"relevance": 0.1, "irrelevance": 1.0}])
    positives = [trial(tmp_path, "plain", 100, weights={"positive": 1.0})]
    gate = search_gate.judge_search(positives, base, positives, Resampling(seed=1))
    assert (gate.reference, gate.value) == ("positives_only", 0.5)
    assert search_gate.judge_search([], base, [], Resampling(seed=1)).reference == ""


def test_a_mix_below_a_floor_is_never_recommended() -> None:
    """The score rises with the negative share, and irrelevance falls with it: 1 - share. At a floor
    of 0.6 the best mix that is left holds about 0.4 of negatives."""
    found = []
    for i in range(5):
        for j in range(5 - i):
            mix = {"positive": i / 4, "synthetic": j / 4, "negative": (4 - i - j) / 4}
            score = 0.2 + 0.4 * mix["negative"] + 0.01 * mix["positive"]
            found.append(Trial(f"t{i}{j}", weights=mix, score=score))
    free = guideline.recommend(found, SPACE)
    assert free.recommended["negative"] > 0.9
    floor = guideline.Floor({t.trial_id: 1 - t.mix["negative"] for t in found}, 0.6)
    held = guideline.recommend(found, SPACE, floor=floor)
    assert held.recommended["negative"] == pytest.approx(0.4, abs=0.05)
    none = guideline.recommend(found, SPACE, floor=guideline.Floor(floor.values, 1.2))
    assert "lose what the reference can do" in none.refused


def test_earlier_trials_are_moved_by_the_difference_of_the_natural_mixes() -> None:
    """Natural mix: 0.30 then, 0.25 now, so 0.40 then counts as 0.35; the new pool has share 0."""
    natural = {"positive": 0.5, "negative": 0.5}
    whole = {"reports": [{"objective": 0.0}]}
    earlier = [
        Trial("n", stage="noise", weights=natural, objective=0.30, **whole),
        Trial("a", weights={"positive": 0.8, "negative": 0.2}, objective=0.40, **whole),
        Trial("b", weights={"positive": 0.8, "other": 0.2}, objective=0.50, **whole),
        Trial("c", weights=natural, objective=0.9, status="stopped", **whole),
    ]
    now = [Trial("m", weights=natural | {"synthetic": 0.0}, objective=0.25, **whole)]
    moved = reuse.shifted_trials(earlier, SPACE, natural, now)
    assert [(t.trial_id, t.objective) for t in moved] == [
        ("earlier-n", pytest.approx(0.25)), ("earlier-a", pytest.approx(0.35))]  # fmt: skip
    assert moved[1].mix == {"positive": 0.8, "synthetic": 0.0, "negative": 0.2}
    (_, first), (sample, second) = reuse.as_samples(moved, SPACE)
    assert (first, second) == (pytest.approx(0.25), pytest.approx(0.35))
    assert SPACE.resolve(sample)["mix.weights"] == pytest.approx(moved[1].mix, abs=1e-3)


def test_any_first_part_of_the_scored_rows_has_its_share_of_rows_without_a_call() -> None:
    """20 rows with a call and 4 without: one in each quarter of the order."""
    call = Message("assistant", tool_calls=(ToolCall("f", "{}"),))
    rows = [finish(Trajectory((Message("user", f"{i}"), call))) for i in range(20)]
    rows += [finish(Trajectory((Message("user", f"x{i}"), Message("assistant", "no"))))
             for i in range(4)]  # fmt: skip
    order = interleaved(rows)
    assert sorted(r.id for r in order) == sorted(r.id for r in rows)
    assert [sum(not r.calls for r in order[i : i + 6]) for i in range(0, 24, 6)] == [1, 1, 1, 1]
