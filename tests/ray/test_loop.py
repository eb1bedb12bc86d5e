"""The whole loop with the real engine and the real model, by its command line."""

from __future__ import annotations

import re

import pyarrow.parquet as pq
import torch
import yaml
from conftest import TINY, cli
from safetensors.torch import load_file

from raytune_agents import negatives
from raytune_agents.calls import judge
from raytune_agents.models import ORIGIN, embedded
from raytune_agents.split import gold_tools
from raytune_agents.storage import read_json, read_jsonl, read_rows

STEPS = ("read", "generate", "label", "mix", "train", "evaluate", "tune", "report")
ARMS = ("base", "nat", "dpo")


def test_every_step_accounts_for_its_rows(tiny) -> None:
    folder, printed = tiny
    for step in STEPS:
        rows = read_json(folder / step / "manifest.json")["rows"]
        assert rows["in"] == rows["out"] + sum(rows["rejected"].values()) + sum(
            rows["failed"].values()
        )
        assert re.search(rf"{step} +in {rows['in']} = out {rows['out']} ", printed)
    assert f"report: {folder / 'report.html'}" in printed


def test_every_row_says_which_step_and_config_made_it(tiny) -> None:
    folder, _ = tiny
    rows = read_rows(folder / "label")
    assert all(r.step and r.config_hash for r in rows)
    steps = {r.step.partition(".")[0]: r.config_hash for r in rows}
    assert steps["read"] != steps["generate"] == steps["negatives"]


def test_one_engine_serves_all_steps_of_a_job(story) -> None:
    """Of three jobs the first generates, the second evaluates, the third has nothing to ask."""
    starts = (story.folder / "engine_starts.log").read_text().splitlines()
    assert len(starts) == (1 if len(story.codes) == 1 else 2)


def test_scores_have_every_arm_and_their_intervals(tiny) -> None:
    folder, _ = tiny
    scores = read_json(folder / "evaluate" / "scores.json")
    baselines = ("base_few_shot", "base_constrained")
    assert tuple(scores) == ("base", *baselines, *ARMS[1:])
    for arm in ARMS:
        cell = scores[arm]["test_unseen"]["exact_match"]
        assert 0 <= cell["low"] <= cell["value"] <= cell["high"] <= 1
        assert cell["n"] == 4
    differences = read_json(folder / "evaluate" / "differences.json")
    assert set(differences) == {*baselines, *ARMS[1:]}
    answers = pq.read_table(folder / "evaluate" / "answers.parquet").to_pylist()
    assert sum(a["split"] == "test_unseen" for a in answers) == 5 * 4  # arms, rows
    assert all(a["output_tokens"] > 0 for a in answers if not a["failed"])
    assert not any(a["failed"] for a in answers if a["split"] == "test_unseen")


def test_no_held_out_tool_is_trained_on(tiny) -> None:
    folder, _ = tiny
    rows = read_rows(folder / "label")
    trained = {t for r in rows if r.split == "train" and not r.fault for t in gold_tools(r)}
    unseen = {t for r in rows if r.split == "test_unseen" for t in gold_tools(r)}
    assert unseen
    assert not trained & unseen


def test_every_negative_is_wrong_for_the_reason_given(tiny) -> None:
    folder, _ = tiny
    rows = [r for r in read_rows(folder / "label") if r.pool.startswith("negative")]
    by_id = {r.id: r for r in read_rows(folder / "label")}
    assert {r.step for r in rows} >= {"negatives.edit"}
    assert len({r.fault for r in rows}) >= 8
    for row in rows:
        twin = by_id[row.parents[0]]
        assert twin.split == row.split == "train"
        if row.step == "negatives.mined":
            assert not judge(negatives.answer_text(row.target), twin).ok
        else:
            assert negatives.verified(twin, row, row.fault) == ""


def test_training_changed_every_adapter_and_only_it(tiny) -> None:
    folder, _ = tiny
    for arm in ARMS[1:]:
        weights = load_file(folder / "train" / arm / "adapter" / "adapter_model.safetensors")
        moved = [n for n, w in weights.items() if "lora_B" in n and torch.count_nonzero(w)]
        assert len(moved) == sum("lora_B" in n for n in weights) > 0
        assert not list((folder / "train" / arm).rglob("*.bin"))
        assert (folder / "train" / arm / "adapter" / "chat_template.jinja").is_file()


def test_the_adapter_loads_unchanged_in_peft(tiny) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder, _ = tiny
    adapter = folder / "train" / "nat" / "adapter"
    base = AutoModelForCausalLM.from_pretrained(embedded(), dtype=torch.float32)
    model = PeftModel.from_pretrained(base, adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    name = next(n for n in weights if "lora_B" in n)
    loaded = dict(model.named_parameters())[name.replace(".weight", ".default.weight")]
    assert torch.equal(loaded, weights[name])


def test_every_step_of_training_is_in_the_metrics(tiny) -> None:
    folder, _ = tiny
    fields = {"loss", "learning_rate", "grad_norm", "tokens_per_s", "peak_memory_mib", "entropy"}
    pools = set()
    for arm in ARMS[1:]:
        found = read_jsonl(folder / "train" / arm / "metrics.jsonl")
        assert [x["step"] for x in found] == list(range(1, found[-1]["of"] + 1))
        assert all(fields <= set(x) for x in found)
        assert list((folder / "train" / arm / "tensorboard").glob("events*"))
        pools |= {pool for x in found for pool in x["pool_loss"]}
    assert any(pool.startswith("negative.") for pool in pools)  # the loss by fault
    assert {"rewards/chosen", "rewards/rejected"} <= set(found[0])  # of dpo, the last


def test_the_card_says_what_the_adapter_was_made_of(tiny) -> None:
    folder, _ = tiny
    card = (folder / "train" / "nat" / "adapter" / "README.md").read_text()
    manifest = read_json(folder / "train" / "nat" / "manifest.json")
    head, options = yaml.safe_load(card.split("---\n")[1]), yaml.safe_load(card.split("```")[1][5:])
    assert (head["base_model"], head["library_name"]) == (ORIGIN, "peft")  # as the hub names it
    assert all(f"- hash of {k}: `{v}`" in card for k, v in manifest["inputs"].items())
    assert options == manifest["config"]
    assert "## Licences" in card
    assert "`bfcl`" in card
    score = read_json(folder / "evaluate" / "scores.json")["nat"]["test_unseen"]["exact_match"]
    assert f"| {score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}] |" in card


def test_a_second_run_does_nothing_and_says_so(tiny, runs_dir) -> None:
    folder, _ = tiny
    before = {s: (folder / s / "manifest.json").stat().st_mtime_ns for s in STEPS}
    done = cli("run", str(TINY), f"runs_dir={runs_dir}", timeout=60)
    assert done.returncode == 0
    assert done.stdout.count("done before, nothing to do") == len(STEPS)
    assert before == {s: (folder / s / "manifest.json").stat().st_mtime_ns for s in STEPS}


def test_a_wrong_config_stops_before_ray(tmp_path) -> None:
    for words, said in (
        ([f"model.name={tmp_path}/none"], "no such folder"),
        (["tune.space={}"], "tune.space"),
    ):
        done = cli("run", str(TINY), f"runs_dir={tmp_path}/runs", *words, timeout=60)
        assert done.returncode == 2
        assert said in done.stderr
        assert "starting Ray" not in done.stdout
        assert not (tmp_path / "runs" / "tiny" / "read" / "manifest.json").exists()
