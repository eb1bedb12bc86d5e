"""What the report finds in a run, by hand: verdicts, intervals, funnels, charts."""

import json

import pytest
from report_run import make_run

from raytune_agents import redact, report
from raytune_agents.report import (
    boards,
    canvas,
    cases,
    charts,
    findings,
    folder,
    safe_text,
    search_section,
    sections,
)


def test_pareto_by_hand():
    assert findings.undominated([(3, 0.5), (1, 0.2), (2, 0.6), (2, 0.4)]) == [(1, 0.2), (2, 0.6)]


def test_funnel_counts_what_is_lost():
    rows = {"in": 10, "out": 6, "rejected": {"a": 2}, "failed": {"b": 1}}
    line = findings.step_funnel({"label": {"rows": rows, "seconds": 2}})[0]
    assert (line.rejected, line.failed, line.lost) == (2, 1, 1)
    assert line.reasons == [(2, "a"), (1, "b")]
    assert findings.step_funnel({"train": {}})[0].lost is None


def test_cases_before_and_after():
    """base / x by row: fixed, both right, broken, both wrong, fixed."""
    call, given = '<tool_call>{"name": "g", "arguments": {}}</tool_call>', []
    for i, hits in enumerate([(0, 1), (1, 1), (1, 0), (0, 0), (0, 1)]):
        row = {"split": "val", "id": str(i), "gold": '[{"f": {"a": [1]}}]', "answer": call}
        for arm, hit in zip(("base", "x"), map(float, hits)):
            fault = "" if hit else f"f{i}"
            made = folder.ShownAnswer(arm=arm, **row, fault=fault, values={"exact_match": hit})
            given.append(made)
    found = cases.group_cases(given)
    counts = {"fixed": 2, "broken": 1, "both_right": 1, "both_wrong": 1}
    assert cases.change_counts(found, "x", "val") == counts
    assert [c.id for c in cases.telling_cases(found, "x", "val", most=4)] == ["0", "4", "2", "3"]
    assert [c.id for c in cases.wrong_cases(found, 99)] == ["0", "2", "3", "4"]
    assert len(cases.wrong_cases(found, 2)) == 2
    assert cases.tool_choices(found, "x") == {("f", "g"): 5}
    line = cases.shares_by(found, ["base", "x"], lambda c: c.calls)[0]
    assert (line.name, line.n, line.cells["x"].value) == ("1 call", 5, 0.6)


def test_rare_faults_are_listed_before_common_ones():
    names = ["rare" if i == 50 else "common" for i in range(60)]
    given = [
        folder.ShownAnswer(
            "base", "val", str(i), values={"exact_match": 0.0}, gold="[]", fault=name
        )
        for i, name in enumerate(names)
    ]
    assert "50" in [c.id for c in cases.wrong_cases(cases.group_cases(given), 2)]


def test_trials_with_an_error_have_no_score():
    reports = [{"step": 1, "exact_match": 0.2}, {"step": 2, "exact_match": 0.5}]
    given = [
        {"trial_id": "a", "score": 0.9, "error": "died", "weights": {}},
        {"trial_id": "b", "score": 0.5, "reports": reports},
        {"trial_id": "c", "score": 0.7, "config": {"mix.weights": {"positive": 1.0}}},
        {"trial_id": "d", "score": float("nan")},
    ]
    made = [(t.name, t.score) for t in search_section.ranked_trials(given)]
    assert made == [("c", 0.7), ("b", 0.5), ("a", None), ("d", None)]


