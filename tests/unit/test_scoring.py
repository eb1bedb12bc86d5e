"""Every value of one answer against values worked by hand; the table that names them."""

import json
from dataclasses import replace

import pytest

from raytune_agents.calls import render_calls
from raytune_agents.evaluate.metrics import METRICS, Metric, metric_named, metrics_of_run
from raytune_agents.evaluate.scoring import REPLY_VALUES, SCORED, h_row, score_answer
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory
from raytune_agents.storage import write_json

ADD = ToolSpec("add", "", json.dumps({"type": "object", "required": ["a", "b"], "properties": {
    "a": {"type": "integer"}, "b": {"type": "integer"}, "c": {"type": "integer"}}}))  # fmt: skip
SAY = ToolSpec("say", "", '{"type": "object", "properties": {"text": {"type": "string"}}}')
SUM = ToolCall.of("add", a=1, b=2)
HI = ToolCall.of("say", text="hi")


def row(*calls: ToolCall, gold: str = "") -> Trajectory:
    target = Message("assistant", "" if calls else "no", tool_calls=calls)
    return Trajectory((Message("user", "1 + 2?"), target), (ADD, SAY), gold=gold)


def value_of(text, on: Trajectory, cut: bool = False) -> dict:
    """The values and the two labels of an answer."""
    found = score_answer(text, on, cut)
    return found.values | {"error": found.error, "fault": found.fault}


def scored(*calls: ToolCall, on: Trajectory) -> dict:
    return value_of(render_calls(calls) if calls else "It is 3.", on)


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
    assert value_of("Which b do you mean?", ask)["follow_up"] == 1.0
    assert value_of("I will guess.", ask)["follow_up"] == 0.0
    assert scored(SUM, on=ask)["follow_up"] == 0.0
    assert scored(on=row(gold="[]"))["follow_up"] is None
    scope = replace(row(gold="[]"), meta={"refuse": "out_of_scope"})
    assert scored(SUM, on=scope)["hallucination.out_of_scope"] == 1.0
    assert scored(on=scope)["hallucination.out_of_scope"] == 0.0
    assert scored(SUM, on=scope)["hallucination.invalid_parameter"] is None
    assert scored(on=row(SUM))["over_refusal"] == 1.0
    assert scored(HI, on=row(SUM))["over_refusal"] == 0.0
    assert value_of('{"name": "add", "argum', row(SUM))["over_refusal"] == 0.0  # it tried to call


def test_prose_and_broken_text_where_a_call_is_right():
    got = scored(on=row(SUM))
    assert (got["relevance"], got["call_precision"], got["call_recall"]) == (0.0, None, 0.0)
    assert (got["format_adherence"], got["hallucination_rate"]) == (1.0, 0.0)
    got = value_of('{"name": "add", "argum', row(SUM))
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
    assert value_of("Thought: I need to call add.\nAction: none", none)["h_score"] == 0.0


def test_rows_that_cannot_be_scored_are_no_zeros():
    got = scored(SUM, on=row(SUM, gold="[{}]"))
    assert (got["exact_match"], got["error"], got["fault"]) == (None, "bad_gold", "bad_gold")
    open_row = replace(row(SUM), messages=(Message("user", "1 + 2?"),))
    assert scored(SUM, on=open_row)["relevance"] == 1.0
    assert scored(on=open_row)["relevance"] == 0.0
    assert value_of(None, row(SUM))["error"] == "decoder_wrong_output_format"


def test_every_metric_is_named_and_in_its_range():
    for calls in ((), (SUM,), (HI,), (SUM, SUM), (ToolCall.of("fly", x=1), HI)):
        for on in (row(SUM), row(SUM, HI), row(gold="[]"), row(SUM, gold="[{}]")):
            got = scored(*calls, on=on)
            assert got.keys() - {"error", "fault"} == set(SCORED)
            for name, value in got.items():
                if name in SCORED and value is not None:
                    assert METRICS[name].unit == "share", name
                    assert 0 <= value <= 1, name


def test_an_answer_cut_at_the_limit_is_a_class_of_its_own():
    """16 tokens of a call are no malformed JSON, and prose that was cut is not 'answered'."""
    broken = '<tool_call>{"name": "add", "argum'
    whole = value_of(broken, row(SUM))
    assert (whole["fault"], whole["cut_rate"]) == ("malformed_json", 0.0)
    cut = value_of(broken, row(SUM), cut=True)
    assert (cut["fault"], cut["cut_rate"], cut["error"]) == ("cut", 1.0, "decoder_failed")
    assert value_of("Let me think about", row(SUM), cut=True)["fault"] == "cut"
    right = value_of(render_calls([SUM]), row(SUM), cut=True)  # right all the same
    assert (right["fault"], right["exact_match"], right["cut_rate"]) == ("", 1.0, 1.0)
    unscored = value_of("x", row(SUM, gold="[{}]"), cut=True)
    assert unscored["fault"] == "bad_gold"


def test_without_tools_there_is_nothing_to_decline():
    bare = replace(row(gold="[]"), tools=())
    assert value_of("Hello.", bare)["irrelevance"] is None
    assert value_of("Hello.", bare)["exact_match"] == 1.0


# --- Agent-H ---


def test_h_score_by_hand():
    """1 of 4 with ReAct words, 2 of 4 with tool phrases: 0.5 * (0.75 + 0.5)."""
    texts = ["Thought: I will use add", "I need to call add", "3", "It is 3."]
    assert [h_row(t) for t in texts] == [
        (True, True), (False, True), (False, False), (False, False)]  # fmt: skip
    none = row(gold="[]")
    found = [value_of(t, none)["h_score"] for t in texts]
    assert found == [0.0, 0.5, 1.0, 1.0]
    assert sum(found) / 4 == pytest.approx(0.625)


# --- the table ---


def test_every_metric_says_its_unit_and_its_direction():
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.label
        assert metric.better in ("higher", "lower", "")
    less = {"hallucination_rate", "cut_rate", "over_refusal", "loop_rate", "perplexity",
            "steps_to_success", "train_seconds", "first_token_ms"}  # fmt: skip
    assert {METRICS[name].better for name in less} == {"lower"}
    more = {"exact_match", "irrelevance", "tokens_per_s", "recovery", "overall"}
    assert {METRICS[name].better for name in more} == {"higher"}
    assert set(REPLY_VALUES) & set(SCORED) == set()


def test_families_and_unknown_names_guess_no_direction(tmp_path):
    fault = metric_named("fault.wrong_value")
    assert (fault.label, fault.better, fault.unit) == ("share with fault: wrong value", "lower",
                                                       "share")  # fmt: skip
    assert metric_named("pass_hat_2").better == "higher"
    odd = metric_named("arc_easy.error_tokens_loss")
    assert (odd.label, odd.better) == ("arc easy: error tokens loss", "")
    own = {"politeness": Metric("politeness", "polite", better="higher")}
    assert metric_named("politeness", own).label == "polite"
    write_json(tmp_path / "metrics.json", {"p": own["politeness"].record() | {"later": 1}})
    assert metrics_of_run(tmp_path)["p"] == own["politeness"]
