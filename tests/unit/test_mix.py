"""Choosing rows: shares in trained tokens, caps, prefixes, seeds."""

from __future__ import annotations

from collections import Counter

import pytest

from raytune_agents.config import ConfigError
from raytune_agents.mix import (
    RowKind,
    auto_tokens,
    choose_rows,
    mix_pool,
    normalise,
    usable_weights,
    weight_key,
    with_no_call,
)
from raytune_agents.records import Message, ToolCall, Trajectory

ROWS = [(f"p{i}", "positive", 10) for i in range(100)]
ROWS += [(f"s{i}", "synthetic.tflan", 20) for i in range(100)]
ROWS += [(f"v{i}", "negative.wrong_value", 10) for i in range(50)]
ROWS += [(f"t{i}", "negative.wrong_type", 10) for i in range(50)]


def test_shares_are_counted_in_tokens_not_rows() -> None:
    chosen = choose_rows(ROWS, {"positive": 0.5, "synthetic": 0.5}, 400, 4.0, 1)
    kinds = Counter(i[0] for i in chosen.ids)
    assert chosen.tokens == {"positive": 200, "synthetic": 200}
    assert kinds == {"p": 20, "s": 10}
    assert chosen.epochs == {"positive": 0.2, "synthetic": 0.1}


def test_the_most_specific_key_wins() -> None:
    assert (
        weight_key("negative.wrong_value", ["negative", "negative.wrong_value"])
        == "negative.wrong_value"
    )
    assert weight_key("negative.wrong_type", ["negative", "negative.wrong_value"]) == "negative"
    assert weight_key("negatives", ["negative"]) is None
    chosen = choose_rows(ROWS, {"negative": 0.5, "negative.wrong_value": 0.5}, 200, 4.0, 1)
    assert Counter(i[0] for i in chosen.ids) == {"t": 10, "v": 10}


def test_a_small_pool_repeats_up_to_its_cap_and_says_what_is_missing() -> None:
    rows = [("a", "positive", 10), ("b", "positive", 10)]
    chosen = choose_rows(rows, {"positive": 1.0}, 100, 3.0, 1)
    assert Counter(chosen.ids) == {"a": 3, "b": 3}
    assert chosen.epochs == {"positive": 3.0}
    assert chosen.short == {"positive": 40}


def test_the_seed_decides_and_the_input_order_does_not() -> None:
    weights = {"positive": 1.0, "synthetic": 1.0}
    first = choose_rows(ROWS, weights, 400, 4.0, 1)
    assert choose_rows(ROWS[::-1], weights, 400, 4.0, 1) == first
    assert choose_rows(ROWS, weights, 400, 4.0, 2).ids != first.ids


def test_an_order_decides_which_rows_come_first() -> None:
    asked = []

    def backwards(ids: list[str], count: int) -> list[str]:
        asked.append(count)
        return sorted(ids, reverse=True)

    chosen = choose_rows(ROWS, {"positive": 1.0}, 50, 4.0, 1, backwards)
    assert sorted(chosen.ids) == ["p95", "p96", "p97", "p98", "p99"]
    assert asked == [5]
    twice = choose_rows(
        [("a", "positive", 10), ("b", "positive", 10)], {"positive": 1.0}, 30, 2.0, 1, backwards
    )
    assert Counter(twice.ids) == {"b": 2, "a": 1}


def test_a_weight_without_rows_stops() -> None:
    with pytest.raises(ConfigError, match=r"mix\.weights\.synthetic"):
        choose_rows([("a", "positive", 1)], {"positive": 1.0, "synthetic": 1.0}, 10, 1.0, 1)
    assert choose_rows(
        [("a", "positive", 1)], {"positive": 1.0, "synthetic": 0.0}, 1, 1.0, 1
    ).ids == ["a"]


def test_weights_that_cannot_be_normalised() -> None:
    assert normalise({"a": 2.0, "b": 6.0}) == {"a": 0.25, "b": 0.75}
    for bad in ({"a": 0.0}, {}, {"a": 2.0, "b": -1.0}):
        with pytest.raises(ConfigError, match="cannot be normalised"):
            normalise(bad)


