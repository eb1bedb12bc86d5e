"""The Python API on a finished run: every function returns what the step's files hold."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
from conftest import TINY

import raytune_agents as rt
from raytune_agents.runs import Manifest
from raytune_agents.storage import read_json


@pytest.fixture(scope="module")
def config(tiny, tmp_path_factory: pytest.TempPathFactory):
    runs = tmp_path_factory.mktemp("api")
    shutil.copytree(tiny[0], runs / "tiny")
    return rt.load_config(TINY, [f"runs_dir={runs}"])


def test_rows_flow_as_datasets(config, tiny) -> None:
    folder = tiny[0]
    counts = {name: Manifest.load(folder / name).rows for name in ("read", "label", "generate")}
    assert rt.read(config).count() == counts["read"].rows_out
    generated = rt.generate(config).to_pandas()
    assert (generated["reject_reason"] == "").sum() == counts["generate"].rows_out
    labelled = rt.label(config).to_pandas()
    assert len(labelled) == counts["label"].rows_in
    reasons = Counter(r.partition(":")[0] for r in labelled["reject_reason"] if r)
    assert reasons == counts["label"].rejected
    mixes = rt.mix(config)
    arms = Manifest.load(folder / "mix").notes["arms"]
    assert {n: ds.count() for n, ds in mixes.items()} == {n: a["rows"] for n, a in arms.items()}


def test_results_are_typed(config, tiny) -> None:
    arms = rt.train(config)
    assert set(arms) == {"nat", "dpo"}
    assert (arms["nat"].adapter / "adapter_model.safetensors").is_file()
    assert all(line["loss"] > 0 for line in arms["nat"].log)
    found = rt.evaluate(config)
    scores = read_json(tiny[0] / "evaluate" / "scores.json")
    cell = found.scores["nat"]["test_unseen"]["exact_match"]
    assert cell.value == scores["nat"]["test_unseen"]["exact_match"]["value"]
    assert found.differences["nat"]["test_unseen"]["exact_match"].n == cell.n
    search = rt.tune(config)
    assert len(search.trials) >= config.tune.num_samples
    assert search.guideline
    assert rt.report(config).is_file()
    assert set(rt.run(config).manifests) == set(rt.api.STEPS)
