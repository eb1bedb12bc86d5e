"""The options of export: format, preset, and the prices of hosted tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from raytune_agents.config.base import PRICES, BaseConfig, Positive, Share


class AnswerPriceConfig(BaseConfig):
    model: str = Field("", description="the model that answers; empty = unknown, nothing is said")
    usd_per_mtok_in: float = Field(0.0, ge=0, description="price of a million prompt tokens")
    usd_per_mtok_out: float = Field(0.0, ge=0, description="price of a million answer tokens")


class PriceConfig(BaseConfig):
    model: str = Field(description="the hosted model that would be tuned")
    usd_per_mtok: float = Field(ge=0, description="price of a million trained tokens")
    epochs: Positive = Field(3, description="passes over the rows that are billed")
    mtok_per_hour: float = Field(gt=0, description="a rough guess of the service's speed")
    as_of: str = Field(description="when the price was looked up; it is never fetched")
    tuned: AnswerPriceConfig = AnswerPriceConfig()
    today: AnswerPriceConfig = AnswerPriceConfig()


class ExportConfig(BaseConfig):
    format: str = Field("openai", description="name in WRITERS, trl_pairs, or module:function")
    preset: Literal["none", "agent_flan"] = Field("none", description="a fixed make-up of files")
    scale: float = Field(1.0, gt=0, description="size of the preset; 1 = 600 rows per agent")
    val_share: Share = Field(0.1, description="share of val rows where no row is marked val")
    answers_per_month: Positive = Field(100_000, description="all answers; for the pay-back")
    traffic_share: Share = Field(0.2, description="share of them that the tuned model would give")
    prices: dict[str, PriceConfig] = Field(
        {k: PriceConfig(**v, as_of=PRICES["as_of"]) for k, v in PRICES["hosted"].items()},
        description="provider of hosted tuning -> its price, which `plan --provider` counts with",
    )
