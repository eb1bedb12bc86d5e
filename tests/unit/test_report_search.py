"""The search section of the report: surfaces, parallel coordinates, rungs and cost."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from raytune_agents.report import search_section

POOLS = ["positive", "synthetic", "negative"]


def trial(name: str, score: float, shares: tuple[float, ...], **more) -> dict:
    pools = [*POOLS, "other"][: len(shares)]
    return {
        "trial_id": name,
        "stage": "search",
        "status": "finished",
        "config": {"train.learning_rate": 1e-3 * (1 + score), "train.lora.target_modules": ["q"]},
        "weights": dict(zip(pools, shares)),
        "reports": [{"step": 2, "exact_match": score / 2}, {"step": 4, "exact_match": score}],
        "score": score,
        "tokens": 100 * score,
        "error": "",
    } | more


THREE = [
    trial("a", 0.2, (0.5, 0.5, 0.0)),
    trial("b", 0.6, (0.2, 0.3, 0.5), status="stopped"),
    trial("c", 0.9, (1.0, 0.0, 0.0), stage="confirm"),
]
SURFACE = {
    "pools": ["negative", "positive", "synthetic"],
    "points": [[1, 0, 0, 0.1], [0, 1, 0, 0.5], [0, 0, 1, 0.3]],
}


def drawn(found: list, title: str) -> ET.Element:
    (svg,) = [figure.chart.svg for figure in found if title in figure.title]
    return ET.fromstring(str(svg))


def test_the_triangle_shows_the_predicted_surface_in_the_order_of_its_corners():
    made = search_section.search_view(THREE, "", {"surfaces": [SURFACE]})
    svg = drawn(made.figures, "predicted score below")
    field = [e for e in svg if "field" in e.get("class", "")]
    assert len(field) == 3
    best = next(e for e in field if "q4" in e.get("class"))
    assert (best.get("cx"), best.get("cy")) == ("160.0", "24.0")  # all positive: the top corner
    assert best[0].text.startswith("predicted 0.5 at positive 1")


def test_confirming_runs_are_in_the_table_and_not_in_the_charts():
    made = search_section.search_view(THREE, "", {})
    assert [t.status for t in made.table] == [
        "finished confirm", "stopped search", "finished search"]  # fmt: skip
    svg = drawn(made.figures, "against trained tokens")
    assert sum("dot" in e.get("class", "") for e in svg) == 2
    assert any("1 trial was stopped" in figure.title for figure in made.figures)


def test_more_than_three_pools_make_a_surface_a_pair():
    four = [trial("a", 0.2, (0.4, 0.3, 0.2, 0.1)), trial("b", 0.5, (0.1, 0.2, 0.3, 0.4))]
    pair = {"pools": ["positive", "other"], "points": [[0, 0, 0.1], [0, 0.5, 0.2], [0.5, 0, 0.3]]}
    made = search_section.search_view(four, "", {"surfaces": [pair]})
    svg = drawn(made.figures, "Predicted score: positive across, other up")
    assert sum(e.tag == "rect" for e in svg) == 3
    assert sum(e.tag == "circle" for e in svg) == 2


def test_a_search_of_nothing_draws_nothing():
    made = search_section.search_view([], "", {"surfaces": "broken"})
    assert made.table == []
    assert not any(figure.chart for figure in made.figures)
