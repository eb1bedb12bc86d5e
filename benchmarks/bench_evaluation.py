"""Comparisons a second of our BFCL comparison, on one core, and beside the official checker's loop.

    python benchmarks/bench_evaluation.py --python bfcl-venv/bin/python

All probes of all Python rows of BFCL, in CPU seconds, the fastest of several passes on both sides.
Both get calls as a model's tool calls come, with arguments as JSON text;
`official_check_per_s_core` is the official loop without that decoding. Without an interpreter that
can import the official checker the ratio is null and `reason` says why. Prints one JSON object on
the last line and writes benchmarks/results/evaluation.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raytune_agents.calls import compare, judge, render_calls
from raytune_agents.evaluate.bfcl import (
    Job,
    OfficialError,
    decoded,
    label,
    official_verdicts,
    probes,
    raw_rows,
)
from raytune_agents.evaluate.metrics import score
from raytune_agents.readers import bfcl

HERE = Path(__file__).parent
MEASURED = ("calls", "evaluate/bfcl.py", "evaluate/metrics.py", "readers/bfcl.py", "records.py")


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True)
    return done.stdout.strip()


def hardware() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.processor(), "cores": os.cpu_count(),
            "python": platform.python_version()}  # fmt: skip


def fastest(work: Callable[[], Any], passes: int) -> float:
    """CPU seconds of the fastest pass."""
    seconds = []
    for _ in range(passes):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=os.environ.get("BFCL_PYTHON", sys.executable),
                        help="interpreter that can import bfcl_eval")  # fmt: skip
    parser.add_argument("--passes", type=int, default=5)
    options = parser.parse_args()

    rows = [(category, raw, bfcl.read(raw)) for category, raw in raw_rows()]
    cases = [(category, raw, row, json.loads(row.gold), calls)
             for category, raw, row in rows for _, calls in probes(row, 1)]  # fmt: skip
    texts = [(render_calls(calls), row) for _, _, row, _, calls in cases]
    compared = fastest(lambda: [compare(c, g, r.tools) for _, _, r, g, c in cases], options.passes)
    judged = fastest(lambda: [judge(text, row) for text, row in texts], options.passes)
    scored = fastest(lambda: [score(text, row) for text, row in texts], 2)

    result: dict[str, Any] = {
        "benchmark": "evaluation", "comparisons": len(cases), "passes": options.passes,
        "comparisons_per_s_core": round(len(cases) / compared),
        "answers_judged_per_s_core": round(len(cases) / judged),
        "answers_scored_per_s_core": round(len(cases) / scored),
        "ratio_official_checker": None, "official_per_s_core": None,
        "official_check_per_s_core": None,
        "parity_verdicts": None, "parity_disagreements": None,
    }  # fmt: skip
    jobs = [Job(category, raw["function"], raw["ground_truth"], decoded(calls))
            for category, raw, _, _, calls in cases]  # fmt: skip
    try:
        official = official_verdicts(jobs, options.python, options.passes)
    except OfficialError as error:
        result["reason"] = str(error)
    else:
        ours = [compare(c, g, r.tools) for _, _, r, g, c in cases]
        pairs = zip(ours, official.verdicts)
        result |= {
            "ratio_official_checker": round(official.seconds / compared, 3),
            "official_per_s_core": round(len(jobs) / official.seconds),
            "official_check_per_s_core": round(len(jobs) / official.check_seconds),
            "parity_verdicts": len(jobs),
            "parity_disagreements": sum((v.ok, v.error) != (ok, label(e)) for v, (ok, e) in pairs),
        }
    changed = git("status", "--porcelain", "--", *(f"../raytune_agents/{m}" for m in MEASURED))
    result |= {
        "hardware": hardware(),
        "revision": git("rev-parse", "HEAD"),
        "dirty": bool(changed),
        "command": "python benchmarks/bench_evaluation.py",
    }
    (HERE / "results").mkdir(exist_ok=True)
    target = HERE / "results" / "evaluation.json"
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
