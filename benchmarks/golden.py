"""Does a change keep the results? The tiny config, in float32, by an old revision and by HEAD: row
ids, labels, mixes, losses, answers and scores are compared (configs and keys are not).

    make golden                       # against 8ca1454
    python benchmarks/golden.py --old HEAD~3 --keep build/golden

Each runs from a git worktree that is made here and removed again. Where options had other names,
OLD_NAMES says which; options that a revision does not know are left out there, and named. A part
that a later change means to change stands in CHANGED, with the reason: its differences are counted,
and do not fail."""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).parents[1]
FIRST = "8ca1454"
TINY = ROOT / "tests" / "ray" / "tiny.yaml"
OWN = {"model.dtype": "float32"}
OLD_NAMES = {  # at FIRST
    "train.global_batch_size": "batch_rows",
    "train.max_tokens_per_forward": "batch_tokens",
    "tune.num_samples": "trials",
}
# Run in a revision's tree: what it says of a config. The loader had another name once.
LOAD = """import sys
from raytune_agents import config
try:
    (getattr(config, "load_config", None) or config.load)(sys.argv[1])
except config.ConfigError as error:
    print(error)
"""
UNKNOWN = re.compile(r"^([\w.]+): unknown option", re.M)
CHANGED = {
    "generate": "wordings of requests, kinds of rows, what is sampled",
    "label": "rules, contradictions by situation, generated rows",
    "mix": "other rows",
    "losses": "other rows; prompts show what parameters mean",
    "answers": "prompts show what parameters mean",
    "scores": "other answers",
}
SAME_LOSS = 1e-4  # relative: sums of floats in another order
Table = dict[str, Any]


# --- the two runs ---


def config_for(old: bool, runs: Path) -> dict[str, Any]:
    """The tiny config without a search, in the words of the revision."""
    tree = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    for key, value in OWN.items():
        config, _, name = key.partition(".")
        tree[config][name] = value
    tree["tune"] = {"num_samples": 0}
    if old:
        for key, name in OLD_NAMES.items():
            config, _, now = key.partition(".")
            if now in tree.get(config, {}):
                tree[config][name] = tree[config].pop(now)
    return tree | {"name": "golden", "runs_dir": str(runs)}


def without(config: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The config without these dotted options."""
    out = copy.deepcopy(config)
    for name in names:
        *path, last = name.split(".")
        section = out
        for part in path:
            section = section[part]
        del section[last]
    return out


def unknown_options(tree: Path, config: dict[str, Any], work: Path) -> list[str]:
    """The options of a config that the package in `tree` does not know, of sections and of arms;
    what they add is "only new"."""
    path = work / "all.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    words, env = [sys.executable, "-c", LOAD, str(path)], os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run(words, cwd=tree, env=env, capture_output=True, text=True, check=True)
    return UNKNOWN.findall(done.stdout)


def run_tree(tree: Path, config: dict[str, Any], work: Path) -> Path:
    """Run the whole loop by the package in `tree`; the run's folder."""
    path = work / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    env = os.environ | {"PYTHONPATH": str(tree), "RAY_USAGE_STATS_ENABLED": "0"}
    words = [sys.executable, "-m", "raytune_agents", "run", str(path)]
    done = subprocess.run(words, cwd=tree, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{tree}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return Path(config["runs_dir"]) / config["name"]


def run_revision(revision: str, work: Path) -> Path:
    """Run a revision from a worktree that goes again."""
    git = ["git", "-C", str(ROOT)]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run([*git, "worktree", "add", "-q", "--detach", str(tree), revision], check=True)
        try:
            words = [*git, "merge-base", "--is-ancestor", revision, FIRST]
            first = subprocess.run(words, check=False).returncode == 0
            config = config_for(first, work)
            if names := unknown_options(tree, config, work):
                print(f"left out, as {revision} has none of them: {', '.join(names)}")
            return run_tree(tree, without(config, names), work)
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(tree)], check=True)


# --- what is compared ---


def column(path: Path, *names: str) -> Iterator[tuple[Any, ...]]:
    for file in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
        table = pq.read_table(file, columns=list(names))
        yield from zip(*(table[name].to_pylist() for name in names))


def losses(run: Path) -> Table:
    found = {}
    for path in sorted(run.glob("train/*/metrics.jsonl")):
        for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            found[f"{path.parent.name} step {line['step']}"] = line["loss"]
    return found


def values(run: Path) -> Table:
    """Scores without seconds, which differ from run to run, and what is made of them."""
    scores = json.loads((run / "evaluate" / "scores.json").read_text(encoding="utf-8"))
    timed = ("latency", "first_token", "tokens_per_s", "seconds", "memory", "energy")
    return {
        f"{arm} {split} {metric}": cell["value"]
        for arm, splits in scores.items()
        for split, cells in splits.items()
        for metric, cell in cells.items()
        if not any(word in metric for word in timed)
    }


PARTS: dict[str, Callable[[Path], Table]] = {
    "read": lambda run: dict(column(run / "read", "id", "split")),
    "generate": lambda run: {
        i: pool
        for part in ("synthetic", "mined", "edited")
        for i, pool in column(run / "generate" / part, "id", "pool")
    },
    "label": lambda run: dict(column(run / "label", "id", "reject_reason")),
    "mix": lambda run: {
        f"{path.stem} {k}": row
        for path in sorted(run.glob("mix/*.parquet"))
        for k, (row,) in enumerate(column(path, "id"))
    },
    "losses": losses,
    "answers": lambda run: {
        f"{arm} {split} {i}": answer
        for arm, split, i, answer in column(
            run / "evaluate" / "answers.parquet", "arm", "split", "id", "answer"
        )
    },
    "scores": values,
}


def differences(old: Table, new: Table) -> list[str]:
    """One line per key that is in one alone, or has another value."""
    out = [f"{key}: only old" for key in old.keys() - new.keys()]
    out += [f"{key}: only new" for key in new.keys() - old.keys()]
    for key in old.keys() & new.keys():
        a, b = old[key], new[key]
        floats = isinstance(a, float) and isinstance(b, float)
        same = math.isclose(a, b, rel_tol=SAME_LOSS, abs_tol=1e-9) if floats else a == b
        if not same:
            out.append(f"{key}: {a!r:.80} -> {b!r:.80}")
    return sorted(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", default=FIRST, help="revision to compare with")
    parser.add_argument("--keep", type=Path, help="folder of the two runs; one there is not redone")
    parser.add_argument("--strict", action="store_true", help="nothing is meant to change")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keep = (given.keep or Path(folder)).resolve()
        runs = {side: keep / side / "golden" for side in ("old", "new")}
        for side, revision in (("old", given.old), ("new", "HEAD")):
            if not (runs[side] / "report.html").is_file():
                run_revision(revision, keep / side)
        failed = False
        for name, part in PARTS.items():
            tables = {side: part(run) for side, run in runs.items()}
            found = differences(**tables)
            meant = "" if given.strict else CHANGED.get(name, "")
            failed |= bool(found) and not meant
            said = f"{len(found)} differ" + (f" (meant: {meant})" if found and meant else "")
            print(f"{name:<9} {len(tables['old'])} old, {len(tables['new'])} new: {said}")
            for line in found[:5]:
                print(f"          {line}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
