"""Everything that was asked -> the result files, and the same files from the stored rows alone."""

import json
from collections import Counter

import pytest

from raytune_agents.config import ConfigError, load_config
from raytune_agents.evaluate import general, instructions, judge, likelihood, multi_turn
from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.evaluate.harness import rescored, scored_answer
from raytune_agents.evaluate.latency import LatencyRow
from raytune_agents.evaluate.measured import AnswerRow, answer_row
from raytune_agents.evaluate.metrics import Metric
from raytune_agents.evaluate.own_metrics import load_metrics, with_own
from raytune_agents.evaluate.paired import Difference
from raytune_agents.evaluate.perturb import perturb
from raytune_agents.evaluate.result_files import KINDS, ArmFacts, Found, lines_of, write_results
from raytune_agents.evaluate.verdict import Conclusion, gains_and_losses
from raytune_agents.inference.client import Reply
from raytune_agents.readers import bfcl
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.storage import read_json, write_json

CONFIG = load_config(None, ["evaluate.resamples=100", "evaluate.multi_turn.rows=2"])
HOW = Resampling.of(CONFIG.evaluate, 17)
ARMS = ArmFacts(("nat",), "")
PAY = ToolSpec("pay", "Pay.", '{"type": "object", "properties": {"amount": {"type": "integer"}}}')
RIGHT = '<tool_call>{"name": "pay", "arguments": {"amount": 5}}</tool_call>'


def row(number: int) -> Trajectory:
    said = (Message("user", f"Please settle the five dollars of person {number} now."),
            Message("assistant", tool_calls=(ToolCall.of("pay", amount=5),)))  # fmt: skip
    return finish(Trajectory(said, (PAY,), source="t", split="test_seen"))


CLEAN = [row(n) for n in range(4)] + instructions.instruction_rows(4, 1)
NOISY = [perturb(r, "typos", 1, ()) for r in CLEAN[:4]]
ROWS = {(r.split, r.id): r for r in CLEAN + NOISY}


def val_row(number: int) -> Trajectory:
    said = (Message("user", f"Val {number}: pay five."), row(0).messages[1])
    return finish(Trajectory(said, (PAY,), source="t", split="val"))


def answers(arm: str, text: str) -> list[AnswerRow]:
    reply = Reply([text], [9], 40, 0.5, 0.1, logprobs=[-0.9], cut=[False])
    told = [scored_answer(r, arm, reply) for r in [*CLEAN, *NOISY]]
    return [*told[:-1], answer_row(NOISY[-1], arm, failed="infra_failed")]


def talks(arm: str, entries: list) -> list[dict]:
    made = []
    for entry in entries:
        talk = multi_turn.Conversation(entry, 2)
        while not talk.end:
            talk.take("I cannot.")
        made.append(multi_turn.conversation_line(arm, talk))
    return multi_turn.scored_conversations(made, entries)


def verdicts(pairs: list[dict], rubric: dict) -> list[dict]:
    def side(value: int) -> dict:
        return dict.fromkeys(rubric, value)

    texts = [json.dumps(dict(zip(judge.SIDES, map(side, s)))) for s in ((2, 4), (5, 1))]
    made = [judge.unjudged(p, "judge_no_verdict") | {"verdicts": json.dumps(texts)} for p in pairs]
    lines = [judge.read_verdicts(line, rubric) for line in made]
    return [*lines[:-1], judge.unjudged(pairs[-1], "judge_no_verdict")]


def found(entries: list) -> Found:
    out = Found()
    for arm, text, nll in (("base", "No.", 2.0), ("nat", RIGHT, 1.0)):
        out.answers += answers(arm, text)
        out.lines["multi_turn"] += talks(arm, entries)
        lost = likelihood.unmeasured(CLEAN[1], arm, "prompt_too_long")
        kept = likelihood.unmeasured(CLEAN[0], arm, "") | {"nll": nll, "tokens": 3.0}
        out.lines["likelihood"] += [kept, lost]
        samples = {"arc/0": {"arc.acc": nll - 1}, "arc/1": {"arc.acc": 1.0}}
        out.lines["general"] += general.ability_lines(arm, samples)
    config = CONFIG.evaluate.judge.model_copy(update={"rows": 2})
    out.lines["judged"] = verdicts(judge.judged_pairs(ROWS, out.answers, config), config.rubric)
    return out


