"""Comparisons a second of our BFCL comparison, beside the official checker; one warm engine.

    python benchmarks/bench_evaluation.py --python bfcl-venv/bin/python
    python benchmarks/bench_evaluation.py --run runs/demo --rows 64

Scoring: all probes of all Python rows of BFCL, in CPU seconds, the fastest of several passes on
both sides. Both get calls as a model's tool calls come, with arguments as JSON text;
`official_check_per_s_core` is the official loop without that decoding. Without an interpreter that
can import the official checker the ratio is null and `reason` says why.

Engine (`--run`, a finished run): its base and arms answer the same test rows, in wall seconds from
nothing to the last answer, on one engine for all against an engine started for each;
`ratio_engine_each` is the second over the first. Ray runs before either starts.

Prints one JSON object on the last line and writes benchmarks/results/evaluation.json; figures of
the part that was not measured keep their earlier values and stamp.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bfcl_probes import official_label, probes

from raytune_agents import runs
from raytune_agents.calls import compare, judge, render_calls
from raytune_agents.evaluate.bfcl_official import (
    OfficialError,
    OfficialJob,
    decoded,
    official_verdicts,
    raw_rows,
)
from raytune_agents.evaluate.scoring import score_answer
from raytune_agents.readers import bfcl

HERE = Path(__file__).parent
MEASURED = (
    *("calls", "evaluate/bfcl_official.py", "evaluate/metrics.py"),
    *("readers/bfcl.py", "records.py"),
)
ENGINE = (
    *("inference/engine.py", "evaluate", "models.py"),
    *("pipeline/answering.py", "pipeline/evaluate.py"),
)


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True)
    return done.stdout.strip()


# Runs in the official checker's interpreter, as the worker of `bfcl_official` does.
TIMED = """
import json, sys, time
jobs = json.loads(sys.stdin.read())
out, sys.stdout = sys.stdout, sys.stderr
from bfcl_eval.constants.enums import Language
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING
from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker
model = next(k for k, v in MODEL_CONFIG_MAPPING.items() if not v.underscore_to_dot and "_" not in k)
def seconds(text):
    start = time.process_time()
    for job in jobs:
        # arguments come as text from a model, and are decoded as the package's handlers do it
        calls = [{n: json.loads(a)} for n, a in job["text"]] if text else job["calls"]
        try:
            ast_checker(job["function"], calls, job["answer"], Language.PYTHON, job["category"],
                        model)
        except Exception:
            pass
    return time.process_time() - start
for job in jobs:
    job["text"] = [[n, json.dumps(a)] for call in job["calls"] for n, a in call.items()]
passes = range(int(sys.argv[1]))
json.dump({"text": min(seconds(True) for _ in passes),
           "decoded": min(seconds(False) for _ in passes)}, out)
"""


def hardware() -> dict[str, Any]:
    return runs.hardware() | {"python": platform.python_version()}


def fastest(work: Callable[[], Any], passes: int) -> float:
    """CPU seconds of the fastest pass."""
    seconds = []
    for _ in range(passes):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def official_seconds(jobs: list[OfficialJob], python: str, passes: int) -> dict[str, float]:
    """CPU seconds of the fastest loop of the official checker, without imports: from argument text
    to verdict, and from decoded arguments."""
    given = json.dumps([asdict(job) for job in jobs])
    done = subprocess.run([python, "-c", TIMED, str(passes)], input=given, capture_output=True,
                          text=True, check=True)  # fmt: skip
    return json.loads(done.stdout)


def scoring(python: str, passes: int) -> dict[str, Any]:
    """Figures of the comparison alone and against the official checker's loop."""
    rows = [(category, raw, bfcl.read(raw)) for category, raw in raw_rows()]
    cases = [(category, raw, row, json.loads(row.gold), calls)
             for category, raw, row in rows for _, calls in probes(row, 1)]  # fmt: skip
    texts = [(render_calls(calls), row) for _, _, row, _, calls in cases]
    compared = fastest(lambda: [compare(c, g, r.tools) for _, _, r, g, c in cases], passes)
    judged = fastest(lambda: [judge(text, row) for text, row in texts], passes)
    scored = fastest(lambda: [score_answer(text, row) for text, row in texts], 2)
    result: dict[str, Any] = {
        "comparisons": len(cases), "passes": passes,
        "comparisons_per_s_core": round(len(cases) / compared),
        "answers_judged_per_s_core": round(len(cases) / judged),
        "answers_scored_per_s_core": round(len(cases) / scored),
        "ratio_official_checker": None, "official_per_s_core": None,
        "official_check_per_s_core": None,
        "parity_verdicts": None, "parity_disagreements": None,
    }  # fmt: skip
    jobs = [OfficialJob(category, raw["function"], raw["ground_truth"], decoded(calls))
            for category, raw, _, _, calls in cases]  # fmt: skip
    try:
        official, seconds = official_verdicts(jobs, python), official_seconds(jobs, python, passes)
    except OfficialError as error:
        return result | {"reason": str(error)}
    ours = [compare(c, g, r.tools) for _, _, r, g, c in cases]
    pairs = zip(ours, official)
    return result | {
        "ratio_official_checker": round(seconds["text"] / compared, 3),
        "official_per_s_core": round(len(jobs) / seconds["text"]),
        "official_check_per_s_core": round(len(jobs) / seconds["decoded"]),
        "parity_verdicts": len(jobs),
        "parity_disagreements": sum(
            (v.ok, v.error) != (ok, official_label(e)) for v, (ok, e) in pairs
        ),
    }


