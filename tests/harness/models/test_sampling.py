"""Sampler probabilities and draws at the corners: greedy, top-k, top-p, weights of 0."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from draftmark.models.sampling import invert_cumulative, sampler_probs
from draftmark.types import GREEDY, Sampler

SHAPES = [(4,), (3, 4), (2, 3, 4)]


@pytest.mark.parametrize("shape", SHAPES)
def test_greedy_probabilities_are_one_hot(shape: tuple[int, ...]) -> None:
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    probs = sampler_probs(logits, GREEDY)
    expected = torch.nn.functional.one_hot(logits.argmax(-1), 4).float()
    assert torch.equal(probs, expected)


@pytest.mark.parametrize(("top_k", "kept"), [(0, 4), (1, 1), (2, 2), (4, 4), (9, 4)])
def test_top_k_keeps_the_likeliest(top_k: int, kept: int) -> None:
    probs_V = torch.tensor([0.1, 0.4, 0.2, 0.3])
    found_V = sampler_probs(probs_V.log(), Sampler(1.0, top_k=top_k))
    likeliest = probs_V.sort(descending=True).indices[:kept]
    expected_V = torch.zeros(4).scatter(0, likeliest, probs_V[likeliest])
    torch.testing.assert_close(found_V, expected_V / expected_V.sum())


@pytest.mark.parametrize(("top_p", "kept"), [(0.25, 1), (0.3, 2), (0.5, 2), (0.75, 3), (1.0, 4)])
def test_top_p_keeps_the_fewest_tokens_of_that_mass(top_p: float, kept: int) -> None:
    """Of four tokens of 0.25 each, two have a mass of 0.5, to the last bit."""
    found_V = sampler_probs(torch.zeros(4), Sampler(1.0, top_p=top_p))
    assert found_V.sum() == pytest.approx(1)
    assert int((found_V > 0).sum()) == kept


@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 1), (0.49, 1), (0.5, 3), (0.99, 3), (1 - 2**-53, 3)]
)
def test_a_uniform_number_gives_a_token_of_positive_weight(uniform: float, token: int) -> None:
    weights_V = torch.tensor([0.0, 2.0, 0.0, 2.0, 0.0])
    assert int(invert_cumulative(weights_V, torch.tensor(uniform, dtype=torch.float64))) == token


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=6), st.floats(0, 1, exclude_max=True))
def test_a_token_is_drawn_where_the_cumulative_weight_passes_the_number(
    weights: list[float], uniform: float
) -> None:
    weights_V = torch.tensor(weights, dtype=torch.float64)
    if weights_V.sum() < 1e-300:
        return
    token = int(invert_cumulative(weights_V, torch.tensor(uniform, dtype=torch.float64)))
    total = weights_V.sum()
    assert weights_V[token] > 0
    assert weights_V[:token].sum() <= uniform * total * (1 + 1e-12)
    assert weights_V[: token + 1].sum() >= uniform * total * (1 - 1e-12)
