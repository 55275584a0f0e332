"""Divergences against hand-worked laws, torch's and scipy's own, and their identities."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loss_cases import gradient, log_of, logits, padded
from scipy.spatial.distance import cityblock, jensenshannon
from scipy.special import rel_entr

from draftmark.errors import UserError
from draftmark.training.divergences import (
    DIVERGENCES,
    abkd,
    akl,
    cross_entropy,
    forward_kl,
    jsd,
    overlap,
    reverse_kl,
    skew_kl,
    skew_reverse_kl,
    soft_cross_entropy,
    tvd,
)

NAMES = sorted(DIVERGENCES)
SEEDS = st.integers(0, 10_000)
LN = math.log

TARGET, DRAFT = (1 / 2, 3 / 10, 1 / 5), (1 / 4, 1 / 4, 1 / 2)  # overlap 0.25 + 0.25 + 0.2
FORWARD = LN(2) / 2 + 0.3 * LN(6 / 5) + LN(2 / 5) / 5
REVERSE = LN(1 / 2) / 4 + LN(5 / 6) / 4 + LN(5 / 2) / 2
BY_HAND = {
    "forward_kl": (forward_kl, FORWARD),
    "reverse_kl": (reverse_kl, REVERSE),
    "tvd": (tvd, 0.3),
    "jsd": (  # of the mixture 0.2 p + 0.8 q
        lambda draft, target: jsd(draft, target, beta=0.2),
        0.2 * (LN(0.5 / 0.3) / 2 + 0.3 * LN(0.3 / 0.26) + LN(0.2 / 0.44) / 5)
        + 0.8 * (LN(0.25 / 0.3) / 4 + LN(0.25 / 0.26) / 4 + LN(0.5 / 0.44) / 2),
    ),
    "skew_kl": (  # of the mixture 0.1 p + 0.9 q
        skew_kl,
        LN(0.5 / 0.275) / 2 + 0.3 * LN(0.3 / 0.255) + LN(0.2 / 0.47) / 5,
    ),
    "skew_reverse_kl": (  # of the mixture 0.9 p + 0.1 q
        skew_reverse_kl,
        LN(0.25 / 0.475) / 4 + LN(0.25 / 0.295) / 4 + LN(0.5 / 0.23) / 2,
    ),
    "abkd": (  # at (1, 1): half of the squared distance
        lambda draft, target: abkd(draft, target, 1.0, 1.0),
        (0.25**2 + 0.05**2 + 0.3**2) / 2,
    ),
    "akl": (  # the gaps are 0.25, 0.05 and 0.3; the head is the first two tokens, of mass 0.8
        lambda draft, target: akl(draft, target, head_mass=0.85),
        0.3 / 0.6 * FORWARD + 0.3 / 0.6 * REVERSE,
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_value_is_the_one_worked_by_hand(name: str) -> None:
    divergence, expected = BY_HAND[name]

    assert divergence(log_of(DRAFT), log_of(TARGET)).tolist() == pytest.approx([expected])


@given(SEEDS)
def test_forward_kl_is_torchs_kl_div(seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)
    expected = torch.nn.functional.kl_div(
        draft.log_softmax(-1), target.log_softmax(-1), log_target=True, reduction="none"
    ).sum(-1)
    torch.testing.assert_close(forward_kl(draft, target), expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 3.0])
def test_forward_kl_at_a_temperature_is_that_of_divided_logits_times_its_square(
    temperature: float,
) -> None:
    draft, target = logits(1), logits(2)
    divided = forward_kl(draft / temperature, target / temperature)
    torch.testing.assert_close(forward_kl(draft, target, temperature), divided * temperature**2)


@given(SEEDS)
def test_soft_cross_entropy_is_torchs_also_where_the_target_rules_tokens_out(seed: int) -> None:
    draft, target = padded(logits(seed)), padded(logits(seed + 1))
    expected = torch.nn.functional.cross_entropy(
        draft[:, :-3], target[:, :-3].softmax(-1), reduction="none"
    )
    torch.testing.assert_close(soft_cross_entropy(draft, target), expected)
    torch.testing.assert_close(soft_cross_entropy(draft[:, :-3], target[:, :-3]), expected)


@given(SEEDS)
def test_the_kls_and_the_jsd_are_scipys(seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)
    q, p = draft.softmax(-1).numpy(), target.softmax(-1).numpy()

    assert forward_kl(draft, target).numpy() == pytest.approx(rel_entr(p, q).sum(-1))
    assert reverse_kl(draft, target).numpy() == pytest.approx(rel_entr(q, p).sum(-1))
    assert jsd(draft, target).numpy() == pytest.approx(jensenshannon(p, q, axis=-1) ** 2)


@given(SEEDS)
def test_overlap_and_tvd_make_one(seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)
    q, p = draft.softmax(-1), target.softmax(-1)
    expected = np.array([cityblock(a, b) / 2 for a, b in zip(p.numpy(), q.numpy(), strict=True)])

    assert tvd(draft, target).numpy() == pytest.approx(expected)
    assert overlap(q, p).numpy() == pytest.approx(1 - expected)
    assert overlap(q, p).numpy() == pytest.approx(torch.minimum(q, p).sum(-1).numpy())


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS, constant=st.floats(-50, 50))
def test_a_divergence_is_zero_for_one_law_whatever_the_logits_constant(
    name: str, seed: int, constant: float
) -> None:
    target = logits(seed)

    assert DIVERGENCES[name](target + constant, target).tolist() == pytest.approx([0.0] * 5)


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
def test_a_divergence_is_above_zero_for_two_laws(name: str, seed: int) -> None:
    assert bool((DIVERGENCES[name](logits(seed), logits(seed + 1)) > 1e-6).all())


@given(SEEDS, st.floats(0.01, 0.99), st.floats(0.1, 2), st.floats(0.1, 2))
def test_swapping_the_laws_swaps_the_settings(
    seed: int, share: float, alpha: float, beta: float
) -> None:
    a, b = logits(seed), logits(seed + 1)

    torch.testing.assert_close(tvd(a, b), tvd(b, a))
    torch.testing.assert_close(jsd(a, b, share), jsd(b, a, 1 - share))
    torch.testing.assert_close(reverse_kl(a, b), forward_kl(b, a))
    torch.testing.assert_close(skew_reverse_kl(a, b, share), skew_kl(b, a, share))
    torch.testing.assert_close(abkd(a, b, alpha, beta), abkd(b, a, beta, alpha))


@given(SEEDS)
def test_jsd_over_its_smaller_share_tends_to_a_kl(seed: int) -> None:
    draft, target = logits(seed) / 3, logits(seed + 1) / 3
    tiny = 1e-7

    assert_near(jsd(draft, target, tiny) / tiny, forward_kl(draft, target))
    assert_near(jsd(draft, target, 1 - tiny) / tiny, reverse_kl(draft, target))


@given(SEEDS)
def test_the_skew_kls_are_the_kls_without_a_skew_and_tend_to_them(seed: int) -> None:
    draft, target = logits(seed) / 3, logits(seed + 1) / 3

    for skewed, plain in ((skew_kl, forward_kl), (skew_reverse_kl, reverse_kl)):
        assert torch.equal(skewed(draft, target, skew=0.0), plain(draft, target))
        assert_near(skewed(draft, target, skew=1e-8), plain(draft, target))


@given(SEEDS)
def test_the_corners_of_abkd_are_the_divergences_it_generalises(seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)
    q, p = draft.softmax(-1), target.softmax(-1)

    torch.testing.assert_close(abkd(draft, target, 1.0, 0.0), forward_kl(draft, target))
    torch.testing.assert_close(abkd(draft, target, 0.0, 1.0), reverse_kl(draft, target))
    hellinger = 2 * (p.sqrt() - q.sqrt()).square().sum(-1)
    torch.testing.assert_close(abkd(draft, target, 0.5, 0.5), hellinger)


@given(SEEDS, st.floats(0.2, 2))
def test_abkd_is_continuous_where_an_exponent_is_zero(seed: int, other: float) -> None:
    draft, target = logits(seed), logits(seed + 1)

    assert_near(abkd(draft, target, other, 1e-6), abkd(draft, target, other, 0.0))
    assert_near(abkd(draft, target, 1e-6, other), abkd(draft, target, 0.0, other))


@given(SEEDS, st.floats(0.01, 0.99))
def test_divergences_keep_to_their_bounds(seed: int, share: float) -> None:
    draft, target = 5 * logits(seed), 5 * logits(seed + 1)
    entropy = -share * LN(share) - (1 - share) * LN(1 - share)

    assert float(tvd(draft, target).max()) <= 1 + 1e-12
    assert float(jsd(draft, target, share).max()) <= entropy + 1e-12
    assert float(skew_kl(draft, target, share).max()) <= -LN(share) + 1e-12
    pinsker = (forward_kl(draft, target) / 2).sqrt()
    assert bool((tvd(draft, target) <= pinsker + 1e-12).all())


@given(SEEDS)
def test_akl_lies_between_the_kls_and_is_the_reverse_one_where_the_head_agrees(seed: int) -> None:
    draft, target = logits(seed), logits(seed + 1)
    ends = torch.stack((forward_kl(draft, target), reverse_kl(draft, target)))
    between = akl(draft, target)

    assert bool((between >= ends.amin(0) - 1e-12).all())
    assert bool((between <= ends.amax(0) + 1e-12).all())
    agree_on_head = log_of((0.6, 0.3, 0.1)), log_of((0.6, 0.1, 0.3))
    torch.testing.assert_close(akl(*agree_on_head), reverse_kl(*agree_on_head))


@pytest.mark.parametrize(("head_mass", "share"), [(0.1, 25), (0.7, 25), (0.85, 30), (1.1, 60)])
def test_the_head_of_akl_is_the_first_token_and_all_that_stay_within_the_mass(
    head_mass: float, share: int
) -> None:
    """At 0.7 the second token, which crosses it, is in the tail, as in the authors' code."""
    expected = share / 60 * FORWARD + (1 - share / 60) * REVERSE

    assert float(akl(log_of(DRAFT), log_of(TARGET), head_mass)) == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_token_weighs_as_much_as_any_and_rows_do_not_touch(name: str) -> None:
    """The value is the sum over the vocabulary of one position: no mean over it, none over rows."""
    draft, target = logits(0), logits(1)
    together = DIVERGENCES[name](draft, target)

    assert together.shape == (5,)
    alone = [DIVERGENCES[name](draft[[row]], target[[row]]) for row in range(5)]
    torch.testing.assert_close(together, torch.cat(alone))
    twins = [torch.cat((each, each), dim=-1) for each in (draft, target)]
    if name not in ("akl", "abkd"):  # every other one is the same for tokens split in two
        torch.testing.assert_close(DIVERGENCES[name](*twins), together)


