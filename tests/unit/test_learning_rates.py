"""What `learning_rate: auto` stands for."""

from __future__ import annotations

import pytest

from raytune_agents.config import TrainConfig
from raytune_agents.models import embedded
from raytune_agents.train.learning_rates import auto_rate, base_parameters
from raytune_agents.train.methods import METHODS


@pytest.mark.parametrize(
    ("parameters", "method", "options", "rate"),
    [
        (135e6, "sft", {}, 1e-3),
        (135e6, "dpo", {}, 5e-5),
        (0.6e9, "nat", {}, 5e-4),
        (3e9, "sft", {}, 2e-4),
        (3e9, "grpo", {}, 1e-5),
        (3e9, "sft", {"parameters": "full"}, 2e-5),
        (70e9, "kto", {}, 5e-6),
        (70e9, "kto", {"learning_rate": 3e-5}, 3e-5),
    ],
)
def test_by_size_method_and_parameters(parameters, method, options, rate) -> None:
    config = TrainConfig(**options)
    assert auto_rate(parameters, config, METHODS[method].rate) == pytest.approx(rate)


def test_the_size_is_read_from_the_headers() -> None:
    assert base_parameters(embedded()) == 134_515_008
