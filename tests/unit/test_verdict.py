"""The run in one sentence: who is chosen by what, what the interval allows, what was lost."""

import pytest

from raytune_agents.evaluate.estimates import Estimate
from raytune_agents.evaluate.gate import no_regression
from raytune_agents.evaluate.measured import AnswerRow
from raytune_agents.evaluate.metrics import METRICS
from raytune_agents.evaluate.paired import Difference, paired
from raytune_agents.evaluate.verdict import (
    change_of,
    choose_headline,
    conclusion_of,
)

CHOSEN = ("nat", "chosen on val (50.0 % of 8 val rows), not on the test")


def exact(value: float, low: float, high: float, **more) -> dict:
    return {"exact_match": Difference(value, low, high, 100, **more)}


CASES = [
    (exact(0.12, 0.05, 0.19), "better", "nat beats the base model on test_unseen by 12.0 points"),
    (exact(0.02, -0.03, 0.07), "none", "nat is not shown to beat the base model"),
    (exact(-0.12, -0.2, -0.04), "worse", "nat is worse than the base model on test_unseen, by"),
    (exact(0.0, 0.0, 0.0), "none", "0.0 points of exact match are not told apart from zero"),
]


@pytest.mark.parametrize(("change", "tone", "words"), CASES)
def test_the_sentence_says_no_more_than_the_interval(change, tone, words):
    levels = {"base": 0.4, "nat": 0.52}
    scores = {arm: {"test_unseen": {"exact_match": Estimate(v, 0, 1, 100)}}
              for arm, v in levels.items()}  # fmt: skip
    found = conclusion_of(scores, {"nat": {"test_unseen": change}}, CHOSEN)
    assert found.tone == tone
    assert words in found.text
    assert "52.0 % against 40.0 %" in found.text
    assert type(found).read(found.record()) == found


def test_the_hardest_split_speaks_and_losses_are_named():
    unseen = exact(0.1, 0.02, 0.18, detectable=0.114, p_holm=0.031) | {
        "format_adherence": Difference(-0.1, -0.2, -0.05, 100),
        "hallucination_rate": Difference(-0.1, -0.2, -0.05, 100),  # less is better
        "call_recall": Difference(-0.4, -0.5, -0.3, 100),  # no headline
    }
    val = exact(0.5, 0.4, 0.6)
    seen = exact(0.3, 0.2, 0.4)
    by = {"nat": {"val": val, "test_seen": seen, "test_unseen": unseen},
          "dpo": {"test_unseen": exact(0.3, 0.2, 0.4)},
          "base_few_shot": {"test_unseen": exact(0.04, -0.1, 0.2)}}  # fmt: skip
    found = conclusion_of({}, by, CHOSEN)
    assert (found.arm, found.split) == ("nat", "test_unseen")  # dpo is higher, but was not chosen
    assert found.lost == ("valid format (−10.0 on test_unseen)",)
    assert found.gained == (
        "exact match (+10.0 on test_unseen, +30.0 on test_seen)",
        "hallucination (−10.0 on test_unseen)",
    )
    notes = " ".join(found.notes)
    assert "On test_seen, nat is better than base in exact match (+30.0 points)." in notes
    assert "On val" not in notes
    assert "100 paired rows would often miss less than 11 points" in notes
    assert "2 arms were compared: p = 0.031 after Holm's correction." in notes
    assert "base_few_shot alone gains +4.0 points on test_unseen: nat is +6.0 points" in notes
    assert found.notes[0] == f"nat is the headline arm: {CHOSEN[1]}."


def test_a_loss_of_irrelevance_is_named_once():
    rows = exact(-0.8, -0.9, -0.7) | {"irrelevance": Difference(-0.8, -0.9, -0.7, 100)}
    by = {"nat": {"test_unseen": exact(0.1, 0.02, 0.18), "irrelevance": rows}}
    found = conclusion_of({}, by, CHOSEN)
    assert found.lost == ("irrelevance (−80.0 on irrelevance)",)
    assert not any("On irrelevance" in note for note in found.notes)


def test_without_unseen_tools_it_says_so():
    found = conclusion_of({}, {"nat": {"test_seen": exact(0.1, 0.0, 0.2)}}, CHOSEN)
    assert any("test_unseen was not compared" in n for n in found.notes)
    assert conclusion_of({}, {"nat": {"val": exact(0.1, 0.0, 0.2)}}, CHOSEN).tone == "unknown"
    assert conclusion_of({}, {}, ("", "")).text.startswith("There is no verdict yet")


def test_the_gate_stands_in_the_conclusion():
    rows = {f"r{i}": 1.0 for i in range(100)}
    worse = rows | {f"r{i}": 0.0 for i in range(40)}
    gate = no_regression("nat", "base", {"irrelevance": paired(rows, worse)})
    found = conclusion_of({}, {"nat": {"test_unseen": exact(0.1, 0.02, 0.18)}}, CHOSEN, gate)
    assert found.gate.startswith("better, but lost against base: irrelevance −40.0 points")


def val_rows(arm: str, values: list[float]) -> list[AnswerRow]:
    return [AnswerRow(arm, "val", f"r{i}", values={"exact_match": v}) for i, v in enumerate(values)]


def test_the_headline_arm_is_chosen_on_val_and_never_on_the_test():
    test = [AnswerRow("dpo", "test_unseen", f"t{i}", values={"exact_match": 1.0}) for i in range(9)]
    rows = [*val_rows("sft", [0, 1, 0, 0]), *val_rows("nat", [1, 1, 0, 1]), *test]
    rows += val_rows("base_few_shot", [1, 1, 1, 1])  # no arm of ours
    assert choose_headline(rows, ["sft", "nat", "dpo"]) == (
        "nat", "chosen on val (75.0 % of 4 val rows), not on the test")  # fmt: skip
    arm, why = choose_headline(test, ["sft", "dpo"])
    assert arm == "sft"
    assert "no val rows" in why
    assert choose_headline([], []) == ("", "")


def test_a_difference_has_a_side_only_where_the_metric_has_one():
    up, down = Difference(0.1, 0.05, 0.2, 100), Difference(-0.1, -0.2, -0.05, 100)
    assert change_of(METRICS["exact_match"], up) == "better"
    assert change_of(METRICS["hallucination_rate"], up) == "worse"
    assert change_of(METRICS["hallucination_rate"], down) == "better"
    assert change_of(METRICS["confidence"], up) == ""
    assert change_of(METRICS["exact_match"], Difference(0.1, 0.0, 0.2)) == ""
    assert change_of(METRICS["exact_match"], Difference()) == ""
