"""The lossless rule on toy vocabularies: whatever is drafted, the target's law comes out."""

from collections import Counter
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.types import GREEDY, Sampler
from harness.verification import draw, residual, verify, warp

P = torch.tensor([0.5, 0.3, 0.15, 0.05])
DRAFTS = {
    "close": torch.tensor([0.4, 0.4, 0.1, 0.1]),
    "far": torch.tensor([0.05, 0.05, 0.1, 0.8]),
    "disjoint at one token": torch.tensor([0.0, 0.5, 0.25, 0.25]),
    "one-hot": torch.tensor([0.0, 0.0, 0.0, 1.0]),
    "the target": P,
}


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def first_token(q: torch.Tensor, generator: torch.Generator) -> int:
    drafted = draw(q, generator)
    accepted, following = verify([drafted], q[None], torch.stack([P, P]), generator)
    return drafted if accepted else following


@pytest.mark.parametrize("name", DRAFTS)
def test_the_emitted_token_has_the_targets_law(name: str) -> None:
    generator = stream(0)
    counts = Counter(first_token(DRAFTS[name], generator) for _ in range(20_000))
    observed = [counts[token] for token in range(4)]
    expected = (P.double() / P.double().sum() * 20_000).tolist()
    assert stats.power_divergence(observed, expected, lambda_="log-likelihood").pvalue > 1e-3


def test_two_tokens_of_a_chain_have_the_targets_joint_law() -> None:
    """The law of the second token depends on the first, for target and draft."""
    p_after = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])
    q_after = torch.tensor([[0.2, 0.2, 0.6], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
    p_first, q_first = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.6, 0.2, 0.2])
    generator = stream(1)
    counts: Counter[tuple[int, int]] = Counter()
    for _ in range(20_000):
        one = draw(q_first, generator)
        two = draw(q_after[one], generator)
        q_GV, p_GV = (
            torch.stack([q_first, q_after[one]]),
            torch.stack([p_first, p_after[one], torch.ones(3)]),
        )
        accepted, following = verify([one, two], q_GV, p_GV, generator)
        tokens = [*[one, two][:accepted], following]
        if len(tokens) == 1:
            tokens.append(draw(p_after[tokens[0]], generator))
        counts[tokens[0], tokens[1]] += 1
    pairs = list(product(range(3), range(3)))
    expected = [float(p_first[a] * p_after[a, b]) * 20_000 for a, b in pairs]
    total = sum(expected)
    expected = [value * 20_000 / total for value in expected]
    observed = [counts[pair] for pair in pairs]
    assert stats.power_divergence(observed, expected, lambda_="log-likelihood").pvalue > 1e-3


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.integers(0, 1000))
def test_a_draft_that_is_the_target_is_always_accepted(logits: list[float], seed: int) -> None:
    p_V = warp(torch.tensor(logits), Sampler(1.0))
    generator = stream(seed)
    token = draw(p_V, generator)
    accepted, _ = verify([token], p_V[None], torch.stack([p_V, p_V]), generator)
    assert accepted == 1


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=6, unique=True), st.integers(0, 5))
def test_at_temperature_zero_a_token_is_kept_exactly_where_it_is_the_targets(
    logits: list[float], drafted: int
) -> None:
    p_V = warp(torch.tensor(logits), GREEDY)
    drafted %= len(logits)
    q_V = torch.nn.functional.one_hot(torch.tensor(drafted), len(logits)).float()
    accepted, following = verify([drafted], q_V[None], torch.stack([p_V, p_V]), stream(0))
    best = int(torch.tensor(logits).argmax())
    assert accepted == int(drafted == best)
    assert following == best


@given(st.floats(0.1, 4), st.lists(st.floats(-8, 8), min_size=2, max_size=6))
def test_warping_divides_logits_by_the_temperature(temperature: float, logits: list[float]) -> None:
    warped = warp(torch.tensor(logits), Sampler(temperature))
    expected = torch.softmax(torch.tensor(logits, dtype=torch.float64) / temperature, -1)
    torch.testing.assert_close(warped.double(), expected, atol=1e-5, rtol=1e-4)


def test_a_drawn_token_always_has_weight() -> None:
    law_V = torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0])
    assert {draw(law_V, stream(seed)) for seed in range(200)} == {1, 3}


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_the_residual_has_no_weight_where_the_draft_had_more(seed: int) -> None:
    p_V, q_V = torch.softmax(torch.randn(2, 5, generator=stream(seed)), -1)
    left_V = residual(p_V, q_V)
    assert torch.all(left_V[p_V <= q_V] == 0)


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    st.builds(Sampler, st.floats(0.2, 3), st.integers(0, 9), st.floats(0.05, 1)),
)
def test_warping_is_that_of_transformers(seed: int, sampler: Sampler) -> None:
    """Parity: temperature, then top-k, then top-p, as generate() applies them."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits_NV = torch.randn(3, 9, generator=stream(seed)) * 3
    ids = torch.zeros(3, 1, dtype=torch.long)
    scores = TemperatureLogitsWarper(sampler.temperature)(ids, logits_NV)
    scores = TopKLogitsWarper(sampler.top_k)(ids, scores) if sampler.top_k else scores
    scores = TopPLogitsWarper(sampler.top_p)(ids, scores) if sampler.top_p < 1 else scores
    warped_NV = warp(logits_NV, sampler)
    torch.testing.assert_close(warped_NV, torch.softmax(scores, -1), atol=1e-6, rtol=1e-5)


def test_a_nucleus_holds_the_token_that_crosses_its_edge_and_no_more() -> None:
    law_V = warp(torch.tensor([0.5, 0.3, 0.15, 0.05]).log(), Sampler(1.0, top_p=0.6))
    torch.testing.assert_close(law_V, torch.tensor([0.625, 0.375, 0.0, 0.0]))
