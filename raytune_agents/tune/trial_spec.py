"""What one trial trains: a proposal of the search, resolved into a method, a mix and options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raytune_agents import mix
from raytune_agents.config import TrainConfig, TuneConfig, set_dotted
from raytune_agents.records import Trajectory, canonical
from raytune_agents.train.job import Job
from raytune_agents.train.tokenized import Tokenized
from raytune_agents.tune.axes import Sample
from raytune_agents.tune.search_space import RATIO, Space, is_text

OBJECTIVE = "objective"
POINT = "point"  # a given sample (a repeat, a leader, a confirming run) instead of a proposal
UNTRAINED = "untrained"  # a sample with this key set is the base model, scored as it is
NO_RATE = 1e-12  # the learning rate of an untrained trial: its one step moves no weight
# Chosen for that step: of one token, each of many pools has a share that rounds to no row at all.
STEP_TOKENS = 1_000
Columns = Mapping[str, Any]  # one tokenised row: input_ids, labels, row_id, pool, trained_tokens
RowCost = tuple[str, str, int]  # row id, pool, loss tokens


@dataclass(frozen=True)
class Prompt:
    """A row that a trial answers, with its prompt's token ids."""

    row: Trajectory
    ids: list[int]
    max_new_tokens: int


@dataclass(frozen=True)
class TrialInputs:
    """What all trials of a search share: tokenised rows by text options, and the base options.

    `pools`, `val`, `test`, `prompts` are by the key of the options that change the tokens of a row
    (`text_key`). `val` and `test` are scored, `prompts` are the val rows that a trial answers.
    """

    space: Space
    pools: Mapping[str, Tokenized]
    val: Mapping[str, Sequence[Columns]]
    test: Mapping[str, Sequence[Columns]]
    prompts: Mapping[str, Sequence[Prompt]]
    job: Job
    tune: TuneConfig
    weights: dict[str, float]
    max_epochs: float
    no_call: float
    full_tokens: int


@dataclass(frozen=True)
class TrialSpec:
    """One trial in plain values. `full`: a confirming run, at the full budget on test rows."""

    method: str
    text: str
    weights: dict[str, float]
    options: TrainConfig
    tokens: int
    max_epochs: float
    no_call: float
    seed: int
    full: bool
    untrained: bool

    @property
    def reports(self) -> bool:
        """Whether it may report on its way, and be stopped there."""
        return not (self.full or self.untrained)


def text_key(options: Mapping[str, Any]) -> str:
    """The name of the tokenised pool that these options read."""
    return canonical({k: v for k, v in options.items() if is_text(k)})


def with_options(train: TrainConfig, options: Mapping[str, Any]) -> TrainConfig:
    """The train options with the searched ones of train."""
    tree = train.model_dump(mode="json")
    for key, value in options.items():
        if key.startswith("train."):
            set_dotted(tree, key.removeprefix("train."), value)
    return TrainConfig(**tree)


def with_workers(train: TrainConfig, workers: int) -> TrainConfig:
    """The train options for so many workers of a trial; copies (ddp) unless the config says."""
    if workers == 1:
        return train.model_copy(update={"num_workers": 1, "sharding": "none", "offload": False})
    shared = "ddp" if train.sharding == "none" else train.sharding
    return train.model_copy(update={"num_workers": workers, "sharding": shared})


def specify(sample: Sample, inputs: TrialInputs) -> TrialSpec:
    """A proposal (with `seed`, `full` and `untrained`, where given) -> what to train."""
    options = inputs.space.resolve(sample)
    untrained = bool(sample.get(UNTRAINED))
    if untrained:
        options["train.learning_rate"] = NO_RATE
    # Which pool: only options that change tokens are part of its key.
    text, full = text_key(options), bool(sample.get("full"))
    costs = inputs.pools[text].costs()
    weights = options.get("mix.weights", inputs.weights)
    if RATIO in options:
        weights = with_ratio(weights, options[RATIO], costs)
    return TrialSpec(
        method=options.get("tune.method", inputs.job.method),
        text=text,
        weights=with_rows(weights, costs),
        options=with_options(inputs.job.config, options),
        tokens=STEP_TOKENS if untrained else inputs.full_tokens if full else inputs.tune.tokens,
        max_epochs=options.get("mix.max_epochs", inputs.max_epochs),
        no_call=options.get("mix.no_call", inputs.no_call),
        seed=int(sample.get("seed", inputs.job.seed)),
        full=full,
        untrained=untrained,
    )


def with_ratio(
    weights: Mapping[str, float], ratio: float, costs: Sequence[RowCost]
) -> dict[str, float]:
    """Weights (of tokens) that take `ratio` negative rows for each positive one.

    The negatives' share is to the rest's as ratio * tokens of a negative : tokens of a positive.
    """
    out = {k: w for k, w in weights.items() if k.split(".")[0] != "negative"}
    negative = {k: w for k, w in weights.items() if k not in out and w > 0} or {"negative": 1.0}

    def row_tokens(keys: Sequence[str]) -> float:
        # Mean tokens per row: the ratio counts rows, weights count tokens.
        sizes = [n for _, pool, n in costs if n and mix.weight_key(pool, list(keys)) is not None]
        return sum(sizes) / len(sizes) if sizes else 0.0

    rest = row_tokens([k for k, w in out.items() if w > 0])
    share = ratio * row_tokens(list(negative)) / rest * sum(out.values()) if rest else 1.0
    scale = share / sum(negative.values())
    return mix.normalise(out | {k: w * scale for k, w in negative.items()})


def with_rows(weights: Mapping[str, float], costs: Sequence[RowCost]) -> dict[str, float]:
    """The weights that have rows (pairs of DPO come from negatives only), summing to one; all as
    they are where none has, so that `mix.choose` says what is missing."""
    held = {mix.weight_key(pool, list(weights)) for _, pool, n in costs if n}
    kept = {k: w for k, w in weights.items() if k in held}
    return mix.normalise(kept) if sum(kept.values()) > 0 else dict(weights)


def objective_of(score: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """sum of weight * metric: the score to maximise. Raises ValueError for a metric that applied to
    no row."""
    missing = [m for m in weights if m not in score]
    if missing:
        raise ValueError(
            f"tune.objective: {missing} applied to no scored row; score more rows (tune.rows), or "
            f"write some of {sorted(k for k, v in score.items() if isinstance(v, float))}"
        )
    return sum(weight * score[metric] for metric, weight in weights.items())
