"""General ability: a small lm-eval run of every arm, so that tuning is not paid for elsewhere.

lm-eval (EleutherAI's evaluation harness) is an extra: `pip install lm-eval`. It runs in a process
of its own with the interpreter that LM_EVAL_PYTHON names, else with ours, after the engine has
answered, and loads the model with transformers: this is the one place where an arm is loaded
beside the engine. Questions are paired with the base's by their number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from raytune_agents.config import ConfigError, GeneralConfig
from raytune_agents.evaluate.baselines import Arm
from raytune_agents.evaluate.measured import Lines, Measured

SPLIT = "general"
INSTALL = "pip install lm-eval, or set LM_EVAL_PYTHON to an interpreter that has it"

# Runs in the other interpreter: options on stdin, {TASK/question: {TASK.METRIC: value}} in a file.
_WORKER = """
import json, sys
given = json.load(sys.stdin)
import lm_eval
from lm_eval.tasks import TaskManager
more = {"include_path": given["include_path"]} if given["include_path"] else {}
done = lm_eval.simple_evaluate(
    model="hf", model_args=given["model_args"], tasks=given["tasks"], limit=given["limit"],
    num_fewshot=given["fewshot"], device=given["device"], batch_size=4, log_samples=True,
    bootstrap_iters=0, task_manager=TaskManager(**more), random_seed=given["seed"],
    numpy_random_seed=given["seed"], torch_random_seed=given["seed"],
    fewshot_random_seed=given["seed"])
out = {}
for task, samples in done["samples"].items():
    for sample in samples:
        for metric in sample["metrics"]:
            value = sample[metric]
            if isinstance(value, (int, float)):
                row = out.setdefault(f"{task}/{sample['doc_id']}", {})
                row[f"{task}.{metric}"] = float(value)
json.dump(out, open(sys.argv[1], "w"))
"""


def python() -> str:
    """The interpreter that runs lm-eval."""
    return os.environ.get("LM_EVAL_PYTHON", sys.executable)


@cache
def has_lm_eval(interpreter: str) -> bool:
    """Whether that interpreter has lm-eval."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('lm_eval') is None)"
    try:
        done = subprocess.run([interpreter, "-c", code], capture_output=True, timeout=120)
    except OSError:
        return False
    return done.returncode == 0


def check_lm_eval(config: GeneralConfig) -> None:
    """Raises ConfigError where tasks are named and lm-eval, or their folder, is not there."""
    if not config.tasks:
        return
    if not has_lm_eval(python()):
        raise ConfigError(
            f"evaluate.general.tasks={config.tasks} needs the package lm-eval, which {python()} "
            f"does not have; {INSTALL}; or write evaluate.general.tasks=[]"
        )
    if config.include_path and not Path(config.include_path).is_dir():
        raise ConfigError(
            f"evaluate.general.include_path={config.include_path!r}: no such folder; write one"
        )


def model_args(model: Path, adapter: str, dtype: str) -> str:
    """How lm-eval's `hf` model is told what to load; full weights stand in for the base."""
    kind = "bfloat16" if dtype == "auto" else dtype
    if not adapter:
        return f"pretrained={model},dtype={kind}"
    # Full weights have no such file.
    if (Path(adapter) / "adapter_config.json").is_file():
        return f"pretrained={model},peft={adapter},dtype={kind}"
    return f"pretrained={adapter},tokenizer={model},dtype={kind}"


def run_lm_eval(
    model: Path, dtype: str, arm: Arm, config: GeneralConfig, seed: int, gpu: bool
) -> Lines:
    """One line of general.parquet per question: {TASK.METRIC: value}. Raises ConfigError with the
    last thing that lm-eval said."""
    with tempfile.TemporaryDirectory(prefix="lm-eval-") as work:
        target = Path(work) / "samples.json"
        options = config.model_dump(include={"tasks", "limit", "fewshot"}) | {
            "model_args": model_args(model, arm.adapter, dtype),
            "include_path": config.include_path and str(Path(config.include_path).resolve()),
            "device": "cuda" if gpu else "cpu",
            "seed": seed,
        }
        try:
            done = subprocess.run(
                [python(), "-c", _WORKER, str(target)],
                input=json.dumps(options),
                capture_output=True,
                text=True,
                timeout=config.timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise ConfigError(
                f"evaluate.general: arm {arm.name} took more than {config.timeout_s:.0f} s; write "
                "a smaller evaluate.general.limit or a larger timeout_s"
            ) from None
        if done.returncode or not target.is_file():
            errors = done.stderr.strip().splitlines() or ["no message"]
            # Warnings may follow the error.
            last = next((line for line in reversed(errors) if "Error" in line), errors[-1])
            raise ConfigError(f"evaluate.general.tasks={config.tasks}: lm-eval said: {last}")
        found = json.loads(target.read_text(encoding="utf-8"))
    return ability_lines(arm.name, found)


def ability_lines(arm: str, found: dict[str, dict[str, float]]) -> Lines:
    """{TASK/question: {TASK.METRIC: value}} -> one line per question, with every column: a Parquet
    file has one schema."""
    columns = dict.fromkeys(name for values in found.values() for name in values)
    return [
        {"arm": arm, "split": SPLIT, "id": key, "failed": ""} | columns | values
        for key, values in found.items()
    ]


def ability_rows(lines: Lines) -> list[Measured]:
    """{TASK.METRIC: value} of every question."""
    columns = dict.fromkeys(k for x in lines for k in x)
    names = [k for k in columns if k not in ("arm", "split", "id", "failed")]
    return [Measured.of_columns(x, names) for x in lines]
