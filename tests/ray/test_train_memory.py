"""Out of memory, for real: under a limit on the address space a training goes on with fewer rows at
once, and ends with the losses of one that had the room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow
# what is limited is addresses: freed blocks give theirs back only where they were mapped
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "1"}
TRAIN = """
import json, resource, sys
from pathlib import Path
from raytune_agents.chat import IGNORE, Chat
from raytune_agents.config import ModelConfig, TrainConfig
from raytune_agents.models import embedded
from raytune_agents.storage import read_jsonl
from raytune_agents.train import base_model, methods, trainers, worker
from raytune_agents.train.column_files import write_columns
from raytune_agents.train.job import Job

out, room_mib, length = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
chat = {"path": str(embedded())}
ids = Chat(**chat).ids("An agent calls a tool. " * 500)
rows = [
    {"row_id": str(k), "pool": "positive", "input_ids": ids[k : k + length], "weights": None,
     "labels": [IGNORE] * (length - 50) + ids[k + length - 50 : k + length],
     "trained_tokens": 50} for k in range(8)
]
section = TrainConfig(
    global_batch_size=8, max_tokens_per_forward=8 * length, save_steps=9, report_to=[],
    warmup_ratio=0
)
write_columns(out / "columns" / "rows-00000.arrow", rows)
job = Job(chat["path"], "float32", str(out / "columns"), "sft", section, chat, str(out), 17, 2)
if room_mib:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + room_mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    worker.fit(job)
except worker.OutOfMemory as error:
    print(error)
    sys.exit(7)
print(json.dumps(read_jsonl(out / "metrics.jsonl")))
"""


def train(out: Path, room_mib: int, length: int = 300) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", TRAIN, str(out), str(room_mib), str(length)]
    env = os.environ | RETURNED
    return subprocess.run(
        words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, check=False
    )


def steps(done: subprocess.CompletedProcess[str]) -> list[dict]:
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_half_the_rows_at_once_and_the_same_steps(tmp_path) -> None:
    whole = steps(train(tmp_path / "whole", 0))
    short = steps(train(tmp_path / "short", 2200))
    assert {s["rows_at_once"] for s in whole} == {8}
    assert {s["rows_at_once"] for s in short} <= {1, 2, 3, 4}
    assert [s["step"] for s in short] == [s["step"] for s in whole] == [1]
    assert [s["loss"] for s in short] == pytest.approx([s["loss"] for s in whole], abs=1e-4)
    assert [s["tokens"] for s in short] == [s["tokens"] for s in whole]


def test_no_room_for_one_row_is_said(tmp_path) -> None:
    done = train(tmp_path, 1400, length=2000)
    assert done.returncode == 7, done.stderr[-3000:]
    assert "out of memory with 1 row at a time; write train.gradient_checkpointing" in done.stdout
