"""Cross-entropy of answer tokens with all that is logged about them, in one pass over the logits.

PyTorch would pass over them six times (float, log-softmax, its gradient, and again for entropy and
accuracy); here a few rows at a time stay in the cache, and the gradient is made with the loss.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

ROWS = 32  # rows of logits at a time on a CPU: 6 MiB of a vocabulary of 49,152
ROWS_GPU = 1024


class TokenLosses(NamedTuple):
    """`total`: the weighted sum, with its gradient. The others [tokens], without."""

    total: torch.Tensor
    losses: torch.Tensor  # nats
    entropy: torch.Tensor  # nats
    hits: torch.Tensor  # 1 where the label is the most likely token


class CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        gradient = torch.empty_like(logits)
        out = logits.new_empty(3, len(labels), dtype=torch.float32)
        rows = ROWS_GPU if logits.is_cuda else ROWS
        for start in range(0, len(labels), rows):
            part = slice(start, start + rows)
            # In float32: a sum over the vocabulary in bf16 would keep two digits.
            scores = logits[part].float()
            top, best = scores.max(dim=-1, keepdim=True)
            # Softmax does not change by a shift; with the largest at 0, exp cannot overflow.
            scores = scores - top
            gold = labels[part, None]
            own = scores.gather(1, gold)
            share = scores.exp()
            total = share.sum(dim=-1, keepdim=True)
            share /= total
            log_total = total.log()
            out[0, part] = (log_total - own)[:, 0]
            # Entropy is log Z - sum p x: of what is there, without a second logarithm.
            out[1, part] = log_total[:, 0] - torch.linalg.vecdot(share, scores)
            out[2, part] = (best == gold)[:, 0].float()
            # The gradient of the loss by the logits is softmax minus one-hot, times the weight.
            share.scatter_add_(1, gold, torch.full_like(own, -1.0))
            gradient[part] = share.mul_(weights[part, None])
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(out)
        return (out[0] * weights).sum(), out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor, _: Any) -> Any:
        (own,) = ctx.saved_tensors
        # Only `total` has a gradient, a scalar, so nothing is left to work out.
        return own * gradient, None, None


def answer_loss(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
) -> TokenLosses:
    """The loss of logits [tokens, vocab] for labels [tokens], each times its weight (None = 1)."""
    if weights is None:
        weights = logits.new_ones(len(labels), dtype=torch.float32)
    total, found = CrossEntropy.apply(logits, labels, weights)
    return TokenLosses(total, *found)
