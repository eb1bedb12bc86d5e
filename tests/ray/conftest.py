"""One run of the whole loop at its smallest, shared by the tests that look at it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "ray" / "tiny.yaml"


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "raytune_agents", *words]


def cli(*words: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Run the command line in its own process, as a user does."""
    return subprocess.run(
        command(*words), cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def tiny(runs_dir: Path) -> tuple[Path, str]:
    """The folder of a finished tiny run, and what it printed."""
    done = cli("run", str(TINY), f"runs_dir={runs_dir}")
    assert done.returncode == 0, done.stdout + done.stderr
    return runs_dir / "tiny", done.stdout
