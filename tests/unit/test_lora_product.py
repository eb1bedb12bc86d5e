"""The adapter's products with the base's: outputs and gradients as PEFT's."""

from __future__ import annotations

import copy
from typing import Any

import peft
import pytest
import torch
from tiny_model import SIZES
from transformers import LlamaConfig, LlamaForCausalLM

from raytune_agents.train import lora
from raytune_agents.train.base_model import cast_less

IDS = torch.tensor([[5, 9, 2, 7, 1, 40, 3], [8, 8, 6, 4, 2, 30, 2]])


def adapted(dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    """A tiny Llama with an adapter that changes its answers (B is 0 in a fresh one)."""
    torch.manual_seed(1)
    base = LlamaForCausalLM(LlamaConfig(**SIZES, attention_bias=True)).to(dtype)
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **options
    )
    model = peft.get_peft_model(base, config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return model


def loss_and_gradients(model: Any, autocast: bool = False) -> tuple[float, dict[str, torch.Tensor]]:
    cast_less(model, autocast)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss = model(input_ids=IDS, labels=IDS, use_cache=False).loss
    loss.backward()
    own = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return loss.item(), own


@pytest.mark.parametrize("rslora", [False, True])
def test_gradients_are_those_of_peft(rslora: bool) -> None:
    model = adapted(use_rslora=rslora)
    fused = copy.deepcopy(model)
    assert lora.fuse(fused) == 14  # q k v o gate up down, in two layers
    (loss, gradients), (own, found) = loss_and_gradients(model), loss_and_gradients(fused)
    assert own == pytest.approx(loss, abs=1e-6)
    assert found.keys() == gradients.keys()
    assert len(found) == 28
    for name, gradient in gradients.items():
        assert torch.allclose(found[name], gradient, rtol=1e-4, atol=1e-7), name


def test_under_bf16_autocast_they_are_near_and_fp32() -> None:
    model = adapted(torch.bfloat16)
    fused = copy.deepcopy(model)
    lora.fuse(fused)
    (loss, gradients), (own, found) = (loss_and_gradients(m, True) for m in (model, fused))
    assert own == pytest.approx(loss, rel=1e-2)
    for name, gradient in gradients.items():
        assert found[name].dtype == torch.float32
        apart = (found[name] - gradient).norm() / gradient.norm()
        assert apart < 0.05, name


def test_the_adapter_off_is_the_base_and_a_merged_one_counts_once() -> None:
    model = adapted().eval()
    fused = copy.deepcopy(model)
    lora.fuse(fused)
    with torch.no_grad():
        on = fused(IDS).logits
        assert torch.allclose(on, model(IDS).logits, atol=1e-6)
        with model.disable_adapter(), fused.disable_adapter():
            off = fused(IDS).logits
            assert torch.equal(off, model(IDS).logits)
        assert not torch.allclose(on, off, atol=1e-3)
        fused.merge_adapter()
        assert torch.allclose(fused(IDS).logits, on, atol=1e-4)


@pytest.mark.parametrize("options", [{"lora_dropout": 0.1}, {"use_dora": True}])
def test_what_is_more_than_two_products_stays_with_peft(options: dict[str, Any]) -> None:
    assert lora.fuse(adapted(**options)) == 0
