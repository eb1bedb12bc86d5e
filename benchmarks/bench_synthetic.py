"""Synthetic rows for real tools: how real they read, and what a model learns of them.

    python benchmarks/bench_synthetic.py rows [--old REVISION]        # a few minutes
    python benchmarks/bench_synthetic.py utility [--minutes 9]        # again until no cell is left

Tools are those that the real test rows of xLAM, Seal-Tools and SNIPS (--data) call; 0, 5 or 20 real
training rows of each domain are given. `rows` makes requests from them and measures the share that
names a tool, values that do not fit, grounding, distinct bigrams, rows by source per second of the
processor, and `auc_real`: how well TF-IDF + logistic regression, cross-validated, tells them from
other real requests of the same tools (0.5 = not at all; the given rows are not among them).
Requests of as many calls are compared: how many calls one asks for is the pools' share, and would
tell them apart whoever wrote them (Seal-Tools: one in the given rows, three in most others). It is
the mean of three draws, which differ by up to 0.1 where few real rows are left. Two figures say
what that means: `auc_style` is the same with all words masked but stop words, so that topics and
values cannot tell; `auc_repeated` is that of the given real rows, drawn until they are as many:
few texts that come again are told apart whoever wrote them. `--old` makes the same rows by the
generator of an older revision, in a git worktree of its own.

`utility` trains LoRA on the same number of answer tokens of synthetic rows, of half synthetic and
half given rows (repeated), and of real ones, and scores real test rows of all domains by exact
match (teacher-forced); `utility` is synthetic over real, with a bootstrap over seeds and rows. A
cell is one training; a run starts none after `--minutes`, and the next run goes on: finished cells
stand in the results. Writes benchmarks/results/synthetic.json.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from quick_training import QuickTraining, load_results
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from raytune_agents import agents
from raytune_agents.agents import AgentSpec
from raytune_agents.config import ConfigError, GenerateConfig
from raytune_agents.evaluate.paired import detectable
from raytune_agents.generate import realism, sampling
from raytune_agents.readers import xlam
from raytune_agents.records import (
    Message,
    RecordError,
    ToolCall,
    ToolSpec,
    Trajectory,
    finish,
)
from raytune_agents.runs import commit, hardware, versions
from raytune_agents.storage import write_json

HERE = Path(__file__).parent
TARGET = HERE / "results" / "synthetic.json"
DOMAINS = ("xlam", "seal", "snips")
GIVEN = (0, 5, 20)
SEED, SEEDS = 17, 3
POOLS = {"tflan": 0.75, "parallel": 0.25}  # what the test rows are: calls, one turn
# arm -> (real rows given, share of its answer tokens that are of real rows); most wanted first
ARMS = {
    "real": (None, 1.0),
    "synthetic_20": (20, 0.0),
    "synthetic_0": (0, 0.0),
    "half_20": (20, 0.5),
    "synthetic_5": (5, 0.0),
    "half_5": (5, 0.5),
}
HEADLINE = ("real", "synthetic_20")  # `utility` is one over the other
RESAMPLES = 2000
ROWS = 400  # synthetic rows of a domain that are looked at


def read(path: Path, split: str) -> dict[str, list[Trajectory]]:
    """Domain -> rows with calls of a prepared file."""
    out: dict[str, list[Trajectory]] = {name: [] for name in DOMAINS}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            raw = json.loads(line)
            try:
                row = xlam.read(raw)
            except RecordError:
                continue
            domain = next(d for d in DOMAINS if d in raw["source"].lower())
            row = finish(Trajectory(row.messages, row.tools, source="prepared", split=split))
            if row.calls:
                out[domain].append(row)
    return out


def spec_of(domain: str, rows: Sequence[Trajectory]) -> AgentSpec:
    """The agent whose tools the rows call."""
    called = {c.name for r in rows for c in r.calls}
    shown = {t.name: t for r in rows for t in r.tools if t.name in called}
    tools = []
    for tool in shown.values():
        tree = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
        try:
            agents.parse_spec({"name": domain, "description": domain, "tools": [tree]})
        except ConfigError:
            continue
        tools.append(tree)
    return agents.parse_spec({"name": domain, "description": f"Tools of {domain}.", "tools": tools})


class Domain:
    """Real rows of one domain: those given, others of the same tools, and the test."""

    def __init__(self, name: str, train: Sequence[Trajectory], test: Sequence[Trajectory]):
        self.name, self.test = name, list(test)
        self.spec = spec_of(name, test)
        known = {t.name for t in self.spec.tools}
        same = [r for r in train if {c.name for c in r.calls} <= known]
        self.real = random.Random(SEED).sample(same, len(same))

    def given(self, count: int) -> list[Trajectory]:
        return self.real[:count]

    @property
    def others(self) -> list[Trajectory]:
        """Real rows that are never given; the test rows where there are no others."""
        return self.real[max(GIVEN) :] or self.test


def domains(data: Path) -> list[Domain]:
    train, test = read(data / "train.jsonl.gz", "train"), read(data / "test_seen.jsonl.gz", "test")
    return [Domain(name, train[name], test[name]) for name in DOMAINS]


def generated(
    domain: Domain, count: int, rows: int, seed: int = SEED, own: float | None = None
) -> list[Trajectory]:
    """Synthetic rows of a domain from `count` given real ones."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{domain.name}.json")
        path.write_text(domain.spec.model_dump_json(exclude_defaults=True), encoding="utf-8")
        sources = {} if own is None else {"own": own}
        config = GenerateConfig(agents=[str(path)], rows=rows, pools=POOLS, sources=sources)
        return sampling.sample_rows(config, seed, domain.given(count)).rows


