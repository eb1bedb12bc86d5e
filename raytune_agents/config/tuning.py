"""Options of the search, and of the budget that it shares with generation."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import AliasChoices, Field, field_validator, model_validator

from raytune_agents.config.base import Auto, BaseConfig, Positive
from raytune_agents.records import Options


class TuneConfig(BaseConfig):
    OPERATIONAL = frozenset({"max_concurrent_trials", "num_workers"})

    num_samples: int = Field(24, ge=0, description="trials of the search; 0 = no search")
    method: Literal["sft", "vanilla", "nut", "nat", "inverse", "dpo", "kto"] = Field(
        "nat", description="method every trial trains"
    )
    space: Options = Field(
        {
            "mix.weights": {"simplex": ["positive", "synthetic", "negative"]},
            "train.learning_rate": {"loguniform": [3e-4, 3e-3]},
        },
        description="dotted option -> distribution",
    )
    preset: Literal["none", "literature"] = Field(
        "none", description="literature = the axes with published effects and their priors"
    )
    settle_learning_rate: int = Field(
        4,
        ge=0,
        description="a searched train.learning_rate is settled first, by so many trials of the "
        "natural mix over its range; 0 = it is searched with the mix, whose trials it eats",
    )
    search_alg: Literal["random", "optuna", "optuna_gp"] = Field(
        "optuna", description="who proposes: optuna = TPE, optuna_gp = a Gaussian process"
    )
    scheduler: Literal["asha", "none"] = Field("asha", description="who stops weak trials early")
    objective: dict[str, float] = Field(
        {"exact_match": 1.0, "irrelevance": 0.25, "val_loss": -0.01},
        min_length=1,
        description="metric -> weight; the weighted sum is maximised, less is better below 0",
    )
    score: Literal["teacher_forced", "generate"] = Field(
        "generate",
        description="the last report of a trial: generate = by the answers it writes, as the "
        "reports of evaluate; the reports before it are teacher-forced, which is cheap",
    )
    tokens: Positive = Field(4_000, description="loss tokens of one trial")
    num_rungs: Positive = Field(3, description="times a trial reports; it may be stopped there")
    grace_period: Positive = Field(1, description="reports before a trial can be stopped")
    reduction_factor: int = Field(2, ge=2, description="ASHA keeps one in this many")
    max_concurrent_trials: Auto = Field(
        0, description="trials at a time; auto = one per GPU, or one for every four CPUs"
    )
    num_workers: Positive = Field(
        1, description="training workers of a trial; from 2 on each trial nests a Ray Train run"
    )
    rows: Positive = Field(256, description="val rows scored at every report")
    noise: int = Field(3, ge=0, description="first, seeds of one config: how far equal runs differ")
    leaders: int = Field(0, ge=0, description="best trials that are run again with more seeds")
    seeds: int = Field(3, ge=2, description="seeds of a leader in all")
    confirm: int = Field(0, ge=0, description="seeds of confirming runs on test_unseen; 0 = none")
    from_run: str = Field(
        "",
        validation_alias=AliasChoices("from", "from_run"),
        description="run folder of an earlier search to start from, after rows were added",
    )

    @property
    def whole_trials(self) -> int:
        """Trials that no scheduler stops: base mix, rates, noise, more seeds of the leaders."""
        again = self.leaders * (self.seeds - 1)
        return 1 + self.settle_learning_rate + self.noise + again

    @model_validator(mode="after")
    def _rungs(self) -> TuneConfig:
        if self.grace_period > self.num_rungs:
            raise ValueError(
                f"grace_period={self.grace_period} is above num_rungs={self.num_rungs}, so no "
                f"trial could be stopped; write grace_period={self.num_rungs} or less"
            )
        return self

    @field_validator("objective")
    @classmethod
    def _objective(cls, value: dict[str, float]) -> dict[str, float]:
        bad = {k: w for k, w in value.items() if not math.isfinite(w) or w == 0}
        if bad:
            raise ValueError(f"objective={value}: {bad} weigh nothing; write numbers other than 0")
        return value


class BudgetConfig(BaseConfig):
    max_tokens: int | None = Field(None, ge=1, description="tokens generated and trained in all")
    max_hours: float | None = Field(None, gt=0, description="hours of generation and search")
    max_cost: float | None = Field(None, gt=0, description="US dollars, by usd_per_hour")
    usd_per_hour: float = Field(0.0, ge=0, description="price of the machines for an hour")

    @model_validator(mode="after")
    def _priced(self) -> BudgetConfig:
        if self.max_cost is not None and not self.usd_per_hour:
            raise ValueError(
                f"max_cost={self.max_cost} needs a price; write usd_per_hour, for example 1.2"
            )
        return self
