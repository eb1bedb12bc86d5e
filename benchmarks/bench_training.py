"""LoRA training speed: the same rows, steps and hyper-parameters by us, by a plain TRL script with
its defaults, and by llamafactory; on a CPU also with AVX2 only.

    python benchmarks/bench_training.py [--rows 24] [--rounds 2] [--llamafactory PYTHON]

Rows are BFCL calls in our chat text (prompt + answer, at most 288 tokens), 8 per step; every system
runs alone in its own process. A round runs all of them one after the other, so that what else the
machine does meets all alike; a ratio is the median of the rounds' ratios, and each round stands in
the file. tokens_per_s counts tokens without padding over the training loop (without loading).

A system is equal where its mean loss over the last half of the steps and the loss of its saved
adapter on held-out rows (scored by one scorer, fp32) are near ours; every system shuffles on its
own, so single steps differ. Peak memory is the process's (on a GPU: ours only).

share_of_limit = tokens_per_s * 4 * parameters / the rate of matrix products, measured before and
after each of our runs, of the faster of bf16 and fp32 (`matrix_dtype`): a trained token costs 2
FLOP per parameter forward and 2 for the gradient of activations (the base is frozen), times 1.5
with gradient checkpointing. On a GPU the same number is printed as MFU.

On a machine that others use (`--shared`), every system has one thread, and its processor time
counts instead of the wall's: the work of a token, whoever else works. `clock` says which it was.

`--avx2` fills the key of that name: oneDNN, MKL and ATen held to AVX2, so fp32, against TRL with
bf16=False (its default, bf16 autocast, has no instructions there and takes many times as long).

`--llamafactory` names the python of an environment of its own (pip install llamafactory; where
torchaudio has no build, an empty module of that name will do: text never calls it). Without it,
ratio_llamafactory keeps its earlier value. The last line is one JSON object, also written to
benchmarks/results/training.json; the curves are benchmarks/results/training.png.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "training.json"
FIGURE = HERE / "results" / "training.png"
MEASURED = ("models.py", "train")
SIZE = 1024  # of the matrices whose product is the limit
WALL, CPU_CLOCK = "wall", "processor time of one thread"
AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
CATEGORIES = ["simple_python", "live_simple", "multiple"]
LONGEST, BATCH_ROWS, SEED, HELD_OUT = 288, 8, 17, 16
COLOURS = {"ours": (31, 119, 180), "trl": (214, 39, 40), "llamafactory": (44, 160, 44)}


def rows_of(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    """Training rows and held-out ones, each with token columns, prompt and answer text; the
    model's folder."""
    from raytune_agents import models, readers
    from raytune_agents.chat import Chat
    from raytune_agents.config import ModelConfig, SourceConfig, TrainConfig
    from raytune_agents.records import RecordError
    from raytune_agents.train import sft

    config = ModelConfig(max_length=LONGEST)
    model = models.resolve(config)
    chat, out = Chat.of(model, config), []
    source = SourceConfig(path="bfcl", categories=CATEGORIES)
    for where, raw in readers.list_raw(source):
        for row in readers.read_row(raw, where, "bfcl"):
            try:
                column = sft.columns(row, chat, TrainConfig(), None)[0]
            except RecordError:
                continue
            start = next(i for i, label in enumerate(column["labels"]) if label != -100)
            ids = column["input_ids"]
            text = {"prompt": ids[:start], "answer": ids[start:]}
            out.append(column | {k: chat.tokenizer.decode(v) for k, v in text.items()})
    random.Random(SEED).shuffle(out)
    return out[:count], out[count : count + HELD_OUT], str(model)


def run_ours(job: dict[str, Any]) -> None:
    """Our training in this process: default options."""
    from peers.clock import Clock

    from raytune_agents.config import TrainConfig
    from raytune_agents.train import worker
    from raytune_agents.train.base_model import save
    from raytune_agents.train.column_files import write_columns
    from raytune_agents.train.job import Job

    config = TrainConfig(
        learning_rate=job["learning_rate"],
        global_batch_size=job["global_batch_size"],
        lr_scheduler_type=job["scheduler"],
        warmup_ratio=0.0,
        max_steps=job["steps"],
        save_steps=10**6,
        lora={"r": job["r"], "lora_alpha": job["alpha"]},
        report_to=[],
    )
    chat, columns = {"path": job["model"], "max_length": LONGEST}, Path(job["out"]) / "columns"
    made = Job(
        job["model"], "auto", str(columns), "sft", config, chat, job["out"], job["seed"],
        job["threads"],
    )  # fmt: skip
    spare = ("prompt", "answer")
    rows = [{k: v for k, v in r.items() if k not in spare} for r in job["rows"]]
    write_columns(columns / "rows-00000.arrow", rows)
    trainer = worker.fit(made, [Clock(job["out"] + ".clock.json")])
    save(trainer, worker_chat(chat), Path(job["out"]))
    trainer.state.save_to_json(str(Path(job["out"]) / "trainer_state.json"))


