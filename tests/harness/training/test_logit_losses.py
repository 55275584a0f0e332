"""DLD and CSD against their double sum, the authors' gradient, reverse KL and each other."""

from itertools import combinations_with_replacement

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loss_cases import Loss, gradient, logits, padded

from draftmark.errors import UserError
from draftmark.training.divergences import reverse_kl
from draftmark.training.logit_losses import Weight, csd, dld

SEEDS = st.integers(0, 10_000)
WEIGHTS: tuple[Weight, ...] = ("draft", "target", "uniform", 0.3)
PAIRS = [*combinations_with_replacement(WEIGHTS, 2), ("draft", "target")]

DRAFT = torch.tensor([[2.0, 0.0, 0.0]], dtype=torch.float64)  # residuals 1, -2 and 1
TARGET = torch.tensor([[1.0, 2.0, -1.0]], dtype=torch.float64)


def law(weight: Weight, draft: torch.Tensor, target: torch.Tensor, heat: float) -> torch.Tensor:
    q, p = (draft.detach() / heat).softmax(-1), (target / heat).softmax(-1)
    if isinstance(weight, float):
        return weight * p + (1 - weight) * q
    return {"draft": q, "target": p, "uniform": torch.full_like(q, 1 / q.shape[-1])}[weight]


def mean(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return (weights * values).sum(-1, keepdim=True)


def test_the_values_are_those_worked_by_hand() -> None:
    assert dld(DRAFT, TARGET, "uniform").tolist() == pytest.approx([(1 + 4 + 1) / 3 / 2])
    assert csd(DRAFT, TARGET, ("uniform", "uniform")).tolist() == pytest.approx([2 / 2])


@pytest.mark.parametrize("weights", PAIRS)
@pytest.mark.parametrize("heat", [1.0, 1.5])
def test_the_linear_form_of_csd_is_the_double_sum(
    weights: tuple[Weight, Weight], heat: float
) -> None:
    """A quarter of sum over x, y of w1(x) w2(y) (z[x] - z[y] - t[x] + t[y])^2, and its gradient."""
    draft, target = logits(0, words=64), logits(1, words=64)
    w1, w2 = (law(weight, draft, target, heat) for weight in weights)

    def double_sum(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        of_draft = z[:, :, None] - z[:, None, :]
        of_target = t[:, :, None] - t[:, None, :]
        pairs = w1[:, :, None] * w2[:, None, :] * (of_draft - of_target).square()
        return pairs.sum((1, 2)) / 4

    def linear(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return csd(z, t, weights, heat)

    assert_equal(linear(draft, target), double_sum(draft, target))
    assert_equal(gradient(linear, draft, target), gradient(double_sum, draft, target))


@pytest.mark.parametrize("weights", PAIRS)
@given(seed=SEEDS)
def test_the_gradient_of_csd_is_that_of_the_authors_code(
    weights: tuple[Weight, Weight], seed: int
) -> None:
    draft, target = logits(seed), logits(seed + 1)
    w1, w2 = (law(weight, draft, target, 1.0) for weight in weights)
    residual = draft - target

    expected = (w2 * (residual - mean(w1, residual)) + w1 * (residual - mean(w2, residual))) / 2
    assert_equal(gradient(lambda z, t: csd(z, t, weights), draft, target), expected)


@pytest.mark.parametrize("weight", WEIGHTS)
@given(seed=SEEDS, heat=st.floats(0.5, 4))
def test_the_gradient_of_dld_is_the_closed_form(weight: Weight, seed: int, heat: float) -> None:
    draft, target = logits(seed), logits(seed + 1)
    w, residual = law(weight, draft, target, heat), draft - target
    centred = residual - residual.mean(-1, keepdim=True)

    plain = gradient(lambda z, t: dld(z, t, weight, "none", heat), draft, target)
    assert_equal(plain, w * residual)
    normalised = gradient(lambda z, t: dld(z, t, weight, "mean", heat), draft, target)
    assert_equal(normalised, w * centred - mean(w, centred) / draft.shape[-1])


@given(SEEDS)
def test_csd_with_two_draft_weights_at_temperature_one_has_the_gradient_of_reverse_kl(
    seed: int,
) -> None:
    draft, target = logits(seed), logits(seed + 1)

    assert_equal(gradient(csd, draft, target), gradient(reverse_kl, draft, target))


@pytest.mark.parametrize(
    ("weights", "heat"),
    [(("draft", "draft"), 1.5), (("target", "draft"), 1.0), (("uniform", "draft"), 1.0)],
)
def test_every_other_csd_is_a_method_of_its_own(
    weights: tuple[Weight, Weight], heat: float
) -> None:
    draft, target = logits(0), logits(1)
    slope = gradient(lambda z, t: csd(z, t, weights, heat), draft, target)

    assert float((slope - gradient(reverse_kl, draft, target)).abs().max()) > 0.01


@given(SEEDS)
def test_csd_with_two_uniform_weights_is_mean_centred_dld_with_uniform_weights(seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)

    def by_pairs(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return csd(z, t, ("uniform", "uniform"))

    def centred(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return dld(z, t, "uniform", "mean")

    assert_equal(by_pairs(draft, target), centred(draft, target))
    assert_equal(gradient(by_pairs, draft, target), gradient(centred, draft, target))


@pytest.mark.parametrize("weight", WEIGHTS)
@given(seed=SEEDS)
def test_dld_is_csd_and_half_the_squared_mean_residual(weight: Weight, seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)
    offset = mean(law(weight, draft, target, 1.0), draft - target).squeeze(-1)

    assert_equal(dld(draft, target, weight), csd(draft, target, (weight, weight)) + offset**2 / 2)


@pytest.mark.parametrize("weights", PAIRS)
@given(seed=SEEDS, constant=st.floats(-1000, 1000))
def test_a_constant_on_all_logits_changes_csd_by_nothing(
    weights: tuple[Weight, Weight], seed: int, constant: float
) -> None:
    draft, target = logits(seed), logits(seed + 1)

    def loss(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return csd(z, t, weights)

    assert_equal(loss(draft + constant, target), loss(draft, target))
    assert_equal(gradient(loss, draft + constant, target), gradient(loss, draft, target))
    assert_equal(loss(target + constant, target), torch.zeros(5, dtype=torch.float64))


def test_float32_keeps_csds_digits_under_a_large_constant() -> None:
    """The squares of the residuals are a million times what is left of them here."""
    draft, target = (logits(0) + 1000).float(), logits(1).float()

    expected = csd(draft.double(), target.double(), ("draft", "target"))
    actual = csd(draft, target, ("draft", "target")).double()
    torch.testing.assert_close(actual, expected, atol=0, rtol=1e-4)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_constant_on_all_logits_changes_dld_unless_it_is_centred(weight: Weight) -> None:
    draft, target = logits(0), logits(1)
    shifted = draft + 5

    assert bool((dld(target + 5, target, weight) > 1).all())
    assert_equal(dld(shifted, target, weight, "mean"), dld(draft, target, weight, "mean"))


@pytest.mark.parametrize("weights", PAIRS)
@given(seed=SEEDS)
def test_csd_is_above_zero_for_two_laws(weights: tuple[Weight, Weight], seed: int) -> None:
    """The order of the weights is nothing; the authors' surrogate loss falls below zero."""
    draft, target = logits(seed), logits(seed + 1)
    value = csd(draft, target, weights)

    assert bool((value > 0).all())
    assert_equal(value, csd(draft, target, weights[::-1]))


@pytest.mark.parametrize(("share", "weight"), [(0, "draft"), (0.0, "draft"), (1.0, "target")])
def test_a_mixture_of_one_law_is_that_law(share: float, weight: Weight) -> None:
    draft, target = logits(0), logits(1)

    assert_equal(dld(draft, target, share), dld(draft, target, weight))


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_padded_vocabulary_changes_neither_value_nor_gradient(weight: Weight) -> None:
    draft, target = logits(0), logits(1)

    for loss in (
        lambda z, t: csd(z, t, (weight, "uniform")),
        lambda z, t: dld(z, t, weight),
        lambda z, t: dld(z, t, weight, "mean"),
    ):
        assert_equal(loss(padded(draft), padded(target)), loss(draft, target))
        slope = gradient(loss, padded(draft), padded(target))
        assert_equal(slope[:, :-3], gradient(loss, draft, target))
        assert not slope[:, -3:].any()


@pytest.mark.parametrize("loss", [csd, dld])
def test_a_draft_without_a_word_of_the_target_has_no_finite_loss(
    loss: Loss,
) -> None:
    draft = logits(0).index_fill(-1, torch.tensor([4]), -torch.inf)

    assert not loss(draft, logits(1)).isfinite().any()


@pytest.mark.parametrize("loss", [csd, dld])
def test_the_dtype_is_float32_or_that_of_float64_logits(loss: Loss) -> None:
    draft, target = logits(0), logits(1)

    assert loss(draft, target).dtype == torch.float64
    assert loss(draft.bfloat16(), target.bfloat16()).dtype == torch.float32
    torch.testing.assert_close(loss(draft.float(), target.float()), loss(draft, target).float())


def test_no_gradient_flows_to_the_target() -> None:
    target = logits(1).requires_grad_()
    weighed = csd(logits(0), target.detach(), ("target", 0.5))

    assert not weighed.requires_grad


def test_an_unknown_weight_or_normalisation_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="Did you mean 'uniform'"):
        dld(DRAFT, TARGET, "unifrom")
    with pytest.raises(UserError, match=r"between 0 and 1 \(got 1\.5"):
        csd(DRAFT, TARGET, (1.5, "draft"))
    with pytest.raises(UserError, match="Known: mean, none"):
        dld(DRAFT, TARGET, "target", "std")


def assert_equal(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-8, rtol=1e-9)
