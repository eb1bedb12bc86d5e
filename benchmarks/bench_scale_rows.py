"""Memory of the driver and of a training worker as rows grow: tokenize, mix, first training step.

    python benchmarks/bench_scale_rows.py --rows 1000000

Rows are synthetic: a request of random words, two tools, one call, TOKENS tokens in all. They are
written as the label step leaves them; then a run's own code tokenises them with Ray's workers,
mixes all of them into one arm and trains its first optimiser step (SmolLM2-135M, float32, CPU,
gradient checkpointing).
`driver_rss_gib` is the driver's peak resident set over all of this, `worker_rss_gib` that of the
training worker less the model's weights; the pages of mapped files count in both. The same with
FEW rows is beside it (`few`): what both grew by is what rows cost, the rest is Python, Ray and
torch. `rows_per_s` is rows by the seconds from labels to the end of the first step. Prints one JSON
object on the last line and writes benchmarks/results/scale_rows.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from raytune_agents import models
from raytune_agents.config import build_config
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.run import step_function
from raytune_agents.pipeline.tokenize import tokenize
from raytune_agents.progress import Display
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.runs import Counts, commit, hardware, versions
from raytune_agents.storage import write_json, write_rows

HERE = Path(__file__).parent
TOKENS, FILE_ROWS = 500, 20_000
FEW = 1_000
WORDS = [
    "the", "of", "to", "in", "for", "with", "on", "at", "from", "by", "about", "city", "river",
    "table", "green", "house", "morning", "water", "paper", "train", "letter", "number", "name",
    "day", "week", "month", "year", "order", "price", "list", "user", "account", "file", "data",
]  # fmt: skip
TOOLS = (
    ToolSpec("find_order", "Find an order by its number.",
             '{"type": "object", "properties": {"number": {"type": "integer"}}}'),
    ToolSpec("send_letter", "Send a letter to a user.",
             '{"type": "object", "properties": {"name": {"type": "string"}}}'),
)  # fmt: skip


def row_of(number: int, words: int) -> Trajectory:
    rng = random.Random(number)
    request = f"Find order {number}: " + " ".join(rng.choices(WORDS, k=words))
    call = ToolCall("find_order", json.dumps({"number": number}))
    turns = (Message("user", request), Message("assistant", tool_calls=(call,)))
    return finish(Trajectory(turns, TOOLS, source="synthetic", pool="positive", split="train"))


def words_of(chat: Any) -> int:
    """Words of a request that make a row TOKENS long; a word is one token."""
    return TOKENS - len(chat.encode(row_of(12345, 0))[0].input_ids)


def write_label(folder: Path, rows: int, words: int) -> None:
    for k, start in enumerate(range(0, rows, FILE_ROWS)):
        numbers = range(start, min(rows, start + FILE_ROWS))
        write_rows(folder / f"rows-{k:05d}.parquet", (row_of(n, words) for n in numbers))


class PeakMemory(threading.Thread):
    """Peak resident sets in bytes of this process and of the training worker below it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.driver = self.worker = 0
        self.done = threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        while not self.done.wait(0.2):
            self.driver = max(self.driver, me.memory_info().rss)
            self.worker = max([self.worker, *self.workers(me)])

    def workers(self, me: psutil.Process) -> Iterator[int]:
        for process in me.children(recursive=True):
            try:
                if "RayTrainWorker" in " ".join(process.cmdline()):
                    yield process.memory_info().rss
            except psutil.Error:
                continue


def context_of(folder: str) -> Context:
    tree = {
        "name": "rows",
        "runs_dir": folder,
        "model": {"dtype": "float32", "max_length": TOKENS + 50},
        "mix": {"weights": {"positive": 1.0}, "no_call": 0.0},
        "train": {
            "arms": {"sft": {"method": "sft"}},
            "global_batch_size": 4,
            # What is measured is what rows cost, not activations: those of one row are 1 GiB here.
            "max_tokens_per_forward": TOKENS,
            "gradient_checkpointing": True,
            "max_steps": 1,
            "report_to": [],
        },
        "resources": {"cpus": 2},
    }
    return Context(build_config(tree), Display(Console(stderr=True, soft_wrap=True)))


def labelled(rows: int, folder: str) -> None:
    """The steps up to label of a run, as a process of its own leaves them."""
    context = context_of(folder)
    words = words_of(context.chat)
    for name in ("read", "generate", "label"):
        step = context.step(name)
        step.begin()
        if name == "label":
            write_label(step.folder, rows, words)
        step.finish(Counts(rows, rows))
    context.close()


def measured(rows: int, folder: str) -> dict[str, Any]:
    """The driver of the other steps, in this process."""
    context = context_of(folder)
    context.resources  # noqa: B018  Ray's start is no part of the time
    memory, seconds = PeakMemory(), {}
    memory.start()
    config = context.config.train.of(context.config.train.arms["sft"])
    length = 0.0
    for name in ("tokenize", "mix", "train"):
        start = time.perf_counter()
        if name == "tokenize":
            found = tokenize(context, context.step("mix"), "sft", config)
            length = sum(found.facts["tokens"].to_pylist()) / max(1, len(found.facts))
            del found
        else:
            step = context.step(name)
            step.begin()
            counts, notes = step_function(name)(context, step)
            step.finish(counts, **notes)
        seconds[name] = round(time.perf_counter() - start, 1)
    memory.done.set()
    memory.join()
    columns = sum(p.stat().st_size for p in (context.run.folder / "columns").rglob("*.arrow"))
    model_gib = 2 * models.weights_gib(context.model)  # bfloat16 on the disk
    context.close()
    return {
        "rows": rows,
        "tokens_per_row": TOKENS,
        "loss_tokens_per_row": round(length, 1),
        "seconds": seconds,
        "rows_per_s": round(rows / sum(seconds.values())),
        "tokenize_rows_per_s": round(rows / seconds["tokenize"]),
        "driver_rss_gib": round(memory.driver / 2**30, 3),
        "worker_rss_gib": round(memory.worker / 2**30 - model_gib, 3),
        "model_gib": round(model_gib, 3),
        "columns_gib": round(columns / 2**30, 2),
    }


def alone(rows: int) -> dict[str, Any]:
    """A run, in processes of its own."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        with spawn.Pool(1) as pool:
            pool.apply(labelled, (rows, folder))
        with spawn.Pool(1) as pool:
            return pool.apply(measured, (rows, folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    few, found = alone(FEW), alone(rows)
    grown = {
        key.replace("rss", "grew"): round(found[key] - few[key], 3)
        for key in ("driver_rss_gib", "worker_rss_gib")
    }
    result = {
        "benchmark": "scale_rows",
        **found,
        **grown,
        "few": few,
        "hardware": hardware(),
        "versions": versions(),
        "revision": commit(),
        "command": f"python benchmarks/bench_scale_rows.py --rows {rows}",
    }
    write_json(HERE / "results" / "scale_rows.json", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
