"""Preference rows whose answers have no names of their own, as public sets spell them."""

import pytest

from raytune_agents.readers import read_row
from raytune_agents.records import RecordError

ASKED = [{"role": "user", "content": "hi"}]
GOOD, BAD = "It is mild.", "No idea."


def talk(answer: str) -> list[dict]:
    return [*ASKED, {"role": "assistant", "content": answer}]


PAIRS = {
    "SHP": {"history": "hi", "human_ref_A": GOOD, "human_ref_B": BAD, "labels": 1, "score_A": 9,
            "score_B": 2},
    "SHP, B": {"history": "hi", "human_ref_A": BAD, "human_ref_B": GOOD, "labels": 0, "score_A": 2,
               "score_B": 9},
    "Chatbot Arena": {"model_a": "x", "model_b": "y", "winner": "model_b",
                      "conversation_a": talk(BAD), "conversation_b": talk(GOOD)},
    "Arena 55k": {"prompt": '["hi"]', "response_a": f'["{GOOD}"]', "response_b": f'["{BAD}"]',
                  "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0},
    "HelpSteer3": {"context": ASKED, "response1": GOOD, "response2": BAD, "overall_preference": -2},
    "PKU-SafeRLHF": {"prompt": "hi", "response_0": BAD, "response_1": GOOD,
                     "is_response_0_safe": False, "better_response_id": 1, "safer_response_id": 1},
    "WebGPT": {"question": {"full_text": "hi"}, "answer_0": GOOD, "answer_1": BAD, "score_0": 1.0,
               "score_1": -1.0},
    "UltraFeedback": {"instruction": "hi", "completions": [
        {"response": BAD, "overall_score": 2.0}, {"response": GOOD, "overall_score": 9.0}]},
    "Nectar": {"prompt": "\n\nHuman: hi\n\nAssistant: ", "answers": [
        {"answer": BAD, "rank": 5.0}, {"answer": GOOD, "rank": 1.0}]},
    "distilabel": {"instruction": "hi", "generations": [BAD, GOOD], "ratings": ["1", "5"]},
    "triplets": {"query": "hi", "pos": [GOOD], "neg": [BAD]},
    "an index": {"prompt": "hi", "responses": [BAD, GOOD], "best": 1},
    "a word": {"prompt": "hi", "response_1": GOOD, "response_2": BAD, "label": "response_1"},
}  # fmt: skip
REFUSED = {
    "a tie": {"prompt": "hi", "response_a": GOOD, "response_b": BAD, "winner": "tie (bothbad)"},
    "a tie: no answer": {"prompt": "hi", "completions": [GOOD, BAD], "scores": [1, 1]},
    "is not said; write prompt": {"prompt": "hi", "response_a": GOOD, "response_b": BAD},
    "one is empty": {"prompt": "hi", "response_a": None, "response_b": BAD, "winner": "a"},
    "write prompt and completion": {"prompt": "hi", "response": BAD, "helpfulness": 0},
    "no known format": {"prompt": "hi", "completions": [GOOD, BAD], "scores": [1, float("nan")]},
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_better_answer_is_told_from_the_worse(name):
    good, bad = read_row(dict(PAIRS[name]), "rows.jsonl:1")
    assert [m.content for m in good.messages] == ["hi", GOOD]
    assert [m.content for m in bad.messages] == ["hi", BAD]
    assert (good.outcome, bad.outcome, bad.pool) == (1.0, 0.0, "negative.rejected")
    assert bad.parents == (good.id,)


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_no_choice_says_so(why):
    with pytest.raises(RecordError, match=why):
        read_row(dict(REFUSED[why]), "rows.jsonl:1")
