"""DLD: its relation to CSD, and its knobs."""

import pytest
from method_cases import Make, assert_same_gradient, built, gradient

from draftmark.errors import UserError


def test_with_a_uniform_weight_and_centred_logits_it_is_csd_with_uniform_weights(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = gradient(context, built("dld", weight="uniform", normalisation="mean"), monkeypatch)
    theirs = gradient(context, built("csd", weights=["uniform", "uniform"]), monkeypatch)
    assert_same_gradient(mine, theirs)


def test_a_mixture_with_share_one_or_zero_is_one_distribution(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for share, name in ((1, "target"), (0, "draft")):
        mixed = gradient(context, built("dld", weight=share), monkeypatch)
        assert_same_gradient(mixed, gradient(context, built("dld", weight=name), monkeypatch))


def test_invalid_knobs_are_refused() -> None:
    with pytest.raises(UserError, match=r"normalisation: .*'none' or 'mean' \(got 'range'\)"):
        built("dld", normalisation="range")
    with pytest.raises(UserError, match=r"weight: must be .* \(got 'teacher'\)"):
        built("dld", weight="teacher")
