"""Rows without padding: a padded batch runs as one row [1, tokens], attention row by row.

`PaddingFree` hooks into the backbone of a model, below any loss and above its layers, so every
method of TRL gains by it without knowing: padding is taken out before the backbone and put back
behind it. Layers that see tokens one by one (linear, norm, MLP) then compute no padding; attention
gets each row's own length (`cu_seq_lens_q`, as flash attention calls it): on a GPU PyTorch's
variable-length flash attention, on a CPU its causal kernel, row by row and in fp32, which on CPUs
is three times as fast backward as bf16, or, for short rows in bf16, plain products (`short_row`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "raytune_agents_padding_free"
SHORT = 512  # tokens of a row; at about twice as many PyTorch's kernel is the faster
PLAIN = {"full_attention", "sliding_attention"}  # kinds of layers that know rows by attention only


def can_unpad(model: Any) -> bool:
    """Whether a row's tokens meet in attention only, of the plain kind: no state that runs on from
    row to row (Mamba, short convolutions), no sinks, no capped scores; and the device has the
    kernel."""
    config = model.config.get_text_config()
    plain = set(getattr(config, "layer_types", None) or PLAIN) <= PLAIN
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    known = model._supports_attention_backend and model._supports_sdpa and not model._is_stateful
    if not (plain and known) or capped or config._attn_implementation != "sdpa":
        return False
    if not torch.cuda.is_available():
        return True
    half = model.dtype in (torch.bfloat16, torch.float16)
    return half and torch.cuda.get_device_capability()[0] >= 8  # what PyTorch's kernel asks for


def row_by_row(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: list[int],
    window: int | None,
    scale: float,
    dropout: float,
) -> torch.Tensor:
    """Causal attention of packed rows on a CPU, [1, heads, tokens, head_dim] -> [1, tokens, heads,
    head_dim]; `window`: how many tokens a token sees at most, itself among them."""
    out = []
    most = min(SHORT, window or SHORT)
    short = query.dtype == torch.bfloat16 and max(lengths) <= most and not dropout
    with torch.autocast("cpu", enabled=False):  # it would cast to bf16 again
        if short:
            rows = zip(*(x[0].split(lengths, dim=1) for x in (query * scale, key, value)))
            return torch.cat([short_row(*row) for row in rows])[None]
        parts = [x.float().split(lengths, dim=2) for x in (query, key, value)]
        for n, q, k, v in zip(lengths, *parts, strict=True):
            mask = None
            if window and n > window:
                # Token i sees i - window + 1 to i, as in transformers: itself among them.
                mask = torch.ones(n, n, dtype=torch.bool).tril().triu(1 - window)
            row = F.scaled_dot_product_attention(
                q, k, v, mask, dropout, is_causal=mask is None, scale=scale, enable_gqa=True
            )
            out.append(row.transpose(1, 2))
    return torch.cat(out, dim=1).to(query.dtype)


def short_row(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Causal attention of one row whose queries are scaled, [heads, tokens, head_dim] -> [tokens,
    heads, head_dim]: half the time of PyTorch's kernel, forward and backward, which works block by
    block. The softmax of bf16 is computed in fp32."""
    kv_heads, n, width = key.shape
    later = torch.full((n, n), -torch.inf, dtype=query.dtype).triu_(1)
    # The heads that share a key stand below each other in one product.
    stacked = query.reshape(kv_heads, -1, width)
    scores = torch.baddbmm(later.repeat(len(query) // kv_heads, 1), stacked, key.mT)
    return torch.bmm(scores.softmax(-1), value).view(-1, n, width).transpose(0, 1)


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers: packed rows where `cu_seq_lens_q` says so, else
    PyTorch's own (generation, a single row)."""
    if cu_seq_lens_q is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **kwargs
        )
    window = kwargs.get("sliding_window")
    if query.device.type == "cpu":
        lengths = cu_seq_lens_q.diff().tolist()
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        return row_by_row(query, key, value, lengths, window, scale, dropout), None
    from torch.nn.attention.varlen import varlen_attn

    queries, keys, values = (x[0].transpose(0, 1) for x in (query, key, value))
    out = varlen_attn(
        queries,
        keys,
        values,
        cu_seq_lens_q,
        cu_seq_lens_q,
        kwargs["max_length_q"],
        kwargs["max_length_q"],
        scale=scaling,
        # Flash attention counts the tokens beside a token: one less; 0 to the right is causal.
        window_size=(window - 1 if window else -1, 0),
        enable_gqa=True,
    )
    assert isinstance(out, torch.Tensor)  # a pair only where log-sum-exps are asked for
    return out[None], None


def packed_mask(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    """No mask for packed rows: `attention` knows where each begins. Else PyTorch's own."""
    return None if PaddingFree.packing else sdpa_mask(*args, **kwargs)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, packed_mask)


class PaddingFree:
    """The hooks of one backbone. `wanted` (set by a loss for its next forward pass): numbers of the
    positions in the padded batch, flat, whose hidden states are all that the head is to see."""

    # On the class: transformers asks `packed_mask` by name, without a model in hand.
    packing = False  # a forward pass of packed rows is under way

    def __init__(self, model: Any, unpad: bool):
        """`model`: transformers' model, without PEFT around it."""
        self.unpad = unpad
        self.wanted: torch.Tensor | None = None
        self.index: torch.Tensor | None = None
        self.shape = (0, 0)
        if unpad:
            model.set_attn_implementation(NAME)
        backbone = getattr(model, model.base_model_prefix)
        backbone.register_forward_pre_hook(self.before, with_kwargs=True)
        backbone.register_forward_hook(self.after)

    def before(self, backbone: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        ids, mask = kwargs.get("input_ids"), kwargs.get("attention_mask")
        self.index, PaddingFree.packing = None, False
        if not self.unpad or ids is None or mask is None or mask.dim() != 2:
            return None
        if kwargs.get("past_key_values") is not None or mask.shape != ids.shape:
            return None  # generation
        self.shape = ids.shape
        self.index = mask.flatten().nonzero().squeeze(-1)
        lengths = mask.sum(dim=1)
        positions = kwargs.get("position_ids")
        if positions is None:
            # From the mask, so that a row padded on the left begins at 0 too.
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        # int32 is what the kernel takes.
        bounds = F.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
        longest = int(lengths.max())
        PaddingFree.packing = True
        return args, kwargs | {
            "input_ids": ids.flatten()[self.index][None],
            "position_ids": positions.expand(ids.shape).flatten()[self.index][None],
            "attention_mask": None,
            "cu_seq_lens_q": bounds,
            "cu_seq_lens_k": bounds,
            "max_length_q": longest,
            "max_length_k": longest,
        }

    def after(self, backbone: Any, args: Any, output: Any) -> Any:
        PaddingFree.packing = False
        hidden, index, wanted, self.wanted = output[0], self.index, self.wanted, None
        if wanted is not None:
            if index is None:
                hidden = hidden.flatten(0, 1)[wanted][None]
            else:
                # `index` is sorted: it says where each position of the padded batch went.
                hidden = hidden[:, torch.searchsorted(index, wanted)]
        elif index is not None:
            rows, width = self.shape
            # What a loss outside of ours expects: its own shape, zeros where padding was.
            whole = hidden.new_zeros(rows * width, hidden.shape[-1])
            hidden = whole.index_copy(0, index, hidden[0]).view(rows, width, -1)
        output.last_hidden_state = hidden
        return output
