"""CSD: the default has reverse KL's gradient, other weights do not."""

import pytest
import torch
from method_cases import Make, assert_same_gradient, built, gradient

from draftmark.errors import UserError


def test_two_draft_weights_have_reverse_kls_gradient(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = gradient(context, built("csd"), monkeypatch)
    theirs = gradient(context, built("distillspec", divergence="reverse_kl"), monkeypatch)
    assert_same_gradient(mine, theirs)


@pytest.mark.parametrize(
    "knobs",
    [
        {"weights": ["target", "draft"]},
        {"weights": ["uniform", "draft"]},
        {"weights": [0.5, 0.5]},
        {"weight_temperature": 1.5},
    ],
)
def test_other_weights_have_another_gradient(
    context: Make, monkeypatch: pytest.MonkeyPatch, knobs: dict[str, object]
) -> None:
    mine = gradient(context, built("csd", **knobs), monkeypatch)
    default = gradient(context, built("csd"), monkeypatch)
    assert float(torch.cosine_similarity(mine, default, dim=0)) < 0.99


def test_the_order_of_the_weights_does_not_matter(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [
        gradient(context, built("csd", weights=weights), monkeypatch)
        for weights in (["target", "draft"], ["draft", "target"])
    ]
    assert_same_gradient(*both)


def test_a_share_of_0_or_1_is_the_draft_or_the_target(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_same_gradient(
        gradient(context, built("csd", weights=[0.0, 1.0]), monkeypatch),
        gradient(context, built("csd", weights=["draft", "target"]), monkeypatch),
    )


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"weights": ["target", "student"]}, r"weights.1: must be 'target', 'draft', 'uniform'"),
        ({"weights": [0.5, 1.5]}, r"share of a mixture, 0 to 1 \(got 1.5\)"),
        ({"weights": ["target"]}, r"weights.1: Field required"),
        ({"weight_temperature": 0}, r"weight_temperature: Input should be greater than 0"),
    ],
)
def test_invalid_weights_are_refused(knobs: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        built("csd", **knobs)
