"""How full engines are, and what the way to them costs.

    python benchmarks/bench_engine_load.py            # --only busy, --only speed: one of the parts

busy   The real client asks SIMULATED engines, actors that wait as long as an answer takes instead
       of computing it: lognormal lengths, slots as vLLM has them on an L40S (256) and an H100
       (1,024), divided by SCALE as the rows of a shard are, so that two cores can play 16 of them.
       Beside it the old path: shards by a hash to an engine that answers one shard at a time.
       busy_share: of the slots, while there are requests to hand out; busy_share_whole: to the last
       answer, which is long.
speed  The real engine on CPU against bare `vllm.LLM.chat` and `ray.data.llm`: the same chats and
       lengths, each in a process of its own, all engines ready before the clock, turns in three
       rounds. ratio_*: the median over rounds of our tokens per second through theirs.

Prints one JSON object on the last line and writes benchmarks/results/engine_load.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import threading
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from bench_generation import (
    MAX_LEN,
    SEED,
    Contender,
    Pass,
    answer_limits,
    bare,
    ours,
    questions,
    speeds,
)

from raytune_agents.inference.client import EngineClient, EngineLimits, Reply, Request, Sampling
from raytune_agents.infra.placement import shards_under_way
from raytune_agents.runs import commit, hardware, versions
from raytune_agents.storage import read_json, write_json

HERE = Path(__file__).parent
SCALE = 16
CARDS = {"L40S": 256 // SCALE, "H100": 1024 // SCALE}  # slots of one engine
SHARD = 512 // SCALE
WAVES = 24  # requests of a slot
STARTED_S = 60  # by then ray.data.llm's engine has answered its first batch: it does after 25 s
PER_S = 150  # answers per second over all engines: what two cores can play

Span = tuple[float, float]  # when a slot was taken and left


class SimulatedEngine:
    """Waits as long as an answer takes; the first token of a prompt is that time in ms."""

    def __init__(self, slots: int):
        self.limits = EngineLimits(slots, retries=0)
        self.slots, self.one_shard = asyncio.Semaphore(slots), asyncio.Lock()
        self.spans: list[Span] = []

    async def ready(self) -> EngineLimits:
        return self.limits

    async def answer(self, prompt: list[int], sampling: Sampling, adapter: str = "") -> Reply:
        async with self.slots:
            began = time.monotonic()
            await asyncio.sleep(prompt[0] / 1000)
            self.spans.append((began, time.monotonic()))
        return Reply([""], [1], 1, 0.0, 0.0)

    async def answer_shard(self, prompts: list[list[int]]) -> None:
        """As a blocking `LLM.generate` does: the next shard waits for the whole of this one."""
        async with self.one_shard:
            await asyncio.gather(*(self.answer(prompt, Sampling()) for prompt in prompts))

    async def seen(self) -> list[Span]:
        return self.spans


def busy_shares(spans: Sequence[Span], slots: int) -> tuple[float, float]:
    """Share of slot-seconds in use, up to the last request's start, and up to the last end."""
    first, last = min(b for b, _ in spans), max(b for b, _ in spans)
    end = max(e for _, e in spans)
    until = sum(min(e, last) - b for b, e in spans) / (slots * (last - first))
    return round(until, 3), round(sum(e - b for b, e in spans) / (slots * (end - first)), 3)


def play(engines: int, slots: int, way: str, waves: int) -> dict[str, Any]:
    """One stream of requests through `engines` simulated ones by the old or the new way."""
    import ray

    count, draw = engines * slots * waves, random.Random(SEED)
    mean_ms = max(500.0, 1000 * engines * slots / PER_S)
    lengths = [draw.lognormvariate(-0.32, 0.8) for _ in range(count)]
    prompts = [[max(1, round(mean_ms * min(n, 6.0)))] for n in lengths]
    shards = [prompts[i : i + SHARD] for i in range(0, count, SHARD)]
    actor = ray.remote(SimulatedEngine).options(num_cpus=0, max_concurrency=10_000)
    handles = {f"engine-{k}": actor.remote(slots) for k in range(engines)}
    ray.get([h.ready.remote() for h in handles.values()])
    client = EngineClient(lambda: handles)

    def new(shard: list[list[int]]) -> None:
        client.ask([Request(prompt, Sampling()) for prompt in shard])

    def old(shard: list[list[int]]) -> None:
        name = f"engine-{zlib.crc32(repr(shard[0]).encode()) % engines}"
        ray.get(handles[name].answer_shard.remote(shard))

    at_once = shards_under_way(engines, slots, SHARD) if way == "new" else 2 * engines
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(new if way == "new" else old, shards))
    spans = [span for h in handles.values() for span in ray.get(h.seen.remote())]
    for handle in handles.values():
        ray.kill(handle)
    until, whole = busy_shares(spans, engines * slots)
    return {"engines": engines, "slots": slots, "way": way, "requests": len(spans),
            "shards_at_once": at_once, "busy_share": until, "busy_share_whole": whole}  # fmt: skip


