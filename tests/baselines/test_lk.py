"""LK: the ends of its mixture, and -log acceptance."""

import pytest
from method_cases import Make, assert_same_gradient, built, gradient

from harness.errors import UserError


@pytest.mark.parametrize("per", ["batch", "position"])
def test_at_eta_zero_it_is_plain_distillation(
    context: Make, monkeypatch: pytest.MonkeyPatch, per: str
) -> None:
    mine = gradient(context, built("lk", eta=0, per=per), monkeypatch)
    assert_same_gradient(mine, gradient(context, built("kd"), monkeypatch), rtol=1e-6)


def test_at_a_large_eta_it_is_total_variation(
    context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = gradient(context, built("lk", eta=1e4), monkeypatch)
    theirs = gradient(context, built("distillspec", divergence="tvd"), monkeypatch)
    assert_same_gradient(mine, theirs, rtol=1e-6)


def test_negative_log_acceptance_raises_validation_acceptance(context: Make) -> None:
    history = built("lk", objective="negative_log_acceptance").train(context()).history
    values = [point["validation_acceptance"] for point in history]
    assert max(values) > values[0] + 0.01


def test_a_knob_of_the_other_objective_is_refused() -> None:
    with pytest.raises(UserError, match="negative_log_acceptance' has no eta and no per"):
        built("lk", objective="negative_log_acceptance", eta=1)
    with pytest.raises(UserError, match="eta: Input should be greater than or equal to 0"):
        built("lk", eta=-1)
