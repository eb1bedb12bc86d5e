"""Tokens per second through our engine path, beside bare vLLM.

    python benchmarks/bench_generation.py --prompts 256 --tokens 64

Every contender lives in a process of its own and answers the same prompts greedily, first a quarter
of them as a warm-up. Bare vLLM and our path then take turns, pass by pass, so that a machine that
is faster for a minute is faster for both; `ratio_bare_vllm` is the median of the rounds' ratios.
`ours` goes the way of the generate step: a Ray Data stream of shards that ask the one engine actor.
The catalogue lines compare prompts that share one tool catalogue at their start with prompts whose
catalogues differ from the first token. Prints one JSON object on the last line and writes
benchmarks/results/generation.json. With `--run` the engine starts are those of a whole run.
"""

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from raytune_agents.config import EngineConfig, GenerateConfig, ModelConfig
from raytune_agents.runs import commit, hardware, versions

HERE = Path(__file__).parent
MAX_LEN, SEED = 1024, 17
CATALOGUE_PROMPTS, CATALOGUE_TOKENS = 32, 16
Pass = Callable[[], dict[str, Any]]  # one timed pass: {"tokens", "seconds", "tokens_per_s"}


def questions(count: int) -> list[list[dict[str, str]]]:
    """Chats of different lengths that a small model answers at length."""
    asks = ["Describe how {} is made.", "Write a short story about {} and a river.",
            "List reasons to like {}.", "Explain {} to a child, step by step."]  # fmt: skip
    things = ["bread", "glass", "paper", "a violin", "cheese", "a bridge", "steel", "honey"]
    texts = [f"{asks[i % 4].format(things[i // 4 % 8])} Note {i}." for i in range(count)]
    return [[{"role": "user", "content": text}] for text in texts]


def answer_limits(count: int, mean: int) -> list[int]:
    """The most tokens of each answer, lognormal (sigma 0.7) around a mean, the same for all."""
    draw = random.Random(SEED)
    limits = [mean * draw.lognormvariate(-0.245, 0.7) for _ in range(count)]
    return [max(1, min(4 * mean, round(n))) for n in limits]


def timed(work: Callable[[list], int], prompts: list) -> dict[str, Any]:
    """One pass over the prompts."""
    start = time.perf_counter()
    tokens = work(prompts)
    seconds = time.perf_counter() - start
    return {"tokens": tokens, "seconds": seconds, "tokens_per_s": tokens / seconds}


