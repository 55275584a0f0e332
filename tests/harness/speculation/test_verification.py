"""The parts of the lossless rule; that the whole is lossless is in test_planted_faults."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark.models.sampling import draw_tokens, sampler_probs
from draftmark.speculation.verification import residual_weights, verify_block
from draftmark.types import GREEDY, Sampler


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def verify_one(
    drafted: int, q_V: torch.Tensor, p_V: torch.Tensor, generator: torch.Generator
) -> tuple[int, int]:
    """Return (kept or not, the token that follows) of one drafted token."""
    p_NHV = torch.stack([p_V, p_V])[None]
    accepted_N, following_N = verify_block(
        torch.tensor([[drafted]]), q_V[None, None], p_NHV, generator
    )
    return int(accepted_N), int(following_N)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.integers(0, 1000))
def test_a_draft_that_is_the_target_is_always_accepted(logits: list[float], seed: int) -> None:
    p_V = sampler_probs(torch.tensor(logits), Sampler(1.0))
    generator = stream(seed)
    accepted, _ = verify_one(int(draw_tokens(p_V, generator)), p_V, p_V, generator)
    assert accepted == 1


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=6, unique=True), st.integers(0, 5))
def test_at_temperature_zero_a_token_is_kept_exactly_where_it_is_the_targets(
    logits: list[float], drafted: int
) -> None:
    p_V = sampler_probs(torch.tensor(logits), GREEDY)
    drafted %= len(logits)
    q_V = torch.nn.functional.one_hot(torch.tensor(drafted), len(logits)).float()
    accepted, following = verify_one(drafted, q_V, p_V, stream(0))
    best = int(torch.tensor(logits).argmax())
    assert accepted == int(drafted == best)
    assert following == best


@given(st.floats(0.1, 4), st.lists(st.floats(-8, 8), min_size=2, max_size=6))
def test_warping_divides_logits_by_the_temperature(temperature: float, logits: list[float]) -> None:
    warped = sampler_probs(torch.tensor(logits), Sampler(temperature))
    expected = torch.softmax(torch.tensor(logits, dtype=torch.float64) / temperature, -1)
    torch.testing.assert_close(warped.double(), expected, atol=1e-5, rtol=1e-4)


def test_a_drawn_token_always_has_weight() -> None:
    law_V = torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0])
    assert {int(draw_tokens(law_V, stream(seed))) for seed in range(200)} == {1, 3}


def test_every_row_is_drawn_by_a_number_of_its_own_from_its_own_tokens() -> None:
    weights_NV = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
    assert draw_tokens(weights_NV, stream(0)).tolist() == [0, 2, 1]
    drawn_NG = draw_tokens(torch.ones(50, 4, 8), stream(0))
    assert drawn_NG.shape == (50, 4)
    assert all(len(set(drawn_NG[:, place].tolist())) == 8 for place in range(4))
    assert any(len(set(row)) > 1 for row in drawn_NG.tolist())


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_the_residual_has_no_weight_where_the_draft_had_more(seed: int) -> None:
    p_V, q_V = torch.softmax(torch.randn(2, 5, generator=stream(seed)), -1)
    left_V = residual_weights(p_V, q_V)
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
    warped_NV = sampler_probs(logits_NV, sampler)
    torch.testing.assert_close(warped_NV, torch.softmax(scores, -1), atol=1e-6, rtol=1e-5)


def test_every_position_of_every_block_is_warped_by_itself() -> None:
    logits_NGV = torch.randn(2, 3, 9, generator=stream(1))
    sampler = Sampler(0.7, top_k=4, top_p=0.9)
    warped_NGV = sampler_probs(logits_NGV, sampler)
    for block in range(2):
        for position in range(3):
            alone_V = sampler_probs(logits_NGV[block, position], sampler)
            torch.testing.assert_close(warped_NGV[block, position], alone_V)


def test_a_nucleus_holds_the_token_that_crosses_its_edge_and_no_more() -> None:
    law_V = sampler_probs(torch.tensor([0.5, 0.3, 0.15, 0.05]).log(), Sampler(1.0, top_p=0.6))
    torch.testing.assert_close(law_V, torch.tensor([0.625, 0.375, 0.0, 0.0]))


def test_blocks_are_verified_each_by_itself() -> None:
    """A block that is right to its end gets the bonus token, one that errs a replacement there."""
    one_hot = torch.eye(4)
    p_NHV = one_hot[torch.tensor([[0, 1, 2], [0, 1, 2]])]
    drafted_NG = torch.tensor([[0, 1], [0, 3]])
    accepted_N, following_N = verify_block(drafted_NG, one_hot[drafted_NG], p_NHV, stream(0))
    assert accepted_N.tolist() == [2, 1]
    assert following_N.tolist() == [2, 1]


def test_a_token_after_a_rejected_one_is_not_accepted_however_right() -> None:
    one_hot = torch.eye(4)
    p_NHV = one_hot[torch.tensor([[0, 1, 2], [0, 1, 2]])]
    drafted_NG = torch.tensor([[0, 1], [3, 1]])
    accepted_N, following_N = verify_block(drafted_NG, one_hot[drafted_NG], p_NHV, stream(0))
    assert accepted_N.tolist() == [2, 0]
    assert following_N.tolist() == [2, 0]


def test_the_residual_of_equal_distributions_is_the_targets() -> None:
    p_NV = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    q_NV = torch.tensor([[0.25, 0.75], [0.25, 0.75]])
    assert residual_weights(p_NV, q_NV).tolist() == [[0.25, 0.75], [0.25, 0.0]]


def test_where_nothing_is_drafted_the_token_is_the_targets() -> None:
    p_NHV = torch.tensor([[[0.0, 1.0, 0.0]]])
    none = torch.empty(1, 0, dtype=torch.long)
    accepted_N, following_N = verify_block(none, torch.empty(1, 0, 3), p_NHV, stream(0))
    assert (accepted_N.tolist(), following_N.tolist()) == ([0], [1])
