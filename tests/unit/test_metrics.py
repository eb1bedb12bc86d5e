"""Per-row values, intervals and repeated trials against values worked by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from raytune_agents.calls import render_calls
from raytune_agents.evaluate.metrics import (
    COSTS,
    METRICS,
    Answer,
    aggregate,
    bootstrap,
    h_score,
    labels,
    pass_at_k,
    pass_hat_k,
    score,
    score_answer,
    summary,
    wilson,
)
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory

ADD = ToolSpec("add", "", json.dumps({"type": "object", "required": ["a", "b"], "properties": {
    "a": {"type": "integer"}, "b": {"type": "integer"}, "c": {"type": "integer"}}}))  # fmt: skip
SAY = ToolSpec("say", "", '{"type": "object", "properties": {"text": {"type": "string"}}}')
SUM = ToolCall.of("add", a=1, b=2)
HI = ToolCall.of("say", text="hi")


def row(*calls: ToolCall, gold: str = "") -> Trajectory:
    target = Message("assistant", "" if calls else "no", tool_calls=calls)
    return Trajectory((Message("user", "1 + 2?"), target), (ADD, SAY), gold=gold)


def scored(*calls: ToolCall, on: Trajectory) -> dict:
    return score(render_calls(calls) if calls else "It is 3.", on)


def test_a_right_answer():
    got = scored(SUM, on=row(SUM))
    ones = ("exact_match", "exact_match_optimal", "function_accuracy", "parameter_accuracy",
            "call_precision", "call_recall", "argument_precision", "argument_recall",
            "format_adherence", "relevance")  # fmt: skip
    assert {k: got[k] for k in ones} == dict.fromkeys(ones, 1.0)
    assert got["hallucination_rate"] == 0.0
    assert got["irrelevance"] is got["h_score"] is got["multi_function_accuracy"] is None
    assert (got["error"], got["fault"]) == ("", "")


def test_one_of_two_arguments_wrong():
    got = scored(ToolCall.of("add", a=1, b=3), on=row(SUM))
    assert (got["exact_match"], got["function_accuracy"], got["call_recall"]) == (0.0, 1.0, 0.0)
    assert got["parameter_accuracy"] == got["argument_precision"] == got["argument_recall"] == 0.5
    assert (got["error"], got["fault"]) == ("value_error:others", "wrong_value")


def test_missing_and_extra_arguments():
    got = scored(ToolCall.of("add", a=1, c=9), on=row(SUM))
    # given a (right), c (wrong); missing b: right / (given + missing) = 1/3
    assert got["parameter_accuracy"] == pytest.approx(1 / 3)
    assert got["argument_precision"] == got["argument_recall"] == 0.5
    assert got["hallucination_rate"] == 0.0  # c exists
    assert scored(ToolCall.of("add", a=1, b=2, zz=1), on=row(SUM))["hallucinated_argument"] == 1.0


def test_an_optional_argument_counts_only_where_it_is_given():
    gold = row(SUM, gold='[{"add": {"a": [1], "b": [2], "c": [0, ""]}}]')
    assert scored(SUM, on=gold)["argument_recall"] == 1.0
    got = scored(ToolCall.of("add", a=1, b=2, c=5), on=gold)
    assert got["argument_recall"] == got["parameter_accuracy"] == pytest.approx(2 / 3)


def test_wrong_function_has_no_parameter_accuracy():
    got = scored(HI, on=row(SUM))
    assert (got["function_accuracy"], got["parameter_accuracy"]) == (0.0, None)
    assert (got["argument_precision"], got["argument_recall"]) == (0.0, 0.0)
    got = scored(ToolCall.of("fly"), on=row(SUM))
    assert (got["hallucinated_tool"], got["hallucinated_argument"]) == (1.0, 0.0)
    assert (got["hallucination_rate"], got["fault"]) == (1.0, "hallucinated_function")


def test_several_calls():
    both = row(SUM, HI)
    got = scored(SUM, on=both)
    assert (got["call_precision"], got["call_recall"], got["argument_recall"]) == (1.0, 0.5, 2 / 3)
    assert got["multi_function_accuracy"] == 0.0
    assert (got["order_accuracy"], got["fault"]) == (None, "missing_call")
    assert scored(SUM, HI, on=both)["order_accuracy"] == 1.0
    got = scored(HI, SUM, on=both)
    assert (got["exact_match"], got["order_accuracy"]) == (1.0, 0.0)
    got = scored(SUM, SUM, HI, on=both)
    assert (got["call_precision"], got["call_recall"]) == (2 / 3, 1.0)


def test_optimal_matching_beside_greedy():
    gold = row(SUM, gold='[{"add": {"a": [1, 2], "b": [2]}}, {"add": {"a": [1], "b": [2]}}]')
    got = scored(SUM, ToolCall.of("add", a=2, b=2), on=gold)
    assert (got["exact_match"], got["exact_match_optimal"]) == (0.0, 1.0)
    assert got["fault"]  # wrong by the headline metric, so it has a name


def test_precision_and_recall_by_both_matchings():
    # greedy: gold 0 takes add(1, 2), and gold 1 is left with add(2, 2): a wrong, b right
    gold = row(SUM, gold='[{"add": {"a": [1, 2], "b": [2]}}, {"add": {"a": [1], "b": [2]}}]')
    got = scored(SUM, ToolCall.of("add", a=2, b=2), on=gold)
    assert (got["call_precision"], got["call_recall"]) == (0.5, 0.5)
    assert (got["argument_precision"], got["argument_recall"]) == (0.75, 0.75)
    optimal = [got[f"{k}_optimal"] for k in ("call_precision", "call_recall")]
    optimal += [got[f"argument_{k}_optimal"] for k in ("precision", "recall")]
    assert optimal == [1.0] * 4
    # no assignment is whole: two of three calls, and 1 + 2 of 6 arguments are right
    got = scored(ToolCall.of("add", a=9, b=2), SUM, ToolCall.of("add", a=9, b=9), on=gold)
    assert got["call_precision_optimal"] == pytest.approx(1 / 3)
    assert got["call_recall_optimal"] == 0.5
    assert got["argument_precision_optimal"] == 0.5
    assert got["argument_recall_optimal"] == 0.75


def test_conduct_where_calling_is_wrong():
    ask = replace(row(gold="[]"), meta={"ask": "b"})
    assert score("Which b do you mean?", ask)["follow_up"] == 1.0
    assert score("I will guess.", ask)["follow_up"] == 0.0
    assert scored(SUM, on=ask)["follow_up"] == 0.0
    assert scored(on=row(gold="[]"))["follow_up"] is None
    scope = replace(row(gold="[]"), meta={"refuse": "out_of_scope"})
    assert scored(SUM, on=scope)["hallucination.out_of_scope"] == 1.0
    assert scored(on=scope)["hallucination.out_of_scope"] == 0.0
    assert scored(SUM, on=scope)["hallucination.invalid_parameter"] is None
    assert scored(on=row(SUM))["over_refusal"] == 1.0
    assert scored(HI, on=row(SUM))["over_refusal"] == 0.0
    assert score('{"name": "add", "argum', row(SUM))["over_refusal"] == 0.0  # it tried to call


def test_prose_and_broken_text_where_a_call_is_right():
    got = scored(on=row(SUM))
    assert (got["relevance"], got["call_precision"], got["call_recall"]) == (0.0, None, 0.0)
    assert (got["format_adherence"], got["hallucination_rate"]) == (1.0, 0.0)
    got = score('{"name": "add", "argum', row(SUM))
    assert (got["exact_match"], got["format_adherence"], got["hallucination_rate"]) == (
        0.0,
        0.0,
        None,
    )
    assert (got["error"], got["fault"]) == ("decoder_failed", "malformed_json")


def test_no_call_is_right():
    none = row(gold="[]")
    got = scored(on=none)
    assert (got["irrelevance"], got["exact_match"], got["h_score"]) == (1.0, 1.0, 1.0)
    assert got["function_accuracy"] is got["relevance"] is got["call_recall"] is None
    got = scored(SUM, on=none)
    assert (got["irrelevance"], got["exact_match"], got["fault"]) == (0.0, 0.0, "unneeded_call")
    assert score("Thought: I need to call add.\nAction: none", none)["h_score"] == 0.0


def test_rows_that_cannot_be_scored_are_no_zeros():
    got = scored(SUM, on=row(SUM, gold="[{}]"))
    assert (got["exact_match"], got["error"], got["fault"]) == (None, "bad_gold", "bad_gold")
    open_row = replace(row(SUM), messages=(Message("user", "1 + 2?"),))
    assert scored(SUM, on=open_row)["relevance"] == 1.0
    assert scored(on=open_row)["relevance"] == 0.0
    assert score(None, row(SUM))["error"] == "decoder_wrong_output_format"


def test_every_metric_is_named_and_in_its_range():
    for calls in ((), (SUM,), (HI,), (SUM, SUM), (ToolCall.of("fly", x=1), HI)):
        for on in (row(SUM), row(SUM, HI), row(gold="[]"), row(SUM, gold="[{}]")):
            got = scored(*calls, on=on)
            assert got.keys() - {"error", "fault"} == METRICS.keys() - set(COSTS)
            for name, value in got.items():
                if name in METRICS and value is not None:
                    low, high = METRICS[name].range
                    assert low <= value <= high, name


def test_costs_are_kept():
    got = score_answer(Answer("r", render_calls([SUM]), latency_s=0.5, output_tokens=9), row(SUM))
    assert (got["latency_s"], got["output_tokens"], got["input_tokens"]) == (0.5, 9, None)


# --- Agent-H ---


def test_h_score_by_hand():
    assert h_score(["It is 3.", "Paris."]) == 1.0
    # 1 of 4 with ReAct words, 2 of 4 with tool phrases: 0.5 * (0.75 + 0.5)
    texts = ["Thought: I will use add", "I need to call add", "3", "It is 3."]
    assert h_score(texts) == pytest.approx(0.625)
    assert h_score([]) is None
    none = row(gold="[]")
    assert np.mean([score(t, none)["h_score"] for t in texts]) == pytest.approx(0.625)


# --- intervals ---


def test_wilson_by_hand():
    # (0.5 + 0.192073 -+ 1.959964 sqrt(0.025 + 0.00960365)) / 1.384146
    assert wilson(5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 3.841459 / 13.841459), abs=1e-6)
    assert wilson(10, 10) == pytest.approx((10 / 13.841459, 1.0), abs=1e-6)


def test_aggregate():
    assert aggregate([1.0, 0.0, None, 1.0, 0.0])["n"] == 4
    cell = aggregate([1, 0] * 5)
    assert (cell["value"], cell["low"]) == (0.5, pytest.approx(0.23659, abs=1e-4))
    assert aggregate([None, None]) == {"value": None, "low": None, "high": None, "n": 0}
    cell = aggregate([0.25, 0.75, 0.5, 0.5], seed=3)
    assert cell["low"] < cell["value"] == 0.5 < cell["high"]
    assert cell == aggregate([0.25, 0.75, 0.5, 0.5], seed=3)
    assert aggregate([0.25, 0.25])["low"] == 0.25
    with pytest.raises(ValueError, match="not finite"):
        aggregate([math.nan, 1.0])


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for i in range(200):
        low, high = bootstrap(rng.exponential(1.0, 200), 400, 0.9, i)
        hits += low <= 1.0 <= high
    assert 165 <= hits <= 194  # 0.9 of 200 within about three standard errors


def test_bootstrap_width_matches_the_normal_interval():
    values = np.random.default_rng(1).normal(0, 1, 400)
    low, high = bootstrap(values, 4000, 0.95, 0)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)


def test_latency_quantiles():
    cells = summary([{"latency_s": float(v)} for v in range(1, 102)], resamples=200)
    assert cells["latency_s"]["value"] == 51.0
    assert cells["latency_p50_s"]["value"] == 51.0
    assert cells["latency_p95_s"]["value"] == 96.0
    assert cells["latency_p95_s"]["low"] <= 96.0 <= cells["latency_p95_s"]["high"]
    assert cells.keys() == {"latency_s", "latency_p50_s", "latency_p95_s"}


def test_summary_and_labels():
    rows = [scored(SUM, on=row(SUM)), scored(HI, on=row(SUM)), scored(on=row(gold="[]"))]
    cells = summary(rows)
    assert cells["exact_match"]["value"] == pytest.approx(2 / 3)
    assert (cells["function_accuracy"]["value"], cells["function_accuracy"]["n"]) == (0.5, 2)
    assert cells["irrelevance"]["n"] == 1
    assert "multi_function_accuracy" not in cells
    assert cells["fault.wrong_function"]["value"] == pytest.approx(1 / 3)
    assert cells["fault.wrong_function"]["n"] == 3
    assert labels(rows, "fault") == {"wrong_function": 1}


# --- repeated trials ---


def test_pass_hat_k_and_pass_at_k_by_hand():
    # 4 trials; tasks succeed 4, 2, 0 times. C(4,2) = 6: pass^2 = (6 + 1 + 0) / 6 / 3
    assert pass_hat_k([4, 2, 0], 4, 2) == pytest.approx(7 / 18)
    # pass@2 = mean of 1 - 0/6, 1 - 1/6, 1 - 6/6
    assert pass_at_k([4, 2, 0], 4, 2) == pytest.approx((1 + 5 / 6 + 0) / 3)
    assert pass_hat_k([4, 2, 0], 4, 1) == pass_at_k([4, 2, 0], 4, 1) == 0.5
    assert pass_hat_k([3], 4, 4) == 0.0


@pytest.mark.parametrize(
    ("successes", "n", "k"), [([1], 2, 3), ([1], 2, 0), ([3], 2, 1), ([], 2, 1)]
)
def test_impossible_trials_are_refused(successes, n, k):
    for measure in (pass_hat_k, pass_at_k):
        with pytest.raises(ValueError, match=r"trials|counts"):
            measure(successes, n, k)
