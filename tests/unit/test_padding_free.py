"""Rows without padding give the hidden states, gradients and generations of padded ones."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tiny_model import SIZES
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from raytune_agents.train.padding_free import PaddingFree, can_unpad

IDS = torch.tensor([[5, 9, 2, 7, 1, 4, 3, 6], [8, 7, 6, 5, 4, 0, 0, 0], [3, 1, 0, 0, 0, 0, 0, 0]])
RIGHT = (IDS != 0).long()
SMALL = {**SIZES, "vocab_size": 64, "head_dim": 8, "pad_token_id": 0}
WINDOW = {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 1}
CONFIGS = {
    "llama": LlamaConfig(**SMALL),
    "mistral, window 3": MistralConfig(**SMALL, sliding_window=3),
    "qwen2, window in one layer": Qwen2Config(**SMALL, **WINDOW),
    "qwen3": Qwen3Config(**SMALL),
    "gemma3, window 3": Gemma3TextConfig(**SMALL, sliding_window=3),
}


def made(config: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_logits_and_gradients_of_padded_rows(name: str, side: str) -> None:
    model = made(CONFIGS[name])
    free = copy.deepcopy(model)
    assert can_unpad(free)
    PaddingFree(free, unpad=True)
    ids, mask = (x if side == "right" else x.flip(1) for x in (IDS, RIGHT))
    found, own = [], mask.bool()
    for one in (model, free):
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        out = one(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
        out.logits[own].square().sum().backward()
        found.append((out.logits[own], {n: p.grad for n, p in one.named_parameters()}))
    (logits, gradients), (free_logits, free_gradients) = found
    assert torch.allclose(free_logits, logits, rtol=1e-4, atol=1e-5)
    for key, gradient in gradients.items():
        assert torch.allclose(free_gradients[key], gradient, rtol=1e-3, atol=1e-4), key


@pytest.mark.parametrize("unpad", [True, False])
def test_the_head_sees_wanted_positions_only(unpad: bool) -> None:
    model = made(CONFIGS["llama"])
    whole = model(input_ids=IDS, attention_mask=RIGHT, use_cache=False).logits
    hooks = PaddingFree(model, unpad)
    wanted = torch.tensor([1, 6, 10, 17])  # flat numbers of [3, 8]
    hooks.wanted = wanted
    some = model(input_ids=IDS, attention_mask=RIGHT, use_cache=False).logits
    assert some.shape == (1, 4, 64)
    assert torch.allclose(some[0], whole.flatten(0, 1)[wanted], atol=1e-5)
    again = model(input_ids=IDS, attention_mask=RIGHT, use_cache=False).logits
    assert again.shape == whole.shape  # it was for one forward pass


def test_generation_is_as_before() -> None:
    model = made(CONFIGS["llama"])
    options = {"attention_mask": RIGHT.flip(1), "max_new_tokens": 5, "do_sample": False}
    before = model.generate(IDS.flip(1), **options)
    PaddingFree(model, unpad=True)
    assert torch.equal(model.generate(IDS.flip(1), **options), before)


@pytest.mark.parametrize(
    "config",
    [
        Gemma2Config(**SMALL),  # caps its scores
        Lfm2Config(**SMALL, layer_types=["conv", "full_attention"]),  # a state runs on
    ],
    ids=["gemma2", "lfm2"],
)
def test_models_whose_rows_meet_outside_attention_keep_their_padding(config: AutoConfig) -> None:
    assert not can_unpad(made(config))
