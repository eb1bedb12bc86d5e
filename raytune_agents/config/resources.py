"""Options of the machines: Ray, GPUs, prices, the watchdog."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from raytune_agents.config.base import PRICES, BaseConfig


class ResourcesConfig(BaseConfig):
    cpus: int | None = Field(None, ge=1, le=4096, description="CPUs of a local Ray; none = all")
    address: str | None = Field(
        None,
        pattern=r"^(auto|local|(ray://)?[\w.-]+:\d+|(ray://)?\[[0-9a-fA-F:]+\]:\d+)$",
        description="Ray's address, [ray://]HOST:PORT; none = RAY_ADDRESS in a job, else local",
    )
    object_store_mib: int = Field(400, ge=80, description="of a local Ray; Ray takes 80 at least")
    log: Literal["text", "json"] = Field(
        "text", description="json = one object a line, with run, step and ids, for a log collector"
    )
    stall_timeout_s: float = Field(
        3600.0, ge=0, description="a run without progress for so long is ended; 0 = never"
    )
    gpus: int | None = Field(
        None,
        ge=0,
        description="GPUs that the run takes, no more and no fewer: the autoscaler is asked for "
        "them, and the run waits; 0 = CPUs alone, none = those that are free",
    )
    nodes: int | None = Field(None, ge=1, description="nodes expected, with the head; none = any")
    wait_s: float = Field(900.0, ge=0, description="longest wait for gpus and nodes; then it ends")
    gpu_gib: float | None = Field(None, gt=0, description="memory of a GPU; none = by its type")
    prices: dict[str, Annotated[float, Field(ge=0, lt=1e6)]] = Field(
        PRICES["machines"],
        description="USD for an hour of a core or of a GPU by type, to plan with; never fetched",
    )

    @model_validator(mode="before")
    @classmethod
    def _auto(cls, value: object) -> object:
        return {} if value == "auto" else value
