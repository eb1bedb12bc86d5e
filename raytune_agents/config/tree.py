"""The whole tree: one section per step."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from raytune_agents.config.base import FOLDER, BaseConfig
from raytune_agents.config.data import LabelConfig, MixConfig, ReadConfig
from raytune_agents.config.evaluation import EvaluateConfig
from raytune_agents.config.export import ExportConfig
from raytune_agents.config.generation import GenerateConfig, NegativesConfig
from raytune_agents.config.model import EngineConfig, ModelConfig
from raytune_agents.config.resources import ResourcesConfig
from raytune_agents.config.training import TrainConfig
from raytune_agents.config.tuning import BudgetConfig, TuneConfig


class Config(BaseConfig):
    """Every option of a run, one section per step or room."""

    name: str = Field(
        "demo", pattern=f"^{FOLDER.pattern}$", description="run folder under runs_dir"
    )
    runs_dir: str = Field(
        "runs",
        min_length=1,
        description="where run folders live: a folder, s3://BUCKET/PATH or gs://BUCKET/PATH",
    )
    seed: int = Field(17, ge=0, lt=2**32, description="of every draw, split and training")
    sandbox: Literal["strong", "weak"] = Field(
        "strong",
        description="weak: users' tools run also where no kernel layer holds them: SECURITY.md",
    )
    model: ModelConfig = ModelConfig()
    read: ReadConfig = ReadConfig()
    generate: GenerateConfig = GenerateConfig()
    negatives: NegativesConfig = NegativesConfig()
    label: LabelConfig = LabelConfig()
    mix: MixConfig = MixConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    tune: TuneConfig = TuneConfig()
    budget: BudgetConfig = BudgetConfig()
    export: ExportConfig = ExportConfig()
    engine: EngineConfig = EngineConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @model_validator(mode="after")
    def _lengths(self) -> Config:
        if self.engine.max_model_len < self.model.max_length:
            raise ValueError(
                f"engine.max_model_len={self.engine.max_model_len} is below model.max_length: "
                f"write engine.max_model_len={self.model.max_length} or more"
            )
        return self
