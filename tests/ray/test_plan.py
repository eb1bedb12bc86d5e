"""`plan` and `doctor` against a real run: what was foreseen is what was then measured."""

from __future__ import annotations

import pytest
from conftest import TINY, cli

from raytune_agents.config import load_config
from raytune_agents.infra import cluster
from raytune_agents.infra.placement import Resources
from raytune_agents.pipeline import plan as planner
from raytune_agents.storage import read_json, read_jsonl

NEAR, FEW = 0.25, 0.35
ARMS = ("nat", "dpo")


@pytest.fixture(scope="module")
def foreseen() -> planner.Plan:
    config = load_config(TINY)
    return planner.plan(config, cluster.look(config.resources))


def test_tokens_and_rows_are_those_of_the_run(foreseen, tiny) -> None:
    """Of all arms together: about 10 rows, drawn from other rows than the run's own."""
    work = [foreseen.work[f"train {arm}"] for arm in ARMS]
    steps = [step for arm in ARMS for step in read_jsonl(tiny[0] / "train" / arm / "metrics.jsonl")]
    found = read_json(tiny[0] / "train/manifest.json")["rows"]["in"]
    assert sum(w.train for w in work) == pytest.approx(sum(s["tokens"] for s in steps), rel=FEW)
    assert sum(w.rows for w in work) == pytest.approx(found, abs=4)  # long or short ones


def test_rows_of_evaluate_are_those_of_the_run(foreseen, tiny) -> None:
    asked = read_json(tiny[0] / "evaluate/manifest.json")["rows"]["in"]
    assert foreseen.work["evaluate"].rows == pytest.approx(asked, rel=NEAR)


@pytest.mark.parametrize(
    ("name", "key"),
    [("a training worker", "train"), ("the engine", "engine")],
    ids=["worker", "engine"],
)
def test_memory_is_that_of_the_run(foreseen, tiny, name: str, key: str) -> None:
    costs = read_json(tiny[0] / "evaluate" / "costs.json").values()
    peak = max(c.get(f"{key}_peak_memory_mib", 0) for c in costs) / 1024
    assert sum(foreseen.memory[name].values()) == pytest.approx(peak, rel=NEAR)


def test_disk_is_that_of_the_run(foreseen, tiny) -> None:
    used = sum(f.stat().st_size for f in tiny[0].rglob("*") if f.is_file()) / 2**30
    left = {k: v for k, v in foreseen.disk.items() if k != "while training"}
    assert sum(left.values()) == pytest.approx(used, rel=NEAR)


@pytest.mark.slow
def test_the_same_config_on_four_gpus() -> None:
    have = Resources(cpus=64, gpus=4, node_cpus=64, node_gpus=4, gpu_type="A100")
    found = planner.plan(load_config(TINY, ["train.global_batch_size=4"]), have)
    said = "\n".join(found.lines())
    assert "engines 4 (each on 1 GPU), train workers 4, trials at once 3" in said
    assert "engines and training take turns" in said
    assert found.unit_hours == pytest.approx(found.hours * 4)
    assert found.usd == pytest.approx(found.hours * 4 * 3.2)
    assert set(found.memory) == {"a training worker"}
    assert found.kv_gib == pytest.approx(40 * 0.85 - 0.25 - 1.0, abs=0.01)


@pytest.mark.slow
def test_doctor_tries_everything_and_leaves_nothing(tmp_path) -> None:
    done = cli("doctor", str(TINY), f"runs_dir={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("OK    ") >= 8
    assert "OK    training: loss" in done.stdout
    assert not list(tmp_path.iterdir())


def test_doctor_stops_at_the_first_thing_to_mend(tmp_path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"messages": 1}\n' * 9)
    done = cli("doctor", str(TINY), f"runs_dir={tmp_path}", f"read.sources=[{{path: {rows}}}]")
    assert done.returncode == 1
    assert "OK    config" in done.stdout
    assert "FAIL  data: 9 of the first 9 rows are bad" in done.stderr
    assert "placement" not in done.stdout
