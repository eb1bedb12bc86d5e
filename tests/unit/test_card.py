"""The card beside an adapter, also of a run that older code trained."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytune_agents.config import TrainConfig
from raytune_agents.train import adapter_card

MODEL = {"name": "m", "revision": None}


def trained(run: Path, section: dict) -> Path:
    facts = {"config": [section, MODEL], "inputs": {"rows": "9f"}, "seed": 17}
    facts |= {"revision": "abc", "commit": ""}
    (run / "train/sft/adapter").mkdir(parents=True)
    (run / "train/sft/manifest.json").write_text(json.dumps(facts))
    (run / "mix").mkdir()
    table = pa.table({"id": ["a", "b"], "pool": ["positive", "negative.wrong_value"]})
    pq.write_table(table, run / "mix/sft.parquet")
    return run


def section(**more) -> dict:
    now = TrainConfig(arms={"sft": {"method": "sft"}})
    return now.of(now.arms["sft"]).model_dump(mode="json") | more


def test_what_it_says(tmp_path):
    text = adapter_card.write(trained(tmp_path, section()), "sft").read_text()
    assert "Adapter of `m`, trained with method `sft` on 2 rows, seed 17." in text
    assert "| negative.wrong_value | 1 |" in text
    assert "Full weights" in adapter_card.text(
        trained(tmp_path / "b", section(parameters="full")), "sft"
    )


@pytest.mark.parametrize("unknown", ["parameters", "quantization", "curve", "report_to"])
def test_a_run_of_older_code_lacks_options(tmp_path, unknown):
    older = {k: v for k, v in section().items() if k != unknown}
    text = adapter_card.text(trained(tmp_path, older), "sft")
    assert "library_name: peft" in text
    assert f"{unknown}:" not in text.partition("## Options")[2]
