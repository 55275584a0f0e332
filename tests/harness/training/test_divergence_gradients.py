"""Gradients of the divergences: autograd, by finite differences and by their closed forms.

A divergence with the slope d = dD/dq in the draft's law has the gradient q (d - E_q d) in its
logits; the slopes are written down here by hand.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loss_cases import Loss, gradient, logits, through_the_softmax

from draftmark.training.divergences import (
    DIVERGENCES,
    abkd,
    akl,
    forward_kl,
    jsd,
    reverse_kl,
    skew_kl,
    skew_reverse_kl,
    tvd,
)

SEEDS = st.integers(0, 10_000)


def slope_of_jsd(q: torch.Tensor, p: torch.Tensor, beta: float) -> torch.Tensor:
    return (1 - beta) * (q / (beta * p + (1 - beta) * q)).log()


def slope_of_skew_kl(q: torch.Tensor, p: torch.Tensor, skew: float) -> torch.Tensor:
    return -(1 - skew) * p / (skew * p + (1 - skew) * q)


def slope_of_skew_reverse_kl(q: torch.Tensor, p: torch.Tensor, skew: float) -> torch.Tensor:
    mixture = (1 - skew) * p + skew * q
    return (q / mixture).log() - skew * q / mixture


def slope_of_abkd(q: torch.Tensor, p: torch.Tensor, alpha: float, beta: float) -> torch.Tensor:
    if alpha == 0:
        return q ** (beta - 1) * (q / p).log()
    return (q ** (alpha + beta - 1) - p**alpha * q ** (beta - 1)) / alpha


CASES = {
    "forward_kl": (forward_kl, lambda q, p: -p / q),
    "reverse_kl": (reverse_kl, lambda q, p: (q / p).log()),
    "tvd": (tvd, lambda q, p: (q - p).sign() / 2),
    "jsd": (jsd, lambda q, p: slope_of_jsd(q, p, 0.5)),
    "jsd 0.1": (lambda z, t: jsd(z, t, 0.1), lambda q, p: slope_of_jsd(q, p, 0.1)),
    "jsd 0.9": (lambda z, t: jsd(z, t, 0.9), lambda q, p: slope_of_jsd(q, p, 0.9)),
    "skew_kl": (skew_kl, lambda q, p: slope_of_skew_kl(q, p, 0.1)),
    "skew_reverse_kl": (skew_reverse_kl, lambda q, p: slope_of_skew_reverse_kl(q, p, 0.1)),
    "abkd": (abkd, lambda q, p: slope_of_abkd(q, p, 0.2, 0.7)),
    "abkd 1.5 0": (lambda z, t: abkd(z, t, 1.5, 0.0), lambda q, p: slope_of_abkd(q, p, 1.5, 0)),
    "abkd 0 1.5": (lambda z, t: abkd(z, t, 0.0, 1.5), lambda q, p: slope_of_abkd(q, p, 0, 1.5)),
}


@pytest.mark.parametrize("name", CASES)
@given(seed=SEEDS)
def test_the_gradient_is_the_closed_form(name: str, seed: int) -> None:
    loss, slope = CASES[name]
    draft, target = logits(seed), logits(seed + 1)
    q, p = draft.softmax(-1), target.softmax(-1)

    expected = through_the_softmax(slope(q, p), q)
    assert_equal(gradient(loss, draft, target), expected)


@given(SEEDS)
def test_the_gradient_of_forward_kl_is_draft_minus_target(seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)

    assert_equal(gradient(forward_kl, draft, target), draft.softmax(-1) - target.softmax(-1))


@given(SEEDS)
def test_the_gradient_of_reverse_kl_is_the_logits_difference_centred_under_the_draft(
    seed: int,
) -> None:
    draft, target = logits(seed), logits(seed + 1)
    q, difference = draft.softmax(-1), draft - target

    expected = q * (difference - (q * difference).sum(-1, keepdim=True))
    assert_equal(gradient(reverse_kl, draft, target), expected)


@given(SEEDS)
def test_the_gradient_of_akl_takes_its_share_as_given(seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)
    q, p = draft.softmax(-1), target.softmax(-1)
    order = p.argsort(-1, descending=True)
    gap = (p - q).abs().gather(-1, order)
    head = p.gather(-1, order).cumsum(-1) <= 0.5
    head[:, 0] = True
    share = (gap * head).sum(-1, keepdim=True) / gap.sum(-1, keepdim=True)

    of_forward, of_reverse = (
        gradient(forward_kl, draft, target),
        gradient(reverse_kl, draft, target),
    )
    assert_equal(gradient(akl, draft, target), share * of_forward + (1 - share) * of_reverse)


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    loss, target = CASES[name][0], logits(1, rows=3, words=5)
    draft = logits(0, rows=3, words=5).requires_grad_()

    assert torch.autograd.gradcheck(lambda each: loss(each, target), (draft,))


@pytest.mark.parametrize("name", sorted(DIVERGENCES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_is_zero_where_the_laws_agree(name: str, dtype: torch.dtype) -> None:
    target = logits(0, dtype=dtype)

    assert float(gradient(DIVERGENCES[name], target, target).abs().max()) < 1e-6


@given(SEEDS, st.floats(0.5, 4))
def test_the_temperature_divides_the_logits_and_multiplies_the_gradient_once(
    seed: int, temperature: float
) -> None:
    """By its square from the scale of the loss, divided by it once through the logits."""
    draft, target = logits(seed), logits(seed + 1)
    softer = (draft / temperature).softmax(-1) - (target / temperature).softmax(-1)

    actual = gradient(at_temperature(temperature), draft, target)
    assert_equal(actual, temperature * softer)


def test_the_temperature_leaves_the_gradients_size_alone() -> None:
    """In the limit of high temperature the scaled loss is that of centred logits (Hinton 2015)."""
    draft, target = logits(0), logits(1)
    difference = draft - target
    expected = (difference - difference.mean(-1, keepdim=True)) / draft.shape[-1]

    actual = gradient(at_temperature(1000.0), draft, target)
    torch.testing.assert_close(actual, expected, atol=1e-3, rtol=1e-2)


def at_temperature(temperature: float) -> Loss:
    return lambda draft, target: forward_kl(draft, target, temperature)


def assert_equal(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-8, rtol=0)
