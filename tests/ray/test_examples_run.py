"""Every example of jobs/examples from its command to its report, on the least budget."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT, cli

pytestmark = pytest.mark.slow  # a whole run each

EXAMPLES = ROOT / "jobs" / "examples"
SMALL = (
    *("generate.rows=16", "generate.candidates=1", "generate.held_rows=8"),
    *("negatives.mined_tasks=4", "negatives.max_tokens=24", "mix.tokens=300"),
    *("evaluate.limit=4", "evaluate.max_tokens=24", "evaluate.irrelevance_rows=2"),
    *("evaluate.instruction_rows=2", "evaluate.val_rows=4", "evaluate.few_shot=0"),
    *("evaluate.latency.rows=0", "evaluate.resamples=200", "evaluate.unseen_rows=2"),
)
BFCL = ("negatives.per_positive=0.1", "read.sources=[{path: bfcl, categories: [simple_python]}]")
CONFIGS = {
    "nat_or_dpo": BFCL,
    "mix_search": (
        *BFCL,
        *("tune.num_samples=2", "tune.tokens=150", "tune.num_rungs=2", "tune.rows=4"),
        *("tune.noise=0", "tune.settle_learning_rate=0"),
    ),
    "library/grpo": (
        *("train.grpo.turns=2", "train.grpo.num_generations=2", "train.grpo.max_tokens=24"),
        *("evaluate.trajectories.tasks=2", "evaluate.trajectories.trials=2"),
        "evaluate.trajectories.max_steps=2",
    ),
    "library/rounds": (
        *("train.rounds.max=1", "train.rounds.tasks=6", "train.rounds.new_tasks=2"),
        *("train.rounds.samples=2", "train.rounds.max_tokens=24", "train.rounds.tokens=200"),
        *("train.rounds.val_rows=2", "train.rounds.instruction_rows=2"),
        "train.rounds.band=[0,0.9]",
    ),
}


def run_small(config: Path, runs: Path, *words: str) -> None:
    done = cli("run", str(config), f"runs_dir={runs}", *SMALL, *words, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [report] = runs.glob("*/report.html")
    assert report.stat().st_size > 10_000


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_runs_to_its_report(name: str, tmp_path: Path) -> None:
    run_small(EXAMPLES / f"{name}.yaml", tmp_path / "runs", *CONFIGS[name])


@pytest.mark.parametrize("name", ["handful", "support_bot", "openapi", "mcp", "traces"])
def test_init_and_run_as_the_readme_says(name: str, tmp_path: Path) -> None:
    page = (EXAMPLES / name / "README.md").read_text()
    words = shlex.split(re.findall(r"^raytune-agents (init --.*)", page, re.M)[0])
    out = tmp_path / words[words.index("--out") + 1]
    words[words.index("--out") + 1] = str(out)
    done = cli(*words, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    run_small(out.with_name(f"{out.stem}_run.yaml"), tmp_path / "runs")
