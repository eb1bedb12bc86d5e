"""Stored answers to scores: what is paired, what is left out, what an arm cost."""

import json
import math
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
from finished import finish_step

from raytune_agents.evaluate import harness, scoreboard
from raytune_agents.evaluate.baselines import Arm
from raytune_agents.evaluate.costs import gain_per_100_rows, training_costs
from raytune_agents.evaluate.estimates import Resampling, macro_mean
from raytune_agents.evaluate.measured import AnswerRow, answer_row
from raytune_agents.evaluate.metrics import ANSWER_METRICS
from raytune_agents.evaluate.paired import Difference
from raytune_agents.evaluate.perturb import perturb
from raytune_agents.inference.client import Reply
from raytune_agents.records import Message, RecordError, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.runs import MANIFEST, Counts
from raytune_agents.storage import write_json

HOW = Resampling(resamples=200)
PAY = ToolSpec("pay", "Pay.", '{"type": "object", "properties": {"amount": {"type": "integer"}}}')
RIGHT = '<tool_call>{"name": "pay", "arguments": {"amount": 5}}</tool_call>'


def row(text: str = "Please settle five dollars now.") -> Trajectory:
    said = (Message("user", text), Message("assistant", tool_calls=(ToolCall.of("pay", amount=5),)))
    return finish(Trajectory(said, (PAY,), source="t", split="test_seen"))


def answer(arm: str, key: str, right: float | None, **more) -> AnswerRow:
    values = {} if right is None else {"exact_match": right}
    failed = "" if right is not None else "infra_failed"
    fault = "" if right else "wrong_value"
    return AnswerRow(arm, "test_seen", key, failed, values, fault=fault, **more)


def test_scored_and_scored_again_are_the_same():
    """log-probability -0.9 over 9 tokens: confidence exp(-0.1)."""
    reply = Reply([RIGHT], [9], 40, latency_s=0.5, first_token_s=0.1, logprobs=[-0.9], cut=[False])
    made = harness.scored_answer(row(), "nat", reply)
    values = made.values
    assert (values["exact_match"], values["output_tokens"], values["input_tokens"]) == (1, 9, 40)
    assert values["confidence"] == pytest.approx(math.exp(-0.1))
    assert harness.rescored(made, row()) == made
    stored = AnswerRow.read(made.record())
    assert stored.record() == made.record()
    older = {k: v for k, v in made.record().items() if k not in ("over_refusal", "confidence")}
    again = harness.rescored(AnswerRow.read(older), row())  # not known when it was stored
    assert (again.values["over_refusal"], again.values.get("confidence")) == (0.0, None)


def test_what_a_server_reads_is_judged_beside_the_text():
    """A call without its tags is right for us, and is none for the server's parser."""
    gold, none = (ToolCall.of("pay", amount=5),), ()
    bare = RIGHT.removeprefix("<tool_call>").removesuffix("</tool_call>")
    for text, calls, server in ((RIGHT, gold, 1.0), (bare, none, 0.0), (bare, None, None)):
        values = harness.scored_answer(row(), "nat", Reply([text], [9], 40, 0, 0, calls=[calls]))
        assert (values.values["exact_match"], values.values["server_parsable"]) == (1.0, server)


def test_a_row_that_the_template_refuses_is_failed_with_its_reason():
    class Refusing:
        """A chat whose template takes no row without a system turn."""

        @staticmethod
        def prompt_ids(asked: Trajectory, marker: str) -> list[int]:
            if asked.messages[0].role != "system":
                raise RecordError("template: no system turn")
            return [1, 2, 3]

    whole = finish(replace(row(), messages=(Message("system", "Pay."), *row().messages)))
    asker = harness.Asker(Arm("base"), Refusing(), 1, 3)
    found = harness.fitting_prompts([row(), whole], asker)
    assert found == ({1: [1, 2, 3]}, {0: "template: no system turn"})
    less = replace(asker, room=2)
    assert harness.fitting_prompts([whole], less)[1] == {0: "prompt_too_long"}


def test_a_cut_answer_stays_cut_when_it_is_scored_again():
    reply = Reply(['<tool_call>{"name": "pay"'], [9], 40, 0.5, 0.1, cut=[True])
    made = harness.scored_answer(row(), "nat", reply)
    assert (made.fault, made.values["cut_rate"]) == ("cut", 1.0)
    assert harness.rescored(made, row()).fault == "cut"
    table = scoreboard.summarise([made, harness.scored_answer(row(), "nat", GOOD)], HOW)
    assert (table["fault.cut"].value, table["cut_rate"].value) == (0.5, 0.5)


GOOD = Reply([RIGHT], [9], 40, 0.5, 0.1)


def test_faults_are_counted_with_cut_ones_first():
    rows = [answer("a", str(i), 0.0) for i in range(3)]
    cut = AnswerRow("a", "val", "x", fault="cut", values={"exact_match": 0.0})
    assert list(scoreboard.fault_counts([*rows, cut])) == ["cut", "wrong_value"]


def test_a_failed_answer_has_every_column_and_no_zero():
    lost = answer_row(row(), "base", failed="prompt_too_long")
    good = harness.scored_answer(row(), "base", GOOD)
    assert lost.record().keys() == good.record().keys()
    assert {m.name for m in ANSWER_METRICS} < good.record().keys()
    assert lost.values == {}
    table = pa.Table.from_pylist([lost.record(), good.record()])  # columns of the first row
    assert "confidence" in table.column_names
    cells = scoreboard.answer_scores([lost, good], HOW)["base"]["test_seen"]
    assert (cells["exact_match"].value, cells["exact_match"].n) == (1.0, 1)
    assert harness.rescored(lost, row()) == lost


