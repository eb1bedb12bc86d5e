"""Options of the model and of the engine that answers with it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from raytune_agents.config.base import Auto, BaseConfig, Share
from raytune_agents.records import Options


class ModelConfig(BaseConfig):
    name: str = Field("smollm2-135m", description="smollm2-135m (embedded), a hub id, or a folder")
    revision: str | None = Field(None, description="hub revision")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="auto = bfloat16 where the hardware has instructions for it"
    )
    max_length: Auto = Field(
        0,
        description="longest prompt + answer in tokens; longer rows are left out; auto = as long "
        "as 98 % of the rows, as far as the model reads",
    )
    template: Literal["auto", "ours", "native"] = Field(
        "auto", description="auto = the model's own chat template where it renders tools, else ours"
    )
    tools: Literal["signature", "brief", "schema"] = Field(
        "signature",
        description="how our template writes tools: signatures with the parameters' descriptions, "
        "brief ones without them, or full JSON Schema",
    )
    chat_template_kwargs: Options = Field(
        {}, description="options of the chat template, for example enable_thinking: false"
    )

    @field_validator("max_length")
    @classmethod
    def _room(cls, value: int) -> int:
        if 0 < value < 32:
            raise ValueError(
                f"max_length={value} has no room for a row; write auto, or 32 and more"
            )
        return value


class EngineConfig(BaseConfig):
    OPERATIONAL = frozenset(
        {"actors", "tensor_parallel_size", "kv_cache_gib", "gpu_memory_utilization"}
        | {"label_selector", "retries", "timeout_s", "serve"}
    )

    actors: Auto = Field(0, description="engine actors, each with its GPUs; auto = as many as fit")
    tensor_parallel_size: Auto = Field(
        0, description="GPUs of one actor; auto = the fewest that hold the weights"
    )
    max_model_len: int = Field(1024, ge=32, description="longest prompt + answer, >= max_length")
    kv_cache_gib: float = Field(1.0, gt=0, description="CPU memory for the KV cache")
    gpu_memory_utilization: Share = Field(
        0.85, gt=0, description="share of a GPU's memory that the engine may take"
    )
    label_selector: dict[str, str] = Field(
        {}, description="labels of the nodes for engines, for example ray.io/market-type: '!spot'"
    )
    retries: int = Field(2, ge=0, description="more tries of a request; then it is infra_failed")
    timeout_s: float = Field(900.0, gt=0, description="longest wait for an answer in the engine")
    options: Options = Field({}, description="other vLLM engine arguments, like max_num_seqs: 64")
    serve: bool = Field(
        False, description="engines are the replicas of a Ray Serve LLM app: 1 to `actors`, by load"
    )

    @model_validator(mode="after")
    def _counted(self) -> EngineConfig:
        if self.label_selector and not self.actors:
            raise ValueError(
                "label_selector with actors=auto, which counts all nodes' GPUs; write actors: 1"
            )
        return self
