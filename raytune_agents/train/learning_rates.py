"""The learning rate that `train.learning_rate: auto` stands for: by size, method and parameters.

    adapter, cross-entropy    up to 0.3B 1e-3, up to 1B 5e-4, up to 15B 2e-4, above 1e-4
    pairs and rewards         a twentieth of it
    all weights               a tenth of it

2e-4 up to 13B and 1e-4 above are QLoRA's (arXiv 2305.14314, table 9); small models take more, which
the search's first stage found for SmolLM2-135M. A twentieth is 1e-5 for a 3B, ten times TRL's
default for DPO on all weights, and 5e-6 for the largest, as the Alignment Handbook's QLoRA DPO.
That an adapter's best rate is ten times that of all weights, for rewards too: "LoRA Without Regret"
(Thinking Machines, 2025). A rate is a start: `tune.space` searches around it.
"""

from __future__ import annotations

from math import inf, prod
from pathlib import Path

from raytune_agents.config import TrainConfig
from raytune_agents.infra.estimate import tensor_shapes

ADAPTER = {0.3e9: 1e-3, 1e9: 5e-4, 15e9: 2e-4, inf: 1e-4}  # parameters of the base, at most -> rate
FULL = 0.1


def auto_rate(parameters: float, config: TrainConfig, scale: float = 1.0) -> float:
    """The config's learning rate, or the one that `auto` stands for: `scale` is the method's."""
    if config.learning_rate != "auto":
        return config.learning_rate
    rate = next(rate for most, rate in ADAPTER.items() if parameters <= most)
    return rate * scale * (FULL if config.parameters == "full" else 1.0)


def base_parameters(folder: Path) -> int:
    """Numbers in the model's safetensors, by their headers."""
    files = folder.glob("*.safetensors")
    return sum(prod(shape) for file in files for shape in tensor_shapes(file).values())