OLD = """
import json, sys
from raytune_agents import agents
from raytune_agents.generate import POOLS
spec, rows, seed = agents.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
made = POOLS["tflan"](spec, 3 * rows // 4, seed) + POOLS["parallel"](spec, rows // 4, seed)
for row in made:
    calls = [[c.name, c.arguments] for c in row.calls]
    tools = [[t.name, t.description, t.parameters] for t in row.tools]
    print(json.dumps({"text": row.query, "calls": calls, "tools": tools}))
"""


class OldGenerator:
    """The generator of another revision, in a git worktree that ends with it."""

    def __init__(self, revision: str):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "old")
        words = ["git", "-C", str(HERE), "worktree", "add", "-q", "--detach"]
        subprocess.run([*words, str(self.path), revision], check=True)

    def rows(self, domain: Domain, count: int, seed: int = SEED) -> list[Trajectory]:
        spec = Path(self.folder.name, f"{domain.name}.json")
        spec.write_text(domain.spec.model_dump_json(exclude_defaults=True), encoding="utf-8")
        words = [sys.executable, "-c", OLD, str(spec), str(count), str(seed)]
        place = {"PYTHONPATH": str(self.path), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            words, cwd=self.path, capture_output=True, text=True, check=True, env=place
        )
        out = []
        for line in map(json.loads, done.stdout.splitlines()):
            calls = tuple(ToolCall(*c) for c in line["calls"])
            tools = tuple(ToolSpec(*t) for t in line["tools"])
            turns = (Message("user", line["text"]), Message("assistant", tool_calls=calls))
            out.append(finish(Trajectory(turns, tools, pool="synthetic.tflan", split="train")))
        return out

    def close(self) -> None:
        words = ["git", "-C", str(HERE), "worktree", "remove", "--force", str(self.path)]
        subprocess.run(words, check=False)
        self.folder.cleanup()


# --- how real the rows read -----------------------------------------------------------------------


def masked(text: str) -> str:
    """The text with "x" for every word that is no stop word, and "0" for numbers."""
    return re.sub(
        r"\w+",
        lambda m: m[0] if m[0].lower() in ENGLISH_STOP_WORDS else "0" if m[0].isdigit() else "x",
        text,
    )


def as_many_calls(one: Sequence[Trajectory], other: Sequence[Trajectory]) -> list[list[Trajectory]]:
    """Of two lists of rows as many each, with the same numbers of calls."""
    counts = [Counter(len(r.calls) for r in part) for part in (one, other)]
    both = counts[0] & counts[1]
    out: list[list[Trajectory]] = [[], []]
    for kept, part in zip(out, (one, other)):
        left = Counter(both)
        for row in random.Random(SEED).sample(part, len(part)):
            if left[len(row.calls)]:
                left[len(row.calls)] -= 1
                kept.append(row)
    return out


