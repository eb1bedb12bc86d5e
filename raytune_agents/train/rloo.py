"""REINFORCE leave-one-out (RLOO, arXiv 2402.14740): rows, rewards and options of `grpo`; the
advantage of an answer is its reward against the mean of the others of its group."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from raytune_agents.config import ConfigError, TrainConfig
from raytune_agents.mix import RowKind
from raytune_agents.records import Options
from raytune_agents.train import grpo

columns = grpo.columns


def trainer(model: Any, tokenizer: Any, data: Any, arguments: Options, config: TrainConfig) -> Any:
    """TRL's RLOO trainer."""
    from trl import RLOOConfig, RLOOTrainer

    trl_config = RLOOConfig(**grpo.shared(arguments, config))
    made = partial(RLOOTrainer, model=model, processing_class=tokenizer, train_dataset=data)
    return grpo.with_rewards(made, trl_config, config)


def validate_data(rows: Sequence[RowKind], config: TrainConfig) -> None:
    """That of `grpo`, and no roll-outs: TRL's RLOO takes no rollouts. Raises ConfigError."""
    if config.grpo.turns > 1:
        raise ConfigError(
            f"train.grpo.turns={config.grpo.turns}: rloo answers once; write method: grpo"
        )
    grpo.validate_data(rows, config)
