"""What busy programs beside it cost a training process on a CPU.

    python benchmarks/bench_beside.py            # about ten minutes without bf16

A threaded forward and backward pass of the embedded model, as fast as it goes for `--seconds`, in a
process of its own: with OpenMP's own spinning and with ours (`GOMP_SPINCOUNT` in
`infra/cluster.py`), alone and beside as many programs as there are cores, in interleaved rounds.
ratio_*: the median over rounds of the steps per second with ours through those without.

Prints one JSON object on the last line and writes benchmarks/results/beside.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from raytune_agents.infra.cluster import QUIET
from raytune_agents.infra.provenance import commit, hardware, versions
from raytune_agents.models import embedded
from raytune_agents.storage import write_json

TARGET = Path(__file__).parent / "results" / "beside.json"
SPIN = "GOMP_SPINCOUNT"
TOKENS = (2, 160)  # rows and tokens of one step
BUSY = "while True: pass"


def steps_per_second(path: str, seconds: float) -> float:
    """Of this process, after one step that warms it up."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(os.cpu_count() or 1)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    ids = torch.randint(0, 1000, TOKENS, generator=torch.Generator().manual_seed(0))

    def step() -> None:
        model(ids, labels=ids).loss.backward()
        model.zero_grad()

    step()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        done += 1
    return done / (time.perf_counter() - start)


@contextlib.contextmanager
def busy(programs: int) -> Iterator[None]:
    """So many other programs, each of which would take a core."""
    beside = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(programs)]
    try:
        yield
    finally:
        for program in beside:
            program.kill()
            program.wait()


def measured(ours: bool, seconds: float) -> float:
    """Steps per second of a process of its own."""
    plain = {k: v for k, v in os.environ.items() if k != SPIN}
    words = [sys.executable, __file__, "--one", "--seconds", str(seconds)]
    environment = plain | ({SPIN: QUIET[SPIN]} if ours else {})
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(steps_per_second(str(embedded()), options.seconds))
        return
    cores = os.cpu_count() or 1
    found: dict[str, object] = {"benchmark": "beside", "cores_busy": cores}
    for name, programs in (("alone", 0), ("beside", cores)):
        with busy(programs):
            pairs = [
                [measured(ours, options.seconds) for ours in (False, True)]
                for _ in range(options.rounds)
            ]
        found[f"steps_per_s_{name}"] = {
            side: round(median(pair[k] for pair in pairs), 3)
            for k, side in enumerate(("plain", "ours"))
        }
        found[f"ratio_{name}"] = round(median(ours / plain for plain, ours in pairs), 2)
    found |= {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "hardware": hardware(),
        "versions": versions(),
        "revision": commit(),
        "command": f"python benchmarks/bench_beside.py --rounds {options.rounds} "
        f"--seconds {options.seconds:g}",
    }
    write_json(TARGET, found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
