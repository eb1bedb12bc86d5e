"""The card beside an adapter."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from finished import finish_step
from huggingface_hub import ModelCard

from raytune_agents.config import TrainConfig
from raytune_agents.train import adapter_card

MODEL = {"name": "m", "revision": None}


def trained(run: Path, config: dict, **inputs: str) -> Path:
    (run / "train/sft/adapter").mkdir(parents=True)
    known = {"rows": "9f"} | inputs
    finish_step(run / "train/sft", {"train": config, "model": MODEL}, inputs=known)
    (run / "mix").mkdir()
    table = pa.table({"id": ["a", "b"], "pool": ["positive", "negative.wrong_value"]})
    pq.write_table(table, run / "mix/sft.parquet")
    return run


def config(**more) -> dict:
    now = TrainConfig(arms={"sft": {"method": "sft"}})
    return now.of(now.arms["sft"]).model_dump(mode="json") | more


def test_what_it_says(tmp_path):
    text = adapter_card.write_adapter_card(trained(tmp_path, config()), "sft").read_text()
    assert "library_name: peft" in text
    assert "- hash of rows: `9f`" in text
    assert "Adapter of `m`, trained with method `sft` on 2 rows, seed 17." in text
    assert "| negative.wrong_value | 1 |" in text
    assert "Full weights" in adapter_card.text(
        trained(tmp_path / "b", config(parameters="full")), "sft"
    )


def test_the_hub_is_told_of_a_base_that_it_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    for name, known in (
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("/data/models/mine", ""),
        ("./mine", ""),
        ("../mine", ""),
        ("models/mine", ""),  # a folder that is called like an id
    ):
        assert adapter_card.hub_id(name) == known
    head = adapter_card.write_adapter_card(trained(tmp_path, config()), "sft").read_text()
    assert "base_model" not in head.split("---")[1]


def test_merged_weights_say_how_they_are_served(tmp_path):
    text = adapter_card.text(trained(tmp_path, config()), "sft", "vllm serve . --dtype auto")
    assert "Merged weights of `m`, trained with method `sft`" in text
    assert "peft" not in text.split("---")[1]
    assert "## Serve\n\nIn this folder:\n\n```bash\nvllm serve . --dtype auto\n```\n" in text


def test_the_arm_that_it_goes_on_from(tmp_path):
    run = trained(tmp_path, config(), **{"arm first": "3c"})
    text = adapter_card.text(run, "sft")
    assert "Adapter of `m`, going on from arm first of this run, trained with method" in text
    assert "- hash of arm first: `3c`" in text


def test_scores_and_what_was_lost_stand_in_it(tmp_path):
    run = trained(tmp_path, config())
    (run / "evaluate").mkdir()
    cell = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    files = {
        "scores": {"sft": {"test_unseen": {"exact_match": cell, "confidence": cell}}},
        "metrics": {"exact_match": {"label": "exact match", "headline": True},
                    "confidence": {"label": "confidence", "headline": False},
                    "irrelevance": {"label": "irrelevance", "headline": True}},
        "gate": {"sft": {"reference": "base", "outcome": "lost", "metrics": {
            "irrelevance": cell | {"value": -0.5, "low": -0.6, "high": -0.4, "outcome": "lost"}}}},
    }  # fmt: skip
    for name, value in files.items():
        (run / f"evaluate/{name}.json").write_text(json.dumps(value))
    text = adapter_card.text(run, "sft")
    assert "| split | exact match |\n| --- | --- |\n| test_unseen | 0.500 [0.400, 0.600] |" in text
    lost = "irrelevance lost (-0.500 [-0.600, -0.400])"
    assert f"No-regression gate against base: {lost}." in text
    card = ModelCard(text)  # as the hub's own library reads it
    [result] = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.metric_name) == (
        "exact_match", 0.5, "exact match"
    )
    assert (result.dataset_split, result.task_type) == ("test_unseen", "text-generation")
    (run / "evaluate/scores.json").unlink()
    assert "model-index" not in adapter_card.text(run, "sft")
