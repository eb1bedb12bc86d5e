"""Vectors of rows: semantic duplicates, and orders that take every kind first."""

import numpy as np
import pytest
from test_dedup import make

from raytune_agents.dedup.space import (
    RowPlace,
    arranged,
    embed,
    facility_location,
    k_center,
    semantic_owner,
    stratified,
)
from raytune_agents.records import ToolCall

LINE = np.array([[1.0, 0.0], [0.999, 0.04], [0.0, 1.0], [0.04, 0.999], [-1.0, 0.0]])


def test_semantic_duplicates_share_their_key():
    assert semantic_owner(LINE, [0] * 5, [0, 1, 2, 3, 4], 0.99).tolist() == [0, 0, 2, 2, 4]
    assert semantic_owner(LINE, [0] * 5, [1, 0, 3, 2, 4], 0.99).tolist() == [1, 1, 3, 3, 4]
    assert semantic_owner(LINE, [0, 1, 0, 0, 0], [0, 1, 2, 3, 4], 0.99).tolist() == [0, 1, 2, 2, 4]


def test_embeddings_put_alike_texts_together():
    texts = [
        "weather in Paris today",
        "weather in Paris tomorrow",
        "transfer money to my account",
        "send money to an account",
        "play some jazz music",
    ]
    vectors = embed(texts)
    assert vectors.shape == (5, 4)
    near = vectors @ vectors.T
    assert near[0, 1] > max(near[0, 2:])
    assert near[2, 3] > max(near[2, [0, 1, 4]])
    assert np.allclose(embed(texts), vectors)


def coverage(vectors, chosen):
    v = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.maximum(v @ v[chosen].T, 0).max(axis=1).sum() / len(v)


def test_lazy_greedy_is_greedy():
    vectors = np.random.default_rng(4).normal(size=(40, 5))
    plain: list[int] = []
    for _ in range(8):
        rest = [i for i in range(40) if i not in plain]
        plain.append(max(rest, key=lambda i: (coverage(vectors, [*plain, i]), -i)))
    assert facility_location(vectors, 8) == plain
    assert facility_location(LINE, 3)[0] in (0, 1, 2, 3)
    assert set(facility_location(LINE, 3)) in ({a, b, 4} for a in (0, 1) for b in (2, 3))


def test_a_kind_has_at_most_its_cap():
    kinds = ["a", "a", "b", "b", "b"]
    plain = facility_location(LINE, 5)
    chosen = facility_location(LINE, 5, kinds=kinds, caps={"a": 1, "b": 2})
    assert [kinds[i] for i in sorted(chosen)] == ["a", "b", "b"]
    assert chosen[0] == plain[0]
    assert sorted(facility_location(LINE, 5, kinds=kinds, caps={"b": 9})) == [2, 3, 4]
    assert facility_location(LINE, 2, kinds=kinds, caps={}) == []


def test_bad_counts_are_named():
    with pytest.raises(ValueError, match="count=6 of 5 rows"):
        facility_location(LINE, 6)
    with pytest.raises(ValueError, match="count=6 of 5 rows"):
        k_center(LINE, 6)


def test_k_center_takes_the_farthest_point_and_covers_within_twice_the_best_radius():
    line = np.array([[0.0], [1.0], [10.0], [11.0], [5.0]])
    first = k_center(line, 1)
    second = k_center(line, 2)[1]
    assert abs(line[second, 0] - line[first[0], 0]) == max(abs(line[:, 0] - line[first[0], 0]))
    chosen = k_center(line, 3)
    assert min(abs(5 - line[c, 0]) for c in chosen) <= 2 * 1.0  # the best radius is 1: 0, 10, 5
    assert sorted(k_center(np.zeros((4, 2)), 4)) == [0, 1, 2, 3]
    assert k_center(line, 3) == chosen


def test_strata_are_served_evenly_and_repeat_with_the_seed():
    keys = ["a"] * 50 + ["b"] * 5 + ["c"] * 2
    chosen = stratified(keys, 12)
    got = [keys[i] for i in chosen]
    assert (got.count("a"), got.count("b"), got.count("c")) == (5, 5, 2)
    assert len(set(chosen)) == 12
    assert stratified(keys, 12) == chosen != stratified(keys, 12, seed=3)
    assert sorted(stratified(keys, 57)) == list(range(57))


@pytest.mark.parametrize("how", ["stratified", "k_center", "facility"])
def test_a_diverse_order_takes_every_kind_first(how):
    rows = [make(f"Weather in Paris on day {i}", source_id=str(i)) for i in range(9)]
    rows += [make("Transfer 100 to my savings", call=ToolCall.of("pay", amount=100))]
    rows += [make("Who painted the night watch?", call=ToolCall.of("search", text="painter"))]
    places = [RowPlace.of(row) for row in rows]
    order = arranged(places, how, 3, 17)
    assert sorted(order) == list(range(11))
    assert {9, 10} < set(order[:3])
    assert arranged(places, how, 3, 17) == order
