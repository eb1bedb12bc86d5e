"""What a trial reports: a TRL callback that scores the model at every save, and its metrics."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from raytune_agents.tune.trial import OBJECTIVE, Given, Plan, objective


def to_tune(metrics: dict[str, Any], saved: Path, first: bool) -> None:
    """Report metrics and checkpoint of a trial that trains in its own process."""
    from ray import tune

    tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(saved))


class Report(TrainerCallback):
    """Scores the model at every save; `send` gets the metrics, the checkpoint's folder, and whether
    this process is the first of the training's workers.

    `facts`: {of: steps, save_steps, tokens, weights}; `started`: when the trial began, in seconds
    since 1970."""

    def __init__(self, given: Given, what: Plan, facts: dict[str, Any], started: float):
        self.given, self.what, self.facts, self.started = given, what, facts, started
        self.send: Callable[[dict[str, Any], Path, bool], None] = to_tune
        self.began, self.first_step = 0.0, 0

    def on_train_begin(self, args, state, control, optimizer=None, lr_scheduler=None, **_):
        self.began, self.first_step = time.time(), state.global_step
        if state.global_step:  # a checkpoint brings the rate it was saved with
            set_rate(optimizer, lr_scheduler, args.learning_rate)

    def on_save(self, args, state, control, model=None, processing_class=None, **_):
        score, hits = scores(model, processing_class.pad_token_id, self.given, self.what)
        saved = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (saved / "hits.json").write_text(json.dumps(hits), encoding="utf-8")
        done, facts = state.global_step, self.facts
        metrics = facts | score | {
            OBJECTIVE: objective(score, self.given.tune.objective),
            "step": done,
            "from_step": self.first_step,
            "report": math.ceil(done / facts["save_steps"]),
            "tokens": facts["tokens"] * done // facts["of"],
            "setup_s": self.began - self.started,
            "seconds": time.time() - self.started,
            "began": self.began,
            "time": time.time(),
            "process": os.getpid(),
        }  # fmt: skip
        self.send(metrics, saved, state.is_world_process_zero)


def set_rate(optimizer: Any, scheduler: Any, rate: float) -> None:
    """Go on with this learning rate at the schedule's place, not with the checkpoint's rate."""
    for group in optimizer.param_groups:
        group["initial_lr"] = rate
    inner = getattr(scheduler, "scheduler", scheduler)
    inner.base_lrs = [rate] * len(inner.base_lrs)


def scores(
    model: Any, pad_id: int, given: Given, what: Plan
) -> tuple[dict[str, float], dict[str, float]]:
    """(metrics, exact match by row) of the val rows, or of the test rows in a confirming run."""
    from raytune_agents.chat import Chat
    from raytune_agents.train.score import teacher_forced

    rows = (given.test if what.full else given.val)[what.text]
    found = teacher_forced(model, rows, pad_id)
    hits = found.pop("hits")
    if given.tune.score == "generate" and not what.full:
        found |= written(model, Chat(**given.job.chat).tokenizer, given.prompts[what.text])
    return found, hits


def written(
    model: Any, tokenizer: Any, prompts: Sequence[tuple[Any, list[int]]], max_tokens: int = 96
) -> dict[str, float]:
    """Every metric of `evaluate.metrics` over answers that the model writes greedily; a metric that
    applies to no row is left out."""
    import torch

    from raytune_agents.evaluate import metrics

    was_training, found = model.training, []
    model.eval()
    for row, ids in prompts:
        batch = torch.tensor([ids], device=model.device)
        with torch.no_grad():
            out = model.generate(
                input_ids=batch,
                attention_mask=torch.ones_like(batch),
                max_new_tokens=max_tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
                use_cache=True,
            )
        text = tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)
        found.append(metrics.score_answer(metrics.Answer(row.id, text), row))
    model.train(was_training)
    means = {}
    for name in metrics.METRICS:
        values: list[Any] = [f[name] for f in found if f.get(name) is not None]
        if values:
            means[name] = sum(values) / len(values)
    return means
