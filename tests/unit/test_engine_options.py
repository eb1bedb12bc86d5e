"""Engine arguments that are checked before an engine starts."""

from __future__ import annotations

import pytest

from raytune_agents.config import ConfigError, build_config
from raytune_agents.inference.options import lora_options, validate_engine_options, vllm_arguments

needs_vllm = pytest.mark.skipif(not vllm_arguments(), reason="vLLM is not installed")
ARM = {"method": "sft"}


def config_of(*, options: dict | None = None, lora: dict | None = None, **train):
    config = {"lora": lora or {}, **train}
    return build_config({"engine": {"options": options or {}}, "train": config})


@needs_vllm
def test_vllms_arguments_are_read_without_loading_it() -> None:
    assert {"max_num_seqs", "quantization", "kv_cache_dtype", "model"} <= vllm_arguments()
    assert "from_cli_args" not in vllm_arguments()


@needs_vllm
def test_an_argument_that_vllm_does_not_have_names_the_nearest() -> None:
    validate_engine_options(config_of(options={"max_num_seqs": 8, "quantization": "fp8"}))
    with pytest.raises(ConfigError, match=r"max_num_sequences.*did you mean max_num_seqs\?"):
        validate_engine_options(config_of(options={"max_num_sequences": 8}))


def test_an_argument_with_an_option_of_its_own_names_that() -> None:
    with pytest.raises(ConfigError, match=r"write engine.max_model_len"):
        validate_engine_options(config_of(options={"max_model_len": 8}))


def test_weights_that_would_be_unpickled_are_refused() -> None:
    validate_engine_options(config_of(options={"load_format": "dummy"}))
    with pytest.raises(ConfigError, match=r"load_format='pt' may unpickle.*write safetensors"):
        validate_engine_options(config_of(options={"load_format": "pt"}))


@pytest.mark.parametrize(("rank", "served"), [(4, 8), (16, 16), (100, 128), (512, 512)])
def test_the_lora_rank_is_the_least_that_holds_all_arms(rank: int, served: int) -> None:
    arms = {"one": ARM, "two": ARM | {"options": {"lora.r": rank}}}
    found = lora_options(config_of(lora={"r": 2}, arms=arms).train)
    assert found == {"enable_lora": True, "max_lora_rank": served, "max_loras": 2}


def test_a_rank_that_no_engine_serves_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train.lora.r=1024 of arm .one.*write 512 or less"):
        validate_engine_options(config_of(lora={"r": 1024}, arms={"one": ARM}))


@pytest.mark.parametrize("train", [{"parameters": "full"}, {"lora": {"use_dora": True}}])
def test_what_is_merged_needs_no_lora(train: dict) -> None:
    assert lora_options(config_of(arms={"one": ARM}, **train).train) == {}
