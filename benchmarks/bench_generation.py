"""Tokens a second through our engine path, beside bare vLLM and ray.data.llm as it comes.

    python benchmarks/bench_generation.py --prompts 128 --tokens 64

Each contender answers the same prompts greedily in a process of its own, after a warm-up, in two
passes of which the faster counts; start-up is not timed. `ours` goes the way of the generate step:
a Ray Data stream of shards that ask the one engine actor. The catalogue lines compare prompts that
share one tool catalogue at their start with prompts whose catalogues differ from the first token.
Prints one JSON object on the last line and writes benchmarks/results/generation.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from raytune_agents.config import EngineSection, ModelSection
from raytune_agents.runs import commit, hardware, versions

HERE = Path(__file__).parent
MAX_LEN, SEED = 1024, 17
CATALOGUE_PROMPTS, CATALOGUE_TOKENS = 32, 16


def questions(count: int) -> list[list[dict[str, str]]]:
    """Chats of different lengths that a small model answers at length."""
    asks = ["Describe how {} is made.", "Write a short story about {} and a river.",
            "List reasons to like {}.", "Explain {} to a child, step by step."]  # fmt: skip
    things = ["bread", "glass", "paper", "a violin", "cheese", "a bridge", "steel", "honey"]
    texts = [f"{asks[i % 4].format(things[i // 4 % 8])} Note {i}." for i in range(count)]
    return [[{"role": "user", "content": text}] for text in texts]


def timed(work, prompts: list) -> dict[str, Any]:
    """The faster of two passes over all prompts after a warm-up pass over a quarter."""
    work(prompts[: max(1, len(prompts) // 4)])
    best: dict[str, Any] = {}
    for _ in range(2):
        start = time.perf_counter()
        tokens = work(prompts)
        seconds = time.perf_counter() - start
        if not best or tokens / seconds > best["tokens_per_s"]:
            best = {"tokens_per_s": tokens / seconds, "tokens": tokens, "seconds": seconds}
    return best


def bare(options: argparse.Namespace) -> dict[str, Any]:
    """vllm.LLM.chat in this process, with the options of our engine."""
    from raytune_agents import engine, models

    os.environ.update(engine.environment(EngineSection(), os.cpu_count()))
    from vllm import LLM, SamplingParams

    llm = LLM(str(models.resolve(ModelSection())), dtype=options.dtype, seed=SEED,
              max_model_len=MAX_LEN, max_num_batched_tokens=2048, enforce_eager=True,
              enable_chunked_prefill=False, enable_prefix_caching=True)  # fmt: skip
    params = SamplingParams(max_tokens=options.tokens, temperature=0.0)

    def work(chats: list) -> int:
        llm.reset_prefix_cache()
        outputs = llm.chat(chats, params, use_tqdm=False)
        return sum(len(o.outputs[0].token_ids) for o in outputs)

    return timed(work, questions(options.prompts))


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """Shards as a Ray Data stream; each asks the engine actor, as the generate step does."""
    from raytune_agents.chat import Chat
    from raytune_agents.config import build
    from raytune_agents.engine import Sampling
    from raytune_agents.generate.stream import Voice
    from raytune_agents.pipeline import Context
    from raytune_agents.progress import Display

    tree = {"runs_dir": tempfile.mkdtemp(), "seed": SEED, "model": {"dtype": options.dtype},
            "engine": {"max_model_len": MAX_LEN}}  # fmt: skip
    context = Context(build(tree), Display())
    context.start_engine()
    # the same prompt text as the others: the model's own template, no tools
    chat = Chat(context.model, template="native")
    voice = Voice(chat, context.config.engine)
    log = context.run.folder / "engine_starts.log"

    def through(size: int, tokens: int, fresh: bool = True):
        sampling = Sampling(tokens)

        def work(chats: list) -> int:
            if fresh:
                forget(context.engine)
            parts = [chats[i : i + size] for i in range(0, len(chats), size)]

            def ask(k: int) -> dict[str, Any]:
                replies = voice.ask(parts[k], [sampling] * len(parts[k]))
                return {"tokens": sum(sum(r.output_tokens) for r in replies)}

            done = context.map_shards("bench", list(range(len(parts))), ask, size)
            return sum(d["tokens"] for d in done)

        return work

    found = timed(through(options.shard, options.tokens), questions(options.prompts))
    small = timed(through(32, options.tokens), questions(options.prompts))
    found["shards_of_32"] = small["tokens_per_s"]
    for name, shared in (("shared_catalogue", True), ("own_catalogues", False)):
        found[name] = timed(
            through(CATALOGUE_PROMPTS, CATALOGUE_TOKENS), catalogue(CATALOGUE_PROMPTS, shared)
        )["tokens_per_s"]
    return found | {"engine_starts": len(log.read_text().splitlines())}


def forget(handle: Any) -> None:
    """Empty the engine's prefix cache, so that a second pass is not faster for it."""
    import ray

    ray.get(handle.__ray_call__.remote(lambda self: self.llm.reset_prefix_cache()))


