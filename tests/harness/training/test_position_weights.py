"""D-PACE's weights: the gradient of the expected accepted length, and their layout by token."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from draftmark.training.batches import Batch
from draftmark.training.position_weights import (
    SMOOTHING,
    confidence_by_depth,
    expected_length_weights,
    weigh_depths,
)
from draftmark.types import Text

DEPTH = 4


def expected_length(log_smooth_K: torch.Tensor, length: int) -> float:
    """Return the sum over m <= length of the product of the first m confidences."""
    return float(log_smooth_K[:length].cumsum(0).exp().sum())


@given(
    confidences=st.lists(st.floats(0.0, 1.0), min_size=DEPTH, max_size=DEPTH),
    length=st.integers(1, DEPTH),
)
def test_the_weights_are_the_gradient_of_the_expected_length(
    confidences: list[float], length: int
) -> None:
    confidence_K = torch.tensor(confidences, dtype=torch.float64)
    log_smooth_K = ((1 - SMOOTHING) * confidence_K + SMOOTHING).log()
    valid_K = torch.arange(DEPTH) < length
    weights_K = expected_length_weights(confidence_K[None], valid_K[None])[0]
    for k in range(DEPTH):
        step_K = torch.zeros(DEPTH, dtype=torch.float64)
        step_K[k] = 1e-6
        up, down = (expected_length(log_smooth_K + s, length) for s in (step_K, -step_K))
        assert abs((up - down) / 2e-6 - float(weights_K[k])) < 1e-7


def test_a_certain_draft_weighs_a_position_by_the_positions_from_it_on() -> None:
    ones_SK = torch.ones(1, DEPTH)
    assert expected_length_weights(ones_SK, ones_SK > 0).tolist() == [[4.0, 3.0, 2.0, 1.0]]


def test_each_chain_keeps_to_its_text_and_a_token_gets_the_weight_of_its_chain() -> None:
    texts = [Text("a", (1, 2), (5, 6, 7)), Text("b", (1, 2), (8, 9))]
    batch = Batch.from_texts(texts, 0, 0.0, torch.device("cpu"))
    confidence_NK = torch.rand(5, DEPTH, generator=torch.Generator().manual_seed(0))
    weights_NK = weigh_depths(confidence_NK, batch)
    by_hand_NK = torch.zeros(5, DEPTH)
    for first, length in ((0, 3), (3, 2)):
        for start in range(length):
            chain = [(first + start + k, k) for k in range(min(DEPTH, length - start))]
            smooth = [0.5 * float(confidence_NK[place]) + 0.5 for place in chain]
            for k, place in enumerate(chain):
                products = torch.tensor(smooth).cumprod(0)
                by_hand_NK[place] = products[k:].sum()
    torch.testing.assert_close(weights_NK, by_hand_NK)


def test_the_confidence_is_the_drafts_probability_of_the_texts_token() -> None:
    batch = Batch.from_texts([Text("a", (1, 2), (0, 2))], 0, 0.0, torch.device("cpu"))
    logits_NKV = torch.randn(2, DEPTH, 3, generator=torch.Generator().manual_seed(1))
    q_NKV = logits_NKV.softmax(-1)
    expected_NK = torch.stack([q_NKV[0, :, 0], q_NKV[1, :, 2]])
    torch.testing.assert_close(
        confidence_by_depth(logits_NKV, torch.zeros(2, 3), batch), expected_NK
    )