def test_a_perturbed_answer_points_to_its_row():
    clean = row()
    made = perturb(clean, "typos", 1, ())
    shown = answer_row(made, "base")
    assert (shown.perturbation, shown.of, shown.id) == ("typos", clean.id, made.id)
    assert answer_row(clean, "base").of == ""


def test_differences_are_over_common_rows_with_holm_over_the_arms():
    rows = [answer("base", k, 0.0) for k in "abcdef"] + [answer("base", "x", None)]
    rows += [answer("sft", k, 1.0) for k in "abcdef"] + [answer("sft", "x", 1.0)]
    rows += [answer("nat", k, float(k < "d")) for k in "abcdef"]
    found = scoreboard.differences(rows, ["exact_match"], HOW)
    sft, nat = (found[arm]["test_seen"]["exact_match"] for arm in ("sft", "nat"))
    assert (sft.value, sft.n, sft.p, sft.p_holm) == (1.0, 6, 2 / 64, 4 / 64)
    assert (nat.value, nat.n, nat.p_holm) == (0.5, 6, 0.25)
    assert "base" not in found
    # a baseline is no claim: it is compared, and corrects nothing
    found = scoreboard.differences(rows, ["exact_match"], HOW, uncorrected=["nat"])
    assert found["sft"]["test_seen"]["exact_match"].p_holm == 2 / 64
    assert found["nat"]["test_seen"]["exact_match"].p_holm is None


def test_robustness_is_paired_with_the_clean_row():
    clean = [answer("nat", k, 1.0) for k in "abcd"]
    noisy = [answer("nat", f"{k}2", float(k == "a"), perturbation="typos", of=k) for k in "abc"] + [
        answer("nat", "d3", None, perturbation="typos", of="d")
    ]
    drop = scoreboard.perturbation_drops(clean, noisy, HOW)["nat"]["typos"]["exact_match"]
    cell = drop  # a difference, with both levels
    assert (cell.n, cell.wins, cell.losses) == (3, 0, 2)
    assert cell.value == pytest.approx(-2 / 3)
    assert (drop.clean, drop.perturbed) == (1.0, pytest.approx(1 / 3))
    assert cell.p == cell.p_holm == 0.5  # 2 * (1/2)^2
    assert scoreboard.Drop.read(drop.record()) == drop


def test_overall_is_over_the_suites_that_an_arm_took_whole():
    """Two suites: (1/4 + 2/2) / 2 against (0/4 + 1/2) / 2; val rows choose, and are no test."""

    def rows(arm: str, seen: list[float], none: list[float]) -> list[AnswerRow]:
        parts = (("test_seen", seen), ("irrelevance", none), ("val", [1.0, 1.0]))
        return [
            AnswerRow(arm, split, f"r{i}", values={"exact_match": v})
            for split, values in parts for i, v in enumerate(values)
        ]  # fmt: skip

    base, nat = rows("base", [0, 0, 0, 0], [0, 1]), rows("nat", [1, 0, 0, 0], [1, 1])
    half = [r for r in rows("constrained", [1] * 4, [0, 0]) if r.split == "test_seen"]
    found = scoreboard.overall_scores([*base, *nat, *half], HOW)
    assert found.keys() == {"base", "nat"}
    assert (found["base"].score.value, found["nat"].score.value) == (0.25, 0.625)
    assert found["nat"].change.value == pytest.approx(0.375)
    assert found["base"].change.value is None
    assert found["nat"].suites == {"test_seen": "exact_match", "irrelevance": "exact_match"}
    assert scoreboard.Overall.read(found["nat"].record()) == found["nat"]
    # drawn in the order of the ids: a set has another one in each process
    gaps = {"test_seen": [1.0, 0.0, 0.0, 0.0], "irrelevance": [1.0, 0.0]}
    assert found["nat"].change == macro_mean(gaps, HOW)


def test_the_limit_follows_the_gold_answers():
    """99 % of 100 lengths are at most 99 tokens: 1.5 * 99 = 148.5, the next multiple of 16."""
    assert harness.answer_limit(list(range(1, 101)), 4096) == 160
    assert harness.answer_limit([3, 9], 4096) == 64
    assert harness.answer_limit([], 4096) == 64
    assert harness.answer_limit([900], 1024) == 512  # half of what the model takes


def test_what_an_arm_cost_stands_beside_its_scores(tmp_path):
    folder = tmp_path / "train/nat"
    folder.mkdir(parents=True)
    step = finish_step(folder, counts=Counts(52, 50, Counter(too_long=2)))
    write_json(folder / MANIFEST, step.manifest.model_dump(mode="json") | {"seconds": 60.0})
    log = [{"step": 1, "num_tokens": 300, "peak_memory_mib": 900.0}, {"step": 2, "num_tokens": 700}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in log))
    costs = training_costs(tmp_path, "nat")
    assert costs == {"train_rows": 50.0, "train_seconds": 60.0, "train_tokens": 700.0,
                     "train_peak_memory_mib": 900.0, "train_energy_j": None}  # fmt: skip
    assert training_costs(tmp_path, "base") == {}
    gain = Difference(0.2, 0.1, 0.3, 9)
    made = gain_per_100_rows({"nat": {"val": {"exact_match": gain}}, "sft": {"val": {}}},
                             {"nat": costs})  # fmt: skip
    cell = made["nat"]["val"]["gain_per_100_rows"]  # 0.2 for 50 rows is 0.4 for 100
    assert (cell.value, cell.low, cell.n) == (pytest.approx(0.4), pytest.approx(0.2), 9)
    assert "sft" not in made
    log = [x | {"energy_j": 2.5} for x in log]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in log))
    assert training_costs(tmp_path, "nat")["train_energy_j"] == 5.0
