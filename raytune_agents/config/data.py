"""Options of the steps on rows: read, label, mix."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from raytune_agents.config.base import Auto, BaseConfig, Positive, Share, Weights
from raytune_agents.config.method_options import ArmConfig


class SourceConfig(BaseConfig):
    path: str = Field(
        description="bfcl (of bfcl-eval), nestful or complexfuncbench (of nestful-wrapper), a "
        "file, folder, glob, URL or hub id"
    )
    format: str = Field("auto", description="a format of docs/names.md, module:function, or auto")
    limit: int | None = Field(None, ge=1, description="at most this many rows")
    categories: list[str] = Field([], description="of BFCL; empty = its Python call categories")
    min_rating: Share = Field(0.8, description="ratings below this share of the scale are failures")
    rating_max: float = Field(1.0, gt=0, description="top of the scale of human ratings")
    agent: str = Field("", description="spec (name or file) whose tools a row without any gets")
    redact: bool | None = Field(
        None, description="replace secrets and private data by their kind; null = in traces, logs"
    )

    @field_validator("path")
    @classmethod
    def _named(cls, path: str) -> str:
        """Not by `min_length`: that refuses a file whose name is no UTF-8."""
        if not path.strip():
            raise ValueError(f"{path!r} names no source; write a file, folder, URL or hub id")
        return path


class SplitConfig(BaseConfig):
    train: Share = Field(0.8, description="share of rows whose tools may be trained on")
    val: Share = Field(0.1, description="share of rows for model choice; more of few rows")
    test_seen: Share = Field(
        0.1, description="share of test rows whose tools occur in train; more of few rows"
    )
    unseen_tools: Share = Field(
        0.15, description="share of gold tools kept for test_unseen; none of few rows or tools"
    )
    unseen_category: str = Field("", description="source field whose values are kept back whole")
    rows_per_tool: Positive = Field(
        10, description="rows of one tool in val and in test; more where tools are few"
    )
    folds: int = Field(
        1, ge=1, le=20, description="runs of a cross-fitting, each with other test rows; few rows"
    )
    fold: int = Field(0, ge=0, description="which of them this run is, from 0")

    @model_validator(mode="after")
    def _sums(self) -> SplitConfig:
        parts = {"train": self.train, "val": self.val, "test_seen": self.test_seen}
        if abs(sum(parts.values()) - 1.0) > 1e-6:
            raise ValueError(
                f"{parts} sum to {sum(parts.values()):.3f}; write shares that sum to 1"
            )
        empty = [k for k, v in parts.items() if v <= 0]
        if empty or self.unseen_tools >= 1:
            raise ValueError(
                f"the split {empty or ['train']} would be empty; write a share between 0 and 1"
            )
        if self.fold >= self.folds:
            raise ValueError(
                f"fold={self.fold} is none of folds={self.folds}; write 0 to {self.folds - 1}"
            )
        return self


class ReadConfig(BaseConfig):
    OPERATIONAL = frozenset({"max_error_share"})

    sources: list[SourceConfig] = Field(
        [SourceConfig(path="bfcl")], description="where rows come from; [] = every row is generated"
    )
    tools: int | None = Field(
        None, ge=1, description="tools of a row: those it calls and others of its list; none = all"
    )
    split: SplitConfig = SplitConfig()
    max_error_share: Share = Field(0.05, description="more bad or lost rows than this stop a step")


class LabelConfig(BaseConfig):
    OPERATIONAL = frozenset({"partitions"})

    rules: list[str] = Field(
        [], description="rules of docs/names.md; empty or default = all but pii"
    )
    max_chars: Positive = Field(20_000, description="longest conversation in characters")
    min_outcome: Share = Field(0.5, description="positives with a lower known outcome are rejected")
    languages: list[str] = Field([], description="two-letter languages of requests; empty = any")
    difficulty: bool = Field(False, description="quality counts the model's NLL of the answer")
    contradictions: bool = Field(True, description="label rows of one question with other calls")
    duplicates: Literal["exact", "minhash", "off"] = Field("exact", description="duplicate search")
    minhash_threshold: Share = Field(0.8, description="Jaccard similarity of near duplicates")
    embed: str = Field("", description="module:function, texts -> [texts, n]: semantic duplicates")
    semantic_threshold: Share = Field(0.95, description="cosine of semantic duplicates")
    decontaminate: bool = Field(True, description="label training rows that show an evaluation row")
    evaluation_sets: list[SourceConfig] = Field(
        [SourceConfig(path="bfcl")],
        description="sets that no training row may show; what is read as a source is left out",
    )
    leak_mismatches: int = Field(2, ge=0, le=4, description="words that may differ in a run of ten")
    partitions: Positive = Field(32, description="groups of the distributed duplicate search")

    @model_validator(mode="after")
    def _embeds(self) -> LabelConfig:
        if self.embed and self.duplicates != "minhash":
            raise ValueError(
                f"embed={self.embed!r} adds to duplicates=minhash alone; write duplicates=minhash"
            )
        return self


class MixConfig(BaseConfig):
    weights: Weights = Field(
        {"positive": 0.5, "synthetic": 0.2, "negative": 0.3},
        description="share of trained tokens by pool; a dotted name is a family",
    )
    no_call: Share = Field(
        0.3, lt=1, description="share of good rows on which no call is right; 0 = as in the pools"
    )
    tokens: Auto = Field(12_000, description="trained tokens in all; auto = all of its pools")
    max_epochs: float = Field(4.0, gt=0, description="a pool is repeated at most this often")
    select: Literal["random", "stratified", "k_center", "facility"] = Field(
        "random", description="which rows of a pool an arm takes first: any, or those that differ"
    )

    def of(self, arm: ArmConfig) -> MixConfig:
        """The mix of one arm: its own options where it has them."""
        own = {name: getattr(arm, name) for name in ("weights", "no_call", "tokens")}
        return self.model_copy(update={k: v for k, v in own.items() if v is not None})
