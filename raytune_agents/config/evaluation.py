"""Options of evaluation: suites, roll-outs, BFCL's classes, judge, abilities."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from raytune_agents.config.base import Auto, BaseConfig, Positive
from raytune_agents.config.data import SourceConfig


class TrajectoriesConfig(BaseConfig):
    tasks: int = Field(0, ge=0, description="goals that every arm is rolled out for; 0 = none")
    trials: Positive = Field(1, description="roll-outs of each task, for pass^k and pass@k")
    agents: list[str] = Field([], description="agents with a world; empty = generate.agents")
    max_steps: Positive = Field(8, description="answers of the model in one roll-out")
    temperature: float = Field(0.0, ge=0, description="sampling temperature of a roll-out")

    @model_validator(mode="after")
    def _differ(self) -> TrajectoriesConfig:
        if self.trials > 1 and self.temperature == 0:
            raise ValueError(
                f"trials={self.trials} need a temperature above 0; write one, or trials=1"
            )
        return self


class MultiTurnConfig(BaseConfig):
    rows: int = Field(0, ge=0, description="BFCL multi-turn entries of each category; 0 = none")
    categories: list[Literal["base", "miss_func", "miss_param", "long_context"]] = Field(
        ["base"], min_length=1, description="BFCL multi-turn categories"
    )
    max_steps: Positive = Field(20, description="answers with calls in one turn, as BFCL")


class JudgedConfig(BaseConfig):
    rows: int = Field(0, ge=0, description="rows of each split that a judge compares; 0 = no judge")
    rubric: dict[str, str] = Field(
        {
            "correct": "does what the user asked for, with nothing wrong or made up",
            "complete": "leaves nothing out that the user needs",
            "clear": "is short, plain and easy to use",
        },
        min_length=1,
        description="criterion -> what a 5 means; each is scored from 1 to 5",
    )
    max_tokens: Positive = Field(96, description="longest verdict in tokens")


class GeneralConfig(BaseConfig):
    OPERATIONAL = frozenset({"timeout_s"})

    tasks: list[str] = Field([], description="lm-eval tasks that every arm takes; empty = none")
    include_path: str | None = Field(None, description="folder of your own lm-eval task files")
    limit: Positive = Field(64, description="questions of each task")
    fewshot: int | None = Field(None, ge=0, description="examples shown; none = the task's own")
    timeout_s: float = Field(3600.0, gt=0, description="longest run of one arm")


class LatencyConfig(BaseConfig):
    rows: int = Field(16, ge=0, description="rows asked at each load; 0 = no latency is measured")
    loads: list[Positive] = Field([1, 8, 32], min_length=1, description="requests at once")


class QuantizedConfig(BaseConfig):
    kinds: list[Literal["none", "int8", "nf4"]] = Field(
        [],
        description="the headline arm answers once more with its weights of each of these kinds "
        "(bitsandbytes): accuracy, latency and memory side by side; none = as they are",
    )
    rows: Positive = Field(64, description="test rows asked of each kind, one at a time")


class EvaluateConfig(BaseConfig):
    OPERATIONAL = frozenset({"max_concurrency", "shard_rows"})

    splits: list[Literal["val", "test_seen", "test_unseen"]] = Field(
        ["test_seen", "test_unseen"],
        min_length=1,
        description="splits of the run's own rows that base and arms answer",
    )
    sources: dict[str, SourceConfig] = Field({}, description="more suites: split -> source")
    unseen_agents: list[str] = Field(
        [], description="agents left out of generate.agents; their tasks are split unseen_agents"
    )
    unseen_rows: Positive = Field(48, description="tasks of the unseen agents")
    perturbations: list[str] = Field([], description="names of docs/names.md; empty = none")
    perturbed_rows: Positive = Field(32, description="rows of a split under each perturbation")
    trajectories: TrajectoriesConfig = TrajectoriesConfig()
    multi_turn: MultiTurnConfig = MultiTurnConfig()
    irrelevance_rows: int = Field(
        64,
        ge=0,
        description="rows on which no call is right: so many of the run's own tools, and so many "
        "of BFCL's irrelevance set; 0 = none",
    )
    instruction_rows: int = Field(
        64, ge=0, description="requests with instructions that a program can check; 0 = none"
    )
    val_rows: int = Field(64, ge=0, description="val rows answered to choose the headline arm")
    few_shot: int = Field(4, ge=0, description="train rows in prompts of base_few_shot; 0 = no arm")
    constrained: bool = Field(True, description="ask the base with a grammar too: base_constrained")
    latency: LatencyConfig = LatencyConfig()
    quantized: QuantizedConfig = QuantizedConfig()
    metrics: list[str] = Field(
        [],
        description="metrics of your own as module:function (answer, row) -> number or None, or "
        "module:NAME of a Metric",
    )
    perplexity_rows: int = Field(0, ge=0, description="val rows for the perplexity; 0 = none")
    judge: JudgedConfig = JudgedConfig()
    general: GeneralConfig = GeneralConfig()
    limit: int | None = Field(
        None, ge=1, description="at most this many rows per split; none = 20,000 of the run's own"
    )
    max_tokens: Auto = Field(0, description="longest answer in tokens; auto = from gold's lengths")
    shard_rows: Positive = Field(64, description="rows asked and committed together")
    max_concurrency: int | None = Field(
        None, ge=1, description="shards under way at a time; none = as many as fill the engines"
    )
    resamples: int = Field(2000, ge=100, description="bootstrap resamples")
    confidence: float = Field(0.95, gt=0.5, lt=1.0, description="of every interval")
