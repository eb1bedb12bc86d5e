"""Do rounds of learning from failure beat rounds at random, and one round of as many tokens?

    python benchmarks/bench_rounds.py [--seeds 3] [--rounds 3] [--tokens 6000] [OVERRIDE ...]

One run of jobs/configs/rounds_cpu.yaml with three arms per seed, all from the same sft arm and at
the same budget of trained tokens: `failure`, `random` (its control) and `one_round`. An arm is a
cell: a killed benchmark goes on with the first arm (and round) that is not done. Score: exact match
on test_unseen and on the rows of an unseen agent, and task completion of its roll-outs; differences
with intervals by a bootstrap over seeds and rows.

Prints one JSON object on the last line and writes results/rounds.json: gain_over_random and
gain_over_one_round (value, low, high, on test_unseen; the others under `suites`), seeds, rounds,
in_band_share.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from raytune_agents.config import load_config
from raytune_agents.evaluate.paired import paired_seeds
from raytune_agents.infra.provenance import commit, hardware
from raytune_agents.pipeline.run import run_steps
from raytune_agents.progress import Display
from raytune_agents.storage import read_json, write_json

HERE = Path(__file__).parent
STEPS = ("read", "generate", "label", "mix", "train", "evaluate")
Hits = dict[str, dict[str, dict[int, dict[str, float]]]]  # suite -> arm -> seed -> row -> value


def arms(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """sft, and the three arms of every seed; the one round draws and answers as much as all."""
    out: dict[str, dict[str, Any]] = {"sft": {"method": "sft"}}
    rounds = options.rounds
    kinds: dict[str, dict[str, Any]] = {
        "failure": {"rounds.max": rounds},
        "random": {"rounds.max": rounds, "rounds.select": "random"},
        "one_round": {
            "rounds.max": 1,
            "rounds.tasks": rounds * options.tasks,
            "rounds.new_tasks": rounds * options.new_tasks,
        },
    }
    for seed in range(1, options.seeds + 1):
        for kind, own in kinds.items():
            arm = {"method": "rounds", "start": "sft", "seed": seed, "options": own}
            arm["learning_rate"] = options.learning_rate
            out[f"{kind}-{seed}"] = arm
    return out


def kind_and_seed(arm: str) -> tuple[str, int]:
    """failure-2 -> failure, 2; sft -> sft, 0."""
    kind, _, seed = arm.rpartition("-")
    return (kind, int(seed)) if seed.isdigit() else (arm, 0)


def hits_of(run: Path) -> Hits:
    """What every arm and seed got on each suite: exact match, and completion of roll-outs."""
    hits: Hits = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    answers = pq.read_table(
        run / "evaluate/answers.parquet",
        columns=["arm", "split", "id", "exact_match", "perturbation"],
    )
    for a in answers.to_pylist():
        if not a["perturbation"] and a["exact_match"] is not None:
            kind, seed = kind_and_seed(a["arm"])
            hits[a["split"]][kind][seed][a["id"]] = a["exact_match"]
    stored = run / "evaluate/rollouts.parquet"
    for p in pq.read_table(stored).to_pylist() if stored.is_file() else ():
        if p["task_completion"] is not None:
            kind, seed = kind_and_seed(p["arm"])
            hits["roll-outs"][kind][seed][p["task"]] = p["task_completion"]
    return hits


def gain(hits: Hits, suite: str, control: str) -> dict[str, Any]:
    """`failure` minus `control` on a suite, over the rows that all of them answered."""
    sides = [hits[suite][control], hits[suite]["failure"]]
    runs = [values for side in sides for values in side.values()]
    if not all(sides):
        return {"value": None, "low": None, "high": None, "n": 0}
    both = set.intersection(*(set(values) for values in runs))
    base, arm = (
        {seed: {i: values[i] for i in both} for seed, values in side.items()} for side in sides
    )
    found = paired_seeds(base, arm).record()
    return {k: found.get(k) for k in ("value", "low", "high", "n", "p")}


def arm_facts(told: dict[str, Any]) -> dict[str, Any]:
    """Why an arm's rounds ended, what they scored on val, what they cost."""
    rounds = told["rounds"]
    return {
        "stopped": told["stopped"],
        "kept": told["kept"],
        "val": [r["val"] for r in rounds],
        "tokens": sum(r["tokens"] for r in rounds),
    }


def summary(run: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The result's keys."""
    hits, told = hits_of(run), {}
    for path in sorted((run / "train").glob("*-*/rounds.json")):
        told[path.parent.name] = read_json(path)
    by_failure = [r for name, t in told.items() if name.startswith("failure") for r in t["rounds"]]
    shares = [r["in_band_share"] for r in by_failure if r["round"]]
    suites = sorted(hits)
    return {
        "gain_over_random": gain(hits, "test_unseen", "random"),
        "gain_over_one_round": gain(hits, "test_unseen", "one_round"),
        "seeds": options.seeds,
        "rounds": options.rounds,
        "in_band_share": round(mean(shares), 4) if shares else None,
        "tokens": options.tokens,
        "start_tokens": options.start_tokens,
        "learning_rate": options.learning_rate,
        "in_band_by_round": [round(share, 4) for share in shares],
        "exact_match": {
            suite: {kind: round(mean(v for s in by.values() for v in s.values()), 4)
                    for kind, by in hits[suite].items()} for suite in suites
        },
        "suites": {s: {c: gain(hits, s, c) for c in ("random", "one_round")} for s in suites},
        "arms": {name: arm_facts(t) for name, t in told.items()},
        "hardware": hardware(),
        "commit": commit(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=6000)
    parser.add_argument("--start-tokens", type=int, default=10000, help="loss tokens of sft")
    parser.add_argument("--tasks", type=int, default=40, help="tasks answered in a round")
    parser.add_argument("--new-tasks", type=int, default=24, help="new tasks of a round")
    # a fifth of sft's: what is learnt already is to stay
    parser.add_argument("--learning-rate", type=float, default=2e-4, help="of the rounds")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "rounds.json")
    parser.add_argument("overrides", nargs="*", help="options of the config, for example seed=3")
    options = parser.parse_args()
    config = load_config(
        HERE.parent / "jobs/configs/rounds_cpu.yaml",
        [
            "name=bench_rounds",
            f"mix.tokens={options.start_tokens}",
            f"train.rounds.tokens={options.tokens}",
            f"train.rounds.tasks={options.tasks}",
            f"train.rounds.new_tasks={options.new_tasks}",
            "evaluate.limit=96",
            "evaluate.few_shot=0",
            "evaluate.constrained=false",
            "evaluate.latency.rows=0",
            "evaluate.trajectories.tasks=12",
            "evaluate.trajectories.agents=[security]",
            *options.overrides,
            f"train.arms={json.dumps(arms(options))}",
        ],
    )
    own = arms(options)  # not the arms of the file
    config.train.arms = {name: arm for name, arm in config.train.arms.items() if name in own}
    context = run_steps(config, STEPS, Display(Console(stderr=True)))
    result = summary(context.run.folder, options)
    write_json(options.out, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
