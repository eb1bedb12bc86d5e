"""The options of export: format, preset, and the prices of hosted tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from raytune_agents.config.base import BaseConfig, Positive, Share


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


def _price(model: str, usd_in: float, usd_out: float) -> AnswerPriceConfig:
    return AnswerPriceConfig(model=model, usd_per_mtok_in=usd_in, usd_per_mtok_out=usd_out)


class ExportConfig(BaseConfig):
    format: str = Field("openai", description="name in WRITERS, trl_pairs, or module:function")
    preset: Literal["none", "agent_flan"] = Field("none", description="a fixed make-up of files")
    scale: float = Field(1.0, gt=0, description="size of the preset; 1 = 600 rows per agent")
    val_share: Share = Field(0.1, description="share of val rows where no row is marked val")
    answers_per_month: Positive = Field(100_000, description="all answers; for the pay-back")
    traffic_share: Share = Field(0.2, description="share of them that the tuned model would give")
    prices: dict[str, PriceConfig] = Field(
        {
            "openai": PriceConfig(
                model="gpt-4.1-mini",
                usd_per_mtok=5.0,
                mtok_per_hour=2.0,
                as_of="2025-10",
                tuned=_price("gpt-4.1-mini, tuned", 0.8, 3.2),
                today=_price("gpt-4.1", 2.0, 8.0),
            ),
            "gemini": PriceConfig(
                model="gemini-2.5-flash",
                usd_per_mtok=5.0,
                mtok_per_hour=2.0,
                as_of="2025-10",
                tuned=_price("gemini-2.5-flash, tuned", 0.3, 2.5),
                today=_price("gemini-2.5-pro", 1.25, 10.0),
            ),
        },
        description="provider of hosted tuning -> its price, which `plan --provider` counts with",
    )
