"""The study's cells: what each method, and each share of data, is worth at one budget.

    python benchmarks/study/run.py [--cells N] [--stage N] [--data FOLDER] [--list]

A cell is one arm under one seed (or the untrained model). The product's own commands train it and
ask it; its answers (Parquet) and costs (JSON) go to benchmarks/results/study/cells/, and a cell
that is there is never done again. So a stopped study goes on with the same command, and cells are
committed as they end. Stage 0 is the data and the untrained model, stage N the cells of seed N.

Run it from a clone of its own at a tagged commit: an edited line of the package trains anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE.parent / "results" / "study"
CELLS = RESULTS / "cells"
RUN = ROOT / "runs" / "study"

POSITIVE = {"positive": 0.95, "positive.fireact": 0.05}
FAILED = {"positive": 0.6, "positive.fireact": 0.05, "negative": 0.35}
MIXED = {"positive": 0.6, "synthetic": 0.4}
NEGATIVE = {"negative": 1.0}
HALF = {"share": 0.5}
# half of the budget on good rows, then half on pairs: as many loss tokens as the other arms
AFTER = {"start": "sft_half", "weights": NEGATIVE, "learning_rate": 2e-4, **HALF}
CORE: dict[str, dict[str, Any]] = {
    "sft": {"method": "sft", "weights": POSITIVE},
    "sft_half": {"method": "sft", "weights": POSITIVE, **HALF},
    "nut": {"method": "nut", "weights": FAILED},
    "nat": {"method": "nat", "weights": FAILED},
    "dpo": {"method": "dpo", **AFTER},
    "synthetic": {"method": "sft", "weights": MIXED},
    "no_call_45": {"method": "sft", "weights": POSITIVE, "no_call": 0.45},
    "both": {"method": "sft", "weights": MIXED, "no_call": 0.45},  # of the two arms before
}
SCREENING: dict[str, dict[str, Any]] = {
    "only_synthetic": {"method": "sft", "weights": {"synthetic": 1.0}},
    "nat_k": {"method": "nat", "weights": FAILED, "options": {"nat.cuts": [0, 0.4]}},
    "inverse": {"method": "inverse", "weights": FAILED},
    "kto": {"method": "kto", **AFTER},
    "no_call_15": {"method": "sft", "weights": POSITIVE, "no_call": 0.15},
    "sft_tenth": {"method": "sft", "weights": POSITIVE, "share": 0.1},
}
ABOUT = {  # each arm in words, in the order of the tables
    "base": "the untrained model",
    "base_few_shot": "the untrained model, shown {few_shot} examples",
    "base_constrained": "the untrained model, held to the tools by a grammar",
    "sft": "good rows only",
    "sft_half": "good rows only, half of the tokens",
    "sft_tenth": "good rows only, a tenth of the tokens",
    "nut": "good rows and failures, told apart by nothing",
    "nat": "good rows and failures, each under its marker",
    "nat_k": "failures under graded markers",
    "inverse": "the markers swapped: a control",
    "dpo": "half on good rows, then half on pairs (DPO)",
    "kto": "half on good rows, then half on labelled rows (KTO)",
    "no_call_15": "good rows only, 15 % of them without a call",
    "no_call_45": "good rows only, 45 % of them without a call",
    "synthetic": "40 % of the tokens from generated rows",
    "both": "40 % of the tokens from generated rows, 45 % of good rows without a call",
    "only_synthetic": "generated rows only",
}
SEEDS = {"core": 4, "screening": 2}
UNTRAINED = ("base", "base_few_shot", "base_constrained")
KEPT = ("split", "id", "failed", "answer", "fault")  # columns of an answer beside its metrics


@dataclass(frozen=True)
class Cell:
    """One arm under one seed; seed 0 is the untrained model."""

    arm: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm}-s{self.seed}" if self.seed else self.arm

    @property
    def done(self) -> bool:
        return (CELLS / f"{self.name}.json").is_file()

    @property
    def trained(self) -> bool:
        return (RUN / "train" / self.name / "manifest.json").is_file()

    def config(self) -> dict[str, Any]:
        """Its `train.arms.NAME`."""
        arm = dict((CORE | SCREENING)[self.arm]) | {"seed": self.seed}
        if start := arm.pop("start", None):
            adapter = RUN / "train" / Cell(start, self.seed).name / "adapter"
            arm["options"] = {"lora.start": str(adapter)}
        return arm

    def needs(self) -> list[Cell]:
        """The arm that it starts from, if any, and itself; the untrained model is asked beside the
        first arm."""
        if not self.seed:
            return [Cell("sft", 1)]
        start = (CORE | SCREENING).get(self.arm, {}).get("start")
        return [*([Cell(start, self.seed)] if start else []), self]


def planned() -> Iterator[Cell]:
    """All cells, the core arms first, seed after seed, so that arms are compared on equal seeds
    wherever it stops."""
    yield Cell("base", 0)
    for arms, kind in ((CORE, "core"), (SCREENING, "screening")):
        for seed in range(1, SEEDS[kind] + 1):
            yield from (Cell(arm, seed) for arm in arms)


def trained() -> list[Cell]:
    """The cells whose adapters are on this disk."""
    return [cell for cell in planned() if cell.trained]


def product(steps: str, cells: list[Cell], data: Path) -> None:
    """One command of the product over the given arms. Raises CalledProcessError."""
    config = yaml.safe_load((HERE / "study.yaml").read_text(encoding="utf-8"))
    for source in config["read"]["sources"]:
        source["path"] = str(data / source["path"])
    config["train"]["arms"] = {cell.name: cell.config() for cell in cells}
    if Cell("base", 0).done:  # what the base answers in other ways stands already
        config["evaluate"] |= {"few_shot": 0, "constrained": False}
    RUN.parent.mkdir(exist_ok=True)
    file = RUN.parent / "study.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    words = [sys.executable, "-m", "raytune_agents", "run", str(file), "--steps", steps]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run(words, cwd=ROOT, env=env, check=True)


def do(cell: Cell, data: Path) -> None:
    """Train and ask one cell, and keep what it answered and what it cost."""
    load = os.getloadavg()[0]
    started = time.time()
    for need in cell.needs():
        if not need.trained:
            product("read,generate,label,mix,train", [*trained(), need], data)
    product("read,generate,label,mix,train,evaluate", trained(), data)
    answers = pq.read_table(RUN / "evaluate" / "answers.parquet")
    for name in UNTRAINED if not cell.seed else (cell.name,):
        mine = answers.filter([value == name for value in answers["arm"].to_pylist()])
        numbers = [f.name for f in mine.schema if str(f.type) in ("double", "int64", "float")]
        CELLS.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            mine.select([*KEPT, *numbers]), CELLS / f"{name}.parquet", compression="zstd"
        )
    (CELLS / f"{cell.name}.json").write_text(
        json.dumps(facts(cell, load, time.time() - started), indent=1) + "\n", encoding="utf-8"
    )


def facts(cell: Cell, load: float, seconds: float) -> dict[str, Any]:
    """What a cell cost, and on what it ran."""
    import torch  # slow to import, and the tables need none of it

    commit = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--tags"]
    found: dict[str, Any] = {
        "arm": cell.arm,
        "seed": cell.seed,
        "revision": subprocess.run(commit, capture_output=True, text=True).stdout.strip(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, "
        + ("bf16" if "avx512_bf16" in Path("/proc/cpuinfo").read_text() else "no bf16"),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "load_before": round(load, 1),  # above 0.5: the machine was shared, no timing counts
        "seconds": round(seconds),
    }
    if not cell.seed:
        return found
    mixed = json.loads((RUN / "mix" / "manifest.json").read_text())["arms"][cell.name]
    trained = json.loads((RUN / "train" / cell.name / "manifest.json").read_text())
    steps = (RUN / "train" / cell.name / "metrics.jsonl").read_text().splitlines()
    costs = json.loads((RUN / "evaluate" / "costs.json").read_text())[cell.name]
    return found | {
        "config": cell.config(),
        "rows": mixed["rows"],
        "loss_tokens": mixed["tokens"],
        "total_tokens": json.loads(steps[-1]).get("num_tokens"),
        "train_s": round(trained["seconds"]),
        "costs": costs,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=10_000, help="at most so many cells")
    parser.add_argument("--stage", type=int, help="the cells of one seed; 0 = data and base")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--list", action="store_true", help="say what is done and what is left")
    options = parser.parse_args()
    cells = [c for c in planned() if options.stage in (None, c.seed)]
    if options.list:
        for cell in cells:
            print(f"{'done' if cell.done else 'left'}  {cell.name}")
        return 0
    for cell in [c for c in cells if not c.done][: options.cells]:
        print(f"study: {cell.name}", flush=True)
        do(cell, options.data.resolve())
        from tables import write_tables

        write_tables(CELLS, RESULTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
