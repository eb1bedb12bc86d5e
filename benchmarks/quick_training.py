"""What bench_synthetic and bench_handful share: one LoRA training on a budget of answer tokens in
this process, and the share of rows that greedy decoding would then answer exactly."""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_agents import models
from raytune_agents.calls import judge
from raytune_agents.chat import Chat
from raytune_agents.config import Config, load_config
from raytune_agents.records import RecordError, Trajectory
from raytune_agents.storage import read_json
from raytune_agents.train import methods, worker
from raytune_agents.train.column_files import write_columns
from raytune_agents.train.job import Job
from raytune_agents.train.score import greedy_answers, teacher_forced

ANSWER_TOKENS = 160  # of a greedy answer


class QuickTraining:
    """The model, and rows of at most `longest` tokens."""

    def __init__(self, longest: int, learning_rate: float):
        words = {"train.arms": {"sft": {"method": "sft"}}, "model.max_length": longest,
                 "engine.max_model_len": longest, "model.dtype": "auto",
                 "train.learning_rate": learning_rate}  # fmt: skip
        self.config: Config = load_config(None, [f"{k}={json.dumps(v)}" for k, v in words.items()])
        self.path = models.resolve(self.config.model)
        self.chat = Chat.of(self.path, self.config.model)
        self.known: dict[str, int] = {}

    def tokens(self, row: Trajectory) -> int:
        """Answer tokens of a row, 0 where it does not fit."""
        if row.id not in self.known:
            try:
                self.known[row.id] = sum(e.trained_tokens for e in self.chat.encode(row))
            except RecordError:
                self.known[row.id] = 0
        return self.known[row.id]

    def short(self, rows: Sequence[Trajectory]) -> list[Trajectory]:
        """Rows that fit the model's length."""
        return [r for r in rows if self.tokens(r)]

    def spent(self, rows: Sequence[Trajectory], budget: float, seed: int) -> list[Trajectory]:
        """Rows in a drawn order, again and again, until their answer tokens reach the budget."""
        usable, tokens = self.short(rows), 0
        out: list[Trajectory] = []
        rng = random.Random(seed)
        while usable and tokens < budget:
            for row in rng.sample(usable, len(usable)):
                if tokens >= budget:
                    break
                out.append(row)
                tokens += self.tokens(row)
        return out

    def train(self, rows: Sequence[Trajectory], seed: int) -> tuple[Any, dict[str, Any]]:
        """The trained model, and rows, answer tokens and seconds."""
        columns, _ = methods.build_columns("sft", rows, self.chat, self.config.train, None)
        chat = {"path": self.chat.path, "template": self.chat.template, "tools": self.chat.tools,
                "max_length": self.chat.max_length}  # fmt: skip
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as out:
            write_columns(Path(out) / "columns" / "rows-00000.arrow", columns)
            job = Job(
                model=str(self.path), dtype=self.config.model.dtype,
                columns=f"{out}/columns", method="sft",
                config=self.config.train, chat=chat, out=out, seed=seed,
                threads=os.cpu_count() or 1,
            )  # fmt: skip
            model = worker.fit(job).model
        tokens = sum(c["trained_tokens"] for c in columns)
        seconds = round(time.monotonic() - started, 1)
        return model, {"rows": len(rows), "answer_tokens": tokens, "seconds": seconds}

    def base(self) -> Any:
        """The untrained model."""
        import torch
        from transformers import AutoModelForCausalLM

        # As a training loads it, so that what differs is the training.
        kind = torch.bfloat16 if models.bf16(self.config.model.dtype) else torch.float32
        return AutoModelForCausalLM.from_pretrained(self.path, dtype=kind, use_safetensors=True)

    def hits(self, model: Any, rows: Mapping[str, Trajectory]) -> dict[str, float]:
        """Name -> 1.0 where the whole gold answer is what greedy decoding writes."""
        examples = []
        for name, row in rows.items():
            e = self.chat.encode(row)[-1]
            examples.append({"row_id": name, "input_ids": e.input_ids, "labels": e.labels})
        return teacher_forced(model, examples, self.chat.tokenizer.pad_token_id)["hits"]

    def right(self, model: Any, rows: Mapping[str, Trajectory]) -> dict[str, float]:
        """Name -> 1.0 where the greedy answer is right by BFCL's rules."""
        prompts = [self.chat.prompt_ids(row) for row in rows.values()]
        texts = greedy_answers(model, self.chat, prompts, [ANSWER_TOKENS] * len(prompts))
        return {k: float(judge(text, row).ok) for (k, row), text in zip(rows.items(), texts)}


def load_results(target: Path, name: str) -> dict[str, Any]:
    """What earlier runs wrote."""
    return read_json(target) if target.is_file() else {"benchmark": name}
