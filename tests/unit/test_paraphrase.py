"""What a simulated user may say, turn by turn, and how verdicts are counted."""

from __future__ import annotations

import pytest

from raytune_agents import agents
from raytune_agents.generate import POOLS, paraphrase, rewrite


def test_every_turn_of_a_conversation_may_be_reworded_and_its_values_are_known() -> None:
    for name in agents.shipped():
        for pool in ("dialogue", "gradual"):
            for row in POOLS[pool](agents.load_spec(name), 10, 3):
                users = [i for i, m in enumerate(row.messages) if m.role == "user"]
                assert paraphrase.turns(row) == users
                for turn in users:
                    known = row.meta["anchors_by_turn"][str(turn)]
                    for value in paraphrase.anchors(row, turn) if known else []:
                        assert value.lower() in row.messages[turn].content.lower()


@pytest.mark.parametrize("pool", ["followup", "notool"])
def test_words_that_the_answer_repeats_stay(pool: str) -> None:
    assert all(paraphrase.turns(r) == [] for r in POOLS[pool](agents.load_spec("qa"), 20, 3))


def gradual():
    rows = POOLS["gradual"](agents.load_spec("qa"), 40, 3)
    row = next(
        r
        for r in rows
        if r.calls[0].name == "selenium"
        and "browser" in r.calls[0].args
        and any("browser" in v for v in r.meta["anchors_by_turn"].values() if v != {})
    )
    turn = next(int(i) for i, v in row.meta["anchors_by_turn"].items() if "browser" in v)
    return row, turn, row.calls[0].args["browser"]


def test_an_answer_to_a_question_keeps_its_value_and_adds_none() -> None:
    row, turn, browser = gradual()
    other = next(b for b in ("chrome", "firefox", "edge") if b != browser)
    assert turn > 0
    assert paraphrase.fault(row, turn, f"I would take {browser} for this") == ""
    assert paraphrase.fault(row, turn, "I would take that one for this") == f"lost:{browser}"
    assert paraphrase.fault(row, turn, f"{browser} or {other} then") == f"added:{other}"
    assert paraphrase.fault(row, turn, f"{browser}, and 3 times") == "added:3"
    assert paraphrase.first_good(row, turn, ["", f'"Let us go with {browser}"']) == (
        f"Let us go with {browser}", "")  # fmt: skip


def test_several_turns_are_reworded_at_once_and_the_templates_are_kept() -> None:
    row, turn, browser = gradual()
    made = paraphrase.reworded(row, {turn: f"with {browser} if you can"})
    assert made.messages[turn].content == f"with {browser} if you can"
    assert made.meta["template"] == {str(turn): row.messages[turn].content}
    assert (made.meta["wording"], made.parents, made.calls) == ("paraphrase", (row.id,), row.calls)


def test_the_prompt_has_a_persona_what_was_heard_and_the_examples_given() -> None:
    row, turn, _ = gradual()
    chat = paraphrase.messages(row, turn, [("old words", "new words")])
    assert chat[0]["role"] == "system"
    assert any(p in chat[0]["content"] for p in paraphrase.PROMPTS["personas"])
    ask = paraphrase.PROMPTS["ask"]
    assert [m["content"] for m in chat[1:3]] == [ask.format(request="old words"),
                                                 "new words"]  # fmt: skip
    assert row.messages[turn - 1].content in chat[-1]["content"]
    assert chat[-1]["content"].endswith(row.messages[turn].content)
    assert paraphrase.messages(row, 0)[0] == chat[0]


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (['{"correct": true}', '{"correct": true}', '{"correct": false}'], ""),
        (['{"correct": true}', '{"correct": false}'], "wrong"),
        (['{"correct": true}', "I think", '{"verdict": 1}', "[]"], ""),
        (["", '{"corr'], "no_verdict"),
        (['{"correct": "true"}'], "wrong"),
    ],
)
def test_most_verdicts_count(texts: list[str], reason: str) -> None:
    assert rewrite.majority(texts) == reason


def test_the_judge_sees_tools_words_and_deeds() -> None:
    row = POOLS["tflan"](agents.load_spec("qa"), 1, 3)[0]
    text = rewrite.judge_messages(row)[0]["content"]
    assert row.query in text
    assert row.calls[0].arguments in text
    assert all(t.description in text for t in row.tools)