def write(folder, given: Found, own: dict[str, Metric] | None = None) -> Counter:
    return write_results(folder, given, ROWS, HOW, ARMS, own or {})


@pytest.mark.skipif(not bfcl.installed(), reason="needs the package bfcl-eval")
def test_all_kinds_are_scored_and_scored_again_from_their_files(tmp_path):
    entries = multi_turn.entries(CONFIG.evaluate.multi_turn)
    given = found(entries)
    given.latency = [
        LatencyRow(arm, 2, wave, f"r{k}", 10.0 * (k + 1), 100.0, 20, 0.5)
        for arm in ("base", "nat") for wave in range(2) for k in range(2)
    ]  # fmt: skip
    write_json(tmp_path / "costs.json", {"base": {"energy_j": None}, "nat": {"train_rows": 50.0}})
    write(tmp_path, given)
    scores = read_json(tmp_path / "scores.json")
    splits = {"test_seen", "instructions", "val", "general", "bfcl_multi_turn_base"}
    assert scores.keys() == {"base", "nat"}
    assert scores["base"].keys() == scores["nat"].keys() == splits
    seen = scores["nat"]["test_seen"]
    assert (seen["exact_match"]["value"], seen["exact_match"]["n"]) == (1.0, 4)
    assert seen["confidence"]["value"] == pytest.approx(0.9048, abs=1e-4)  # exp(-0.9 / 9)
    assert seen["calibration_error"]["value"] == pytest.approx(0.0952, abs=1e-4)  # all right
    assert seen["judge_score"]["value"] == 4.5  # (4 + 5) / 2: it is second, then first
    assert seen["judge_wins"]["n"] + scores["nat"]["instructions"]["judge_wins"]["n"] == 3
    assert scores["base"]["val"]["perplexity"]["value"] == pytest.approx(7.389, abs=1e-3)
    assert scores["nat"]["bfcl_multi_turn_base"]["multi_turn_accuracy"]["value"] == 0.0
    gains = read_json(tmp_path / "differences.json")["nat"]
    assert gains["val"]["nll"]["value"] == -1.0
    assert gains["general"]["arc.acc"]["value"] == -0.5
    assert gains["test_seen"]["exact_match"]["value"] == 1.0
    assert gains["test_seen"]["gain_per_100_rows"]["value"] == 2.0  # 1.0 for 50 rows
    assert read_json(tmp_path / "robustness.json")["nat"]["typos"]["exact_match"]["n"] == 3
    timed = read_json(tmp_path / "latency.json")["nat"]["2"]
    assert timed["first_token_ms"]["value"] == 15.0
    assert timed["tokens_per_s"]["value"] == pytest.approx(80.0)  # 4 * 20 tokens in 2 * 0.5 s
    gate = read_json(tmp_path / "gate.json")["nat"]
    assert gate["reference"] == ""  # the base never calls, and no arm is of positives only
    assert gate["outcome"] == "not proven"
    verdict = Conclusion.read(read_json(tmp_path / "verdict.json"))
    found_out = (verdict.arm, verdict.split, verdict.tone)
    assert found_out == ("nat", "test_seen", "none")  # four rows show nothing
    assert "the reference hardly ever calls" in verdict.gate
    overall = read_json(tmp_path / "overall.json")
    assert overall["nat"]["suites"]["instructions"] == "instruction_following"
    base, nat = (scores[a]["instructions"]["instruction_following"]["value"] for a in scores)
    change = (1.0 + nat - base + 0.0) / 3  # test_seen, instructions, multi-turn
    assert overall["nat"]["change"]["value"] == pytest.approx(change)
    table = read_json(tmp_path / "metrics.json")
    assert table["hallucination_rate"]["better"] == "lower"
    counts = given.counts()
    assert counts.failed == {"infra_failed": 2, "prompt_too_long": 2, "judge_no_verdict": 1}
    assert counts.rows_in == counts.rows_out + 5

    stored = Found(lines={name: lines_of(tmp_path / f"{name}.parquet") for name in KINDS})
    told = lines_of(tmp_path / "answers.parquet") + lines_of(tmp_path / "perturbed.parquet")
    read = [AnswerRow.read(line) for line in told]
    stored.answers = [rescored(a, ROWS[a.split, a.id]) for a in read]
    rubric = CONFIG.evaluate.judge.rubric
    stored.lines["judged"] = [judge.read_verdicts(x, rubric) for x in stored.lines["judged"]]
    talked = stored.lines["multi_turn"]
    stored.lines["multi_turn"] = multi_turn.scored_conversations(talked, entries)
    stored.latency = [LatencyRow(**x) for x in lines_of(tmp_path / "latency.parquet")]
    before = {p.name: p.read_text() for p in tmp_path.glob("*.json")}
    (tmp_path / "scores.json").unlink()
    write(tmp_path, stored)
    assert {p.name: p.read_text() for p in tmp_path.glob("*.json")} == before
    assert stored.counts() == counts


