"""The data chain at 10k, 100k, 1M rows: the steps read and label of a run, as a user starts them.

    python benchmarks/bench_data.py --sizes 10000 100000 [1000000]

read: files -> trajectories, quarantine, split by tool, Parquet. label: rules, decontamination
against an evaluation set and the held-out rows, contradictions, exact and MinHash duplicates,
quality, Parquet. Rows come from `data_rows` (real rows of shared/data/prepared, values varied, 10 %
near duplicates and 1 % leaks planted). Each size runs in its own process on a local Ray with two
CPUs; the peers (datatrove, py-data-juicer) get the same texts at 100k rows, each in its own
environment under `--peers`, made on first use. A ratio is our whole chain's rows per second by the
peer's, which does no more than filter and deduplicate texts; datatrove is also run with as many
buckets as our recall takes (its precision falls), and `ratio_datatrove_minhash` sets MinHash alone,
read to written Parquet, against it. Rates are wall-clock; memory is the resident set summed over
all processes of the run, and the proportional set, which counts shared pages once. Sizes that are
not run keep their earlier results. Prints one JSON object on the last line and writes
benchmarks/results/data.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from data_rows import write as write_rows
from rich.console import Console

from raytune_agents import filters
from raytune_agents.config import Config, LabelConfig, ReadConfig, SourceConfig, SplitConfig
from raytune_agents.dedup import step as dedup
from raytune_agents.dedup.leaks import LeakIndex
from raytune_agents.dedup.minhash import shingles
from raytune_agents.dedup.text import folded
from raytune_agents.infra.cluster import disconnect
from raytune_agents.pipeline import label, read
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.run import step_function
from raytune_agents.progress import Display
from raytune_agents.records import Trajectory, from_row
from raytune_agents.runs import Counts, commit, hardware

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "data.json"
NEAR, LEAKS = 0.10, 0.01
SPLIT = SplitConfig(train=0.998, val=0.001, test_seen=0.001, unseen_tools=0.02)
BATCH, PEER_SIZE = 2_000, 100_000
SINGLE, SINGLES = "single.jsonl", 300
THRESHOLD = LabelConfig().minhash_threshold
PEERS = {
    "datatrove": ["datatrove[processing,io]==0.10.1", "spacy"],
    "data_juicer": ["py-data-juicer==1.6.1", "aiohttp"],
}
# what is run: the peer, and the arguments of its script
RUNS: dict[str, tuple[str, list[str]]] = {
    "datatrove": ("datatrove", []),
    "datatrove_equal_recall": ("datatrove", ["40", "5"]),
    "data_juicer": ("data_juicer", []),
}


class Memory(threading.Thread):
    """Peak memory in MiB of a process and all below it: `rss` summed, `pss` with shares split."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.root, self.rss, self.pss, self.done = psutil.Process(pid), 0.0, 0.0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.5):
            rss = pss = 0.0
            for process in [self.root, *self._below()]:
                try:
                    info = process.memory_full_info()
                except psutil.Error:
                    continue
                rss, pss = rss + info.rss, pss + info.pss
            self.rss, self.pss = max(self.rss, rss / 2**20), max(self.pss, pss / 2**20)

    def _below(self) -> list[psutil.Process]:
        try:
            return self.root.children(recursive=True)
        except psutil.Error:
            return []

    def stop(self) -> dict[str, float]:
        self.done.set()
        self.join()
        return {"peak_rss_mib": round(self.rss, 1), "peak_pss_mib": round(self.pss, 1)}


# --- our chain ---


def jaccard(a: str, b: str) -> float:
    """Exact Jaccard similarity of the shingle sets of two texts; 1 for equal texts."""
    x, y = (set(shingles([t])[0].tolist()) for t in (a, b))
    return len(x & y) / len(x | y)

def config_of(folder: Path) -> Config:
    rows, single, held = (
        SourceConfig(path=str(folder / name), format="xlam")
        for name in ("rows-*.jsonl", SINGLE, "eval.jsonl")
    )
    marks = LabelConfig(duplicates="minhash", partitions=16, evaluation_sets=[held])
    sources = ReadConfig(sources=[rows, single], split=SPLIT)
    return Config(name="run", runs_dir=str(folder), read=sources, label=marks,
                  resources={"cpus": 2})  # fmt: skip


