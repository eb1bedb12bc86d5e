"""What a new user types in the first hour, from a clean clone: prints the seconds of each stage.

    python benchmarks/first_hour.py [--folder DIR] [--skip demo]

The commands are those of docs/start/cpu.md, word for word (a test compares them). The clone is of
the last commit; it is left where it is, with its runs, so that they can be looked at.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
HANDFUL = "jobs/examples/handful"
STAGES = {
    "install": "make install",
    "demo": "make demo",
    "own tools": f"raytune-agents init --tools {HANDFUL}/bike_shop.py "
    f"--positives {HANDFUL}/rows.jsonl --out bike.yaml",
    "plan": "raytune-agents plan bike_run.yaml",
    "own rows": "raytune-agents run bike_run.yaml",
    "again": "raytune-agents run bike_run.yaml",
    "report": "raytune-agents report runs/bike_shop",
    "serve": "raytune-agents export bike_run.yaml --serve app",
}


def run_stage(line: str, folder: Path) -> float:
    """Seconds of a command in the clone. Raises CalledProcessError."""
    path = f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}"
    start = time.monotonic()
    subprocess.run(line, shell=True, check=True, cwd=folder, env=os.environ | {"PATH": path})
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="a new folder for the clone")
    parser.add_argument("--skip", nargs="*", default=[], choices=list(STAGES), help="stages")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="first-hour-")) / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    seconds = {}
    for name, line in STAGES.items():
        if name in given.skip:
            continue
        print(f"\n--- {name}: {line}", flush=True)
        try:
            seconds[name] = run_stage(line, folder)
        except subprocess.CalledProcessError as error:
            print(f"{name} ended with {error.returncode}", file=sys.stderr)
            break
    print(f"\n{folder}")
    for name, took in seconds.items():
        print(f"{name:<10} {took:>7.0f} s")
    print(f"{'in all':<10} {sum(seconds.values()):>7.0f} s")
    if len(seconds) + len(given.skip) < len(STAGES):
        sys.exit(1)


if __name__ == "__main__":
    main()