def engines(run: Path, count: int) -> dict[str, Any]:
    """Wall seconds of all arms on one engine, and on an engine started for each."""
    import ray

    from raytune_agents.config import Config
    from raytune_agents.evaluate.harness import Asker, answer_shard, with_answer_limit
    from raytune_agents.inference import client, engine
    from raytune_agents.pipeline.context import Context
    from raytune_agents.pipeline.evaluate import arms_of
    from raytune_agents.pipeline.shards import cut
    from raytune_agents.progress import Display
    from raytune_agents.storage import read_rows

    config = Config.model_validate_json((run / "config.json").read_text())
    config = config.model_copy(update={"runs_dir": str(run.parent), "name": run.name})
    context = Context(config, Display())
    tests = (r for r in read_rows(run / "read") if r.split.startswith("test"))
    rows = sorted((r for r in tests if not r.reject_reason), key=lambda r: r.id)[:count]
    arms = arms_of(config, run)
    context.chat.prompt_ids(rows[0])  # the tokenizer loads before the clock starts
    have = context.resources
    options = with_answer_limit(rows, context.chat, config.evaluate, config.engine)

    def ask(arm: Any) -> None:
        for part in cut(rows, options.shard_rows):
            answer_shard(part, Asker.of(arm, context.chat, options, config.engine))

    def start() -> float:
        began = time.perf_counter()
        context.engine, _ = engine.start_engines(context.model, config.model.dtype, config.engine,
                     cpus=have.cpus, gpus=have.gpus, seed=config.seed)  # fmt: skip
        return time.perf_counter() - began

    def stop() -> None:
        client.stop()
        context.engine = None
        while True:  # the name is free once the actor is gone
            try:
                ray.get_actor(client.ACTOR)
            except ValueError:
                return
            time.sleep(0.05)

    starts, walls = [], {}
    for name, groups in (("one", [arms]), ("each", [[arm] for arm in arms])):
        began = time.perf_counter()
        for group in groups:
            starts.append(start())
            for arm in group:
                ask(arm)
            stop()
        walls[name] = time.perf_counter() - began
    return {
        "ratio_engine_each": round(walls["each"] / walls["one"], 3),
        "engine_one_s": round(walls["one"], 1),
        "engine_each_s": round(walls["each"], 1),
        "engine_start_s": [round(s, 1) for s in starts],
        "engine_rows": len(rows), "engine_arms": len(arms),
        "engine_max_tokens": options.max_tokens, "engine_shard_rows": options.shard_rows,
        "engine_dtype": config.model.dtype,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=os.environ.get("BFCL_PYTHON", sys.executable),
                        help="interpreter that can import bfcl_eval")  # fmt: skip
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--run", type=Path, help="a finished run: measure the engine instead")
    parser.add_argument("--rows", type=int, default=300, help="test rows that every arm answers")
    options = parser.parse_args()

    target = HERE / "results" / "evaluation.json"
    known = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else {}
    part, paths = ("engine", ENGINE) if options.run else ("scoring", MEASURED)
    if options.run:
        found = engines(options.run.resolve(), options.rows)
    else:
        known.pop("reason", None)
        found = scoring(options.python, options.passes)
    changed = git("status", "--porcelain", "--", *(f"../raytune_agents/{m}" for m in paths))
    stamp = {"revision": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    result = {"benchmark": "evaluation"} | known | found | {"hardware": hardware()} | stamp
    result[f"{part}_stamp"] = stamp | {"command": "python benchmarks/bench_evaluation.py"
                                       + (" --run RUN" if options.run else "")}  # fmt: skip
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
