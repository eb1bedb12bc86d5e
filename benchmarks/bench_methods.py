"""Ways to learn from failures at one budget of trained tokens: vanilla, nut, nat, nat_k, dpo, kto.

    python benchmarks/bench_methods.py [--tokens 3000] [--rows 96] [--seeds 3] [--data FOLDER]

Real rows (xLAM, Seal-Tools, SNIPS, by --data) as positives, one edited failure for each, each
proven wrong by the checker; and runs of FireAct as they came out: --runs successes and as many
failures (dpo pairs edits only, so it leaves them out). Every arm is trained from the base with LoRA
on the same number of answer tokens (of both sides for dpo), mixed half and half, and asked with its
marker. Score: the share of rows that greedy decoding would answer with exactly the gold text
(teacher-forced), on val, test_seen and test_unseen_tools; intervals by a bootstrap over seeds and
rows; each arm also against vanilla, paired. An arm's seed decides its rows, their order and its
adapter.

With `--grid` (meant for a GPU) it also walks positives x failures per positive under nat and nut.
Prints one JSON object on the last line and writes benchmarks/results/methods.json and methods.png
after every arm.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from raytune_agents import mix, models, readers
from raytune_agents.chat import Chat
from raytune_agents.config import Config, SourceConfig, load_config
from raytune_agents.evaluate.paired import paired_seeds
from raytune_agents.negatives import FAULTS, TRAJECTORY_FAULTS, edit
from raytune_agents.readers import xlam
from raytune_agents.records import RecordError, Trajectory, finish
from raytune_agents.train import methods, validate_data, worker
from raytune_agents.train.column_files import write_columns
from raytune_agents.train.job import Job
from raytune_agents.train.score import teacher_forced
from raytune_agents.train.tokenized import tokenize_rows

HERE = Path(__file__).parent
SPLITS = {"train": "train", "val": "val", "test_seen": "test_seen",
          "test_unseen_tools": "test_unseen"}  # fmt: skip
ARMS: dict[str, dict[str, Any]] = {
    "vanilla": {"method": "vanilla"},
    "nut": {"method": "nut"},
    "nat": {"method": "nat"},
    "nat_k": {"method": "nat", "options": {"nat.cuts": [0, 0.4]}},
    "dpo": {"method": "dpo", "learning_rate": 2e-4},
    "kto": {"method": "kto", "learning_rate": 2e-4},
}
HALF = {"positive": 0.5, "negative": 0.5}
GRID = {"positives": (250, 1000, 3700), "per_positive": (0.5, 1.0, 2.0, 5.0)}


def read(path: Path, split: str, chat: Chat, longest: int) -> list[Trajectory]:
    """Rows of a prepared file with at most `longest` tokens, by id."""
    out = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            try:
                row = xlam.read(json.loads(line))
                row = finish(Trajectory(row.messages, row.tools, source="prepared", split=split))
                if row.calls and len(chat.encode(row)[0].input_ids) <= longest:
                    out.append(row)
            except RecordError:
                continue
    return sorted(out, key=lambda r: r.id)


def runs_of(folder: Path, count: int, chat: Chat, longest: int) -> list[Trajectory]:
    """`count` successes and `count` failures among FireAct's runs of at most `longest` tokens, in
    pools positive.fireact and negative.fireact; [] where the folder is not there."""
    found: dict[str, list[Trajectory]] = {"positive": [], "negative": []}
    for path in sorted(folder.glob("runs_*.json.gz")):
        for where, raw in readers.list_raw(SourceConfig(path=str(path))):
            for row in readers.read_row(raw, where, "fireact"):
                kind = "negative" if row.failed else "positive"
                row = finish(replace(row, pool=f"{kind}.fireact", split="train"))
                try:
                    if len(chat.encode(row)[0].input_ids) <= longest:
                        found[kind].append(row)
                except RecordError:
                    continue
    rng = random.Random(1)
    return [r for rows in found.values() for r in rng.sample(rows, min(count, len(rows)))]


def failures(rows: list[Trajectory], per_positive: float, seed: int) -> list[Trajectory]:
    """Edited failures of rows drawn by the seed, faults in turn."""
    rng, names = random.Random(seed), [f for f in FAULTS if f not in TRAJECTORY_FAULTS]
    out: dict[str, Trajectory] = {}
    for k in range(round(per_positive * len(rows) * 2)):
        if len(out) >= per_positive * len(rows):
            break
        bad, _ = edit(rng.choice(rows), names[k % len(names)], k)
        if bad is not None:
            out[bad.id] = bad
    return list(out.values())


class Bench:
    """The rows, the model and the budget that all arms share."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        names = {"train.arms": ARMS, "model.max_length": options.longest + 64,
                 "model.dtype": options.dtype, "train.learning_rate": options.learning_rate,
                 "train.max_tokens_per_forward": options.max_tokens_per_forward}  # fmt: skip
        self.config: Config = load_config(None, [f"{k}={json.dumps(v)}" for k, v in names.items()])
        self.path = models.resolve(self.config.model)
        self.chat = Chat.of(self.path, self.config.model)
        self.rows = {
            split: read(options.data / f"{name}.jsonl.gz", split, self.chat, options.longest)
            for name, split in SPLITS.items()
        }
        rng = random.Random(0)
        tests = {s: r for s, r in self.rows.items() if s != "train"}
        self.asked = {s: rng.sample(r, min(options.rows, len(r))) for s, r in tests.items()}

    def chosen(self, arm: Any, config: Any, rows: list[Trajectory], seed: int) -> list[Trajectory]:
        """Rows of the arm until the budget of trained tokens is spent."""
        known = {r.id: r for r in rows}
        recipe = methods.Recipe(arm.method, config, self.chat)
        _, facts = tokenize_rows(rows, recipe, recipe.pairs(known))
        pool = list(zip(*(facts[name].to_pylist() for name in ("id", "pool", "tokens"))))
        taken = mix.choose_rows(
            pool, mix.usable_weights(HALF, pool), self.options.tokens, self.options.max_epochs, seed
        )
        return [known[i] for i in taken.ids]

    def score(self, model: Any, marker: str) -> dict[str, dict[str, float]]:
        """split -> row id -> 1.0 where the whole gold answer is what greedy decoding writes."""
        pad_id, out = self.chat.tokenizer.pad_token_id, {}
        for split, rows in self.asked.items():
            examples = []
            for row in rows:
                example = self.chat.encode(row, marker)[0]
                ids = {"input_ids": example.input_ids, "labels": example.labels}
                examples.append({"row_id": row.id} | ids)
            out[split] = teacher_forced(model, examples, pad_id)["hits"]
        return out

    def train(self, name: str, rows: list[Trajectory], seed: int) -> dict[str, Any]:
        """One arm, one seed: trained in this process, then scored."""
        arm = self.config.train.arms[name]
        config = self.config.train.of(arm)
        chosen = self.chosen(arm, config, rows, seed)
        known, recipe = {r.id: r for r in rows}, methods.Recipe(arm.method, config, self.chat)
        pairs = recipe.pairs(known)
        columns, _ = methods.build_columns(arm.method, chosen, self.chat, config, pairs)
        validate_data.validate_columns(columns, self.chat.max_length)
        shared = {i: pair.shared for i, pair in (pairs or {}).items()}
        validate_data.parity(recipe, known, columns, shared)
        chat = {"path": self.chat.path, "template": self.chat.template, "tools": self.chat.tools,
                "max_length": self.chat.max_length}  # fmt: skip
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as out:
            write_columns(Path(out) / "columns" / "rows-00000.arrow", columns)
            job = Job(
                model=str(self.path), dtype=self.config.model.dtype,
                columns=f"{out}/columns", method=arm.method,
                config=config, chat=chat, out=out, seed=seed,
                threads=os.cpu_count() or 1,
            )  # fmt: skip
            trainer = worker.fit(job)
        seconds = time.monotonic() - started
        return {
            "seed": seed, "rows": len(chosen), "seconds": round(seconds, 1),
            "trained_tokens": sum(c["trained_tokens"] for c in columns),
            "hits": self.score(trainer.model, recipe.how.inference_marker(config)),
        }  # fmt: skip

    def base(self) -> dict[str, Any]:
        """The untrained model."""
        from transformers import AutoModelForCausalLM

        dtype = torch.float32 if self.config.model.dtype == "float32" else torch.bfloat16
        model = AutoModelForCausalLM.from_pretrained(self.path, dtype=dtype, use_safetensors=True)
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        return {"seed": 0, "hits": self.score(model, "")}


