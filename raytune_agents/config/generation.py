"""The options of generation: pools, judge, teacher; and of negatives."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from raytune_agents.config.base import Auto, BaseConfig, Positive, Share, Weights
from raytune_agents.redact import hide


class JudgeConfig(BaseConfig):
    samples: int = Field(0, ge=0, description="verdicts per row, the majority counts; 0 = none")
    temperature: float = Field(0.7, ge=0, description="sampling temperature of verdicts")
    max_tokens: Positive = Field(24, description="longest verdict in tokens")


class TeacherConfig(BaseConfig):
    OPERATIONAL = frozenset(
        {"key_env", "concurrency", "requests_per_minute", "timeout_s", "retries", "wait_s"}
        | {"max_tokens", "max_usd", "usd_per_mtok_in", "usd_per_mtok_out"}
    )

    base_url: str = Field("", description="OpenAI-compatible endpoint; empty = the run's engine")
    client: str = Field("", description="instead: module:function (messages, sampling) -> text")
    model: str = Field("", description="the endpoint's name of its model")
    revision: str = Field("", description="what changes when the model behind the name does")
    key_env: str = Field("OPENAI_API_KEY", description="variable that holds the key; empty = none")
    concurrency: Positive = Field(8, description="requests under way at a time")
    requests_per_minute: float = Field(0.0, ge=0, description="rate limit; 0 = none")
    timeout_s: float = Field(60.0, gt=0, description="longest silence of the endpoint")
    retries: int = Field(4, ge=0, description="tries after a refusal that passes (429, 5xx)")
    wait_s: float = Field(1.0, gt=0, description="first wait of the tries; doubles, with jitter")
    max_tokens: int | None = Field(None, ge=0, description="token budget of the run; none = no end")
    max_usd: float | None = Field(None, ge=0, description="money budget of the run; none = no end")
    usd_per_mtok_in: float = Field(0.0, ge=0, description="price of a million prompt tokens")
    usd_per_mtok_out: float = Field(0.0, ge=0, description="price of a million answer tokens")

    @model_validator(mode="after")
    def _complete(self) -> TeacherConfig:
        hide(self.key_env)  # its name need not say that it is a secret
        if self.base_url and not self.model:
            raise ValueError("base_url is set and model is not; write the endpoint's model name")
        if self.base_url and self.client:
            raise ValueError("base_url and client are both set; write one of them")
        if self.base_url and not re.match("https?://[^/]", self.base_url):
            raise ValueError(f"base_url={self.base_url!r}; write https://host/v1")
        if self.max_usd is not None and not (self.usd_per_mtok_in or self.usd_per_mtok_out):
            raise ValueError("max_usd needs usd_per_mtok_in and usd_per_mtok_out")
        return self


class SourcesConfig(BaseConfig):
    """Who words the requests; what a share cannot be filled with falls to the next source."""

    own: Share | None = Field(
        None,
        description="share of rows that are the user's own with other values; none = by how many "
        "there are and how many tools they call",
    )
    model: Share = Field(0.5, description="share of the others that engine or teacher words anew")
    wording: Share = Field(0.5, description="share of the others in the spec's wordings, if any")


class GenerateConfig(BaseConfig):
    OPERATIONAL = frozenset({"cache", "tool_timeout_s", "tool_memory_mib"})

    agents: list[str] = Field(
        ["qa", "support", "analyst", "legal", "content", "security"],
        min_length=1,
        description="agent specs: names under raytune_agents/agents, or YAML files",
    )
    rows: int = Field(96, ge=0, description="synthetic positives to attempt")
    pools: Weights = Field(
        {
            "tflan": 0.28,
            "react": 0.1,
            "dialogue": 0.05,
            "gradual": 0.05,
            "corrected": 0.025,
            "dependent": 0.05,
            "parallel": 0.1,
            "followup": 0.05,
            "notool": 0.12,
            "masked": 0.05,
            "noisy": 0.05,
            "reordered": 0.025,
            "distracted": 0.03,
            "irrelevant": 0.03,
        },
        description="pool of docs/names.md -> share of generate.rows",
    )
    sources: SourcesConfig = SourcesConfig()
    max_named_share: Share = Field(0.02, description="share of requests that may name their tool")
    no_call: Share = Field(
        0.3,
        lt=1,
        description="share of train and val rows on which no call is right; what sources and pools "
        "lack is made by taking the right tool away",
    )
    held_rows: int | None = Field(
        None,
        ge=0,
        description="verified synthetic test rows of your own agents, and a fourth as many val "
        "rows; none = as few real rows ask for",
    )
    min_distance: Share = Field(0.05, description="nearer requests than this are replaced; 0 = off")
    tools: Positive = Field(4, description="tools shown in a row: the called ones and others")
    candidates: Positive = Field(2, description="wordings per request; the first good one is kept")
    rounds: Positive = Field(2, description="shard parts; wordings of one are the next's examples")
    temperature: float = Field(0.7, ge=0, description="sampling temperature of wordings")
    max_tokens: Positive = Field(64, description="longest wording in tokens")
    shard_rows: Positive = Field(128, description="rows asked for and committed together")
    tool_timeout_s: float = Field(10.0, gt=0, description="longest run of a row's calls")
    tool_memory_mib: Positive = Field(512, description="memory that they may take")
    judge: JudgeConfig = JudgeConfig()
    teacher: TeacherConfig = TeacherConfig()
    cache: Literal["off", "teacher", "all"] = Field(
        "teacher", description="whose answers are kept by content and never asked for twice"
    )


class NegativesConfig(BaseConfig):
    faults: list[str] = Field(
        [],
        description="of docs/names.md, or module:function (row, rng) -> row or None; empty = all",
    )
    per_positive: float = Field(0.5, ge=0, description="edited negatives per training positive")
    candidates: float = Field(2.0, ge=1, description="edits tried per kept one, the most different")
    mined_tasks: int = Field(64, ge=0, description="training tasks sampled for its own failures")
    mined_samples: Positive = Field(1, description="answers sampled for each of them")
    temperature: float = Field(0.7, ge=0, description="sampling temperature of mined answers")
    max_tokens: Auto = Field(
        0, description="longest mined answer in tokens; auto = from the lengths of the gold answers"
    )
    good_steps: bool = Field(
        False,
        description="failed runs beside a success at their task become rows of pool positive.eef: "
        "their good steps are trained, their bad ones carry no loss (EEF)",
    )
    max_fault_share: Share = Field(
        0.15, description="share of a run's negatives that a fault may take, unless named in faults"
    )
    uniform_floor: Share = Field(
        0.5, description="share of edited negatives spread evenly over faults; the rest is as mined"
    )
