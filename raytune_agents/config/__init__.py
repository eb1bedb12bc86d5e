"""The config: every option in `sections`, reading and overriding it in `loading`.

An unknown key stops at once and names the nearest known one; every error says the key, the value
and what to write instead. Importing this loads no ray, torch or vllm.
"""

from raytune_agents.config.base import ConfigError, Positive, Section, Share, check_weights
from raytune_agents.config.evaluation import (
    GeneralSection,
    JudgedSection,
    MultiTurnSection,
    TrajectoriesSection,
)
from raytune_agents.config.export import ExportSection, PriceSection
from raytune_agents.config.generation import (
    GenerateSection,
    JudgeSection,
    NegativesSection,
    TeacherSection,
)
from raytune_agents.config.loading import (
    build,
    known_keys,
    load,
    merge,
    nearest,
    parse_overrides,
    set_dotted,
)
from raytune_agents.config.methods import (
    METHODS,
    ArmSection,
    DpoSection,
    EtoSection,
    GrpoSection,
    KtoSection,
    LoraSection,
    NatSection,
    SftSection,
)
from raytune_agents.config.search import BudgetSection, TuneSection
from raytune_agents.config.sections import (
    Config,
    EngineSection,
    EvaluateSection,
    LabelSection,
    MixSection,
    ModelSection,
    ReadSection,
    ResourcesSection,
    SourceSection,
    SplitSection,
    TrainSection,
)

__all__ = [
    "METHODS",
    "ArmSection",
    "BudgetSection",
    "Config",
    "ConfigError",
    "DpoSection",
    "EngineSection",
    "EtoSection",
    "EvaluateSection",
    "ExportSection",
    "GeneralSection",
    "GenerateSection",
    "GrpoSection",
    "JudgeSection",
    "JudgedSection",
    "KtoSection",
    "LabelSection",
    "LoraSection",
    "MixSection",
    "ModelSection",
    "MultiTurnSection",
    "NatSection",
    "NegativesSection",
    "Positive",
    "PriceSection",
    "ReadSection",
    "ResourcesSection",
    "Section",
    "SftSection",
    "Share",
    "SourceSection",
    "SplitSection",
    "TeacherSection",
    "TrainSection",
    "TrajectoriesSection",
    "TuneSection",
    "build",
    "check_weights",
    "known_keys",
    "load",
    "merge",
    "nearest",
    "parse_overrides",
    "set_dotted",
]