def worker_chat(arguments: dict[str, Any]) -> Any:
    from raytune_agents.chat import Chat

    return Chat(**arguments)


def llamafactory_files(job: dict[str, Any], folder: Path) -> Path:
    """Its data set, its list of data sets and its YAML."""
    import yaml

    rows = [{"instruction": r["prompt"], "input": "", "output": r["answer"]} for r in job["rows"]]
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}))
    options = {
        "model_name_or_path": job["model"],
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_target": "all",
        "lora_rank": job["r"],
        "lora_alpha": job["alpha"],
        "dataset": "rows",
        "dataset_dir": str(folder),
        "template": "empty",  # the rows are rendered text
        "cutoff_len": 512,
        "output_dir": job["out"],
        "overwrite_output_dir": True,
        "per_device_train_batch_size": job["global_batch_size"],
        "gradient_accumulation_steps": 1,
        "learning_rate": job["learning_rate"],
        "lr_scheduler_type": job["scheduler"],
        "max_steps": job["steps"],
        "seed": job["seed"],
        "bf16": True,
        "use_cpu": not gpu(),
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "trust_remote_code": False,
    }
    path = folder / "llamafactory.yaml"
    path.write_text(yaml.safe_dump(options))
    return path


def gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def measure(
    name: str, job: dict[str, Any], folder: Path, python: str, limits: dict[str, str]
) -> dict[str, Any]:
    """Run one system to the end: losses, seconds of the loop and of all, peak memory (MiB).
    `limits`: environment variables, AVX2 or none."""
    folder.mkdir(parents=True, exist_ok=True)
    job = job | {"out": str(folder / name), "bf16": not limits}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(job))
    words = {
        "ours": [sys.executable, str(HERE / "bench_training.py"), "--one", str(path)],
        "trl": [sys.executable, str(HERE / "peers" / "trl_sft.py"), str(path)],
        "llamafactory": [python, "-m", "llamafactory.cli", "train"],
    }[name]
    if name == "llamafactory":
        words.append(str(llamafactory_files(job, folder)))
    environment = os.environ | limits
    environment |= {"TOKENIZERS_PARALLELISM": "false", "DISABLE_VERSION_CHECK": "1"}
    environment |= {"OMP_NUM_THREADS": str(job["threads"])}
    if name == "llamafactory":
        environment.pop("PYTHONPATH", None)
    with (folder / f"{name}.log").open("w") as log:
        start = time.monotonic()
        child = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        tail = (folder / f"{name}.log").read_text()[-2000:]
        raise SystemExit(f"{name} failed:\n{tail}")
    history = json.loads((Path(job["out"]) / "trainer_state.json").read_text())["log_history"]
    losses = [float(x["loss"]) for x in history if "loss" in x]
    clock = Path(job["out"] + ".clock.json")
    took = json.loads(clock.read_text()) if clock.is_file() else {}
    wall = next(x["train_runtime"] for x in history if "train_runtime" in x)
    loop = took["cpu_s"] if job["clock"] == CPU_CLOCK else wall
    tokens = sum(
        len(r["input_ids"]) for r in job["rows"][: job["steps"] * job["global_batch_size"]]
    )
    found = {
        "tokens_per_s": round(tokens / loop, 1),
        "loop_s": round(wall, 2),
        "loop_cpu_s": round(took.get("cpu_s", 0.0), 2),
        "wall_s": round(time.monotonic() - start, 2),
        "peak_memory_mib": round(usage.ru_maxrss / 1024),
        "losses": losses,
        "loss_last_half": round(sum(losses[len(losses) // 2 :]) / math.ceil(len(losses) / 2), 4),
    }
    print(f"{name}: { ({k: v for k, v in found.items() if k != 'losses'}) }", flush=True)
    return found


def held_out_loss(model: str, adapter: Path, rows: list[dict[str, Any]]) -> float:
    """Mean NLL (nats) of the answer tokens of held-out rows, fp32."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from raytune_agents.train.score import teacher_forced

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    scored = teacher_forced(PeftModel.from_pretrained(base, adapter), rows, 2)
    return round(scored["val_loss"], 4)


def cpu_seconds(dtype: Any) -> float:
    """The shortest of some products; of one thread by the processor's time."""
    import torch

    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    matrix, times = torch.ones(SIZE, SIZE, dtype=dtype), []
    for _ in range(12):
        start = clock()
        matrix @ matrix
        times.append(clock() - start)
    return min(times)


def matrix_rate() -> tuple[float, str]:
    """FLOP/s of this machine's matrix products, and the dtype that is the fastest."""
    import torch

    if not gpu():
        held = os.environ.get("ONEDNN_MAX_CPU_ISA") == "AVX2"  # which has no bf16
        kinds = ("float32",) if held else ("bfloat16", "float32")
        best = {dtype: cpu_seconds(getattr(torch, dtype)) for dtype in kinds}
        dtype = min(best, key=lambda k: best[k])
        return 2 * SIZE**3 / best[dtype], dtype
    size, times = 8192, []
    matrix = torch.randn(size, size, dtype=torch.bfloat16, device="cuda")
    for _ in range(20):
        start = time.perf_counter()
        matrix @ matrix
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times), "bfloat16"


def parameters_of(model: str) -> int:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        whole = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model))
    return whole.num_parameters()


