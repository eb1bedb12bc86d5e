"""The judge: constrained verdicts, exchanged places, and figures over many pairs."""

import json

import jsonschema
import pytest

from raytune_agents.config import Config
from raytune_agents.evaluate import judge
from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.evaluate.measured import AnswerRow
from raytune_agents.evaluate.result_files import KINDS
from raytune_agents.generate.rewrite import ChatClient
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish

HOW = Resampling(resamples=200)
RUBRIC = {"correct": "nothing wrong", "clear": "short"}
JUDGED = Config().evaluate.judge.model_copy(update={"rows": 2, "rubric": RUBRIC})


def verdict(first: tuple[int, int], second: tuple[int, int]) -> str:
    sides = (dict(zip(RUBRIC, first)), dict(zip(RUBRIC, second)))
    return json.dumps(dict(zip(judge.SIDES, sides)))


def row(text: str) -> Trajectory:
    said = (Message("user", text), Message("assistant", tool_calls=(ToolCall.of("pay", amount=5),)))
    return finish(Trajectory(said, (ToolSpec("pay", "Pay."),), split="test_seen"))


ROWS = {("test_seen", r.id): r for r in map(row, ("Pay five.", "Pay six.", "Pay seven."))}


def answer(arm: str, key: str, text: str, **more) -> AnswerRow:
    return AnswerRow(arm, "test_seen", key, answer=text, **more)


def test_the_schema_takes_scores_from_1_to_5_and_nothing_else():
    schema = json.loads(judge.verdict_schema(RUBRIC))
    jsonschema.validate(json.loads(verdict((1, 5), (3, 3))), schema)
    for bad in (verdict((0, 5), (3, 3)), verdict((1, 6), (3, 3)), '{"first": {}}'):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(json.loads(bad), schema)


def test_a_verdict_is_the_mean_of_its_criteria():
    assert judge.read_verdict(verdict((1, 4), (5, 5)), RUBRIC) == (2.5, 5.0)
    few = '{"first": {"correct": 1}, "second": {}}'
    cut = verdict((1, 4), (5, 5))[:-9]
    for bad in ("", "{", "[]", '{"first": 3, "second": 4}', verdict((0, 4), (5, 5)), cut, few):
        assert judge.read_verdict(bad, RUBRIC) is None


def test_an_arm_wins_only_where_both_orders_say_so():
    # base first: 2 against 4; arm first: 5 against 3. The arm is better in both places.
    got = judge.combined((2.0, 4.0), (5.0, 3.0))
    assert got == {"judge_score": 4.5, "base_score": 2.5, "judge_wins": 1.0,
                   "judge_consistency": 1.0}  # fmt: skip
    assert judge.combined((4.0, 2.0), (3.0, 5.0))["judge_wins"] == 0.0
    # a judge that always prefers the first place gives no win to anyone
    got = judge.combined((5.0, 1.0), (5.0, 1.0))
    assert (got["judge_wins"], got["judge_consistency"], got["judge_score"]) == (0.5, 0.0, 3.0)
    got = judge.combined((3.0, 3.0), (3.0, 3.0))
    assert (got["judge_wins"], got["judge_consistency"]) == (0.5, 1.0)
    assert judge.combined(None, (1.0, 2.0)) is None


def test_pairs_are_the_first_rows_that_both_answered():
    keys = [r.id for r in ROWS.values()]
    answers = [answer("base", k, "B") for k in keys] + [answer("nat", k, "N") for k in keys]
    answers[3] = answer("nat", keys[0], "", failed="infra_failed")
    answers += [answer("base_few_shot", k, "F") for k in keys]  # a baseline is not judged
    answers += [AnswerRow(arm, "val", "v", answer="V") for arm in ("base", "nat")]  # no test row
    answers.append(answer("nat", keys[1], "typo", perturbation="typos"))
    got = judge.judged_pairs(ROWS, answers, JUDGED)
    assert [(p["arm"], p["id"], p["base"], p["mine"]) for p in got] == [("nat", keys[1], "B", "N")]
    assert got[0]["row"].query == "Pay six."


class KnownClient(ChatClient):
    """Its answers are known: under test is what it is asked, and what is made of the answers."""

    prompts: list = []
    texts: list = []

    def ask(self, chats, samplings):
        from raytune_agents.inference.client import Reply

        self.prompts[:] = [chat[0]["content"] for chat in chats]
        assert all(json.loads(s.schema)["required"] == list(judge.SIDES) for s in samplings)
        return [Reply([t], [9], 40, 0.1, 0.1) for t in self.texts]


def test_each_pair_is_asked_in_both_orders():
    first = next(iter(ROWS.values()))
    pair = {"arm": "nat", "split": "test_seen", "id": first.id, "row": first,
            "base": "BASE SAYS", "mine": "ARM SAYS"}  # fmt: skip
    client = KnownClient(None, Config().engine, use_teacher=True)
    client.texts[:] = [verdict((1, 1), (5, 5)), verdict((4, 4), (2, 2))]
    [line] = judge.judge_pairs([pair], client, JUDGED, 1)
    one, other = client.prompts
    assert one.index("BASE SAYS") < one.index("ARM SAYS")
    assert other.index("ARM SAYS") < other.index("BASE SAYS")
    assert "- correct: nothing wrong" in one
    assert "Pay five." in one
    assert (line["judge_score"], line["base_score"], line["judge_wins"]) == (4.5, 1.5, 1.0)
    assert judge.read_verdicts(line, RUBRIC) == line
    client.texts[:] = [verdict((1, 1), (5, 5)), '{"first": {"corr']
    [line] = judge.judge_pairs([pair], client, JUDGED, 1)
    assert (line["failed"], line["judge_score"]) == ("judge_no_verdict", None)


def test_figures_are_paired_with_the_base_of_the_same_comparison():
    def line(key: str, mine: float, base: float) -> dict:
        facts = {"arm": "nat", "split": "test_seen", "id": key, "failed": "", "verdicts": "[]"}
        wins = 0.5 + 0.5 * ((mine > base) - (mine < base))
        return facts | {"judge_score": mine, "base_score": base, "judge_wins": wins,
                        "judge_consistency": 1.0}  # fmt: skip

    lines = [line("a", 4.0, 2.0), line("b", 5.0, 3.0), line("c", 2.0, 3.0)]
    lost = judge.unjudged({"arm": "nat", "split": "test_seen", "id": "d"}, "judge_no_verdict")
    cells = KINDS["judged"].scores([*lines, lost], HOW)
    assert cells["nat"]["test_seen"]["judge_score"].value == pytest.approx(11 / 3)
    assert cells["base"]["test_seen"]["judge_score"].value == pytest.approx(8 / 3)
    assert cells["nat"]["test_seen"]["judge_wins"].value == pytest.approx(2 / 3)
    assert cells["nat"]["test_seen"]["judge_wins"].n == 3
    assert "judge_wins" not in cells["base"]["test_seen"]
    gain = KINDS["judged"].differences([*lines, lost], HOW)["nat"]["test_seen"]["judge_score"]
    assert (gain.value, gain.n, gain.wins) == (1.0, 3, 2)
    assert KINDS["judged"].differences([], HOW) == KINDS["judged"].scores([], HOW) == {}
