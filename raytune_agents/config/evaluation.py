"""The options of evaluation beyond rows and splits: plays, BFCL's classes, judge, abilities."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from raytune_agents.config.base import Positive, Section


class TrajectoriesSection(Section):
    tasks: int = Field(0, ge=0, description="goals that every arm plays to the end; 0 = none")
    trials: Positive = Field(1, description="plays of each task, for pass^k and pass@k")
    agents: list[str] = Field(
        [], description="agents with an executable world; empty = those of generate.agents"
    )
    max_steps: Positive = Field(8, description="answers of the model in one play")
    temperature: float = Field(0.0, ge=0, description="sampling temperature of a play")

    @model_validator(mode="after")
    def _differ(self) -> TrajectoriesSection:
        if self.trials > 1 and self.temperature == 0:
            raise ValueError(
                f"trials={self.trials} at temperature=0 would be the same play again; write a "
                "temperature above 0, for example temperature=0.7, or trials=1"
            )
        return self


class MultiTurnSection(Section):
    rows: int = Field(0, ge=0, description="BFCL multi-turn entries of each category; 0 = none")
    categories: list[Literal["base", "miss_func", "miss_param", "long_context"]] = Field(
        ["base"], min_length=1, description="BFCL multi-turn categories"
    )
    max_steps: Positive = Field(20, description="answers with calls in one turn, as BFCL")


class JudgedSection(Section):
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


class GeneralSection(Section):
    tasks: list[str] = Field(
        [], description="lm-eval tasks that every arm takes, to see what tuning costs; empty = none"
    )
    include_path: str | None = Field(None, description="folder of your own lm-eval task files")
    limit: Positive = Field(64, description="questions of each task")
    fewshot: int | None = Field(None, ge=0, description="examples shown; none = the task's own")
    timeout_s: float = Field(3600.0, gt=0, description="longest run of one arm")
