"""ETO end to end: an sft arm explores, its failures become pairs, DPO follows, twice."""

from __future__ import annotations

import io

import pyarrow.parquet as pq
import pytest
import torch
from conftest import TINY
from rich.console import Console
from safetensors.torch import load_file

from raytune_agents.config import load_config
from raytune_agents.pipeline.run import run_steps
from raytune_agents.progress import Display
from raytune_agents.runs import read_json, read_rows
from raytune_agents.train.callbacks import lines

ARMS = """{
  sft: {method: sft, weights: {positive: 1}},
  eto: {method: eto, weights: {positive: 1}, start: sft, options: {eto.tasks: 10,
        eto.iterations: 2, eto.max_tokens: 48, eto.val_rows: 4, global_batch_size: 2}}}"""


@pytest.mark.slow
def test_two_rounds_of_explore_pair_dpo(tmp_path) -> None:
    config = load_config(
        TINY,
        [
            f"runs_dir={tmp_path}",
            "generate.rows=4",
            "negatives.mined_tasks=0",
            "tune.num_samples=0",
            f"train.arms={ARMS}",
        ],
    )
    said = io.StringIO()
    run_steps(config, ("read", "generate", "label", "mix", "train"), Display(Console(file=said)))
    train = tmp_path / "tiny" / "train"
    told = read_json(train / "eto" / "rounds.json")
    rounds = told["rounds"]
    assert [r["round"] for r in rounds] == list(range(len(rounds)))
    assert rounds[1]["pairs"] > 0
    # it goes on unless the val score fell; what is kept is the last that did not fall
    scores = [r["val_exact_match"] for r in rounds]
    fell = scores[-1] < scores[-2]
    assert len(rounds) == 3 or fell
    assert told["kept"].endswith(f"round-{len(rounds) - 1 - fell}/adapter") or len(rounds) == 2
    before = train / "sft" / "adapter"
    for k in range(1, len(rounds)):
        folder = train / "eto" / f"round-{k}"
        assert read_json(folder / "manifest.json")["inputs"]["start"] == str(before)
        explored = {r.id: r for r in read_rows(folder / "explored")}
        columns = pq.read_table(folder / "columns.parquet").to_pylist()
        assert {c["row_id"] for c in columns} <= set(explored)
        assert all(r.step == "negatives.mined" and r.fault for r in explored.values())
        # the reference is the policy at the round's start: no reward at the first step
        first = lines(folder / "metrics.jsonl")[0]
        assert first["rewards/chosen"] == pytest.approx(0, abs=1e-2)
        start, end = (load_file(f / "adapter_model.safetensors")
                      for f in (before, folder / "adapter"))  # fmt: skip
        assert start.keys() == end.keys()
        assert any(not torch.equal(start[n], end[n]) for n in start)
        before = folder / "adapter"
    kept, out = (load_file(f"{f}/adapter_model.safetensors")
                 for f in (told["kept"], train / "eto" / "adapter"))  # fmt: skip
    assert all(torch.equal(kept[n], out[n]) for n in out)
