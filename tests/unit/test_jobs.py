"""Every shipped config loads; every job is short, says its submit line, and fails when it fails."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from raytune_agents import config

ROOT = Path(__file__).parents[2]
JOBS = sorted((ROOT / "jobs").glob("*.py"))
NO_CONFIGS = ("library.yaml", "parcels.yaml")  # an agent's spec, an OpenAPI document
CONFIGS = sorted(p for p in (ROOT / "jobs").rglob("*.yaml") if p.name not in NO_CONFIGS)


def ids(paths: list[Path]) -> list[str]:
    return [p.stem for p in paths]


@pytest.mark.parametrize("path", CONFIGS, ids=ids(CONFIGS))
def test_shipped_config_loads(path: Path):
    assert config.load_config(path).name


@pytest.mark.parametrize("path", JOBS, ids=ids(JOBS))
def test_job_is_short_and_says_its_line(path: Path):
    text = path.read_text()
    assert len(text.splitlines()) <= 15
    line = f"ray job submit --working-dir . -- python jobs/{path.name} --config "
    assert line in ast.get_docstring(ast.parse(text))
    named = ast.get_docstring(ast.parse(text)).partition("--config ")[2].split()[0]
    assert (ROOT / named).is_file()


def submit(*arguments: str) -> subprocess.CompletedProcess:
    """A job as the cluster starts it: from the repository root, in a process of its own."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_failing_job_exits_non_zero(tmp_path: Path):
    done = submit("jobs/run.py", "--config", "jobs/configs/smoke_cpu.yaml", "mix.token=5")
    assert done.returncode == 2
    assert "mix.token: unknown option; did you mean mix.tokens?" in done.stderr
    done = submit("jobs/run.py", "--steps", "report", f"runs_dir={tmp_path}", "name=nothing")
    assert done.returncode == 2
    assert "step report needs step read first" in done.stderr
    done = submit("jobs/run.py", "--steps", "read,lable")
    assert done.returncode == 2
    assert "no step 'lable'; write read,generate,label" in done.stderr


def test_issue_config():
    """The 3B job: 80/10/10, LoRA rank 16 and alpha 32, three epochs; alike at both sizes."""
    one, many = (
        config.load_config(ROOT / f"jobs/configs/{n}.yaml") for n in ("one_gpu", "cluster")
    )
    for c in (one, many):
        assert c.model.name == "Qwen/Qwen2.5-Coder-3B-Instruct"
        assert c.read.sources[0].path == "Salesforce/xlam-function-calling-60k"
        assert (c.read.split.train, c.read.split.val, c.read.split.test_seen) == (0.8, 0.1, 0.1)
        assert (c.train.lora.r, c.train.lora.lora_alpha, c.train.num_train_epochs) == (16, 32, 3)
        assert c.evaluate.max_tokens + c.model.max_length <= c.engine.max_model_len
    assert one.train.num_workers == 0  # auto: one per GPU
    assert many.train.num_workers > 1