@pytest.mark.parametrize("name", NAMES)
def test_a_padded_vocabulary_changes_neither_value_nor_gradient(name: str) -> None:
    draft, target = logits(0), logits(1)
    divergence = DIVERGENCES[name]

    torch.testing.assert_close(divergence(padded(draft), padded(target)), divergence(draft, target))
    slope = gradient(divergence, padded(draft), padded(target))
    torch.testing.assert_close(slope[:, :-3], gradient(divergence, draft, target))
    assert not slope[:, -3:].any()


def test_a_one_hot_target_gives_cross_entropy_or_the_infinity_that_it_is() -> None:
    draft, target = logits(0, rows=1), log_of((0.0, 1.0) + (0.0,) * 9)
    surprise = -draft.log_softmax(-1)[:, 1]

    torch.testing.assert_close(forward_kl(draft, target), surprise)
    torch.testing.assert_close(tvd(draft, target), 1 - torch.exp(-surprise))
    assert reverse_kl(draft, target).isinf().all()
    for finite in (forward_kl, tvd, jsd, skew_kl, skew_reverse_kl, abkd):
        assert finite(draft, target).isfinite().all()
        assert gradient(finite, draft, target).isfinite().all()


def test_a_draft_that_can_never_propose_a_likely_token_is_infinitely_far_by_forward_kl() -> None:
    draft, target = log_of((0.5, 0.5, 0.0)), log_of((0.4, 0.4, 0.2))

    assert forward_kl(draft, target).isinf().all()
    for finite in (reverse_kl, tvd, jsd, skew_kl, skew_reverse_kl, abkd):
        assert finite(draft, target).isfinite().all()
        assert gradient(finite, draft, target).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spread", [1.0, 30.0, 1000.0])