def figure(found: dict[str, dict[str, Any]]) -> None:
    """The loss curves of all systems over steps, one PNG."""
    from PIL import Image, ImageDraw

    width, height, left, top, right, bottom = 900, 520, 70, 50, 30, 60
    picture = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    steps = max(len(f["losses"]) for f in found.values())
    high = max(max(f["losses"]) for f in found.values()) * 1.05

    def point(step: int, loss: float) -> tuple[float, float]:
        x = left + (width - left - right) * (step - 1) / max(1, steps - 1)
        return x, height - bottom - (height - top - bottom) * loss / high

    draw.text((left, 16), "training loss (nats per token) by step; the same rows, shuffled by each "
              "system on its own", fill="black")  # fmt: skip
    for k in range(6):
        x, y = point(1, high * k / 5)
        draw.line([(x, y), (width - right, y)], fill=(225, 225, 225))
        draw.text((18, y - 6), f"{high * k / 5:.2f}", fill="black")
    for step in range(1, steps + 1):
        x, y = point(step, 0)
        draw.text((x - 4, y + 8), str(step), fill="black")
    draw.text((width // 2 - 20, height - 26), "step", fill="black")
    for k, (name, f) in enumerate(found.items()):
        line = [point(i, loss) for i, loss in enumerate(f["losses"], start=1)]
        draw.line(line, fill=COLOURS[name], width=3)
        words = f"{name}: {f['tokens_per_s']:.0f} tokens/s, {f['peak_memory_mib']} MiB"
        draw.text((width - 290, top + 18 * k), words, fill=COLOURS[name])
    FIGURE.parent.mkdir(exist_ok=True)
    picture.save(FIGURE)


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True)
    return done.stdout.strip()


def hardware() -> dict[str, Any]:
    from raytune_agents import runs

    found = runs.hardware() | {"python": platform.python_version()}
    if gpu():
        import torch

        found["gpu"] = torch.cuda.get_device_name()
    return found


def one_round(
    names: list[str], job: dict[str, Any], folder: Path, python: str, limits: dict[str, str]
) -> dict[str, Any]:
    """Every system once, the matrix rate before and after ours."""
    found: dict[str, Any] = {"systems": {}}
    for name in names:
        before = matrix_rate() if name == "ours" else (0.0, "")
        found["systems"][name] = measure(name, job, folder, python, limits)
        if name == "ours":
            rate, found["matrix_dtype"] = max(before, matrix_rate())
            found["matrix_flop_per_s"] = rate
    found["load_average"] = round(os.getloadavg()[0], 1)
    return found


def ratios(rounds: list[dict[str, Any]], peer: str) -> list[float]:
    return [round(r["ours"]["tokens_per_s"] / r[peer]["tokens_per_s"], 2) for r in rounds]


def summary(
    rounds: list[dict[str, Any]], held: dict[str, float], job: dict[str, Any]
) -> dict[str, Any]:
    """What the rounds say, and on what they ran."""
    systems = [r["systems"] for r in rounds]
    out: dict[str, Any] = {}
    for peer in [n for n in systems[0] if n != "ours"]:
        out[f"ratio_{peer}"] = statistics.median(ratios(systems, peer))
        out[f"rounds_{peer}"] = ratios(systems, peer)
    parameters = parameters_of(job["model"])
    speed = [s["ours"]["tokens_per_s"] for s in systems]
    shares = [round(s * 4 * parameters / r["matrix_flop_per_s"], 3) for s, r in zip(speed, rounds)]
    changed = git("status", "--porcelain", "--", *(f"../raytune_agents/{m}" for m in MEASURED))
    return out | {
        "tokens_per_s": statistics.median(speed),
        "share_of_limit": statistics.median(shares),
        "rounds_share": shares,
        "matrix_dtype": rounds[0]["matrix_dtype"],
        "matrix_gflop_per_s": [round(r["matrix_flop_per_s"] / 1e9, 1) for r in rounds],
        "parameters": parameters,
        "load_average": [r["load_average"] for r in rounds],
        "clock": job["clock"],
        "rows": len(job["rows"]),
        "steps": job["steps"],
        "held_out_loss": held,
        "systems": systems,
        "hardware": hardware(),
        "revision": git("rev-parse", "HEAD"),
        "dirty": bool(changed),
    }


def merged_with_earlier(found: dict[str, Any], avx2: bool) -> dict[str, Any]:
    """The result file's content: what was not run keeps its earlier value."""
    earlier = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if avx2:
        about = {"against": "TRL with bf16=False, both in fp32", "environment": AVX2}
        return earlier | {"avx2": found | about}
    out = {"benchmark": "training"} | found
    if gpu():
        out["mfu"] = out["share_of_limit"]
    for key in ("ratio_trl", "ratio_llamafactory", "avx2"):
        out.setdefault(key, earlier.get(key))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--avx2", action="store_true", help="hold all to AVX2, so to fp32")
    parser.add_argument(
        "--shared", action="store_true",
        help="others use this machine: one thread each, and its processor time, not the wall's",
    )  # fmt: skip
    parser.add_argument("--llamafactory", default="", help="python of its environment")
    parser.add_argument("--only", default="ours,trl,llamafactory")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_ours(json.loads(Path(options.one).read_text()))
        return
    if options.avx2:
        os.environ |= AVX2  # before torch: the matrix rate is held to it too
    if options.shared:
        import torch

        torch.set_num_threads(1)  # of the matrix rate too
    rows, held_out, model = rows_of(options.rows)
    job = {
        "rows": rows, "model": model, "steps": len(rows) // BATCH_ROWS,
        "global_batch_size": BATCH_ROWS,
        "learning_rate": 1e-3, "scheduler": "cosine", "r": 16, "alpha": 32, "seed": SEED,
        "threads": 1 if options.shared else os.cpu_count() or 1,
        "clock": CPU_CLOCK if options.shared else WALL,
    }  # fmt: skip
    names = [n for n in options.only.split(",") if n != "llamafactory" or options.llamafactory]
    rounds, held = [], {}
    with tempfile.TemporaryDirectory(prefix="raytune-bench-training-") as temporary:
        for k in range(options.rounds):
            folder = Path(temporary) / str(k)
            limits = AVX2 if options.avx2 else {}
            rounds.append(one_round(names, job, folder, options.llamafactory, limits))
        for name in names if not options.avx2 else []:
            held[name] = held_out_loss(model, Path(temporary) / "0" / name, held_out)
            print(f"{name}: held-out loss {held[name]}", flush=True)
    words = f"--rows {options.rows} --rounds {options.rounds}"
    words += " --llamafactory PYTHON" if options.llamafactory else ""
    words += " --shared" if options.shared else ""
    words += " --avx2" if options.avx2 else ""
    found = summary(rounds, held, job)
    found["command"] = f"python benchmarks/bench_training.py {words}"
    result = merged_with_earlier(found, options.avx2)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if not options.avx2:
        figure(rounds[0]["systems"])
    print(json.dumps({k: v for k, v in found.items() if k not in ("systems", "hardware")}))


if __name__ == "__main__":
    main()
