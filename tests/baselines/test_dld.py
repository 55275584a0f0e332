"""DLD: where it meets CSD, and what its knobs change."""

import pytest
from method_cases import Make, assert_same_gradient, built, gradient

from draftmark.errors import UserError


def test_uniform_and_without_means_it_is_csd_with_uniform_weights(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = gradient(context, built("dld", weight="uniform", normalisation="mean"), monkeypatch)
    theirs = gradient(context, built("csd", weights=["uniform", "uniform"]), monkeypatch)
    assert_same_gradient(mine, theirs)


def test_a_mixture_of_one_law_is_that_law(context: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for share, name in ((1, "target"), (0, "draft")):
        mixed = gradient(context, built("dld", weight=share), monkeypatch)
        assert_same_gradient(mixed, gradient(context, built("dld", weight=name), monkeypatch))


def test_knobs_that_it_does_not_have_are_refused() -> None:
    with pytest.raises(UserError, match=r"normalisation: .*'none' or 'mean' \(got 'range'\)"):
        built("dld", normalisation="range")
    with pytest.raises(UserError, match=r"weight: take one of .* \(got 'teacher'\)"):
        built("dld", weight="teacher")