def write_single(folder: Path) -> None:
    """A few rows of one call beside the rows of two, whose tools are seldom both unseen: without
    them the split test_unseen would be empty. They are not scored."""
    rows = [json.loads(line) for line in (folder / "eval.jsonl").open()][:SINGLES]
    for row in rows:
        row["answers"] = json.dumps(json.loads(row["answers"])[:1])
    (folder / SINGLE).write_text("".join(json.dumps(r) + "\n" for r in rows))


def chain(context: Context, names: Sequence[str] = ("read", "label")) -> dict[str, float]:
    """The steps read and label; seconds of each. Nothing is generated in between."""
    seconds = {}
    for name in names:
        if name == "label":
            nothing = context.step("generate")
            nothing.begin()
            nothing.finish(Counts())
        step = context.step(name)
        step.begin()
        start = time.perf_counter()
        counts, notes = step_function(name)(context, step)
        seconds[name] = time.perf_counter() - start
        step.finish(counts, **notes)
        print(name, counts.line(), round(seconds[name], 1), "s", file=sys.stderr, flush=True)
    return seconds


def minhash_alone(folder: Path) -> float:
    """Seconds of the step label where it only looks for near duplicates among the rows read."""
    config = config_of(folder)
    marks = {"rules": ["empty_target"], "decontaminate": False, "contradictions": False}
    config = config.model_copy(update={"label": config.label.model_copy(update=marks)})
    return chain(Context(config, Display(Console(stderr=True, soft_wrap=True))), ["label"])["label"]


def rates_of_steps(folder: Path) -> dict[str, float]:
    """Rows a second of one core, step by step, in this process on the first rows."""
    config = config_of(folder)
    options, first = config.label, str(min(folder.glob("rows-*.jsonl")))

    def parse(path: str) -> pa.Table:
        source = config.read.sources[0].model_copy(update={"path": path})
        found = next(read.parse_source(source, config.read, "", config.seed))
        return found.select([f.name for f in label.arrow_schema()])

    held = [from_row(r) for r in parse(str(folder / "eval.jsonl")).to_pylist()]
    index = LeakIndex((replace(r, split="test_seen") for r in held), options)
    rules = filters.active_rules(options)
    validity = {n: rules[n] for n in ("parses", "tool_exists", "arguments_valid")}
    table: list[pa.Table] = []
    rows: list[Trajectory] = []
    sketch: list[Any] = []
    numbers = np.arange(BATCH, dtype=np.uint64)
    work: dict[str, Callable[[], Any]] = {
        "read": lambda: table.append(parse(first)),
        "decode": lambda: rows.extend(from_row(r) for r in table[0].to_pylist()),
        "validate": lambda: [filters.first_reason(r, validity) for r in rows],
        "rules": lambda: [filters.first_reason(r, rules) for r in rows],
        "sketch": lambda: sketch.extend(label.sketched(rows, options)),
        "leaks": lambda: index.find(rows, sketch[0]),
        "fingerprint": lambda: dedup.fingerprints(rows, numbers, sketch[1], options),
        "label": lambda: label.label_rows(table[0], options, index),
        "write": lambda: pq.write_table(table[0], folder / "one.parquet"),
    }
    rates = {}
    for name, run in work.items():
        start = time.process_time()
        run()
        rates[name] = round(table[0].num_rows / max(time.process_time() - start, 1e-3))
    return rates


@lru_cache(maxsize=1)
def planted(folder: Path) -> tuple[dict[int, int], set[int], int]:
    """(copy -> original at or above the threshold, leaks, copies below it)."""
    truth = json.loads((folder / "truth.json").read_text())
    made = {n: int(k[5:]) for n, k in truth if k.startswith("near:")}
    wanted, queries = set(made) | set(made.values()), {}
    for number, row in enumerate(raw_rows(folder)):
        if number in wanted:
            queries[number] = folded(row["query"])
    near = {a: b for a, b in made.items()
            if jaccard(queries[a], queries[b]) >= THRESHOLD}  # fmt: skip
    return near, {n for n, k in truth if k == "leak"}, len(made) - len(near)


