"""An adapter merged into its base: the same model in one folder, which old readers read too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_model import save_tiny
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from raytune_agents import models
from raytune_agents.config import ConfigError, TrainConfig
from raytune_agents.train.base_model import check_targets, load_model
from raytune_agents.train.validate_config import changed_ends

IDS = torch.arange(40).reshape(2, 20) * 7 % 256
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "use_rslora": {"use_rslora": True},
    "use_dora": {"use_dora": True},
    "rank_pattern": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 3}},
    "modules_to_save": {"modules_to_save": ["lm_head"]},
    "trainable_token_indices": {"trainable_token_indices": [3, 4]},
    "pissa": {"init_lora_weights": "pissa"},
}
ON_TOP = ("plain", "use_rslora", "rank_pattern")  # which vLLM puts on top of the base
SAMPLED = {"temperature": 0.6, "top_p": 0.9, "do_sample": False, "eos_token_id": [2, 0]}


def adapter_of(base: str, folder: Path, **options: Any) -> torch.Tensor:
    """Save an adapter that changes all that it may; the logits of the base with it."""
    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    options = {"init_lora_weights": False, "r": 4, "target_modules": ["q_proj", "o_proj"]} | options
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.1)
        logits = model(IDS).logits
    model.save_pretrained(str(folder))
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return logits


def logits_of(folder: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(IDS).logits


@pytest.mark.parametrize("kind", KINDS)
def test_any_adapter_merged_and_saved_says_the_same(kind: str, tmp_path: Path) -> None:
    base, adapter = Path(save_tiny(tmp_path / "base")), tmp_path / "adapter"
    said = adapter_of(str(base), adapter, **KINDS[kind])
    assert models.must_merge(adapter) == (kind not in ON_TOP)
    models.save_merged(base, adapter, "float32", tmp_path / "merged")
    assert (logits_of(tmp_path / "merged") - said).abs().max() < 1e-4
    assert (logits_of(base) - said).abs().max() > 1e-2


def test_a_base_with_options_that_it_ignores_is_saved_all_the_same(tmp_path: Path) -> None:
    base, adapter = Path(save_tiny(tmp_path / "base")), tmp_path / "adapter"
    adapter_of(str(base), adapter)
    (base / "generation_config.json").write_text(json.dumps(SAMPLED))
    models.save_merged(base, adapter, "float32", tmp_path / "merged")
    kept = json.loads((tmp_path / "merged" / "generation_config.json").read_text())
    assert kept["eos_token_id"] == [2, 0]
    assert kept.get("temperature") is None
    full = load_model(str(base), "float32", TrainConfig(parameters="full"), 0)
    full.save_pretrained(tmp_path / "full")


def test_what_transformers_4_reads_is_there_and_5_reads_the_same(tmp_path: Path) -> None:
    base, adapter, out = tmp_path / "base", tmp_path / "adapter", tmp_path / "merged"
    scaled = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    save_tiny(base, rope_parameters=scaled | {"rope_theta": 5e5})
    said = adapter_of(str(base), adapter)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.save_pretrained(adapter)
    models.save_merged(base, adapter, "float32", out)
    config, words = (json.loads((out / name).read_text())
                     for name in ("config.json", "tokenizer_config.json"))
    assert (config["rope_theta"], config["torch_dtype"]) == (5e5, "float32")
    assert config["rope_scaling"] == scaled
    assert words["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert words["additional_special_tokens"] == ["<|im_start|>"]
    assert "extra_special_tokens" not in words
    assert AutoConfig.from_pretrained(out).rope_parameters == scaled | {"rope_theta": 5e5}
    assert (logits_of(out) - said).abs().max() < 1e-4
    again, text = AutoTokenizer.from_pretrained(out), "<|im_start|>user\nPay 12 €<|im_end|>"
    assert again.encode(text) == tokenizer.encode(text)
    assert again.all_special_tokens == tokenizer.all_special_tokens


def test_one_embedding_for_both_ends_is_not_changed_at_one(tmp_path: Path) -> None:
    tied, free = (Path(save_tiny(tmp_path / str(tie), tie_word_embeddings=tie))
                  for tie in (True, False))
    config = TrainConfig(lora={"target_modules": ["q_proj", "lm_head"]}).lora
    with pytest.raises(ConfigError, match=r"leave lm_head out"):
        check_targets(AutoModelForCausalLM.from_pretrained(tied), config)
    check_targets(AutoModelForCausalLM.from_pretrained(free), config)
    for saved, found in (
        ({"modules_to_save": ["lm_head"], "target_modules": ["q_proj"]}, ["lm_head"]),
        ({"target_modules": ["q_proj", "embed_tokens"]}, ["embed_tokens"]),
        ({"target_modules": "all-linear", "modules_to_save": None}, []),
    ):
        assert changed_ends(saved, tied) == found
        assert changed_ends(saved, free) == []



def test_weights_that_a_repository_has_twice_are_taken_once(tmp_path: Path) -> None:
    from huggingface_hub.utils import filter_repo_objects

    names = ["config.json", "consolidated.safetensors", "model-00001-of-00002.safetensors",
             "model-00002-of-00002.safetensors", "original/params.json", "tokenizer.json"]
    taken = filter_repo_objects(
        names, allow_patterns=models.DOWNLOAD, ignore_patterns=models.TWICE
    )
    assert list(taken) == [names[0], *names[2:4], names[5]]
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / names[1]).write_bytes(b"0" * 2**20)
    with pytest.raises(ConfigError, match=r"holds no \*\.safetensors"):
        models.check_folder(tmp_path)
    for name in names[2:4]:
        (tmp_path / name).write_bytes(b"0" * 2**20)
    assert models.weights_gib(models.check_folder(tmp_path)) == 2 / 2**10