def catalogue(count: int, shared: bool) -> list[list[dict[str, str]]]:
    """Requests below a catalogue of all shipped agents' tools, the same or one of their own."""
    from raytune_agents import agents

    tools = [t for n in agents.shipped() for t in agents.load(n).toolspecs]
    text = "\n".join(f"{t.name}: {t.description}" for t in tools)
    return [
        [
            {"role": "system", "content": f"Catalogue {0 if shared else i}.\n{text}"},
            {"role": "user", "content": f"Which tool fits task {i}?"},
        ]
        for i in range(count)
    ]


def ray_data_llm(options: argparse.Namespace) -> dict[str, Any]:
    """ray.data.llm's processor with the same engine options and its own defaults elsewhere."""
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from raytune_agents import cluster, engine, models
    from raytune_agents.config import ResourcesSection

    cluster.connect(ResourcesSection())
    slim = {"num_cpus": 0.1}  # else its stages take all CPUs and it hangs on two cores
    config = vLLMEngineProcessorConfig(
        model_source=str(models.resolve(ModelSection())), batch_size=options.shard, concurrency=1,
        log_engine_metrics=False,
        engine_kwargs={"max_model_len": MAX_LEN, "enforce_eager": True, "dtype": options.dtype,
                       "max_num_batched_tokens": 2048, "seed": SEED},
        runtime_env={"env_vars": engine.environment(EngineSection(), os.cpu_count())},
        placement_group_config={"bundles": [{"CPU": 1}]},
        chat_template_stage=slim, tokenize_stage=slim, detokenize_stage=slim,
    )  # fmt: skip
    params = {"max_tokens": options.tokens, "temperature": 0.0}
    processor = build_processor(
        config,
        preprocess=lambda row: {"messages": row["chat"], "sampling_params": params},
        postprocess=lambda row: {"tokens": row["num_generated_tokens"]},
        preprocess_map_kwargs=slim, postprocess_map_kwargs=slim,
    )  # fmt: skip
    every = [{"chat": chat} for chat in questions(options.prompts + options.shard)]
    chats, warm = every[: options.prompts], every[options.prompts :]
    # its actors end with the data set, so the warm-up has to be a part of the stream: the clock
    # starts when the first batch is out
    begun, tokens, last = 0.0, 0, 0.0
    rows = processor(ray.data.from_items([*warm, *chats], override_num_blocks=4)).iter_rows()
    for i, row in enumerate(rows):
        last = time.perf_counter()
        if i == len(warm) - 1:
            begun = last
        elif i >= len(warm):
            tokens += row["tokens"]
    cluster.disconnect()
    return {"tokens_per_s": tokens / (last - begun), "tokens": tokens, "seconds": last - begun}


PHASES = {"bare": bare, "ours": ours, "ray_data_llm": ray_data_llm}


def in_own_process(phase: str, options: argparse.Namespace) -> dict[str, Any]:
    """One contender in a process of its own; {"reason": ...} where it fails."""
    words = [sys.executable, __file__, "--phase", phase, "--prompts", str(options.prompts),
             "--tokens", str(options.tokens), "--shard", str(options.shard),
             "--dtype", options.dtype]  # fmt: skip
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=options.timeout_s)
    except subprocess.TimeoutExpired:
        return {"reason": f"not done after {options.timeout_s:.0f} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"reason": (done.stderr or done.stdout).strip()[-300:]}
    return json.loads(lines[-1])


def ratio(ours: dict[str, Any], other: dict[str, Any]) -> float | None:
    pair = ours.get("tokens_per_s"), other.get("tokens_per_s")
    return round(pair[0] / pair[1], 3) if all(pair) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--shard", type=int, default=64, help="rows of a shard, and of a batch")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--timeout-s", type=float, default=600)
    parser.add_argument("--phase", choices=list(PHASES), help="run one contender and print it")
    options = parser.parse_args()
    if options.phase:
        print(json.dumps(PHASES[options.phase](options)))
        return
    found = {phase: in_own_process(phase, options) for phase in PHASES}
    mine = found["ours"]
    result = {
        "benchmark": "generation",
        "prompts": options.prompts,
        "tokens_each": options.tokens,
        "rows_of_a_shard": options.shard,
        "dtype": options.dtype,
        "ratio_bare_vllm": ratio(mine, found["bare"]),
        "ratio_ray_data_llm": ratio(mine, found["ray_data_llm"]),
        "engine_starts": mine.get("engine_starts"),
        "contenders": found,
        "hardware": hardware(),
        "versions": versions(),
        "revision": commit(),
        "command": "python benchmarks/bench_generation.py",
    }
    (HERE / "results").mkdir(exist_ok=True)
    target = HERE / "results" / "generation.json"
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
