"""The product of a linear layer with its adapter, as one function of autograd.

    y = x W' + s (x A') B'         W frozen [out, in], A [r, in], B [out, r], s = alpha / r

PEFT adds the two products with three passes over y, and autograd keeps and sums the gradient of
each path: about a sixth of a training step on a CPU. Here the small products are added into the
large one, forward and backward, and only x and x A' are kept.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch.nn import functional as F


class LoraProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1]).to(weight.dtype)
        # fp32 weights are cast for the product only; the optimiser keeps and updates fp32.
        low_down, low_up = down.to(weight.dtype), up.to(weight.dtype)
        small = rows @ low_down.t()  # [tokens, r]
        out = F.linear(rows, weight, bias)
        out.addmm_(small, low_up.t(), alpha=scale)
        # The casts are small, so they are kept rather than made again.
        ctx.save_for_backward(rows, small, weight, low_down, low_up)
        ctx.scale, ctx.dtypes = scale, (x.dtype, down.dtype, up.dtype)
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        rows, small, weight, down, up = ctx.saved_tensors
        of_x, of_down, of_up = ctx.dtypes
        flat = gradient.reshape(-1, gradient.shape[-1]).to(weight.dtype)
        through = (flat @ up).mul_(ctx.scale)  # [tokens, r]
        to_x = None
        if ctx.needs_input_grad[0]:  # not below the first adapter
            to_x = flat @ weight
            to_x.addmm_(through, down)
            to_x = to_x.view(*gradient.shape[:-1], -1).to(of_x)
        to_down = (through.t() @ rows).to(of_down)
        to_up = (flat.t() @ small).to(of_up).mul_(ctx.scale)
        return to_x, None, None, to_down, to_up, None


def fused_forward(layer: Linear, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """`Linear.forward` of PEFT, by `LoraProduct` where one plain adapter is on and PEFT's own
    otherwise: adapter off (a reference), merged, several at once."""
    names = layer.active_adapters
    # The reference passes of DPO and KTO switch the adapter off.
    if layer.disable_adapters or layer.merged or len(names) != 1 or args or kwargs:
        return type(layer).forward(layer, x, *args, **kwargs)
    down, up = layer.lora_A[names[0]].weight, layer.lora_B[names[0]].weight
    base = layer.base_layer
    return LoraProduct.apply(x, base.weight, base.bias, down, up, layer.scaling[names[0]])


def fuse(model: Any) -> int:
    """Use the function in every layer that allows it: a plain linear base, no dropout, no DoRA, no
    bias of the adapter. How many."""
    count = 0
    for layer in model.modules():
        if not isinstance(layer, Linear) or type(layer.base_layer) is not torch.nn.Linear:
            continue
        plain = all(isinstance(d, torch.nn.Identity) for d in layer.lora_dropout.values())
        biased = any(up.bias is not None for up in layer.lora_B.values())
        if plain and not biased and not layer.lora_variant and not layer.fan_in_fan_out:
            vars(layer)["forward"] = MethodType(fused_forward, layer)  # before the class's own
            count += 1
    return count
