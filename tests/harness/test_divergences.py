"""Divergences against torch's and scipy's own, and their identities."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cityblock

from harness.divergences import cross_entropy, forward_kl, overlap


def logits(seed: int, rows: int = 5, words: int = 11) -> torch.Tensor:
    return 3 * torch.randn(rows, words, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 10_000))
def test_forward_kl_is_torchs_kl_div(seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)
    expected = torch.nn.functional.kl_div(
        draft.log_softmax(-1), target.log_softmax(-1), log_target=True, reduction="none"
    ).sum(-1)
    torch.testing.assert_close(forward_kl(draft, target), expected, atol=1e-5, rtol=1e-5)


@given(st.integers(0, 10_000), st.floats(0.5, 4))
def test_forward_kl_is_zero_at_the_target_and_so_is_its_gradient(
    seed: int, temperature: float
) -> None:
    target = logits(seed)
    draft = target.clone().requires_grad_()
    loss = forward_kl(draft, target, temperature).sum()
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
    assert draft.grad is not None
    assert float(draft.grad.abs().max()) < 1e-5


def test_the_gradient_of_forward_kl_is_draft_minus_target() -> None:
    draft, target = logits(0).requires_grad_(), logits(1)
    forward_kl(draft, target).sum().backward()
    expected = draft.detach().softmax(-1) - target.softmax(-1)
    torch.testing.assert_close(draft.grad, expected, atol=1e-6, rtol=1e-5)


def test_the_temperature_leaves_the_gradients_size_alone() -> None:
    """In the limit of high temperature the scaled loss is that of centred logits (Hinton 2015)."""
    draft, target = logits(0).requires_grad_(), logits(1)
    forward_kl(draft, target, temperature=1000.0).sum().backward()
    difference = draft.detach() - target
    expected = (difference - difference.mean(-1, keepdim=True)) / draft.shape[-1]
    torch.testing.assert_close(draft.grad, expected, atol=1e-3, rtol=1e-2)


@given(st.integers(0, 10_000))
def test_overlap_is_one_minus_total_variation(seed: int) -> None:
    p, q = logits(seed).softmax(-1), logits(seed + 1).softmax(-1)
    rows = zip(p.double().numpy(), q.double().numpy(), strict=True)
    expected = np.array([1 - cityblock(a, b) / 2 for a, b in rows])
    assert overlap(q, p).numpy() == pytest.approx(expected, abs=1e-5)


def test_the_gradient_of_cross_entropy_is_draft_minus_label() -> None:
    draft, labels = logits(0).requires_grad_(), torch.tensor([3, 0, 10, 3, 7])
    losses = cross_entropy(draft, labels)
    losses.sum().backward()
    probs = draft.detach().softmax(-1)
    torch.testing.assert_close(losses.detach(), -probs[torch.arange(5), labels].log())
    torch.testing.assert_close(draft.grad, probs - torch.nn.functional.one_hot(labels, 11))
