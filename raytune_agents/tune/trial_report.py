"""What a trial reports: a TRL callback that scores the model at every save, and its metrics.

On its way a trial is scored teacher-forced, which is one forward pass; the last report of a whole
trial is by answers that the model writes (`tune.score: generate`), by the rules of the reports.
Numbers of one report are compared with each other only, never across reports.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from raytune_agents.chat import IGNORE, Chat
from raytune_agents.evaluate.scoring import SCORED, score_answer
from raytune_agents.records import JsonObject
from raytune_agents.tune.trial_spec import (
    OBJECTIVE,
    Columns,
    Prompt,
    TrialInputs,
    TrialSpec,
    objective_of,
)
from raytune_agents.tune.trials import HITS, Hits


def report_to_tune(metrics: JsonObject, saved: Path, first: bool) -> None:
    """Report metrics and checkpoint of a trial that trains in its own process."""
    from ray import tune

    tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(saved))


class ReportCallback(TrainerCallback):
    """Scores the model at every save; `send` gets the metrics, the checkpoint's folder, and whether
    this process is the first of the training's workers. `tokens`: loss tokens of the whole trial;
    `started`: seconds since 1970."""

    def __init__(self, inputs: TrialInputs, spec: TrialSpec, tokens: int, started: float):
        self.inputs, self.spec, self.tokens, self.started = inputs, spec, tokens, started
        self.send: Callable[[JsonObject, Path, bool], None] = report_to_tune
        self.began, self.first_step = 0.0, 0
        self.group_file: Path | None = None  # of a nested trial: where its placement group is named

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.began, self.first_step = time.time(), state.global_step
        if self.group_file and state.is_world_process_zero:  # so that a stopped trial's can go
            group = ray.util.get_current_placement_group()
            assert group, "the workers of a nested trial stand in a placement group"
            self.group_file.write_text(group.id.hex(), encoding="utf-8")

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        done, of = state.global_step, state.max_steps
        score, hits = score_trial(model, processing_class, self.inputs, self.spec, done >= of)
        saved = Path(str(args.output_dir)) / f"checkpoint-{done}"
        # In the checkpoint: answers and weights of one report stay together, also after a restore.
        (saved / HITS).write_text(json.dumps(hits), encoding="utf-8")
        objective = self.inputs.tune.objective
        if self.spec.full:  # judged row by row; test rows need not have all that val rows have
            objective = {metric: w for metric, w in objective.items() if metric in score}
        metrics = {
            **score,
            OBJECTIVE: objective_of(score, objective),
            "weights": self.spec.weights,
            "step": done,
            "of": of,
            "from_step": self.first_step,
            # Rounded up: the last save may come before its rung is full.
            "report": math.ceil(done / args.save_steps),
            # In proportion to the steps: rungs are compared at the same number for every trial.
            "tokens": self.tokens * done // of,
            "setup_s": self.began - self.started,
            "seconds": time.time() - self.started,
            "began": self.began,
            "time": time.time(),
            "process": os.getpid(),
        }
        self.send(metrics, saved, state.is_world_process_zero)


def score_trial(
    model: Any, tokenizer: Any, inputs: TrialInputs, spec: TrialSpec, last: bool
) -> tuple[dict[str, float], Hits]:
    """(metrics, hits by metric and row) of the val rows, or of the test rows in a confirming run.

    Rows without a right call count for `irrelevance` alone, as in the evaluation's reports.
    """
    rows = (inputs.test if spec.full else inputs.val)[spec.text]
    score, hits = score_teacher_forced(model, rows, tokenizer.pad_token_id)
    if last and inputs.tune.score == "generate":
        chat = Chat(**inputs.job.chat)
        prompts = inputs.prompts[f"{spec.text}/test" if spec.full else spec.text]
        written, answered = score_answers(model, chat, prompts)
        score, hits = score | written, hits | answered
    return score, hits


def score_teacher_forced(
    model: Any, rows: Sequence[Columns], pad_id: int
) -> tuple[dict[str, float], Hits]:
    """exact_match: share of rows with calls whose every answer token is the argmax given the gold
    before it; irrelevance: share of rows without one whose first token is none that opens a call in
    the other rows' gold; val_loss: mean NLL of answer tokens in nats."""
    from raytune_agents.train.score import first_tokens, teacher_forced

    calls = [row for row in rows if row["calls"]]
    # All rows only where none has a call: else words would be scored like calls.
    found = teacher_forced(model, calls or rows, pad_id)
    hits: Hits = {"exact_match": found.pop("hits")}
    # How a call begins differs by template; the gold of the rows with calls shows it.
    opens = {next(t for t in row["labels"] if t != IGNORE) for row in calls}
    silent = [row for row in rows if not row["calls"]]
    if silent and calls:
        tokens = first_tokens(model, silent, pad_id)
        hits["irrelevance"] = {
            row["row_id"]: float(token not in opens) for row, token in zip(silent, tokens)
        }
        found["irrelevance"] = sum(hits["irrelevance"].values()) / len(hits["irrelevance"])
    return found, hits


def score_answers(
    model: Any, chat: Chat, prompts: Sequence[Prompt]
) -> tuple[dict[str, float], Hits]:
    """Every metric of `evaluate.scoring` over answers that the model writes greedily; a metric that
    applies to no row is left out. `exact_match` is of rows with calls: a row that wants none counts
    for irrelevance alone."""
    from raytune_agents.train.score import greedy_answers

    texts = greedy_answers(
        model, chat, [p.ids for p in prompts], [p.max_new_tokens for p in prompts]
    )
    by_row = {}
    for prompt, text in zip(prompts, texts):
        values = dict(score_answer(text, prompt.row).values)
        if not prompt.row.calls:
            values["exact_match"] = None
        by_row[prompt.row.id] = values
    means, hits = {}, {}
    for name in SCORED:
        found = {i: float(x) for i, v in by_row.items() if (x := v.get(name)) is not None}
        if found:
            means[name] = sum(found.values()) / len(found)
        # The two that are compared row by row: confirming runs and gate.
        if name in ("exact_match", "irrelevance"):
            hits[name] = found
    return means, hits
