"""Options of the search, and of the budget that it shares with generation."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from raytune_agents.config.base import Auto, BaseConfig, Positive


class TuneConfig(BaseConfig):
    OPERATIONAL = frozenset({"concurrent", "num_workers"})

    trials: int = Field(4, ge=0, description="trials to run; 0 = no search")
    method: Literal["sft", "vanilla", "nut", "nat", "inverse", "dpo", "kto"] = Field(
        "nat", description="method every trial trains"
    )
    space: dict[str, Any] = Field(
        {
            "mix.weights": {"simplex": ["positive", "synthetic", "negative"]},
            "train.learning_rate": {"loguniform": [3e-4, 3e-3]},
        },
        description="dotted option -> distribution",
    )
    preset: Literal["none", "literature"] = Field(
        "none", description="literature = the axes with published effects and their priors"
    )
    searcher: Literal["random", "optuna", "optuna_gp", "bohb", "pbt", "pb2"] = Field(
        "optuna", description="who proposes; pbt and pb2 change trials while they run"
    )
    scheduler: Literal["asha", "median", "none"] = Field(
        "asha", description="who stops weak trials early (not with pbt and pb2)"
    )
    objective: dict[str, float] = Field(
        {"exact_match": 1.0, "val_loss": -0.01},
        min_length=1,
        description="metric -> weight; the weighted sum is maximised, less is better below 0",
    )
    pareto: bool = Field(False, description="search the front of the objective's metrics instead")
    score: Literal["teacher_forced", "generate"] = Field(
        "teacher_forced", description="generate = answers written by the trial, every metric"
    )
    tokens: Positive = Field(4_000, description="trained tokens of one trial")
    rungs: Positive = Field(3, description="times a trial reports; it may be stopped there")
    grace: Positive = Field(1, description="reports before a trial can be stopped")
    reduction: Positive = Field(2, description="ASHA keeps one in this many")
    concurrent: Auto = Field(
        0, description="trials at a time; auto = one a GPU, or one for every four CPUs"
    )
    num_workers: Positive = Field(
        1, description="training workers of a trial; from 2 on each trial nests a Ray Train run"
    )
    rows: Positive = Field(48, description="val rows scored at every report")
    noise: int = Field(
        0, ge=0, description="first, one config with this many seeds: how far equal runs differ"
    )
    leaders: int = Field(0, ge=0, description="best trials that are run again with more seeds")
    seeds: int = Field(3, ge=2, description="seeds of a leader in all")
    generate: bool = Field(False, description="leaders answer the val rows on the shared engine")
    confirm: int = Field(
        0, ge=0, description="seeds of the confirming runs at mix.tokens on test_unseen; 0 = none"
    )

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
                f"max_cost={self.max_cost} has no price to count with; write usd_per_hour, for "
                "example 1.2"
            )
        return self
