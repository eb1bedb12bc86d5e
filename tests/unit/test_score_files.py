"""Lines of every kind -> the result files, and the same files from the stored lines alone."""

import json

import pytest

from raytune_agents.config import Config, load
from raytune_agents.evaluate import general, harness, instructions, judge, likelihood, multi_turn
from raytune_agents.evaluate.perturb import perturb
from raytune_agents.inference.engine import Reply
from raytune_agents.pipeline.evaluate import KINDS, MODULES, counts_of, lines_of, write_scores
from raytune_agents.readers import bfcl
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.runs import read_json, write_json

CONFIG = load(None, ["evaluate.resamples=100", "evaluate.multi_turn.rows=2"])
PAY = ToolSpec("pay", "Pay.", '{"type": "object", "properties": {"amount": {"type": "integer"}}}')
RIGHT = '<tool_call>{"name": "pay", "arguments": {"amount": 5}}</tool_call>'


def row(number: int) -> Trajectory:
    said = (Message("user", f"Please settle the five dollars of person {number} now."),
            Message("assistant", tool_calls=(ToolCall.of("pay", amount=5),)))  # fmt: skip
    return finish(Trajectory(said, (PAY,), source="t", split="test_seen"))


CLEAN = [row(n) for n in range(4)] + instructions.rows(4, 1)
NOISY = [perturb(r, "typos", 1, ()) for r in CLEAN[:4]]
ROWS = {(r.split, r.id): r for r in CLEAN + NOISY}


def answers(arm: str, text: str) -> list[dict]:
    reply = Reply([text], [9], 40, 0.5, 0.1)
    told = [harness.scored(r, arm, reply, 18.0) for r in [*CLEAN, *NOISY]]
    return [*told[:-1], harness.failed(NOISY[-1], arm, "infra_failed")]


def talks(arm: str, entries: list) -> list[dict]:
    made = []
    for entry in entries:
        talk = multi_turn.Talk(entry, 2)
        while not talk.end:
            talk.take("I cannot.")
        made.append(multi_turn.stored(arm, talk))
    return multi_turn.scored(made, entries)


def verdicts(pairs: list[dict], rubric: dict) -> list[dict]:
    def side(value: int) -> dict:
        return dict.fromkeys(rubric, value)

    texts = [json.dumps(dict(zip(judge.SIDES, map(side, s)))) for s in ((2, 4), (5, 1))]
    made = [judge.failed(p, "judge_no_verdict") | {"verdicts": json.dumps(texts)} for p in pairs]
    lines = [judge.rescored(line, rubric) for line in made]
    return [*lines[:-1], judge.failed(pairs[-1], "judge_no_verdict")]


def found(entries: list) -> dict[str, list[dict]]:
    out: dict[str, list[dict]] = {name: [] for name in KINDS}
    for arm, text, nll in (("base", "No.", 2.0), ("nat", RIGHT, 1.0)):
        out["answers"] += answers(arm, text)
        out["multi_turn"] += talks(arm, entries)
        lost = likelihood.failed(CLEAN[1], arm, "prompt_too_long")
        kept = likelihood.failed(CLEAN[0], arm, "") | {"nll": nll, "tokens": 3.0}
        out["likelihood"] += [kept, lost]
        out["general"] += general.lines(arm, {"arc": {"acc": [[0, nll - 1], [1, 1.0]]}})
    section = CONFIG.evaluate.judge.model_copy(update={"rows": 2})
    out["judged"] = verdicts(judge.pairs(ROWS, out["answers"], section), section.rubric)
    return out


@pytest.mark.skipif(not bfcl.installed(), reason="needs the package bfcl-eval")
def test_all_kinds_are_scored_and_scored_again_from_their_files(tmp_path):
    entries = multi_turn.entries(CONFIG.evaluate.multi_turn)
    given = found(entries)
    write_json(tmp_path / "costs.json", {"base": {"energy_j": None}, "nat": {"train_rows": 9.0}})
    write_scores(tmp_path, given, CONFIG)
    scores = read_json(tmp_path / "scores.json")
    splits = {"test_seen", "instructions", "val", "general", "bfcl_multi_turn_base"}
    assert scores.keys() == {"base", "nat"}
    assert scores["base"].keys() == scores["nat"].keys() == splits
    seen = scores["nat"]["test_seen"]
    assert (seen["exact_match"]["value"], seen["exact_match"]["n"]) == (1.0, 4)
    assert seen["judge_score"]["value"] == 4.5  # (4 + 5) / 2: it is second, then first
    assert seen["judge_wins"]["n"] + scores["nat"]["instructions"]["judge_wins"]["n"] == 3
    assert scores["base"]["val"]["perplexity"]["value"] == pytest.approx(7.389, abs=1e-3)
    assert scores["base"]["val"]["energy_j"]["value"] is None
    assert scores["nat"]["bfcl_multi_turn_base"]["multi_turn_accuracy"]["value"] == 0.0
    gains = read_json(tmp_path / "differences.json")["nat"]
    assert gains["val"]["nll"]["value"] == -1.0
    assert gains["general"]["arc.acc"]["value"] == -0.5
    assert gains["test_seen"]["exact_match"]["value"] == 1.0
    assert read_json(tmp_path / "robustness.json")["nat"]["typos"]["exact_match"]["n"] == 3
    counts = counts_of(given)
    assert counts.failed == {"infra_failed": 2, "prompt_too_long": 2, "judge_no_verdict": 1}
    assert counts.rows_in == counts.rows_out + 5

    stored = {name: lines_of(tmp_path / f"{name}.parquet") for name in MODULES}
    told = lines_of(tmp_path / "answers.parquet") + lines_of(tmp_path / "perturbed.parquet")
    stored["answers"] = [harness.rescored(a, ROWS[a["split"], a["id"]]) for a in told]
    rubric = CONFIG.evaluate.judge.rubric
    stored["judged"] = [judge.rescored(x, rubric) for x in stored["judged"]]
    stored["multi_turn"] = multi_turn.scored(stored["multi_turn"], entries)
    (tmp_path / "scores.json").unlink()
    write_scores(tmp_path, stored, CONFIG)
    assert read_json(tmp_path / "scores.json") == scores
    assert counts_of(stored) == counts


def test_every_kind_has_what_it_is_scored_with():
    for module in MODULES.values():
        assert module.scores([], Config().evaluate, 0) == {}
        assert not any(module.gains([], Config().evaluate, 0).values())
