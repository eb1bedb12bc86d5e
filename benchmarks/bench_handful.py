"""What a handful of good rows is worth: base, few-shot base, tuned; the real rows kept back.

    python benchmarks/bench_handful.py [--minutes 9]       # again until no cell is left

`jobs/examples/handful` is a workshop's module of three tools and 20 rows. Cross-fitting: in each of
four folds 15 rows go the way of `raytune-agents init` and `run` (spec with their examples and
profile, generated rows, a mix with each real row four times) and the other 5 are asked, so that
every real row is answered once by a model that has not seen it, nor a row made of it. A hit is a
greedy first turn whose calls are right by BFCL's rules; rows whose answer is prose are not asked.
`handful_gain` is tuned over base, `gain_over_few_shot` over the base that is shown four of the 15
rows; intervals are paired.

A cell is one training; a run starts none after `--minutes`, and the next run goes on: finished
cells stand in benchmarks/results/handful.json, which is written after each.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from quick_training import QuickTraining, load_results

from raytune_agents.agents.init import init_spec, to_yaml, with_positives
from raytune_agents.cli.prepare import good_rows
from raytune_agents.config import GenerateConfig
from raytune_agents.evaluate.baselines import examples_to_show, with_shots
from raytune_agents.evaluate.paired import detectable, paired_seeds
from raytune_agents.generate import sampling
from raytune_agents.pipeline.first_run import REAL_EPOCHS
from raytune_agents.records import Trajectory
from raytune_agents.runs import commit, hardware, versions
from raytune_agents.storage import write_json

HERE = Path(__file__).parent
SHOP = HERE.parent / "jobs/examples/handful"
TARGET = HERE / "results" / "handful.json"
FOLDS, SEED, SHOTS = 4, 17, 4
ARMS = ("base", "base_few_shot", "tuned")


def folds(rows: Sequence[Trajectory]) -> list[list[int]]:
    """Indices of the rows that each fold keeps back; rows of one tool are spread over the folds."""
    order = list(range(len(rows)))
    random.Random(SEED).shuffle(order)
    order.sort(key=lambda i: rows[i].calls[0].name if rows[i].calls else "")
    return [order[k::FOLDS] for k in range(FOLDS)]


def first_call(row: Trajectory) -> Trajectory:
    """The row up to its first turn with calls, which alone is an answer."""
    end = next(k for k, m in enumerate(row.messages) if m.tool_calls)
    before = (replace(m, loss=False) if m.role == "assistant" else m for m in row.messages[:end])
    return replace(row, messages=(*before, row.messages[end]))


def generated(rows: Sequence[Trajectory], count: int, seed: int) -> list[Trajectory]:
    """Rows as `init` and the generate step make them of the module and good rows."""
    spec, _ = with_positives(init_spec(SHOP / "bike_shop.py"), rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bike_shop.yaml")
        path.write_text(to_yaml(spec), encoding="utf-8")
        config = GenerateConfig(agents=[str(path)], rows=count)
        return sampling.sample_rows(config, seed, rows).rows


def cell(bench: QuickTraining, rows: Sequence[Trajectory], fold: int, seed: int,
         options: argparse.Namespace) -> dict[str, Any]:  # fmt: skip
    """One fold: a training on the others' rows, and what base and tuned answer on its own."""
    held = folds(rows)[fold]
    mine = [replace(r, split="train") for i, r in enumerate(rows) if i not in held]
    made = generated(mine, options.rows, seed)
    real = REAL_EPOCHS * len(mine) / (REAL_EPOCHS * len(mine) + len(made))
    chosen = bench.spent(mine, real * options.tokens, seed)
    chosen += bench.spent(made, (1 - real) * options.tokens, seed)
    asked = {str(i): first_call(rows[i]) for i in held if rows[i].calls}
    shots = examples_to_show(mine, SHOTS, seed)
    base = bench.base()
    shown = {key: with_shots(row, shots) for key, row in asked.items()}
    hits = {"base": bench.right(base, asked), "base_few_shot": bench.right(base, shown)}
    del base
    model, facts = bench.train(chosen, seed)
    return facts | {"hits": hits | {"tuned": bench.right(model, asked)}}


def gains(cells: dict[str, Any]) -> dict[str, Any]:
    """Hits of each arm and the paired gains, over the seeds of which all folds are there."""
    seeds = [s for s in {k.split("/")[1] for k in cells}
             if all(f"{f}/{s}" in cells for f in range(FOLDS))]  # fmt: skip
    if not seeds:
        return {}
    runs: dict[str, dict[int, dict[str, float]]] = {arm: {} for arm in ARMS}
    for arm in ARMS:
        for s in sorted(seeds):
            runs[arm][int(s)] = {
                i: hit for f in range(FOLDS) for i, hit in cells[f"{f}/{s}"]["hits"][arm].items()
            }
    out: dict[str, Any] = {"seeds": len(seeds)}
    for arm in ARMS:
        every = [h for run in runs[arm].values() for h in run.values()]
        out[arm] = round(sum(every) / len(every), 4)
    for key, other in (("handful_gain", "base"), ("gain_over_few_shot", "base_few_shot")):
        gap = paired_seeds(runs[other], runs["tuned"]).record()
        out[key] = {k: round(gap[k], 4) for k in ("value", "low", "high", "p")} | {"n": gap["n"]}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9, help="start no cell after them")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each fold")
    parser.add_argument("--tokens", type=int, default=12_000, help="answer tokens of a training")
    parser.add_argument("--rows", type=int, default=160, help="generated rows of a fold")
    parser.add_argument("--longest", type=int, default=1792, help="tokens of the longest row")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    options = parser.parse_args()
    started, result = time.monotonic(), load_results(TARGET, "handful")
    facts = {k: v for k, v in vars(options).items() if k not in ("minutes", "seeds")}
    if result.setdefault("options", facts) != facts:
        parser.error(f"cells stand for {result['options']}; write the same options")
    rows, bad = good_rows(str(SHOP / "rows.jsonl"))
    assert not bad, bad
    bench = QuickTraining(options.longest, options.learning_rate)
    cells = result.setdefault("cells", {})
    wanted = [f"{fold}/{seed}" for seed in range(options.seeds) for fold in range(FOLDS)]
    for key in [k for k in wanted if k not in cells]:
        if cells and time.monotonic() - started > 60 * options.minutes:
            break
        fold, seed = map(int, key.split("/"))
        cells[key] = cell(bench, rows, fold, seed, options)
        result |= gains(cells)
        asked = sum(bool(row.calls) for row in rows)
        result |= {"real_rows": len(rows), "asked_rows": asked,
                   "points_shown": round(100 * detectable(asked, 0.5)),
                   "hardware": hardware(), "versions": versions(), "revision": commit(),
                   "command": "python benchmarks/bench_handful.py"}  # fmt: skip
        write_json(TARGET, result)
        print(key, cells[key], flush=True)
    print(json.dumps({k: v for k, v in result.items() if k not in ("cells", "versions")}))


if __name__ == "__main__":
    main()