def summary(runs: dict[str, list[dict[str, Any]]], splits: list[str]) -> dict[str, Any]:
    """arm -> split -> mean with interval, and the difference to vanilla with interval and p."""
    out: dict[str, Any] = {}
    for name, done in runs.items():
        cells: dict[str, Any] = {}
        for split in splits:
            own = {r["seed"]: r["hits"][split] for r in done}
            nothing = {0: dict.fromkeys(next(iter(own.values())), 0.0)}
            level = paired_seeds(nothing, own).record()
            cells[split] = {k: round(level[k], 4) for k in ("value", "low", "high")}
            cells[split]["n"] = level["n"]
            if name not in ("base", "vanilla") and "vanilla" in runs:
                against = {r["seed"]: r["hits"][split] for r in runs["vanilla"]}
                gap = paired_seeds(against, own).record()
                cells[split]["to_vanilla"] = {
                    k: round(gap[k], 4) for k in ("value", "low", "high", "p")
                }
        facts = {k: [r[k] for r in done if k in r] for k in ("rows", "trained_tokens", "seconds")}
        out[name] = cells | facts
    return out


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True)
    return done.stdout.strip()


def hardware() -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"gpu": gpu, "cores": os.cpu_count(), "machine": platform.machine(),
            "torch": torch.__version__}  # fmt: skip