def test_every_kind_has_what_it_is_scored_with():
    for kind in KINDS.values():
        assert kind.scores([], HOW) == {}
        assert not any(kind.differences([], HOW).values())


# --- a user's metric, from a module outside the package ---

POLITE = """
from raytune_agents.evaluate.metrics import Metric

def please(answer, row):
    return float("please" in answer) if row.tools else None

def words(answer, row):
    return len(answer.split())

LENGTH = Metric("words_said", "words said", "", "lower", headline=True, compute=words)

def broken(answer, row):
    raise KeyError("oops")
"""


@pytest.fixture
def polite(tmp_path, monkeypatch):
    (tmp_path / "polite_metrics.py").write_text(POLITE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "polite_metrics"


def test_a_metric_of_the_users_own_is_scored_compared_and_named(tmp_path, polite):
    own = load_metrics([f"{polite}:please", f"{polite}:LENGTH"])
    assert own["words_said"].better == "lower"
    given = Found(answers=answers("base", "please wait a bit") + answers("nat", "no"))
    write_json(tmp_path / "costs.json", {})
    assert write(tmp_path, given, own) == {}
    scores = read_json(tmp_path / "scores.json")
    assert scores["base"]["test_seen"]["please"]["value"] == 1.0
    assert scores["nat"]["test_seen"]["words_said"]["value"] == 1.0
    assert "please" not in scores["nat"]["instructions"]  # None on every row
    gain = read_json(tmp_path / "differences.json")["nat"]["test_seen"]["words_said"]
    assert gain["value"] == -3.0
    table = read_json(tmp_path / "metrics.json")
    assert table["words_said"]["label"] == "words said"
    many = {
        "words_said": Difference(-3.0, -3.5, -2.5, 40),
        "please": Difference(-1.0, -1.0, -0.9, 40),
    }
    gained, lost = gains_and_losses({"test_seen": many}, own)
    assert gained == ["words said (−3 on test_seen)"]  # less is better
    assert lost == ["please (−100.0 on test_seen)"]


def test_a_metric_that_raises_is_counted_and_the_rest_is_scored(polite):
    own = load_metrics([f"{polite}:broken"])
    made, errors = with_own(answers("nat", RIGHT), ROWS, own)
    assert errors == {"broken: KeyError": len(made) - 1}  # the failed row was not asked
    assert all(a.values["broken"] is None for a in made)
    assert made[0].values["exact_match"] == 1.0


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("please", "is unknown"),
        ("no_such_module_x:f", "cannot be loaded"),
        ("polite_metrics:nothing", "cannot be loaded"),
        ("polite_metrics:POLITE_TEXT", "cannot be loaded"),
        ("json:__doc__", "it is a str"),
    ],
)
def test_what_is_no_metric_is_refused(polite, path, words):
    with pytest.raises(ConfigError, match=words):
        load_metrics([path])


def test_a_name_of_ours_is_not_taken(tmp_path, monkeypatch):
    (tmp_path / "mine_x.py").write_text("def exact_match(answer, row):\n    return 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="'exact_match' is taken"):
        load_metrics(["mine_x:exact_match"])
