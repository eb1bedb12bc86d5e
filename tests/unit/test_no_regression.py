"""The no-regression gate: what counts as kept, lost and not proven, at the margin itself."""

import pytest

from raytune_agents.evaluate.gate import (
    MARGIN,
    GateResult,
    guarded,
    no_regression,
    reference_arm,
)
from raytune_agents.evaluate.paired import Difference, paired


def rows(right: int, wrong: int) -> dict[str, float]:
    return {f"r{i:03}": float(i < right) for i in range(right + wrong)}


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (-0.05, 0.10, "kept"),  # at the margin: at most 0.05 below is allowed
        (-0.051, 0.10, "not proven"),
        (-0.30, -0.05, "not proven"),  # the true loss may be 0.05
        (-0.30, -0.051, "lost"),
        (0.02, 0.10, "kept"),
        (None, None, "not proven"),
    ],
)
def test_the_lower_end_decides(low, high, outcome):
    assert guarded(Difference(0.0, low, high, 100)) == outcome
    assert MARGIN == 0.05


def test_equal_answers_prove_nothing_on_few_rows_and_enough_on_many():
    """No pair differs: the half width is 1.959964 * sqrt(2) / (n + 2), 0.0533 for 50 rows and
    0.0495 for 54."""
    few, many = (paired(rows(n, 0), rows(n, 0)) for n in (50, 54))
    assert (guarded(few), guarded(many)) == ("not proven", "kept")


def test_five_rows_prove_no_loss():
    found = [guarded(paired(rows(n, 0), rows(0, n))) for n in (1, 5, 6)]
    assert found == ["not proven", "not proven", "lost"]


def test_a_base_that_seldom_calls_is_no_reference():
    assert reference_arm(0.5, "sft") == "base"
    assert reference_arm(0.49, "sft") == "sft"
    assert reference_arm(0.0, "") == ""
    assert reference_arm(None, "sft") == "sft"


def test_what_was_lost_is_named():
    kept = paired(rows(100, 0), rows(99, 1))  # one of 100: -0.01, low about -0.03
    lost = paired(rows(100, 0), rows(60, 40))
    result = no_regression("nat", "base", {"irrelevance": lost, "instruction_following": kept})
    assert result.outcome == "lost"
    said = result.sentence(better=True)
    assert said.startswith("better, but lost against base: irrelevance −40.0 points (")
    assert "instruction" not in said
    both = no_regression("nat", "base", {"irrelevance": kept, "instruction_following": kept})
    assert both.sentence(better=True) == "better, and nothing lost"
    assert both.sentence(better=False) == "not shown to be better, and nothing lost"
    itself = no_regression("sft", "sft", {"irrelevance": kept, "instruction_following": kept})
    assert itself.outcome == "not proven"
    assert "base hardly ever calls" in itself.sentence(better=True)


def test_a_metric_that_was_not_measured_is_not_proven():
    kept = paired(rows(100, 0), rows(100, 0))
    result = no_regression("nat", "base", {"irrelevance": kept})
    assert result.outcome == "not proven"
    assert "instruction following was not measured" in result.sentence(better=True)
    alone = no_regression("nat", "", {"irrelevance": kept, "instruction_following": kept})
    assert alone.outcome == "not proven"
    assert "the reference hardly ever calls" in alone.sentence(better=True)


def test_it_survives_its_file():
    one = no_regression("nat", "sft", {"irrelevance": paired(rows(10, 90), rows(9, 91))})
    assert GateResult.read({"arm": "nat"} | one.record()) == one