def figures(rows: list[Trajectory], domain: Domain, seconds: float) -> dict[str, Any]:
    """The figures of some rows beside real ones that were not given."""
    out = realism.realism_figures(rows, domain.others, domain.spec.toolspecs, unseen=True)
    out["rows_per_s"] = {"all": round(len(rows) / seconds, 1)}
    out["samples"] = {k: v[:10] for k, v in out["samples"].items()}
    return out


def told_apart(rows: list[Trajectory], domain: Domain, count: int) -> dict[str, Any]:
    """How well a classifier tells the rows from real ones that were not given; so their style
    alone, and so the given rows repeated."""
    others = domain.others
    made, asked = as_many_calls(rows, others)
    texts, real = [realism.requests(r) for r in made], [realism.requests(r) for r in asked]
    out = {
        "compared_rows": len(asked),
        "auc_real": realism.auc_real(texts, real),
        "auc_style": realism.auc_real([masked(t) for t in texts], [masked(t) for t in real]),
    }
    if count:
        drawn = random.Random(SEED).choices(domain.given(count), k=len(rows))
        again = [[realism.requests(r) for r in part] for part in as_many_calls(drawn, others)]
        out["auc_repeated"] = realism.auc_real(*again)
    return out


def averaged(draws: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each figure over the draws that have it."""
    known = {k: [d[k] for d in draws if d[k] is not None] for k in draws[0]}
    return {k: round(mean(found), 4) if found else None for k, found in known.items()}


def speeds(domain: Domain, count: int, rows: int) -> dict[str, float]:
    """Rows per second of the processor of each source alone."""
    out: dict[str, float] = {}
    for source, share in (("own", 1.0), ("template", 0.0)):
        if source == "own" and not count:
            continue
        started = time.process_time()
        made = generated(domain, count, rows, own=share)
        out[source] = round(len(made) / (time.process_time() - started), 1)
    return out


def whole(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The worst and the mean of the domains."""
    known = {
        key: [c[key] for c in cells.values() if c.get(key) is not None]
        for key in ("auc_real", "auc_style", "auc_repeated")
    }
    return {
        "named_tool_share": max(c["named_tool_share"] for c in cells.values()),
        "auc_real_worst": max(known["auc_real"], default=None),
    } | {key: round(mean(found), 4) for key, found in known.items() if found}


def measure_rows(options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    old = OldGenerator(options.old) if options.old else None
    try:
        for count in GIVEN:
            cells = {}
            for domain in domains(options.data):
                started = time.process_time()
                rows = generated(domain, count, ROWS)
                cell = figures(rows, domain, time.process_time() - started)
                draws = [rows, *(generated(domain, count, ROWS, SEED + n) for n in range(1, SEEDS))]
                cell |= averaged([told_apart(drawn, domain, count) for drawn in draws])
                cell["rows_per_s"] |= speeds(domain, count, ROWS // 8)
                cells[domain.name] = cell
            found[f"given_{count}"] = {"domains": cells} | whole(cells)
        if old:
            cells = {}
            for domain in domains(options.data):
                started = time.perf_counter()
                rows = old.rows(domain, ROWS)
                cell = figures(rows, domain, time.perf_counter() - started)
                cells[domain.name] = cell | averaged([told_apart(rows, domain, 0)])
            found["old"] = {"revision": options.old, "domains": cells} | whole(cells)
    finally:
        if old:
            old.close()
    best = found[f"given_{max(GIVEN)}"]
    keys = ("named_tool_share", "auc_real", "auc_style", "auc_repeated")
    return {k: best[k] for k in keys} | {"rows": found}


# --- what a model learns of them ------------------------------------------------------------------


class Utility:
    """The model, the budget and the test rows that all cells share."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.domains = options, domains(options.data)
        self.bench = QuickTraining(options.longest, options.learning_rate)
        each, rng = options.test // len(self.domains), random.Random(SEED)
        self.asked: list[Trajectory] = []
        for domain in self.domains:
            fit = self.bench.short(domain.test)
            self.asked += rng.sample(fit, min(each, len(fit)))

    def chosen(self, arm: str, seed: int) -> list[Trajectory]:
        """The training rows of an arm, the domains with the same number of answer tokens each."""
        given, real = ARMS[arm]
        each, out = self.options.tokens / len(self.domains), []
        for domain in self.domains:
            if real:
                own = domain.real if given is None else domain.given(given)
                out += self.bench.spent(own, real * each, seed)
            if real < 1:
                rows = generated(domain, given or 0, self.options.rows, seed)
                out += self.bench.spent(rows, (1 - real) * each, seed)
        return out

    def cell(self, arm: str, seed: int) -> dict[str, Any]:
        """One training, scored on the test rows."""
        model, facts = self.bench.train(self.chosen(arm, seed), seed)
        hits = self.bench.hits(model, {r.id: r for r in self.asked})
        marks = "".join(str(int(hits[r.id])) for r in self.asked)
        return facts | {"exact_match": round(mean(hits.values()), 4), "hits": marks}


def ratio(cells: Mapping[str, Mapping[str, Any]], arm: str) -> dict[str, Any] | None:
    """Exact match of an arm over that of real rows, over the seeds that have both; the interval is
    a bootstrap over seeds and test rows. None where either is missing."""
    seeds = [s for s in range(SEEDS) if f"{arm}/{s}" in cells and f"real/{s}" in cells]
    if not seeds:
        return None
    found = [np.array([[int(h) for h in cells[f"{a}/{s}"]["hits"]] for s in seeds], float)
             for a in (arm, "real")]  # fmt: skip
    rng, drawn = np.random.default_rng(SEED), []
    for _ in range(RESAMPLES):
        s, r = (rng.integers(0, n, n) for n in found[0].shape)
        over = found[1][s][:, r].mean()
        if over:
            drawn.append(found[0][s][:, r].mean() / over)
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn else (0.0, 0.0)
    base = found[1].mean()
    return {
        "value": round(float(found[0].mean() / base), 4) if base else None,
        "low": round(float(low), 4), "high": round(float(high), 4), "seeds": len(seeds),
        "exact_match": round(float(found[0].mean()), 4), "real": round(float(base), 4),
    }  # fmt: skip


def measure_utility(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Train cells until the minutes are over; each is saved when it is done."""
    started, cells = time.monotonic(), result.setdefault("cells", {})
    facts = {k: getattr(options, k) for k in ("tokens", "test", "longest", "learning_rate", "rows")}
    if result.setdefault("utility_options", facts) != facts:
        raise SystemExit(f"cells stand for {result['utility_options']}; write the same options")
    # What `utility` is made of comes first.
    arms = [HEADLINE, [arm for arm in ARMS if arm not in HEADLINE]]
    wanted = [f"{arm}/{seed}" for some in arms for seed in range(SEEDS) for arm in some]
    bench = Utility(options)
    result["test_rows"] = len(bench.asked)
    # rows on which two models differ: a fourth, as first run configs assume
    result["points_shown"] = round(100 * detectable(len(bench.asked), 0.5), 1)
    for key in [k for k in wanted if k not in cells]:
        if cells and time.monotonic() - started > 60 * options.minutes:
            break
        arm, seed = key.split("/")
        cells[key] = bench.cell(arm, int(seed))
        result["arms"] = {a: found for a in ARMS if (found := ratio(cells, a))}
        result["utility"] = result["arms"].get("synthetic_20", {}).get("value")
        write_json(TARGET, result)
        print(key, cells[key]["exact_match"], f"{cells[key]['seconds']} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["rows", "utility"])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared/data/prepared")
    parser.add_argument("--rows", type=int, default=200, help="synthetic rows of a domain to learn")
    parser.add_argument("--old", default="", help="revision whose generator stands beside it")
    parser.add_argument("--minutes", type=float, default=9, help="start no cell after them")
    parser.add_argument("--tokens", type=int, default=10_000, help="answer tokens of a training")
    parser.add_argument("--test", type=int, default=420, help="real test rows that are asked")
    parser.add_argument("--longest", type=int, default=640, help="tokens of the longest row")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"{options.data} is not here; write --data FOLDER of prepared rows")
    result = load_results(TARGET, "synthetic")
    if options.part == "rows":
        result |= measure_rows(options)
    else:
        measure_utility(options, result)
    result |= {"hardware": hardware(), "versions": versions(), "revision": commit(),
               "command": "python benchmarks/bench_synthetic.py rows; ... utility"}  # fmt: skip
    write_json(TARGET, result)
    long = ("rows", "cells", "versions", "hardware")
    brief = {k: v for k, v in result.items() if k not in long}
    print(json.dumps(brief))


if __name__ == "__main__":
    main()
