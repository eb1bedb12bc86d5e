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

from raytune_agents.train.padding_free import SHORT, PaddingFree, can_unpad, row_by_row

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


@pytest.mark.parametrize("shared", [6, 2, 1])  # heads that keys and values have, of 6
@pytest.mark.parametrize(("lengths", "window"), [([7, 1, 40], None), ([9, 30], 30), ([9, 30], 4)])
def test_attention_in_bf16_is_that_of_float32(
    shared: int, lengths: list[int], window: int | None
) -> None:
    """Short rows have products of their own in bf16; a window that is met has PyTorch's kernel."""
    torch.manual_seed(0)
    heads = (6, shared, shared)
    given = [torch.randn(1, h, sum(lengths), 16).to(torch.bfloat16) for h in heads]
    weight = torch.randn(1, sum(lengths), 6, 16)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        qkv = [x.to(dtype).requires_grad_() for x in given]
        out = row_by_row(*qkv, lengths, window, 0.3, 0.0)
        assert out.dtype == dtype
        (out * weight).sum().backward()
        found.append([out.detach(), *(x.grad for x in qkv)])
    for exact, short in zip(*found, strict=True):
        assert (exact - short).norm() < 0.01 * exact.norm()


def test_long_rows_in_bf16_stay_with_pytorchs_kernel() -> None:
    q, k, v = (torch.randn(1, 2, n, 8, dtype=torch.bfloat16) for n in [SHORT + 1] * 3)
    out = row_by_row(q, k, v, [SHORT + 1], None, 0.5, 0.0)
    exact = row_by_row(q.float(), k.float(), v.float(), [SHORT + 1], None, 0.5, 0.0)
    assert torch.equal(out, exact.to(torch.bfloat16))


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
