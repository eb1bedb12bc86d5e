"""Training configs that are refused before anything starts, and what they say to write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raytune_agents import models
from raytune_agents.config import ConfigError, TrainConfig, load_config
from raytune_agents.train import validate_config

BASE = Path("/models/smollm2-135m")


def adapter(folder: Path, weights: str = validate_config.WEIGHTS, **config) -> Path:
    """A folder that looks like a saved adapter of BASE."""
    saved = {"base_model_name_or_path": str(BASE), "r": 16, "lora_alpha": 32} | config
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(saved))
    (folder / weights).touch()
    return folder


def check(start: Path, **lora) -> None:
    validate_config.validate_start(
        BASE, "smollm2-135m", TrainConfig(report_to=[], lora={"start": str(start), **lora})
    )


def test_an_adapter_of_this_base_is_taken(tmp_path) -> None:
    check(adapter(tmp_path / "one"))
    check(adapter(tmp_path / "moved", base_model_name_or_path="/elsewhere/smollm2-135m"))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"base_model_name_or_path": "Qwen/Qwen3-4B"},
            r"adapter of Qwen/Qwen3-4B, not of model\.n",
        ),
        ({"r": 8}, r"r=8 \(config: 16\); write the adapter's values under train\.lora"),
        ({"weights": "adapter_model.bin"}, r"only the pickle adapter_model\.bin, which is refused"),
    ],
)
def test_other_adapters_are_refused(tmp_path, config, said) -> None:
    with pytest.raises(ConfigError, match=said):
        check(adapter(tmp_path / "one", **config))


def test_a_folder_without_adapter_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"no adapter_config\.json; write the folder of a saved"):
        check(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"quantization": "nf4"},
            r"train\.quantization=nf4 needs package bitsandbytes: pip install",
        ),
        ({"sharding": "zero2"}, r"train\.sharding=zero2 needs package deepspeed.*sharding: fsdp"),
        ({"report_to": ["wandb"]}, r"train\.report_to=wandb needs package wandb.*report_to: \[\]"),
        ({"report_to": ["trackio"]}, r"train\.report_to=trackio needs package trackio.*\[track\]"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, options, said) -> None:
    monkeypatch.setattr(validate_config.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=said):
        validate_config.validate_start(
            BASE, "smollm2-135m", TrainConfig(**{"report_to": []} | options)
        )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.num_workers=2"], "num_workers=2 with sharding=none; write sharding: ddp"),
        (
            ["train.num_workers=[1, 2]"],
            r"num_workers=\(1, 2\) with sharding=none; write sharding: ddp",
        ),
        (
            ["train.num_workers=[1, 2]", "train.sharding=zero2"],
            r"one number of workers; .*num_workers: 2",
        ),
        (
            ["train.num_workers=[2, 1]", "train.sharding=ddp"],
            r"the least stands first; write \[1, 2\]",
        ),
        (["train.offload=true"], "offload with sharding=none"),
        (["train.quantization=int8", "train.parameters=full"], "cannot be trained in full"),
        (["train.quantization=nf4", "train.sharding=zero3"], "write sharding: ddp or zero2"),
        (["train.parameters=full", "train.lora.start=x"], "lora.start with parameters=full"),
        (
            ["train.early_stopping_patience=2"],
            "early_stopping_patience=2 without scores; write eval_steps",
        ),
        (["train.generate_steps=50"], "generate_steps=50 is no multiple of eval_steps=0"),
        (["train.generate_steps=5", "train.eval_steps=4"], "no multiple of eval_steps=4"),
        (
            ["train.generate_steps=4", "train.eval_steps=4", "train.sharding=fsdp"],
            "generate_steps with sharding=fsdp",
        ),
        (["train.curve=[0.5, 1.0]"], r"curve=\[1.0\]: write shares below 1"),
    ],
)
def test_options_that_do_not_go_together(words, said) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(None, words)


def test_a_step_that_the_workers_cannot_share_is_refused() -> None:
    config = TrainConfig(report_to=[], num_workers=3, sharding="ddp", global_batch_size=8)
    with pytest.raises(ConfigError, match=r"train\.global_batch_size=8 .* write a multiple of 3"):
        validate_config.validate_start(BASE, "smollm2-135m", config)


def test_a_model_of_pickles_is_refused_by_name(tmp_path) -> None:
    (tmp_path / "config.json").touch()
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ConfigError, match=r"only the pickle pytorch_model\.bin, which is refused"):
        models.resolve(load_config(None, [f"model.name={tmp_path}"]).model)