def raw_rows(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("rows-*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def score(removed: set[int], folder: Path, ignored: set[int] = frozenset()) -> dict[str, Any]:
    """Recall over planted pairs (one of the two is removed); precision over removed rows."""
    near, leaks, weak = planted(folder)
    truth = json.loads((folder / "truth.json").read_text())
    every = {n: int(k[5:]) for n, k in truth if k.startswith("near:")}
    pairs = {a: b for a, b in near.items() if a not in ignored and b not in ignored}
    right = set(every) | set(every.values())
    counted = removed - leaks - ignored
    found = sum(a in removed or b in removed for a, b in pairs.items())
    return {"planted": len(pairs), "below_threshold": weak, "found": found,
            "removed": len(counted), "right": len(counted & right),
            "recall": round(found / max(1, len(pairs)), 4),
            "precision": round(len(counted & right) / max(1, len(counted)), 4)}  # fmt: skip


def verdicts(folder: Path) -> dict[str, Any]:
    """Recall and precision of duplicates and leaks, and the funnel, from the files written."""
    reasons: dict[int, str] = {}
    for path in (folder / "run" / "label").glob("*.parquet"):
        table = pq.read_table(path, columns=["source", "source_id", "reject_reason"])
        table = table.filter(pc.starts_with(table["source"], "xlam/rows-"))
        numbers = map(int, table["source_id"].to_pylist())
        reasons.update(zip(numbers, table["reject_reason"].to_pylist()))
    duplicates = {n for n, r in reasons.items() if r.split(":")[0].endswith("duplicate_of")}
    marked = {n for n, r in reasons.items() if r == "contaminated:eval"}
    other = {n for n, r in reasons.items() if r and n not in duplicates}
    leaks = planted(folder)[1]
    asked = leaks - (other - marked)
    both = score(duplicates, folder, other)
    leak = {"planted": len(asked), "found": len(asked & marked), "marked": len(marked),
            "recall": round(len(asked & marked) / max(1, len(asked)), 4),
            "precision": round(len(leaks & marked) / max(1, len(marked)), 4)}  # fmt: skip
    total = both["planted"] + leak["planted"]
    claimed = both["removed"] + leak["marked"]
    return {
        "duplicates": both, "leaks": leak, "rows_out": len(reasons),
        "funnel": dict(Counter(r.split(":")[0] or "kept" for r in reasons.values()).most_common()),
        "recall": round((both["found"] + leak["found"]) / max(1, total), 4),
        "precision": round((both["right"] + len(leaks & marked)) / max(1, claimed), 4),
    }  # fmt: skip


def one(size: int, folder: Path) -> dict[str, Any]:
    """The whole chain at one size, in this process and the Ray below it."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    write_single(folder)
    memory = Memory(os.getpid())
    memory.start()
    start = time.perf_counter()
    context = Context(config_of(folder), Display(Console(stderr=True, soft_wrap=True)))
    context.resources  # noqa: B018
    ready = time.perf_counter() - start
    seconds = chain(context)
    peak = memory.stop()
    found = verdicts(folder)
    alone = {"minhash_s": round(minhash_alone(folder), 2)} if size == PEER_SIZE else {}
    disconnect()
    total = sum(seconds.values())
    return {
        "rows": size, "seconds": round(total, 2), "ray_start_s": round(ready, 2),
        "rows_per_s": round(size / total),
        "rows_per_s_by_pass": {k: round(size / s) for k, s in seconds.items()},
        "rows_per_s_core_by_step": rates_of_steps(folder), **peak, **found, **alone,
        "load": round(os.getloadavg()[0], 2),
    }  # fmt: skip


# --- peers ---


def peer_python(name: str, folder: Path) -> Path:
    """The interpreter of a peer's own environment, made on first use. Raises RuntimeError."""
    python = folder / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", *PEERS[name]]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(folder / name)
            raise RuntimeError(f"cannot be installed: {done.stderr.strip().splitlines()[-1][:200]}")
    return python


def peer(name: str, folder: Path, environments: Path) -> dict[str, Any]:
    """Seconds, memory, recall and precision of a peer on the texts of `folder`; or a reason."""
    package, arguments = RUNS[name]
    try:
        python = peer_python(package, environments)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        return {"skipped": str(error)}
    work = folder / name
    shutil.rmtree(work, ignore_errors=True)
    (work / "in").mkdir(parents=True)
    texts = [json.dumps({"text": f"{r['query']}\n{r['answers']}", "id": str(r["id"])})
             for r in raw_rows(folder)]  # fmt: skip
    for part in range(2):
        (work / "in" / f"{part}.jsonl").write_text("\n".join(texts[part::2]) + "\n")
    command = [str(python), str(HERE / "peers" / f"{package}_dedup.py"), str(work), *arguments]
    log = (work / "log.txt").open("w")
    running = subprocess.Popen(command, stdout=log, stderr=log)
    memory = Memory(running.pid)
    memory.start()
    running.wait()
    peak = memory.stop()
    if running.returncode:
        tail = (work / "log.txt").read_text().strip().splitlines()[-1:]
        return {"skipped": f"failed with exit code {running.returncode}: {' '.join(tail)[:200]}"}
    result = json.loads((work / "result.json").read_text())
    kept = set(map(int, result.pop("kept")))
    removed = set(range(len(texts))) - kept
    seconds = result["seconds"]
    return result | {"rows_per_s": round(len(texts) / seconds), **peak, **score(removed, folder)}


# --- the report ---


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """The figures asked of this benchmark; null, and why, where a size or a peer was not run."""
    sizes, peers = result["sizes"], result["peers"]
    largest = sizes[max(sizes, key=int)]
    small, big = sizes.get("100000"), sizes.get("1000000")
    trove, juicer = peers.get("datatrove", {}), peers.get("data_juicer", {})
    ratio = big["peak_rss_mib"] / small["peak_rss_mib"] if small and big else None
    ours = small and small["rows_per_s"]

    def against(ours: float | None, theirs: dict[str, Any]) -> float | None:
        return round(ours / theirs["rows_per_s"], 2) if ours and "rows_per_s" in theirs else None

    equal = peers.get("datatrove_equal_recall", {})
    alone = PEER_SIZE / small["minhash_s"] if small and "minhash_s" in small else None
    why = {f"ratio_{name}": peers.get(name, {}).get("skipped", "not run") for name in RUNS
           if "rows_per_s" not in peers.get(name, {})}  # fmt: skip
    if ratio is None:
        why["memory_ratio_1m_100k"] = "the sizes 100,000 and 1,000,000 have not both been run"
    return {
        "rows_per_s": largest["rows_per_s"],
        "memory_ratio_1m_100k": ratio and round(ratio, 3),
        "recall": largest["recall"],
        "precision": largest["precision"],
        "ratio_datatrove": against(ours, trove),
        "ratio_data_juicer": against(ours, juicer),
        "ratio_datatrove_equal_recall": against(ours, equal),
        "ratio_datatrove_minhash": against(alone, equal),
        "why_null": why,
    }


def save(result: dict[str, Any]) -> None:
    """After every size and peer, so that a run cut short keeps what it has measured."""
    machine = hardware() | {"python": platform.python_version()}
    whole = result | summary(result) | {"hardware": machine, "revision": commit()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(whole, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared/data/prepared")
    parser.add_argument("--work", type=Path, default=Path("/tmp/raytune-bench-data"))
    parser.add_argument("--peers", type=Path, default=Path("/tmp/raytune-bench-peers"))
    parser.add_argument("--skip-peers", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args.work / str(args.one))))
        return
    if not args.data.exists():
        sys.exit(f"--data={args.data} does not exist; name the folder with train.jsonl.gz")
    result = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"sizes": {}, "peers": {}}
    for size in args.sizes:
        folder = args.work / str(size)
        if not (folder / "truth.json").exists():
            write_rows(folder, args.data, size, NEAR, LEAKS, per_file=min(20_000, size // 4))
        command = [sys.executable, __file__, "--one", str(size), "--work", str(args.work)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.strip().splitlines()[-1])
        result["sizes"][str(size)] = found | {"revision": commit()}
        print(json.dumps(result["sizes"][str(size)]))
        save(result)
    if PEER_SIZE in args.sizes and not args.skip_peers:
        for name in RUNS:
            result["peers"][name] = peer(name, args.work / str(PEER_SIZE), args.peers)
            print(name, json.dumps(result["peers"][name]))
            save(result)
    print(json.dumps(summary(result)))


if __name__ == "__main__":
    main()
