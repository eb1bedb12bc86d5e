"""Searches on a mix with a known answer: what each costs, against the full grid and random search.

    python benchmarks/bench_search.py [--seeds 20] [--trials FILE]
    python benchmarks/bench_search.py --real [--runs DIR]

Three pools on the simplex grid in steps of a fifth, 21 mixes. Every search algorithm proposes
through `tune.space` (the same variables as in a real search), the proposal is moved to the nearest
grid mix, and a run there gives the known score plus noise at three reports (0.6, 0.85 and all of
it). The score is a surface with what is published about such mixes (positives saturate, some
negatives help and many hurt), or, with `--trials`, the surrogate of a real search's trials.json
with the noise between its seeds. The product's own ASHA stops weak trials ("asha"), which then cost
the share of a run that they had. The answer, asked after every third trial, is either the mix with
the best mean so far ("incumbent") or the best mix of the fitted surrogate, where it does not refuse
("guideline"). "grid" runs every mix, again and again, whole.

A search has come within one point of the best at the compute (in whole runs) from which on its
answer stays within one point until the budget of 63 trials (three times the grid) is spent; never
counts as all of it. `compute_ratio_grid` is the mean of that over the seeds, divided by that of the
grid; `compute_ratio_random` by that of random search with the incumbent rule.

With `--real` it runs, instead, one real search to its guideline (`search_prepared.yaml`: the
embedded model on ../shared/data/prepared) and takes from it the share of wall time in which a trial
trains or scores (busy_share) and the seconds from free CPUs to a trial's first step, in a new
process (startup_s_cold) and in a kept one (startup_s_warm). A killed search goes on with the same
command. Its guideline and its table of trials are copied to results/search_real/.

Prints one JSON object on the last line and writes benchmarks/results/search.json; keys that this
part does not measure keep their earlier values.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core; small matrices

import numpy as np
import optuna
from ray.tune.schedulers import TrialScheduler

from raytune_agents import runs
from raytune_agents.config import TuneConfig
from raytune_agents.tune import schedulers, surrogate, trial_stats
from raytune_agents.tune.search_space import Space, parse_space
from raytune_agents.tune.trials import Trial

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "search.json"
POOLS = ["positive", "synthetic", "negative"]
SPACE = parse_space({"mix.weights": {"simplex": POOLS}})
STEPS, BUDGET, LOOK, NOISE = 5, 63, 3, 1.5
GRID = np.array([(i, j, STEPS - i - j) for i in range(STEPS + 1) for j in range(STEPS + 1 - i)])
GRID = GRID / STEPS
RISE = (0.6, 0.85, 1.0)  # of the score, at the three reports of a trial
MEASURED = tuple(f"tune/{n}.py" for n in ("search_space", "simplex", "surrogate", "schedulers"))
SEARCHES = ("grid", "random", "tpe", "tpe-asha", "gp", "gp-asha")
TIMES = ("busy_share", "startup_s_cold", "startup_s_warm")
REAL = HERE / "search_prepared.yaml"
COMMAND = "python benchmarks/bench_search.py"
Run = tuple[int, list[float]]  # grid mix, score at each report that the trial came to
Answer = Callable[[list[Run]], int]


def planted() -> np.ndarray:
    """Known scores of the grid mixes in points of exact match.

    40 (1 - e^(-5 p)) + 8 (1 - e^(-8 s)) + 10 (1 - e^(-8 n)) - 60 max(n - 0.3, 0)^2 over the shares
    p, s, n: positives carry the score, a few negatives help and many hurt (NAT, arXiv 2402.11651).
    """
    p, s, n = GRID.T
    rising = 40 * (1 - np.exp(-5 * p)) + 8 * (1 - np.exp(-8 * s)) + 10 * (1 - np.exp(-8 * n))
    return rising - 60 * np.maximum(n - 0.3, 0.0) ** 2


def fitted(path: Path) -> tuple[np.ndarray, float, str]:
    """Scores of the grid mixes and noise, in hundredths of the search's own metric, and its name,
    from the trials.json of a real search; other options as in its best trial."""
    found = json.loads(path.read_text(encoding="utf-8"))
    metric = json.loads(path.with_name("guide.json").read_text(encoding="utf-8"))["metric"]
    scored = trial_stats.at_level([Trial(**t) for t in found], metric)[2]
    options = trial_stats.options_of([trial for trial, _ in scored])
    x = np.array([trial_stats.row_of(trial, POOLS, options) for trial, _ in scored])
    y = np.array([100 * score for _, score in scored])
    fit = surrogate.fit_surrogate(x, y, len(POOLS))
    if isinstance(fit, surrogate.Refusal):
        raise SystemExit(f"{path}: no surface to plant: {fit.reason}")
    rest = np.tile(x[y.argmax(), len(POOLS) :], (len(GRID), 1))
    truth = fit.predict(np.hstack([GRID, rest]))
    return truth, 100 * (trial_stats.seed_noise(scored) or NOISE / 100), metric


def incumbent(history: list[Run]) -> int:
    """The grid mix with the best mean score so far."""
    seen = defaultdict(list)
    for mix, scores in history:
        if len(scores) == len(RISE):
            seen[mix].append(scores[-1])
    return max(seen, key=lambda mix: (np.mean(seen[mix]), -mix))


def guideline(history: list[Run]) -> int:
    """The best grid mix of the surrogate over the scores at the report that enough trials came to,
    as in a real search; the incumbent where it refuses."""
    found = [
        Trial(
            f"{number} {mix}",
            status="finished" if len(scores) == len(RISE) else "stopped",
            weights=dict(zip(POOLS, GRID[mix].tolist())),
            reports=[{"objective": score} for score in scores],
        )
        for number, (mix, scores) in enumerate(history)
    ]
    scored = trial_stats.at_level(found, "objective")[2]
    x = GRID[[int(trial.trial_id.split()[1]) for trial, _ in scored]]
    fit = surrogate.fit_surrogate(x, np.array([score for _, score in scored]), len(POOLS))
    if isinstance(fit, surrogate.Refusal):
        return incumbent(history)
    return int(fit.predict(GRID).argmax())


def proposals(searcher: str, space: Space, seed: int) -> tuple[Callable, Callable]:
    """(ask, tell) of a searcher; the baseline mixes come first, as in a real search."""
    first = space.baseline_samples()
    if searcher == "grid":
        points = [space.simplex().invert(dict(zip(POOLS, mix))) for mix in GRID]
        return iter([*points] * (BUDGET // len(points))).__next__, lambda score: None
    if searcher == "random":
        rng, domains = np.random.default_rng(seed), space.tune_space()

        def ask() -> dict[str, Any]:
            return (
                first.pop(0)
                if first
                else {n: d.sample(random_state=rng) for n, d in domains.items()}
            )

        return ask, lambda score: None
    sampler = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}[searcher]
    study = optuna.create_study(direction="maximize", sampler=sampler(seed=seed))
    for point in first:
        study.enqueue_trial(point)
    open_trials: list[optuna.trial.Trial] = []

    def ask() -> dict[str, float]:
        open_trials.append(study.ask())
        names = space.simplex().names()
        return {name: open_trials[-1].suggest_float(name, 0.0, 1.0) for name in names}

    return ask, lambda score: study.tell(open_trials.pop(), score)


def search(name: str, truth: np.ndarray, noise: float, seed: int) -> list[Run]:
    """BUDGET trials, one after the other."""
    ask, tell = proposals(name.removesuffix("-asha"), SPACE, seed)
    draw, history = np.random.default_rng(seed), []
    tune = TuneConfig(tokens=300, num_rungs=3)
    known = dict.fromkeys((1, 2, 3), noise)
    ledger = Path(os.devnull)
    asha = schedulers.asha(tune, ledger, "search", known) if name.endswith("-asha") else None
    for number in range(BUDGET):
        weights = SPACE.resolve(ask())["mix.weights"]
        point = np.array([weights[p] for p in POOLS])
        mix = int(((GRID - point) ** 2).sum(axis=1).argmin())
        scores = one_trial(str(number), float(truth[mix]), noise, draw, asha)
        tell(scores[-1])
        history.append((mix, scores))
    return history


def one_trial(
    name: str, truth: float, noise: float, draw: np.random.Generator, asha: Any
) -> list[float]:
    """Scores at the reports until it is stopped."""
    trial, scores = SimpleNamespace(trial_id=name), []
    if asha:
        asha.on_trial_add(None, trial)
    for number, rise in enumerate(RISE, 1):
        scores.append(truth * rise + draw.normal(0, noise))
        result = {"report": number, "objective": scores[-1], "tokens": 100 * number}
        result |= {"training_iteration": number}
        if asha and asha.on_trial_result(None, trial, result) == TrialScheduler.STOP:
            break
    return scores


def needed(
    history: list[Run], answer: Answer, truth: np.ndarray, every: int
) -> tuple[float, float]:
    """Compute until the answer is within one point of the best: for good, and for the first
    time; it is asked after `every` trials (a grid when it is whole)."""
    looks = list(range(every, BUDGET + 1, every))
    good = [n for n in looks if truth[answer(history[:n])] >= truth.max() - 1]
    wrong = [n for n in looks if n not in good]
    last = min(max(wrong, default=0) + every, BUDGET)
    spent = np.cumsum([len(scores) / len(RISE) for _, scores in history])
    return float(spent[last - 1]), float(spent[min(good, default=BUDGET) - 1])


ANSWERS: dict[str, Answer] = {"incumbent": incumbent, "guideline": guideline}


def quiet() -> None:
    """In every worker process."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def one(
    job: tuple[str, int], truth: np.ndarray, noise: float, kept: Path
) -> tuple[dict[str, tuple[float, float]], float]:
    """(compute needed by answer rule, CPU seconds of the search) of one searcher and seed; from its
    file in `kept` where a benchmark that was stopped has made it."""
    path = kept / f"{job[0]}-{job[1]}.json"
    if path.exists():
        return tuple(json.loads(path.read_text(encoding="utf-8")))
    every = len(GRID) if job[0] == "grid" else LOOK
    start = time.process_time()
    history = search(job[0], truth, noise, job[1])
    seconds = time.process_time() - start
    counts = {name: needed(history, answer, truth, every) for name, answer in ANSWERS.items()}
    kept.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([counts, seconds]), encoding="utf-8")
    return counts, seconds


