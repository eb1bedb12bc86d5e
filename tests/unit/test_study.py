"""The study's tables by hand-worked numbers; its check fails on an edited figure."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

STUDY = Path(__file__).parents[2] / "benchmarks" / "study"


@pytest.fixture
def study(monkeypatch):
    """The study's modules, which stand beside the package."""
    monkeypatch.syspath_prepend(STUDY)
    for name in ("tables", "check", "run"):
        sys.modules.pop(name, None)
    import check
    import run
    import tables

    yield tables, check, run
    for name in ("tables", "check", "run"):
        sys.modules.pop(name, None)


def write_cell(folder: Path, arm: str, seed: int, right: list[int]) -> None:
    """A cell of so many test_unseen rows, right or wrong."""
    rows = [
        {"split": "test_unseen", "id": f"r{k}", "failed": "", "answer": "", "fault": "",
         "exact_match": float(value), "irrelevance": None}
        for k, value in enumerate(right)
    ]  # fmt: skip
    name = f"{arm}-s{seed}" if seed else arm
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    facts = {"arm": arm, "seed": seed, "load_before": 0.1, "rows": 10 * seed}
    facts |= {"loss_tokens": {"positive": 80, "no_call": 20}, "total_tokens": 900.0, "train_s": 7}
    (folder / f"{name}.json").write_text(json.dumps(facts))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    cells = tmp_path / "cells"
    write_cell(cells, "base", 0, [0, 0, 0, 0])
    for seed in (1, 2, 3):
        write_cell(cells, "sft", seed, [1, 0, 0, 0])
        write_cell(cells, "nat", seed, [1, 1, int(seed == 3), 0])
    return tmp_path


def test_values_are_means_over_seeds_and_rows(study, results: Path) -> None:
    tables, _, _ = study
    found = tables.study(tables.read_cells(results / "cells"))
    at = {n: a["test_unseen"]["exact_match"] for n, a in found["arms"].items()}
    assert at["base"]["value"] == 0
    assert at["sft"]["value"] == 0.25
    assert at["nat"]["value"] == pytest.approx(7 / 12, abs=1e-4)  # 2, 2 and 3 of 4
    assert at["nat"]["n"] == 4
    assert at["nat"]["low"] <= at["nat"]["value"] <= at["nat"]["high"]
    cell = found["differences"]["nat"]["sft"]["test_unseen"]
    assert cell["value"] == pytest.approx(7 / 12 - 1 / 4, abs=1e-4)
    assert found["seeds"] == 3
    assert found["costs"]["nat"]["rows"] == 20  # the mean of 10, 20 and 30


def test_rounds_are_told_with_their_intervals(study) -> None:
    tables, _, _ = study
    gain = {"value": 0.04, "low": -0.02, "high": 0.1, "n": 95}
    told = {"gain_over_random": gain, "gain_over_one_round": {"value": None}, "seeds": 3,
            "rounds": 3, "tokens": 6000, "in_band_share": 0.075,
            "arms": {"failure-1": {"kept": 0}, "random-1": {"kept": 2}}}  # fmt: skip
    line = tables.rounds_line(told)
    assert "at random +4 [-2, +10], minus one round of as many tokens –." in line
    assert "success band: 8 %" in line
    assert "Of 2 arms 1 kept none of their rounds" in line


def test_check_agrees_and_an_edited_figure_fails(study, results: Path, monkeypatch) -> None:
    tables, check, _ = study
    tables.write_tables(results / "cells", results)
    monkeypatch.setattr(check, "RESULTS", results)
    assert check.main() == 0
    stored = json.loads((results / "study.json").read_text())
    stored["arms"]["nat"]["test_unseen"]["exact_match"]["low"] += 0.01
    (results / "study.json").write_text(json.dumps(stored))
    assert check.main() == 1


def test_seeds_come_in_turn_and_pairs_start_from_half_of_the_budget(study) -> None:
    _, _, run = study
    cells = list(run.planned())
    assert cells[0].name == "base"
    core = [c.seed for c in cells if c.arm in run.CORE]
    assert core == sorted(core)
    kinds = [c.arm in run.SCREENING for c in cells]
    assert kinds == sorted(kinds)  # the core arms first
    assert len({c.name for c in cells}) == len(cells)
    dpo = run.Cell("dpo", 2)
    assert dpo.config()["options"]["lora.start"].endswith("train/sft_half-s2/adapter")
    assert dpo.config()["share"] == 0.5
    assert [c.name for c in dpo.needs()] == ["sft_half-s2", "dpo-s2"]


def test_nothing_of_bfcl_and_no_test_row_is_trained_on() -> None:
    config = yaml.safe_load((STUDY / "study.yaml").read_text())
    trained = [s for s in config["read"]["sources"] if s["format"] in
               ("study_rows:train", "study_rows:fireact")]  # fmt: skip
    assert len(trained) == 2
    assert not any("bfcl" in s["path"] or "test" in s["path"] for s in trained)
    assert config["mix"]["no_call"] == 0.3
