"""The quality gate on what a run writes: every pool worded by the real engine in fp32."""

from __future__ import annotations

import sys
from collections import Counter

import pytest
from conftest import ROOT, TINY, cli

from raytune_agents.generate import POOLS, sampling
from raytune_agents.negatives import FAULTS, TRAJECTORY_FAULTS
from raytune_agents.storage import read_json, read_rows

sys.path.insert(0, str(ROOT / "tests" / "unit"))
import gate

ROWS = 200


@pytest.mark.slow
def test_every_row_that_is_written_is_what_its_label_says(tmp_path) -> None:
    """200 rows of every pool through the engine, and 200 negatives of every fault that has so many
    rows to be put into (of all faults in `test_quality_gate`, which asks no engine)."""
    pools = "{" + ", ".join(f"{p}: 1" for p in POOLS) + "}"
    words = (str(TINY), f"runs_dir={tmp_path}")
    assert cli("run", "--steps", "read", *words).returncode == 0
    done = cli(
        "generate", *words, f"generate.rows={ROWS * len(POOLS)}", f"generate.pools={pools}",
        "generate.agents=[qa, support, analyst, legal, content, security]", "generate.tools=4",
        "generate.shard_rows=130", "negatives.per_positive=1.9", "negatives.candidates=1",
        "negatives.uniform_floor=1", "negatives.mined_tasks=0", "evaluate.unseen_agents=[]",
        timeout=3600)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "tiny"
    rows = {r.id: r for r in read_rows(folder / "generate" / "synthetic")}
    manifest = read_json(folder / "generate" / "manifest.json")
    for line in manifest["funnel"]:
        assert line["tried"] == line["kept"] + line["similar"] + line["format"] + (
            line["execution"] + line["judge"])  # fmt: skip
        assert line["kept"] + line["short"] == ROWS
    assert sum(r.meta["wording"] == "paraphrase" for r in rows.values()) > 100
    for row in rows.values():
        assert gate.valid_and_grounded(row) == "", row
        assert gate.executed(row) == "", row
        assert gate.shape(row, sampling.pool_of(row)), row
    good = rows | {r.id: r for r in read_rows(folder / "read")}
    edited = read_rows(folder / "generate" / "edited")
    made, refused = Counter(r.fault for r in edited), manifest["rows"]["rejected"]
    for fault in FAULTS:
        assert made[fault] + refused.get(f"edited:{fault} no_row_left", 0) >= ROWS
    assert set(made) == set(FAULTS)
    assert sum(n >= ROWS for n in made.values()) > 15
    for bad in edited:
        check = gate.run_is if bad.fault in TRAJECTORY_FAULTS else gate.answer_is
        assert check(good[bad.parents[0]], bad, bad.fault), bad
