"""One trial: choose rows, train, score at every rung, report.

On one core or GPU the loop runs in the trial's own process; a trial of several workers nests a Ray
Train run (`nested`). The pool comes tokenised from the object store; a trial is a weighted choice
of it. A trial that was killed, or took over another's checkpoint (population based training), goes
on from there.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raytune_agents import mix
from raytune_agents.config import TrainConfig, TuneConfig
from raytune_agents.records import canonical
from raytune_agents.train.worker import Job
from raytune_agents.tune.space import RATIO, Space, is_text

OBJECTIVE = "objective"
POINT = "point"  # a given sample (a repeat, a leader, a confirming run) instead of a proposal
FORCED = ("exact_match", "val_loss")  # metrics of a teacher-forced pass
OWN = {
    "report_to": [],
    "eval_steps": 0,
    "early_stopping_patience": 0,
}  # a trial scores its own reports
Costs = Sequence[tuple[str, str, int]]


@dataclass(frozen=True)
class Given:
    """What all trials of a search share: tokenised rows by text options, and the base options."""

    space: Space
    pools: Mapping[str, list[dict[str, Any]]]
    val: Mapping[str, list[dict[str, Any]]]
    test: Mapping[str, list[dict[str, Any]]]
    prompts: Mapping[str, list[tuple[Any, list[int]]]]
    job: Job
    tune: TuneConfig
    weights: dict[str, float]
    max_epochs: float
    full_tokens: int


@dataclass(frozen=True)
class Plan:
    """One trial in plain values. `full`: a confirming run, at the full budget on test rows."""

    method: str
    text: str
    weights: dict[str, float]
    section: dict[str, Any]
    tokens: int
    max_epochs: float
    seed: int
    full: bool


def text_key(options: Mapping[str, Any]) -> str:
    """The name of the tokenised pool that these options read."""
    return canonical({k: v for k, v in options.items() if is_text(k)})


def plan(sample: Mapping[str, Any], given: Given) -> Plan:
    """A proposal (with `seed` and `full`, where given) -> what to train."""
    options = given.space.resolve(sample)
    section = json.loads(json.dumps(given.job.section))
    for key, value in options.items():
        if key.startswith("train."):
            *path, last = key.split(".")[1:]
            inner = section
            for part in path:
                inner = inner[part]
            inner[last] = value
    text, full = text_key(options), bool(sample.get("full"))
    costs = row_costs(given.pools[text])
    weights = options.get("mix.weights", given.weights)
    if RATIO in options:
        weights = with_ratio(weights, options[RATIO], costs)
    return Plan(
        method=options.get("tune.method", given.job.method),
        text=text,
        weights=with_rows(weights, costs),
        section=TrainConfig(**section).model_dump(),
        tokens=given.full_tokens if full else given.tune.tokens,
        max_epochs=options.get("mix.max_epochs", given.max_epochs),
        seed=int(sample.get("seed", given.job.seed)),
        full=full,
    )


def row_costs(examples: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """(row id, pool, trained tokens) of each row; a row's examples (turns) count together."""
    tokens: dict[tuple[str, str], int] = {}
    for e in examples:
        key = (e["row_id"], e["pool"])
        tokens[key] = tokens.get(key, 0) + e["trained_tokens"]
    return [(*key, n) for key, n in tokens.items()]


def with_ratio(weights: Mapping[str, float], ratio: float, costs: Costs) -> dict[str, float]:
    """Weights (of tokens) that take `ratio` negative rows for each positive one.

    The negatives' share is to the rest's as ratio * tokens a negative : tokens a positive row.
    """
    out = {k: w for k, w in weights.items() if k.split(".")[0] != "negative"}
    negative = {k: w for k, w in weights.items() if k not in out and w > 0} or {"negative": 1.0}

    def row_tokens(keys: Sequence[str]) -> float:
        sizes = [n for _, pool, n in costs if n and mix.key_of(pool, list(keys)) is not None]
        return sum(sizes) / len(sizes) if sizes else 0.0

    rest = row_tokens([k for k, w in out.items() if w > 0])
    share = ratio * row_tokens(list(negative)) / rest * sum(out.values()) if rest else 1.0
    scale = share / sum(negative.values())
    return mix.normalise(out | {k: w * scale for k, w in negative.items()})


def with_rows(weights: Mapping[str, float], costs: Costs) -> dict[str, float]:
    """The weights that have rows (pairs of DPO come from negatives only), summing to one; all as
    they are where none has, so that `mix.choose` says what is missing."""
    held = {mix.key_of(pool, list(weights)) for _, pool, n in costs if n}
    kept = {k: w for k, w in weights.items() if k in held}
    return mix.normalise(kept) if sum(kept.values()) > 0 else dict(weights)


def trial(sample: dict[str, Any], *, given: Given) -> None:
    """Train one proposal; reports at most `rungs` times (once, a confirming run)."""
    from ray import tune as ray_tune

    from raytune_agents.tune import nested
    from raytune_agents.tune.scores import Report

    started = time.time()
    what = plan(sample.get(POINT, sample), given)
    rows = given.pools[what.text]
    chosen = mix.choose(row_costs(rows), what.weights, what.tokens, what.max_epochs, what.seed)
    by_id: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_id.setdefault(row["row_id"], []).append(row)
    data = [row for i in chosen.ids for row in by_id[i]]
    steps = max(1, math.ceil(len(data) / what.section["global_batch_size"]))
    every = math.ceil(steps / (1 if what.full else given.tune.rungs))
    section = what.section | {"save_steps": every, "max_steps": steps} | OWN
    facts = {"of": steps, "save_steps": every, "weights": what.weights}
    facts["tokens"] = sum(chosen.tokens.values())
    job = replace(given.job, method=what.method, section=section, columns="", seed=what.seed)
    report = Report(replace(given, pools={}), what, facts, started)
    if given.tune.num_workers > 1:
        nested.fit(job, data, report, ray_tune.get_context().get_trial_id())
    else:
        alone(job, data, report)


def alone(job: Job, data: list[dict[str, Any]], report: Any) -> None:
    """Train in this process, which the next trial uses again."""
    from ray import tune as ray_tune

    from raytune_agents.train import worker
    from raytune_agents.train.model import give_memory_back

    job = replace(job, out=tempfile.mkdtemp(prefix="raytune-agents-trial-"))
    checkpoint = ray_tune.get_checkpoint()
    try:
        if checkpoint:
            with checkpoint.as_directory() as folder:
                worker.fit(job, [report], folder, rows=data)
        else:
            worker.fit(job, [report], rows=data)
    finally:
        shutil.rmtree(job.out, ignore_errors=True)
        give_memory_back()


def objective(score: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """sum of weight * metric: the score to maximise. The default takes 0.01 of the val loss from
    the exact match, which orders only trials whose exact match is (almost) equal. Raises ValueError
    for a metric that applied to no row."""
    missing = [m for m in weights if m not in score]
    if missing:
        raise ValueError(
            f"tune.objective: {missing} applied to no scored row; score more rows (tune.rows), or "
            f"write some of {sorted(k for k, v in score.items() if isinstance(v, float))}"
        )
    return sum(weight * score[metric] for metric, weight in weights.items())