TICKS = [
    ((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    ((0, 95), [0, 20, 40, 60, 80]),
    ((-3, 2.5), [-2, 0, 2]),
    ((5, 5), [5]),
]


@pytest.mark.parametrize(("ends", "expected"), TICKS)
def test_ticks_are_round(ends, expected):
    assert canvas.ticks(*ends) == expected


@pytest.mark.parametrize("value", [0.0, 1e-300, 5e-324, 1e300, -1e300, 1e16])
def test_charts_survive_any_finite_number(value):
    for points in ([(1.0, value), (2.0, value * 0.999999999), (3.0, 0.5)], [(1.0, value)]):
        svg = charts.line_chart({"a": points}, {"a": "c1"}, "label", "x").svg
        assert "polyline" in svg
        assert "nan" not in svg
        assert '"inf' not in svg


def test_long_curves_are_thinned_by_means():
    points = charts.thin([(float(i), float(i % 2)) for i in range(1000)], most=100)
    assert len(points) == 100
    assert points[0] == (4.5, 0.5)


def test_text_by_hand():
    assert redact.visible("a\u202eb\ud800\r\nc\x1b[3m") == "a⟨U+202E⟩b⟨U+D800⟩\nc⟨U+001B⟩[3m"
    assert redact.visible("👩\u200d💻 ok\n\t") == "👩\u200d💻 ok\n\t"
    assert safe_text.clip("x" * 10, 4) == "xxxx … [cut: the first 4 of 10 characters]"
    values = (1234, 0.01234, 1234.5, None, float("nan"), True, 2.5e-5)
    shown = ["1,234", "0.0123", "1,234", "–", "–", "–", "2.5e-05"]
    assert [safe_text.format_number(v) for v in values] == shown
    times = ["0.42 s", "41 s", "12 min", "3.4 h"]
    assert [safe_text.seconds(v) for v in (0.42, 41, 720, 12240)] == times


def test_shares_of_the_data_make_a_curve(tmp_path):
    path = make_run(tmp_path / "demo")
    assert "Score against training data" not in report.write_report(path).read_text()
    config = json.loads((path / "config.json").read_text())
    config["train"] = {"arms": {"nat": {"share": 1.0}, "sft": {}, "nat-10": {"share": 0.1}}}
    (path / "config.json").write_text(json.dumps(config))
    scores = json.loads((path / "evaluate/scores.json").read_text())
    few = {"exact_match": {"value": 0.5, "n": 40}}
    costs = json.loads((path / "evaluate/costs.json").read_text())
    (path / "evaluate/costs.json").write_text(json.dumps(costs | {"nat-10": {"train_rows": 26.0}}))
    scores["nat-10"] = {"test_unseen": few}
    (path / "evaluate/scores.json").write_text(json.dumps(scores))
    run = folder.read_run(path)
    css = {"base": "c0", "nat": "c1", "sft": "c2", "nat-10": "c3"}
    figure, arms = sections.learning(run, css)
    svg = figure.chart.svg
    assert (figure.title, arms) == ("Exact match on test_unseen by rows trained on", ["nat"])
    top = run.scores["nat"]["test_unseen"]["exact_match"].value * 100
    assert f"nat: {safe_text.format_number(top)} at 260" in svg  # the line ends at all of its rows
    assert svg.count("<circle") == 3  # base at 0 rows, 26 rows, 260 rows
    assert "Score against training data" in report.write_report(path).read_text()


def test_splits_of_other_measures_have_their_own_columns(tmp_path):
    run = folder.read_run(make_run(tmp_path / "demo"))
    css = dict.fromkeys(run.scores, "c0")
    val, other = (boards.split_board(run, split, css) for split in ("val", "general"))
    assert [m.name for m in val.main] == ["perplexity", "nll"]
    assert [m.better for m in val.main] == ["lower", "lower"]
    assert "%" not in val.figures[0].chart.svg  # a perplexity is no share
    assert [m.name for m in other.main] == ["arc_easy.acc"]
    assert other.cells["nat"]["arc_easy.acc"].change == "−5.0"
    assert other.cells["nat"]["arc_easy.acc"].word == ""  # lm-eval's metrics have no known way


def test_energy_that_was_not_told_is_said(tmp_path):
    page = report.write_report(make_run(tmp_path / "demo")).read_text()
    assert "Energy: this machine tells no energy." in page


def test_manifests_of_another_shape_give_no_table_and_no_error():
    odd = {"read": {"task_types": ["x"]}, "generate": {"funnel": ["x"], "realism": "x"}}
    assert findings.stages(odd | {"label": {"funnel": None}}) == []
    assert findings.generated_quality(odd) is None
    assert not boards.trained_on_bfcl({"read": {"sources": ["bfcl"]}})
