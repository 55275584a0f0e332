"""DistillSpec: its divergences by name; the default is plain distillation."""

import pytest
import torch
from method_cases import Make, built, trained, weights

from draftmark.errors import UserError


def test_forward_kl_is_kd_bit_for_bit(context: Make) -> None:
    made = [weights(trained(context, built(name)).model) for name in ("distillspec", "kd")]
    start = weights(context().draft)
    assert all(torch.equal(made[0][name], made[1][name]) for name in start)
    assert not all(torch.equal(made[0][name], start[name]) for name in start)


@pytest.mark.parametrize("divergence", ["reverse_kl", "jsd", "tvd"])
def test_every_divergence_raises_validation_acceptance(context: Make, divergence: str) -> None:
    history = built("distillspec", divergence=divergence).train(context()).history
    values = [point["validation_acceptance"] for point in history]
    assert max(values) > values[0] + 0.01


def test_the_error_for_an_unknown_divergence_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"divergence: .*'reverse_kl', 'jsd', .* \(got 'kl'\)"):
        built("distillspec", divergence="kl")