def compare(truth: np.ndarray, noise: float, seeds: int, kept: Path) -> dict[str, dict[str, Any]]:
    """Search and answer rule -> compute needed, over the seeds, and its ratios."""
    table: dict[str, dict[str, Any]] = {}
    jobs = [(searcher, seed) for searcher in SEARCHES for seed in range(seeds)]
    with ProcessPoolExecutor(os.cpu_count(), initializer=quiet) as pool:
        found = dict(zip(jobs, pool.map(one, jobs, repeat(truth), repeat(noise), repeat(kept))))
    for searcher in SEARCHES:
        seconds = sum(found[searcher, seed][1] for seed in range(seeds)) / (seeds * BUDGET)
        for name in ANSWERS:
            counts = np.array([found[searcher, seed][0][name] for seed in range(seeds)])
            table[f"{searcher}+{name}"] = {
                "compute": round(float(counts[:, 0].mean()), 2),
                "compute_median": float(np.median(counts[:, 0])),
                "compute_first": round(float(counts[:, 1].mean()), 2),
                "never": int((counts[:, 0] == BUDGET).sum()),
                "propose_s": round(seconds, 4),
                "each": counts[:, 0].tolist(),
            }
            print(f"{searcher}+{name}: {table[f'{searcher}+{name}']}", flush=True)
    draw = np.random.default_rng(0).integers(0, seeds, (2000, seeds))
    for name, base in (("grid", "grid+incumbent"), ("random", "random+incumbent")):
        plain = np.array(table[base]["each"], dtype=float)
        for row in table.values():
            each = np.array(row["each"], dtype=float)
            ratios = each[draw].mean(axis=1) / plain[draw].mean(axis=1)
            row[f"ratio_{name}"] = round(float(each.mean() / plain.mean()), 3)
            row[f"ratio_{name}_interval"] = np.quantile(ratios, [0.025, 0.975]).round(3).tolist()
    return table


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True)
    return done.stdout.strip()


