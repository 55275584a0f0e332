"""The LK losses against the overlap, KL and TV they are made of, and their closed gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loss_cases import Loss, gradient, log_of, logits, padded, through_the_softmax

from draftmark.training.divergences import (
    adaptive_kl_tv,
    expected_acceptance,
    forward_kl,
    negative_log_acceptance,
    overlap,
    tvd,
)

SEEDS = st.integers(0, 10_000)


def of_batch(draft: torch.Tensor, target: torch.Tensor, eta: float = 3.0) -> torch.Tensor:
    return adaptive_kl_tv(draft, target, eta, float(expected_acceptance(draft, target).mean()))


LOSSES = (negative_log_acceptance, adaptive_kl_tv, of_batch)
OUTSIDE = torch.tensor([2, 7])  # the draft's vocabulary lacks these


def truncated(draft: torch.Tensor) -> torch.Tensor:
    return draft.index_fill(-1, OUTSIDE, -torch.inf)


def test_the_values_are_those_worked_by_hand() -> None:
    draft, target = log_of((1 / 4, 1 / 4, 1 / 2)), log_of((1 / 2, 3 / 10, 1 / 5))
    kl = math.log(2) / 2 + 0.3 * math.log(6 / 5) + math.log(2 / 5) / 5
    of_kl = math.exp(-3 * 0.7)

    assert negative_log_acceptance(draft, target).tolist() == pytest.approx([-math.log(0.7)])
    expected = of_kl * kl + (1 - of_kl) * 0.3
    assert adaptive_kl_tv(draft, target, eta=3.0).tolist() == pytest.approx([expected])


@given(SEEDS)
def test_the_first_loss_is_minus_the_logarithm_of_the_overlap(seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)

    expected = -overlap(draft.softmax(-1), target.softmax(-1)).log()
    torch.testing.assert_close(negative_log_acceptance(draft, target), expected)


@pytest.mark.parametrize("loss", LOSSES)
@given(seed=SEEDS, constant=st.floats(-50, 50))
def test_a_loss_is_zero_where_the_laws_agree_and_only_there(
    loss: Loss, seed: int, constant: float
) -> None:
    target = logits(seed)

    assert loss(target + constant, target).tolist() == pytest.approx([0.0] * 5)
    assert float(gradient(loss, target, target).abs().max()) < 1e-8
    assert bool((loss(logits(seed + 1), target) > 1e-6).all())


@given(SEEDS)
def test_the_gradient_of_the_first_loss_is_that_of_tvd_over_the_acceptance(seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)
    q, p = draft.softmax(-1), target.softmax(-1)
    expected_acceptance = torch.minimum(p, q).sum(-1, keepdim=True)

    expected = through_the_softmax((q - p).sign() / 2, q) / expected_acceptance
    assert_equal(gradient(negative_log_acceptance, draft, target), expected)
    assert_equal(gradient(tvd, draft, target) / expected_acceptance, expected)


def test_the_gradient_of_the_first_loss_is_that_of_finite_differences() -> None:
    draft, target = logits(0, rows=3, words=5).requires_grad_(), logits(1, rows=3, words=5)

    assert torch.autograd.gradcheck(lambda z: negative_log_acceptance(z, target), (draft,))


@pytest.mark.parametrize("eta", [0.5, 3.0, 10.0])
@given(seed=SEEDS)
def test_the_gradient_of_the_second_takes_its_mixture_as_given(eta: float, seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)
    q, p = draft.softmax(-1), target.softmax(-1)
    own = torch.minimum(p, q).sum(-1, keepdim=True)

    for loss, alpha in ((adaptive_kl_tv, own), (of_batch, own.mean())):
        share = torch.exp(-eta * alpha)
        expected = share * (q - p) + (1 - share) * through_the_softmax((q - p).sign() / 2, q)
        actual = gradient(lambda z, t, loss=loss: loss(z, t, eta=eta), draft, target)
        assert_equal(actual, expected)


@given(SEEDS)
def test_the_second_loss_lies_between_tv_at_a_large_eta_and_kl_at_none(seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)

    assert_equal(adaptive_kl_tv(draft, target, eta=0.0), forward_kl(draft, target))
    assert_equal(adaptive_kl_tv(draft, target, eta=1e9), tvd(draft, target))
    assert_equal(of_batch(draft[:1], target[:1]), adaptive_kl_tv(draft, target)[:1])


def test_one_far_off_position_changes_the_mixture_of_its_batch_and_not_of_other_positions() -> None:
    draft, target = logits(0), logits(1)
    elsewhere = draft.clone()
    elsewhere[0] = -20 * target[0]

    by_position = [adaptive_kl_tv(each, target)[1:] for each in (draft, elsewhere)]
    assert_equal(*by_position)
    by_batch = [of_batch(each, target)[1:] for each in (draft, elsewhere)]
    assert bool(((by_batch[0] - by_batch[1]).abs() > 1e-4).all())


@given(SEEDS, st.integers(0, 10))
def test_a_one_hot_target_gives_cross_entropy(seed: int, word: int) -> None:
    draft = logits(seed)
    target = torch.full_like(draft, -torch.inf)
    target[:, word] = 0
    labels = torch.full((5,), word)

    def cross_entropy(z: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(z, labels, reduction="none")

    assert_equal(negative_log_acceptance(draft, target), cross_entropy(draft, target))
    slopes = [gradient(loss, draft, target) for loss in (negative_log_acceptance, cross_entropy)]
    assert_equal(*slopes)


def test_a_draft_far_off_still_has_a_gradient() -> None:
    """Where a floor under alpha, or alpha itself in float32, would leave none."""
    draft = torch.tensor([[400.0, 0.0]])
    target = torch.tensor([[0.0, 400.0]])

    assert negative_log_acceptance(draft, target).tolist() == pytest.approx([400 - math.log(2)])
    slope = gradient(negative_log_acceptance, draft, target)
    assert slope.isfinite().all()
    assert float(slope.abs().max()) > 0.4


@pytest.mark.parametrize("loss", LOSSES)
def test_a_padded_vocabulary_changes_neither_value_nor_gradient(loss: Loss) -> None:
    draft, target = logits(0), logits(1)

    assert_equal(loss(padded(draft), padded(target)), loss(draft, target))
    slope = gradient(loss, padded(draft), padded(target))
    assert_equal(slope[:, :-3], gradient(loss, draft, target))
    assert not slope[:, -3:].any()


@given(SEEDS)
def test_outside_the_drafts_vocabulary_the_target_keeps_its_mass_for_acceptance(seed: int) -> None:
    draft, target = truncated(logits(seed)), logits(seed + 1)
    shared = torch.minimum(draft.softmax(-1), target.softmax(-1)).sum(-1)

    assert_equal(negative_log_acceptance(draft, target), -shared.log())
    renormalised = negative_log_acceptance(draft, truncated(target))
    assert bool((renormalised < negative_log_acceptance(draft, target)).all())


@given(SEEDS)
def test_outside_the_drafts_vocabulary_kl_is_of_the_renormalised_target_and_tv_of_the_target(
    seed: int,
) -> None:
    draft, target = truncated(logits(seed)), logits(seed + 1)
    share = torch.exp(-3 * (1 - tvd(draft, target)))

    expected = share * forward_kl(draft, truncated(target)) + (1 - share) * tvd(draft, target)
    assert_equal(adaptive_kl_tv(draft, target), expected)
    for loss in LOSSES:
        slope = gradient(loss, draft, target)
        assert slope.isfinite().all()
        assert not slope[:, OUTSIDE].any()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_dtype_is_float32_or_that_of_float64_logits(loss: Loss) -> None:
    draft, target = logits(0), logits(1)

    assert loss(draft, target).dtype == torch.float64
    assert loss(draft.bfloat16(), target.bfloat16()).dtype == torch.float32


def assert_equal(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-8, rtol=1e-9)