def warm(work: Callable[[list], int], prompts: list) -> Pass:
    """The timed pass of work that has seen a quarter of the prompts."""
    work(prompts[: max(1, len(prompts) // 4)])
    return partial(timed, work, prompts)


def bare(options: argparse.Namespace) -> dict[str, Pass]:
    """vllm.LLM.chat in this process, with the options of our engine."""
    from raytune_agents import models
    from raytune_agents.inference import engine

    os.environ.update(engine.environment(EngineConfig(), os.cpu_count() or 1, gpu=False))
    from vllm import LLM, SamplingParams

    llm = LLM(str(models.resolve(ModelConfig())), dtype=options.dtype, seed=SEED,
              max_model_len=MAX_LEN, enforce_eager=True, enable_chunked_prefill=False,
              enable_prefix_caching=True)  # fmt: skip
    def work(chats: list) -> int:
        llm.reset_prefix_cache()
        limits = answer_limits(len(chats), options.tokens)
        params = [SamplingParams(max_tokens=n, temperature=0.0) for n in limits]
        outputs = llm.chat(chats, params, use_tqdm=False)
        return sum(len(o.outputs[0].token_ids) for o in outputs)

    return {"answers": warm(work, questions(options.prompts))}


def ours(options: argparse.Namespace) -> dict[str, Pass]:
    """Shards as a Ray Data stream; each asks the engine actor, as the generate step does."""
    from transformers import AutoTokenizer

    from raytune_agents.config import build_config
    from raytune_agents.inference import client
    from raytune_agents.pipeline.context import Context
    from raytune_agents.pipeline.shards import ShardReport, cut, map_shards
    from raytune_agents.progress import Display

    tree = {"runs_dir": tempfile.mkdtemp(), "seed": SEED, "model": {"dtype": options.dtype},
            "engine": {"max_model_len": MAX_LEN}}  # fmt: skip
    context = Context(build_config(tree), Display())
    context.start_engine()
    tokenizer = AutoTokenizer.from_pretrained(context.model)
    log = context.run.folder / "engine_starts.log"

    def through(size: int, tokens: int) -> Callable[[list], int]:
        def work(chats: list) -> int:
            forget(context.engine)
            asked = list(zip(chats, answer_limits(len(chats), tokens)))
            parts = dict(enumerate(cut(asked, size)))

            def ask(number: int, part: list) -> ShardReport:
                # the same prompt text as the others: the model's own template, no tools
                how = {"add_generation_prompt": True, "return_dict": False}
                prompts = [tokenizer.apply_chat_template(c, **how) for c, _ in part]
                replies = client.ask(prompts, [client.Sampling(n) for _, n in part])
                return ShardReport(tokens=sum(sum(r.output_tokens) for r in replies))

            return sum(report.tokens for _, report in map_shards(context, "bench", parts, ask))

        return work

    chats, few = questions(options.prompts), CATALOGUE_PROMPTS
    passes = {"answers": warm(through(options.shard, options.tokens), chats)}
    for size in options.other_shards:
        passes[f"shards_of_{size}"] = partial(timed, through(size, options.tokens), chats)
    for name, shared in (("shared_catalogue", True), ("own_catalogues", False)):
        work, asked = through(few, CATALOGUE_TOKENS), catalogue(few, shared)
        passes[name] = partial(timed, work, asked)
    return passes | {"engine_starts": lambda: len(log.read_text().splitlines())}


def forget(handles: list[Any]) -> None:
    """Empty the engine's prefix cache, so that a second pass is not faster for it."""
    import ray

    reset = [h.__ray_call__.remote(lambda e: e.llm.core.reset_prefix_cache()) for h in handles]
    ray.get(reset)


def catalogue(count: int, shared: bool) -> list[list[dict[str, str]]]:
    """Requests below a catalogue of all shipped agents' tools, the same or one of their own."""
    from raytune_agents import agents

    tools = [t for n in agents.shipped() for t in agents.load_spec(n).toolspecs]
    text = "\n".join(f"{t.name}: {t.description}" for t in tools)
    return [
        [
            {"role": "system", "content": f"Catalogue {0 if shared else i}.\n{text}"},
            {"role": "user", "content": f"Which tool fits task {i}?"},
        ]
        for i in range(count)
    ]


Maker = Callable[[argparse.Namespace], dict[str, Any]]


def serve(pipe: Any, make: Maker, options: argparse.Namespace) -> None:
    """The life of a contender's process: get ready, then one pass for each name that comes."""
    try:
        passes = make(options)
        pipe.send(sorted(passes))
        for wanted in iter(pipe.recv, ""):
            pipe.send(passes[wanted]())
    except Exception:
        pipe.send({"reason": traceback.format_exc()[-300:]})


class Contender:
    """A contender's process; `failed` says why it has no figures any more."""

    def __init__(self, make: Maker, options: argparse.Namespace):
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.timeout_s, self.failed = options.timeout_s, ""
        self.process = spawn.Process(target=serve, args=(theirs, make, options))
        self.process.start()
        theirs.close()
        self.passes = self.heard()

    def heard(self) -> Any:
        """What the process says next; None where it failed or says nothing for too long."""
        try:
            said = self.pipe.recv() if self.pipe.poll(self.timeout_s) else None
        except EOFError:
            said = {"reason": "its process ended"}
        if said is None:
            said = {"reason": f"not done after {self.timeout_s:.0f} s"}
        if isinstance(said, dict) and "reason" in said:
            self.failed, said = said["reason"], None
        return said

    def run(self, name: str) -> Any:
        """One pass, or None."""
        if self.failed:
            return None
        self.pipe.send(name)
        return self.heard()

    def stop(self) -> None:
        if not self.failed:
            self.pipe.send("")
        self.process.join(20)
        self.process.kill()


def speeds(passes: list[dict[str, Any] | None]) -> list[float]:
    return [round(p["tokens_per_s"], 1) for p in passes if p]


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of both."""
    rivals = {"bare": Contender(bare, options), "ours": Contender(ours, options)}
    rounds = [{n: c.run("answers") for n, c in rivals.items()} for _ in range(options.rounds)]
    found = {name: {"tokens_per_s": speeds([r[name] for r in rounds])} for name in rivals}
    mine = rivals["ours"]
    for name in mine.passes or ():
        if name not in ("answers", "engine_starts"):
            twice = speeds([mine.run(name) for _ in range(2)])
            found["ours"][name] = max(twice, default=None)
    found["engine_starts"] = mine.run("engine_starts")
    for name, contender in rivals.items():
        found[name] |= {"reason": contender.failed} if contender.failed else {}
        contender.stop()
    return found | ratios(found)


def ratios(found: dict[str, Any]) -> dict[str, Any]:
    """What the figures say; None where one is missing."""
    mine = found["ours"]["tokens_per_s"]
    shared, apart = (found["ours"].get(k) for k in ("shared_catalogue", "own_catalogues"))
    rounds = [round(a / b, 3) for a, b in zip(mine, found["bare"]["tokens_per_s"])]
    return {
        "ratio_bare_vllm": round(median(rounds), 3) if rounds else None,
        "ratios_bare_vllm": rounds,
        "ratio_shared_catalogue": round(shared / apart, 3) if shared and apart else None,
    }


def whole_run(folder: Path) -> dict[str, Any]:
    """Engine starts of a finished run, and the steps and models that it shared them among."""
    done = sorted(path.parent.name for path in folder.glob("*/manifest.json"))
    starts = len((folder / "engine_starts.log").read_text().splitlines())
    arms = json.loads((folder / "evaluate" / "scores.json").read_text())
    return {"engine_starts": starts, "engine_steps": done, "engine_answered_for": sorted(arms)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--shard", type=int, default=GenerateConfig().shard_rows,
                        help="rows of a shard, and of a batch")  # fmt: skip
    parser.add_argument("--other-shards", type=int, nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--run", type=Path, help="a finished run: its engine starts are counted")
    parser.add_argument("--timeout-s", type=float, default=400, help="longest wait for one pass")
    options = parser.parse_args()
    whole = whole_run(options.run) if options.run else {}
    stamp = {"hardware": hardware(), "versions": versions(), "revision": commit(),
             "command": "python benchmarks/bench_generation.py"}  # fmt: skip
    sizes = {"benchmark": "generation", "prompts": options.prompts, "tokens_each": options.tokens,
             "rows_of_a_shard": options.shard, "dtype": options.dtype}  # fmt: skip
    (HERE / "results").mkdir(exist_ok=True)
    result = sizes | measured(options) | whole | stamp
    target = HERE / "results" / "generation.json"
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
