"""Pairs for DPO, from edits, reading, roll-outs and steps; KTO's classes and weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
from method_rows import BAD, FAILED_RUNS, GOOD, ROWS, RUNS, costs, section_of, small_chat

from raytune_agents.chat import Chat
from raytune_agents.config import ConfigError, KtoConfig
from raytune_agents.records import RecordError, finish
from raytune_agents.train import dpo, kto, methods, sft, validate_data
from raytune_agents.train.methods import METHODS, Recipe


@pytest.fixture(scope="module")
def chat() -> Chat:
    return small_chat()


def test_minimal_pairs_become_columns(chat: Chat) -> None:
    config = section_of()
    pairs = METHODS["dpo"].pairs(ROWS, config)
    assert set(pairs) == {r.id for r in BAD}
    (column,) = dpo.columns(BAD[0], chat, config, pairs)
    good = ROWS[BAD[0].parents[0]]
    (whole,) = sft.columns(good, chat, config, None)
    assert column["prompt_ids"] + column["chosen_ids"] == whole["input_ids"]
    assert column["prompt_ids"] == chat.prompt_ids(good)
    assert set(column["chosen_mask"]) == {1}
    assert column["trained_tokens"] == len(column["chosen_ids"]) + len(column["rejected_ids"])
    with pytest.raises(RecordError, match="no better row"):
        dpo.columns(GOOD[0], chat, config, pairs)


def test_pairs_that_were_read_are_pairs_too(chat: Chat) -> None:
    good = GOOD[0]
    bad = replace(BAD[0], fault="", outcome=0.0, pool="negative.rejected", parents=(good.id,))
    pairs = METHODS["dpo"].pairs({good.id: good, bad.id: bad}, section_of())
    made, refused = methods.build_columns("dpo", [bad], chat, section_of(), pairs)
    assert len(made) == 1
    assert not refused


def test_outcome_pairs_mask_the_environment(chat: Chat) -> None:
    config = section_of("dpo.pairs=outcome")
    runs = {r.id: r for r in (*RUNS, *FAILED_RUNS)}
    pairs = METHODS["dpo"].pairs(runs, config)
    assert set(pairs) == {r.id for r in FAILED_RUNS}
    made, _ = methods.build_columns("dpo", FAILED_RUNS, chat, config, pairs)
    masked = next(c for c in made if 0 in c["chosen_mask"])
    pair = pairs[masked["row_id"]]
    kept = [t for t, m in zip(masked["chosen_ids"], masked["chosen_mask"]) if m]
    said = chat.tokenizer.decode(kept)
    for i, message in enumerate(pair.chosen.messages):
        if message.role == "tool":
            assert message.content not in said
        elif message.role == "assistant" and i >= pair.shared and message.content:
            assert message.content in said


def test_step_pairs_are_one_turn_each(chat: Chat) -> None:
    config = section_of("dpo.pairs=step")
    runs = {r.id: r for r in (*RUNS, *FAILED_RUNS)}
    pairs = METHODS["dpo"].pairs(runs, config)
    made, refused = methods.build_columns("dpo", FAILED_RUNS, chat, config, pairs)
    assert made
    assert not refused
    for column in made:
        assert set(column["chosen_mask"]) == set(column["rejected_mask"]) == {1}
        for side in ("chosen_ids", "rejected_ids"):
            assert column[side].count(chat.tokenizer.eos_token_id) == 1
    shared = {i: pair.shared for i, pair in pairs.items()}
    validate_data.parity(Recipe("dpo", config, chat), runs, made, shared)


def test_a_pair_with_equal_sides_is_refused(chat: Chat) -> None:
    turn = GOOD[0].target
    good = finish(replace(GOOD[0], messages=(*GOOD[0].prompt, replace(turn, thought="Hm."))))
    same = replace(turn, content="Hm.")  # other fields, the same text
    bad = replace(BAD[0], messages=(*good.prompt, same), parents=(good.id,))
    pool = {good.id: good, bad.id: bad}
    pairs = METHODS["dpo"].pairs(pool, section_of())
    made, refused = methods.build_columns("dpo", [bad], chat, section_of(), pairs)
    assert refused == ["the two sides of a pair are equal"]
    assert made == []


def test_pairs_cost_both_sides(chat: Chat) -> None:
    cost = costs("dpo", ROWS, chat, section_of())
    assert all(cost[r.id] == 0 for r in GOOD)
    for bad in BAD:
        both = (sft.columns(r, chat, section_of(), None)[0] for r in (bad, ROWS[bad.parents[0]]))
        assert cost[bad.id] == sum(c["trained_tokens"] for c in both)


# --- KTO ---


@pytest.mark.parametrize(
    ("good", "bad", "options", "weights"),
    [
        (10, 10, {}, (1.0, 1.0)),
        (30, 10, {}, (1.0, 3.0)),
        (10, 30, {}, (3.0, 1.0)),
        (30, 10, {"undesirable_weight": 3.0, "desirable_weight": 1.3}, (1.3, 3.0)),
        (10, 20, {"undesirable_weight": 2.0}, (4.0, 2.0)),
        (10, 20, {"desirable_weight": 2.0}, (2.0, 1.0)),
    ],
)
def test_kto_weights(good: int, bad: int, options: dict, weights: tuple) -> None:
    assert kto.weights(good, bad, KtoConfig(**options)) == pytest.approx(weights)


def test_kto_refuses_one_class_and_weights_out_of_balance() -> None:
    for good, bad, word in ((5, 0, "negative"), (0, 5, "positive")):
        with pytest.raises(ConfigError, match=f"needs both.*{word}"):
            kto.weights(good, bad, KtoConfig())
    wrong = KtoConfig(desirable_weight=1.0, undesirable_weight=1.0)
    with pytest.raises(ConfigError, match=r"balance \(3.00.*write 0.333 to 0.444"):
        kto.weights(30, 10, wrong)


def test_kto_answers_are_mismatched_within_a_step() -> None:
    assert kto.rotated(5, 2) == [1, 0, 4, 2, 3]
    assert kto.rotated(4, 4) == [3, 0, 1, 2]
    for count in range(2, 20):
        other = kto.rotated(count, 4)
        assert sorted(other) == list(range(count))
        assert all(i != j for i, j in enumerate(other))