def test_float32_is_finite_and_right_at_tiny_probabilities(name: str, spread: float) -> None:
    """At a spread of 30 the least probability is about 1e-39, at 1000 it is nothing."""
    divergence = DIVERGENCES[name]
    draft, target = spread / 3 * logits(0), spread / 3 * logits(1)

    assert_near(divergence(draft.float(), target.float()).double(), divergence(draft, target))
    slope = gradient(divergence, draft.float(), target.float())
    assert_near(slope.double(), gradient(divergence, draft, target))


@pytest.mark.parametrize("name", NAMES)
def test_the_dtype_is_float32_or_that_of_float64_logits(name: str) -> None:
    draft, target = logits(0), logits(1)

    for given_dtype, expected in (
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        value = DIVERGENCES[name](draft.to(given_dtype), target.to(given_dtype))
        assert value.dtype == expected


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda a, b: jsd(a, b, beta=0.0), "beta 0"),
        (lambda a, b: jsd(a, b, beta=1.0), "beta 1"),
        (lambda a, b: skew_kl(a, b, skew=1.0), r"skew must be .* \(got 1\)"),
        (lambda a, b: skew_reverse_kl(a, b, skew=-0.1), r"skew must be .* \(got -0\.1\)"),
        (lambda a, b: abkd(a, b, alpha=-0.2), "alpha -0.2"),
        (lambda a, b: abkd(a, b, 0.0, 0.0), "alpha 0 with beta 0"),
    ],
)
def test_a_setting_that_makes_no_divergence_is_refused(
    call: Callable[..., torch.Tensor], named: str
) -> None:
    with pytest.raises(UserError, match=named):
        call(logits(0), logits(1))


def assert_near(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-3)


def test_a_divergence_by_name_is_the_function_of_that_name() -> None:
    assert [DIVERGENCES[name].__name__ for name in NAMES] == NAMES


def test_the_gradient_of_cross_entropy_is_draft_minus_label() -> None:
    draft = 3 * torch.randn(5, 11, generator=torch.Generator().manual_seed(0))
    draft.requires_grad_()
    labels = torch.tensor([3, 0, 10, 3, 7])
    losses = cross_entropy(draft, labels)
    losses.sum().backward()
    probs = draft.detach().softmax(-1)
    torch.testing.assert_close(losses.detach(), -probs[torch.arange(5), labels].log())
    torch.testing.assert_close(draft.grad, probs - torch.nn.functional.one_hot(labels, 11))
