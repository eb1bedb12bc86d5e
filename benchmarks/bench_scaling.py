"""Rows a second and driver memory of our shard stream as nodes and rows grow, without an engine.

    python benchmarks/bench_scaling.py

The engines are STAND-INS: one actor per node that answers EACH shards at a time, each after a
constant time. So the figures are those of the stream alone: Ray Data, the scheduler and the driver.
Two series:

rows   one node, no time per shard: shards per second that the driver can hand out, and its memory
nodes  1, 2 and 4 simulated nodes on this host, constant time per shard, twice as many shards under
       way as the engines answer at a time: share of the ideal speed (`ideal_share_4_nodes`)

The share is that of the whole stream, of a minute where it is ideal: its start, in which Ray
begins a process for every shard under way, here all of them on this host's cores, is in it.

From the slopes follows where 1,000 GPUs and 100 million rows would meet the first wall (`paper`).
Prints one JSON object on the last line and writes benchmarks/results/scaling.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from raytune_agents.config import GenerateConfig, build_config
from raytune_agents.runs import commit, hardware, versions
from raytune_agents.storage import write_json

HERE = Path(__file__).parent
SHARD = GenerateConfig().shard_rows
EACH = 2  # shards that one engine answers at a time
# A CPU for each shard under way: Ray keeps as many idle processes as CPUs, and starts as many
# at a time.
NODE = {"num_cpus": 2 * EACH, "object_store_memory": 150 * 2**20}
GPUS, ROWS = 1_000, 100_000_000
ROWS_PER_GPU_S = 12.0  # a guess: 2,400 tokens/s of an 8B model, 200 tokens per row


class StandIn:
    """An engine that answers EACH shards at a time, each after so many seconds."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(EACH)

    async def answer(self, seconds: float) -> None:
        async with self.slots:
            await asyncio.sleep(seconds)


def stream(nodes: int, shards: int, shard_s: float) -> dict[str, float]:
    """One stream over `nodes` simulated nodes, in this process as the driver."""
    from ray.cluster_utils import Cluster

    from raytune_agents.pipeline.context import Context
    from raytune_agents.pipeline.shards import ShardReport, map_shards
    from raytune_agents.progress import Display

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    for _ in range(nodes - 1):
        cluster.add_node(**NODE)
    tree = {"runs_dir": tempfile.mkdtemp(), "resources": {"address": cluster.address}}
    context = Context(build_config(tree), Display())
    context.resources  # noqa: B018

    import ray

    # Its workers cannot import this file: the stand-in travels whole.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    actor = ray.remote(StandIn).options(num_cpus=0, scheduling_strategy="SPREAD")
    engines = [actor.remote() for _ in range(nodes)]
    ray.get([e.answer.remote(0.0) for e in engines])

    def work(number: int, rows: list[int]) -> ShardReport:
        if shard_s:
            ray.get(engines[number % len(engines)].answer.remote(shard_s))
        return ShardReport(SHARD, SHARD)

    def parts(count: int) -> dict[int, list[int]]:
        return {k: [0] * SHARD for k in range(count)}

    under_way = 2 * EACH * nodes
    for _ in map_shards(context, "warm", parts(under_way), work, at_once=under_way):
        pass
    me = psutil.Process()
    before, peak, start = me.memory_info().rss, 0, time.perf_counter()
    for done, _ in enumerate(map_shards(context, "rows", parts(shards), work, at_once=under_way)):
        if done % 64 == 0:
            peak = max(peak, me.memory_info().rss)
    seconds = time.perf_counter() - start
    peak = max(peak, me.memory_info().rss)
    context.close()
    cluster.shutdown()
    return {
        "nodes": nodes, "shards": shards, "rows": shards * SHARD, "shard_s": shard_s,
        "seconds": round(seconds, 2), "shards_per_s": round(shards / seconds, 1),
        "rows_per_s": round(shards * SHARD / seconds),
        "driver_mib": round(peak / 2**20, 1), "driver_grew_mib": round((peak - before) / 2**20, 1),
    }  # fmt: skip


def alone(nodes: int, shards: int, shard_s: float) -> dict[str, float]:
    """`stream` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(stream, (nodes, shards, shard_s))


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares: how much y grows with one x."""
    xs, ys = zip(*points)
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - mx) * (y - my) for x, y in points) / sum((x - mx) ** 2 for x in xs)


def paper(rows: list[dict[str, float]]) -> dict[str, Any]:
    """What the measured slopes say of GPUS engines and ROWS rows."""
    shard_s = slope([(r["shards"], r["seconds"]) for r in rows])
    shard_mib = max(0.0, slope([(r["shards"], r["driver_grew_mib"]) for r in rows]))
    start_s = max(0.0, rows[0]["seconds"] - rows[0]["shards"] * shard_s)
    handed = SHARD / shard_s
    asked, shards = GPUS * ROWS_PER_GPU_S, ROWS / SHARD
    wanted = max(1, round(SHARD * asked / handed))
    return {
        "ms_a_shard": round(shard_s * 1e3, 2), "start_s": round(start_s, 2),
        "driver_kib_a_shard": round(shard_mib * 1024, 2),
        "rows_per_s_one_driver": round(handed), "gpus_one_driver": round(handed / ROWS_PER_GPU_S),
        "rows_per_gpu_s_guess": ROWS_PER_GPU_S,
        "driver_gib_at_100m_rows": round(shards * shard_mib / 1024, 2),
        "hours_at_100m_rows": round(ROWS / min(asked, handed) / 3600, 2),
        "shard_rows_for_1000_gpus": max(SHARD, wanted),
        "first_wall": "the driver's tasks a second" if handed < asked else "the engines",
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--shard-s", type=float, default=0.5, help="stand-in's time of a shard")
    parser.add_argument("--shards-each", type=int, default=240, help="shards per node, series 2")
    options = parser.parse_args()
    rows = [alone(1, -(-n // SHARD), 0.0) for n in options.rows]
    for found in rows:
        print(json.dumps(found), flush=True)
    nodes = []
    for n in options.nodes:
        found = alone(n, n * options.shards_each, options.shard_s)
        ideal = EACH * n / options.shard_s
        found["share_of_ideal"] = round(found["shards"] / found["seconds"] / ideal, 3)
        nodes.append(found)
        print(json.dumps(found), flush=True)
    result = {
        "benchmark": "scaling", "stand_in": "each shard sleeps; no engine ran", "shard_rows": SHARD,
        "rows": rows, "nodes": nodes,
        "ideal_share_4_nodes": next((n["share_of_ideal"] for n in nodes if n["nodes"] == 4), None),
        "paper": paper(rows), "hardware": hardware(),
        "versions": versions(), "revision": commit(),
        "command": "python benchmarks/bench_scaling.py",
    }  # fmt: skip
    write_json(HERE / "results" / "scaling.json", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
