"""Stored answers to scores: what is paired, what is left out, what an arm cost."""

import json
from collections import Counter

import pyarrow as pa
import pytest
from finished import finish_step

from raytune_agents.config import Config
from raytune_agents.evaluate import harness
from raytune_agents.evaluate.metrics import COSTS, METRICS
from raytune_agents.evaluate.perturb import perturb
from raytune_agents.inference.engine import Reply
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.runs import MANIFEST, Counts
from raytune_agents.storage import write_json

SECTION = Config().evaluate.model_copy(update={"resamples": 200})
PAY = ToolSpec("pay", "Pay.", '{"type": "object", "properties": {"amount": {"type": "integer"}}}')
RIGHT = '<tool_call>{"name": "pay", "arguments": {"amount": 5}}</tool_call>'


def row(text: str = "Please settle five dollars now.") -> Trajectory:
    said = (Message("user", text), Message("assistant", tool_calls=(ToolCall.of("pay", amount=5),)))
    return finish(Trajectory(said, (PAY,), source="t", split="test_seen"))


def answer(arm: str, key: str, right: float | None, **more) -> dict:
    values = dict.fromkeys(METRICS) | {"error": "", "fault": "" if right else "wrong_value"}
    failed = "" if right is not None else "infra_failed"
    facts = {"arm": arm, "split": "test_seen", "id": key, "failed": failed, "exact_match": right}
    return values | facts | {"perturbation": "", "of": ""} | more


def test_scored_and_scored_again_are_the_same():
    reply = Reply([RIGHT], [9], 40, latency_s=0.5, first_token_s=0.1)
    made = harness.scored(row(), "nat", reply, tokens_per_s=18.0)
    assert (made["exact_match"], made["output_tokens"], made["tokens_per_s"]) == (1.0, 9.0, 18.0)
    assert (made["first_token_s"], made["latency_s"], made["input_tokens"]) == (0.1, 0.5, 40.0)
    assert harness.rescored(made, row()) == made
    older = {k: v for k, v in made.items() if k not in ("over_refusal", "first_token_s")}
    again = harness.rescored(older, row())  # a metric that was not known when it was stored
    assert (again["over_refusal"], again["first_token_s"]) == (0.0, None)


def test_a_failed_answer_has_every_column_and_no_zero():
    lost = harness.failed(row(), "base", "prompt_too_long")
    good = harness.scored(row(), "base", Reply([RIGHT], [9], 40, 0.5, 0.1), 1.0)
    assert lost.keys() == good.keys()
    assert all(lost[name] is None for name in METRICS)
    table = pa.Table.from_pylist([lost, good])  # the columns are those of the first row
    assert set(COSTS) < set(table.column_names)
    cells = harness.scores([lost, good], SECTION, 0)["base"]["test_seen"]
    assert (cells["exact_match"]["value"], cells["exact_match"]["n"]) == (1.0, 1)
    assert harness.rescored(lost, row()) == lost


def test_a_perturbed_answer_points_to_its_row():
    clean = row()
    made = perturb(clean, "typos", 1, ())
    shown = harness.shown(made, "base")
    assert (shown["perturbation"], shown["of"], shown["id"]) == ("typos", clean.id, made.id)
    assert harness.shown(clean, "base")["of"] == ""


def test_differences_are_over_common_rows_with_holm_over_the_arms():
    rows = [answer("base", k, 0.0) for k in "abcdef"] + [answer("base", "x", None)]
    rows += [answer("sft", k, 1.0) for k in "abcdef"] + [answer("sft", "x", 1.0)]
    rows += [answer("nat", k, float(k < "d")) for k in "abcdef"]
    found = harness.differences(rows, SECTION, 0)
    sft, nat = (found[arm]["test_seen"]["exact_match"] for arm in ("sft", "nat"))
    assert (sft["value"], sft["n"], sft["p"], sft["p_holm"]) == (1.0, 6, 2 / 64, 4 / 64)
    assert (nat["value"], nat["n"], nat["p_holm"]) == (0.5, 6, 0.25)
    assert "base" not in found


def test_robustness_is_paired_with_the_clean_row():
    clean = [answer("nat", k, 1.0) for k in "abcd"]
    noisy = [answer("nat", f"{k}2", float(k == "a"), perturbation="typos", of=k) for k in "abc"] + [
        answer("nat", "d3", None, perturbation="typos", of="d")
    ]
    cell = harness.robustness(clean, noisy, SECTION, 0)["nat"]["typos"]["exact_match"]
    assert (cell["n"], cell["wins"], cell["losses"]) == (3, 0, 2)
    assert cell["value"] == pytest.approx(-2 / 3)
    assert (cell["clean"], cell["perturbed"]) == (1.0, pytest.approx(1 / 3))
    assert cell["p"] == cell["p_holm"] == 0.5  # 2 * (1/2)^2


def test_what_an_arm_cost_stands_beside_its_scores(tmp_path):
    folder = tmp_path / "train/nat"
    folder.mkdir(parents=True)
    step = finish_step(folder, counts=Counts(52, 50, Counter(too_long=2)))
    write_json(folder / MANIFEST, step.manifest.model_dump(mode="json") | {"seconds": 60.0})
    log = [{"step": 1, "num_tokens": 300, "peak_memory_mib": 900.0}, {"step": 2, "num_tokens": 700}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in log))
    costs = harness.training_costs(tmp_path, "nat")
    assert costs == {"train_rows": 50.0, "train_seconds": 60.0, "train_tokens": 700.0,
                     "train_peak_memory_mib": 900.0, "train_energy_j": None}  # fmt: skip
    assert harness.training_costs(tmp_path, "base") == {}
    table = {arm: {"val": {"exact_match": {"value": 0.4, "n": 9}}} for arm in ("base", "nat")}
    gain = {"value": 0.2, "low": 0.1, "high": 0.3, "n": 9}
    made = harness.with_costs(table, {"nat": {"val": {"exact_match": gain}}}, {"nat": costs})
    assert made["base"] == table["base"]
    cell = made["nat"]["val"]["gain_per_100_rows"]  # 0.2 for 50 rows is 0.4 for 100
    assert (cell["value"], cell["low"], cell["n"]) == (pytest.approx(0.4), pytest.approx(0.2), 9)
    assert made["nat"]["val"]["train_tokens"]["value"] == 700.0
    untold = {"value": None, "low": None, "high": None, "n": 0}
    assert made["nat"]["val"]["train_energy_j"] == untold  # the machine did not tell: no zero
    log = [x | {"energy_j": 2.5} for x in log]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in log))
    assert harness.training_costs(tmp_path, "nat")["train_energy_j"] == 5.0