def test_pools_that_a_method_does_not_train_on_leave_their_share_to_the_others() -> None:
    rows = [("a", "positive", 10), ("b", "synthetic.tflan", 10), ("c", "negative.x", 0)]
    weights = {"positive": 0.4, "synthetic": 0.2, "negative": 0.4}
    assert usable_weights(weights, rows) == {"positive": 0.4, "synthetic": 0.2}
    chosen = choose_rows(rows, usable_weights(weights, rows), 30, 9.0, 1)
    assert chosen.tokens == {"positive": 20, "synthetic": 10}
    with pytest.raises(ConfigError, match=r"mix\.weights\.other"):
        choose_rows(rows, usable_weights({"positive": 1.0, "other": 1.0}, rows), 30, 9.0, 1)


def test_rows_without_a_call_have_a_share_whatever_their_pool() -> None:
    rows = [*ROWS, *((f"n{i}", "no_call", 5) for i in range(40))]
    weights = usable_weights({"positive": 3.0, "synthetic": 1.0}, rows, 0.2)
    # The others have 0.75 / 10 + 0.25 / 20 = 0.0875 rows per token, those without a call 1 / 5.
    assert weights["no_call"] == pytest.approx(0.2 * 0.0875 / (0.8 / 5 + 0.2 * 0.0875))
    assert weights["positive"] == pytest.approx(3 * weights["synthetic"])
    assert sum(weights.values()) == pytest.approx(1)
    chosen = choose_rows(rows, weights, 500, 4.0, 1)
    # A fifth of the rows, though a tenth of the tokens.
    assert Counter(i[0] for i in chosen.ids) == {"p": 34, "s": 6, "n": 10}
    # Failures do not count: a fifth of the good rows, beside as many failed ones as asked for.
    mixed = usable_weights({"positive": 1.0, "negative": 1.0}, rows, 0.2)
    kinds = Counter(i[0] for i in choose_rows(rows, mixed, 900, 4.0, 1).ids)
    assert kinds["n"] / (kinds["n"] + kinds["p"]) == pytest.approx(0.2, abs=0.01)
    assert mixed["negative"] == mixed["positive"]
    assert usable_weights({"positive": 3.0}, ROWS, 0.2) == {"positive": 3.0}  # there is none


def test_a_family_without_rows_is_left_out_and_a_misspelt_pool_is_not() -> None:
    rows = [("a", "synthetic.tflan", 10)]
    weights = {"positive": 0.5, "synthetic": 0.2, "negative": 0.3}
    assert usable_weights(weights, rows) == {"synthetic": 0.2}
    misspelt = {"positives": 0.5, "synthetic": 0.2}
    assert usable_weights(misspelt, rows) == misspelt
    with pytest.raises(ConfigError, match="no accepted row in that pool"):
        choose_rows(rows, usable_weights({"positive": 1.0}, rows), 10, 1.0, 1)


def test_which_pool_a_row_counts_under() -> None:
    def kind(*calls: ToolCall, **fields: object) -> RowKind:
        turns = Message("user", "q"), Message("assistant", "no", tool_calls=calls)
        return RowKind.of(Trajectory(turns, **{"pool": "synthetic.notool"} | fields))

    weights = {"positive": 0.5, "synthetic": 0.5}
    assert mix_pool(kind(), weights, 0.15) == "no_call"
    assert mix_pool(kind(), {"positive": 1.0}, 0.15) == "no_call"
    assert mix_pool(kind(), weights, 0.0) == "synthetic.notool"
    assert mix_pool(kind(ToolCall("f")), weights, 0.15) == "synthetic.notool"
    assert mix_pool(kind(ToolCall("f"), gold="[]"), weights, 0.15) == "no_call"
    assert mix_pool(kind(fault="x", pool="negative.x", gold="[]"), weights, 0.15) == "negative.x"
    assert mix_pool(kind(), weights | {"synthetic.notool": 0.1}, 0.15) == "synthetic.notool"
    rows = [("a", kind(), 5), ("b", kind(ToolCall("f")), 10)]
    pooled, shares = with_no_call(rows, weights, 0.5)
    assert pooled == [("a", "no_call", 5), ("b", "synthetic.notool", 10)]
    assert shares == pytest.approx({"synthetic": 2 / 3, "no_call": 1 / 3})  # a row of each


def test_the_budget_of_all_rows_once() -> None:
    assert auto_tokens(ROWS, {"positive": 1.0, "synthetic": 1.0}) == 1000 + 2000
    assert auto_tokens(ROWS, {"positive": 1.0, "synthetic": 0.0}) == 1000
    assert auto_tokens([], {"positive": 1.0}) == 0
