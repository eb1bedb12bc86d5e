"""The loss of answer tokens: values by hand, gradients as PyTorch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from raytune_agents.train.answer_loss import ROWS, answer_loss


def test_a_token_by_hand() -> None:
    """Chances 1/4 and 3/4, the label the second; the weight counts in the total only."""
    logits = torch.tensor([[0.0, math.log(3)]], requires_grad=True)
    found = answer_loss(logits, torch.tensor([1]), torch.tensor([2.0]))
    assert found.losses.item() == pytest.approx(math.log(4 / 3))
    assert found.total.item() == pytest.approx(2 * math.log(4 / 3))
    assert found.entropy.item() == pytest.approx(0.25 * math.log(4) + 0.75 * math.log(4 / 3))
    assert found.hits.item() == 1
    found.total.backward()
    assert logits.grad.tolist()[0] == pytest.approx([0.5, -0.5])  # 2 * (chance - one-hot)


def test_as_pytorch_for_more_rows_than_a_slice() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2 * ROWS + 3, 50, requires_grad=True)
    labels, weights = torch.randint(0, 50, (len(logits),)), torch.rand(len(logits))
    found = answer_loss(logits, labels, weights)
    (found.total / 7).backward()
    mine, logits.grad = logits.grad, None
    losses = F.cross_entropy(logits, labels, reduction="none")
    ((losses * weights).sum() / 7).backward()
    assert torch.allclose(found.losses, losses, atol=1e-5)
    assert torch.allclose(mine, logits.grad, atol=1e-7)
    assert torch.equal(found.hits, (logits.argmax(-1) == labels).float())
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    assert torch.allclose(found.entropy, entropy, atol=1e-5)


def test_no_answer_tokens_cost_nothing() -> None:
    logits = torch.zeros(0, 5, requires_grad=True)
    found = answer_loss(logits, torch.zeros(0, dtype=torch.long))
    found.total.backward()
    assert found.total.item() == 0
    assert len(found.losses) == 0