def hardware() -> dict[str, Any]:
    return runs.hardware() | {"python": platform.python_version()}


def real(runs: Path) -> dict[str, Any]:
    """Run (or go on with) the real search: times and verdict; its files in results/search_real."""
    root = HERE.parent
    words = [sys.executable, "-m", "raytune_agents", "run", str(REAL), f"runs_dir={runs}"]
    subprocess.run([*words, "--steps", "read,generate,label,tune"], cwd=root, check=True)
    folder = runs / "search-prepared" / "tune"
    guide = json.loads((folder / "guide.json").read_text(encoding="utf-8"))
    found = json.loads((folder / "trials.json").read_text(encoding="utf-8"))
    kept = RESULTS.with_name("search_real")
    kept.mkdir(exist_ok=True)
    for name in ("guide.md", "guide.json", "trials.csv"):
        shutil.copy(folder / name, kept / name)
    times = {k: v if v is None else round(v, 3) for k, v in guide["times"].items()}
    verdict = {k: guide[k] for k in ("verdict", "refused", "rank_correlation", "runs", "noise")}
    return times | {"real": verdict | {"trials": len(found), "command": f"{COMMAND} --real"}}


def grid(options: argparse.Namespace) -> dict[str, Any]:
    """The searchers on the grid with a known answer."""
    known = fitted(options.trials) if options.trials else (planted(), NOISE, "planted")
    truth, noise, surface = known
    kept = options.runs / f"search-grid-{hashlib.sha256(truth.tobytes()).hexdigest()[:8]}"
    table = compare(truth, noise, options.seeds, kept)
    shutil.rmtree(kept)
    changed = git("status", "--porcelain", "--", *(f"../raytune_agents/{m}" for m in MEASURED))
    return {
        "compute_ratio_grid": table["tpe-asha+guideline"]["ratio_grid"],
        "compute_ratio_random": table["tpe-asha+guideline"]["ratio_random"],
        "grid": len(GRID),
        "within_one_point": int((truth >= truth.max() - 1).sum()),
        "best": dict(zip(POOLS, GRID[truth.argmax()].tolist())),
        "noise_points": round(noise, 3),
        "surface": f"fitted: {surface}" if options.trials else surface,
        "seeds": options.seeds,
        "searches": table,
        "dirty": bool(changed),
        "optuna": optuna.__version__,
        "command": f"{COMMAND} --seeds {options.seeds}" + " --trials FILE" * bool(options.trials),
    }


def with_part(
    earlier: dict[str, Any], measured: dict[str, Any], made: dict[str, Any]
) -> dict[str, Any]:
    """The earlier results with those of one part. `made`: hardware and revision of this part: in
    `real` for the real search, at the top for the grid, whose figures are from there."""
    ratios = ("compute_ratio_grid", "compute_ratio_random")
    named = {"benchmark": "search", **dict.fromkeys((*TIMES, *ratios))}
    if "real" in measured:
        return named | earlier | measured | {"real": measured["real"] | made}
    return named | earlier | measured | made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=Path, help="trials.json of a real search to fit")
    parser.add_argument("--real", action="store_true", help="run the real search instead")
    parser.add_argument("--runs", type=Path, default=HERE.parent / "runs", help="where runs lie")
    options = parser.parse_args()
    earlier = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    measured = real(options.runs) if options.real else grid(options)
    made = {"hardware": hardware(), "revision": git("rev-parse", "HEAD")}
    result = with_part(earlier, measured, made)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
