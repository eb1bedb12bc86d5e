"""How soon the command line answers: `--help` of every command, and a run that is finished.

    python benchmarks/bench_commands.py

Wall seconds of whole processes, the median of `--rounds`. The finished run is three steps of the
demo's config, without an engine; `make first-hour` has that of a whole run (`again`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import typer

from raytune_agents.cli.app import app
from raytune_agents.infra.provenance import commit, hardware, versions
from raytune_agents.storage import write_json

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "benchmarks" / "results" / "commands.json"
RUN = "run jobs/configs/smoke_cpu.yaml --steps read,generate,label generate.rows=0 "
RUN += "negatives.mined_tasks=0 negatives.per_positive=0"


def seconds(words: list[str]) -> float:
    """Of a command from its start to its end. Raises CalledProcessError."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "raytune_agents", *words],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, capture_output=True,
    )  # fmt: skip
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    names = ["", *typer.main.get_command(app).commands]  # type: ignore[attr-defined]
    lines = {f"{name} --help".strip(): [*name.split(), "--help"] for name in names}
    helps = {line: [seconds(words) for _ in range(rounds)] for line, words in lines.items()}
    with tempfile.TemporaryDirectory() as folder:
        words = [*RUN.split(), f"runs_dir={folder}"]
        first = seconds(words)
        again = [seconds(words) for _ in range(rounds)]
    middle = {line: round(median(took), 2) for line, took in helps.items()}
    found = {
        "benchmark": "commands",
        "help_s": middle,
        "slowest_help_s": max(middle.values()),
        "run_s": round(first, 2),
        "finished_run_s": round(median(again), 2),
        "rounds": rounds,
        "load_average": round(os.getloadavg()[0], 1),
        "command": "python benchmarks/bench_commands.py",
    }
    print(found)
    stamp = {"hardware": hardware(), "versions": versions(), "revision": commit()}
    write_json(TARGET, found | stamp)


if __name__ == "__main__":
    main()
