"""The config: one file of options per room of the package, `tree` joins them,
`loading` reads and overrides.

An unknown key stops at once and names the nearest known one; every error says the key, the value
and what to write instead. Importing this loads no ray, torch or vllm.
"""

from raytune_agents.config.base import BaseConfig, ConfigError
from raytune_agents.config.data import LabelConfig, MixConfig, ReadConfig, SourceConfig, SplitConfig
from raytune_agents.config.evaluation import (
    EvaluateConfig,
    GeneralConfig,
    JudgedConfig,
    MultiTurnConfig,
    TrajectoriesConfig,
)
from raytune_agents.config.export import ExportConfig
from raytune_agents.config.generation import GenerateConfig, NegativesConfig, TeacherConfig
from raytune_agents.config.loading import (
    build_config,
    known_keys,
    load_config,
    nearest_option,
    parse_overrides,
    set_dotted,
)
from raytune_agents.config.method_options import (
    ArmConfig,
    KtoConfig,
    LoraConfig,
    NatConfig,
    RoundsConfig,
    SftConfig,
)
from raytune_agents.config.model import EngineConfig, ModelConfig
from raytune_agents.config.resources import ResourcesConfig
from raytune_agents.config.training import TrainConfig
from raytune_agents.config.tree import Config
from raytune_agents.config.tuning import BudgetConfig, TuneConfig

# The names under which programs outside the package import these two.
LabelSection = LabelConfig
ModelSection = ModelConfig