def busy(options: argparse.Namespace) -> dict[str, Any]:
    """Both ways at every number of engines; `busy_share` is the worst of the new one."""
    from raytune_agents.config import ResourcesConfig
    from raytune_agents.infra import cluster

    cluster.connect(ResourcesConfig())
    plays = []
    for engines in options.engines:
        for card, slots in CARDS.items():
            for way, waves in (("new", WAVES), ("old", WAVES // 3)):
                plays.append({"card": card} | play(engines, slots, way, waves))
                print(json.dumps(plays[-1]), flush=True)
    cluster.disconnect()
    shares = {w: [p["busy_share"] for p in plays if p["way"] == w] for w in ("new", "old")}
    return {"busy_share": min(shares["new"]), "busy_share_old": min(shares["old"]), "plays": plays}


def ray_data_llm(options: argparse.Namespace) -> dict[str, Pass]:
    """ray.data.llm's processor with the same engine options and its own defaults elsewhere. Its
    engine lives as long as a data set: the chats of a pass wait for a file (`go`) behind one that
    warms it up, and the clock starts with the file."""
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from raytune_agents import models
    from raytune_agents.config import EngineConfig, ModelConfig, ResourcesConfig
    from raytune_agents.inference import engine
    from raytune_agents.infra import cluster

    cluster.connect(ResourcesConfig())
    slim = {"num_cpus": 0.05}  # else its stages take all CPUs and it hangs on two cores
    config = vLLMEngineProcessorConfig(
        model_source=str(models.resolve(ModelConfig())), batch_size=options.shard, concurrency=1,
        log_engine_metrics=False,
        engine_kwargs={"max_model_len": MAX_LEN, "enforce_eager": True, "dtype": options.dtype,
                       "enable_chunked_prefill": False, "enable_prefix_caching": True,
                       "seed": SEED},
        runtime_env={"env_vars": engine.environment(EngineConfig(), os.cpu_count() or 1, False)},
        placement_group_config={"bundles": [{"CPU": 1}]},
        chat_template_stage=slim, tokenize_stage=slim, detokenize_stage=slim,
    )  # fmt: skip

    def once() -> dict[str, Any]:
        go = Path(tempfile.mkdtemp(), "go")

        def ready(row: dict[str, Any]) -> dict[str, Any]:
            while not row["first"] and not go.exists():
                time.sleep(0.02)
            params = {"max_tokens": row["limit"], "temperature": 0.0}
            return {"messages": row["chat"], "first": row["first"], "sampling_params": params}

        processor = build_processor(
            config, preprocess=ready,
            postprocess=lambda row: {"tokens": row["num_generated_tokens"], "first": row["first"]},
            # One at a time: several that wait would take the CPUs of the stages behind them.
            preprocess_map_kwargs=slim | {"concurrency": 1}, postprocess_map_kwargs=slim,
        )  # fmt: skip
        chats, warm = questions(options.prompts), options.shard
        limits = answer_limits(len(chats), options.tokens)
        items = [{"chat": c, "limit": 8, "first": True} for c in chats[:warm]]
        items += [{"chat": c, "limit": n, "first": False} for c, n in zip(chats, limits)]
        blocks = ray.data.from_items(items, override_num_blocks=-(-len(items) // warm))
        # While rows wait, the last stage is given no task: what is answered cannot open the gate.
        threading.Timer(STARTED_S, go.touch).start()
        tokens = sum(0 if r["first"] else r["tokens"] for r in processor(blocks).iter_rows())
        began = go.stat().st_mtime
        seconds = time.time() - began
        return {"tokens": tokens, "seconds": seconds, "tokens_per_s": tokens / seconds}

    return {"answers": once}


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens per second of all three, in turns."""
    makers = {"bare_vllm": bare, "ours": ours, "ray_data_llm": ray_data_llm}
    rivals = {name: Contender(make, options) for name, make in makers.items()}
    rounds = []
    for _ in range(options.rounds):
        rounds.append({name: rival.run("answers") for name, rival in rivals.items()})
        print(json.dumps(rounds[-1]), flush=True)
    found: dict[str, Any] = {n: {"tokens_per_s": speeds([r[n] for r in rounds])} for n in rivals}
    for name, rival in rivals.items():
        found[name] |= {"reason": rival.failed} if rival.failed else {}
        rival.stop()
    for name in ("bare_vllm", "ray_data_llm"):
        pairs = [(r["ours"], r[name]) for r in rounds if r["ours"] and r[name]]
        each = [round(a["tokens_per_s"] / b["tokens_per_s"], 3) for a, b in pairs]
        found[f"ratio_{name}"] = round(median(each), 3) if each else None
        found[f"ratios_{name}"] = each
    return found | {"prompts": options.prompts, "mean_tokens": options.tokens,
                    "rows_of_a_shard": options.shard, "dtype": options.dtype}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["busy", "speed"])
    parser.add_argument("--engines", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=32, help="mean length of an answer")
    parser.add_argument("--shard", type=int, default=128)
    parser.add_argument("--other-shards", type=int, nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--timeout-s", type=float, default=300, help="longest wait for one pass")
    options = parser.parse_args()
    target = HERE / "results" / "engine_load.json"
    result = read_json(target) if target.exists() else {"benchmark": "engine_load"}
    for name, part in (("busy", busy), ("speed", speed)):
        if options.only in (None, name):
            stamp = {"hardware": hardware(), "versions": versions(), "revision": commit()}
            result |= part(options) | {f"{name}_on": stamp}
    result["command"] = "python benchmarks/bench_engine_load.py"
    write_json(target, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