def write(result: dict[str, Any]) -> None:
    (HERE / "results").mkdir(exist_ok=True)
    target = HERE / "results" / "methods.json"
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def figure(arms: dict[str, Any], splits: list[str]) -> None:
    """A panel a split: each arm's score with its interval, one PNG."""
    from PIL import Image, ImageDraw

    left, top, width, step = 90, 60, 260, 34
    high = max(0.05, *(arms[a][s]["high"] for a in arms for s in splits)) * 1.05
    size = (left + (width + 40) * len(splits), top + step * len(arms) + 50)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    draw.text((left, 14), "share of rows answered exactly, with its 95 % interval", fill="black")
    for k, split in enumerate(splits):
        start = left + (width + 40) * k
        draw.text((start, top - 26), split, fill="black")
        for part in range(5):
            x = start + width * part / 4
            draw.line([(x, top - 8), (x, top + step * len(arms))], fill=(225, 225, 225))
            draw.text((x - 12, top + step * len(arms) + 8), f"{high * part / 4:.2f}", fill="black")
        for i, (name, cells) in enumerate(arms.items()):
            y, cell = top + step * i + step // 2, cells[split]
            low, at, end = (start + width * cell[n] / high for n in ("low", "value", "high"))
            colour = (120, 120, 120) if name == "base" else (31, 119, 180)
            draw.line([(low, y), (end, y)], fill=colour, width=3)
            draw.ellipse([(at - 5, y - 5), (at + 5, y + 5)], fill=colour)
            if not k:
                draw.text((14, y - 6), name, fill="black")
    picture.save(HERE / "results" / "methods.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared/data/prepared")
    parser.add_argument("--tokens", type=int, default=3000, help="trained tokens of an arm")
    parser.add_argument("--positives", type=int, default=400, help="training positives at hand")
    parser.add_argument("--runs", type=int, default=100, help="FireAct successes, and failures")
    parser.add_argument("--rows", type=int, default=96, help="rows scored of each split")
    parser.add_argument("--longest", type=int, default=256, help="tokens of the longest row")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--max-epochs", type=float, default=4.0)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--grid", action="store_true", help="positives x failures, nut and nat")
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"{options.data} is not here; write --data FOLDER of prepared rows")

    started, bench = time.monotonic(), Bench(options)
    train = bench.rows["train"]
    good = random.Random(1).sample(train, min(options.positives, len(train)))
    real = runs_of(options.data.parent / "fireact", options.runs, bench.chat, options.longest)
    rows = [*good, *failures(good, 1.0, 1), *real]
    runs: dict[str, list[dict[str, Any]]] = {"base": [bench.base()]}
    facts = {
        "benchmark": "methods", "model": bench.config.model.name, "tokens": options.tokens,
        "seeds": options.seeds, "positives": sum(not r.failed for r in rows),
        "failures": sum(r.failed for r in rows), "of_fireact": len(real),
        "longest_row": options.longest, "score": "exact match, teacher-forced",
        "learning_rates": {
            n: bench.config.train.of(bench.config.train.arms[n]).learning_rate for n in options.arms
        },
        "hardware": hardware(), "revision": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--", "../raytune_agents")),
    }  # fmt: skip
    result: dict[str, Any] = {}
    for seed in range(1, options.seeds + 1):
        for name in options.arms:
            runs.setdefault(name, []).append(bench.train(name, rows, seed))
            result = facts | {"arms": summary(runs, list(bench.asked))}
            result["minutes"] = round((time.monotonic() - started) / 60, 1)
            write(result)
            figure(result["arms"], list(bench.asked))
    if options.grid:
        result["grid"] = grid(bench, options)
        write(result)
    print(json.dumps(result))


def grid(bench: Bench, options: argparse.Namespace) -> list[dict[str, Any]]:
    """nut and nat over the number of positives and of failures for each; every row is taken once,
    so that budgets grow along both axes."""
    out = []
    for count in GRID["positives"]:
        good = bench.rows["train"][:count]
        for share in GRID["per_positive"]:
            rows = [*good, *failures(good, share, 1)]
            for name in ("nut", "nat"):
                options.tokens, options.max_epochs = 10**9, 1.0
                runs = {name: [bench.train(name, rows, s + 1) for s in range(options.seeds)]}
                cell = summary(runs, list(bench.asked))[name]
                out.append({"arm": name, "positives": len(good), "per_positive": share} | cell)
    return out


if __name__ == "__main__":
    main()
