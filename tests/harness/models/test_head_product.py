"""A head's product has torch's own logits and gradients, added where the gradient is kept."""

from types import SimpleNamespace

import pytest
import torch

from draftmark.models.language_model import LanguageModel, head_product, lowered_head


def _head(bias: bool) -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(8, 11, bias=bias, dtype=torch.float64)


def _chunks(shape: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.randn(*shape, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 8)])
def test_several_chunks_add_up_to_the_gradient_of_the_head_itself(
    bias: bool, shape: tuple[int, ...]
) -> None:
    head, own, chunks = _head(bias), _head(bias), _chunks(shape)
    for states in chunks:
        leaf, other = states.clone().requires_grad_(), states.clone().requires_grad_()
        logits, expected = head_product(head, leaf), own(other)
        torch.testing.assert_close(logits, expected)
        logits.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(leaf.grad, other.grad)

    for ours, theirs in zip(head.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_gradient_stays_where_the_first_chunk_put_it() -> None:
    head, (first, second, _) = _head(bias=False), _chunks((5, 8))
    head_product(head, first).sum().backward()
    assert head.weight.grad is not None
    place = head.weight.grad.data_ptr()

    head_product(head, second).sum().backward()

    assert head.weight.grad.data_ptr() == place


def test_a_frozen_head_gets_no_gradient_and_passes_it_on() -> None:
    head, (states, *_) = _head(bias=False).requires_grad_(False), _chunks((5, 8))
    states.requires_grad_()

    head_product(head, states).sum().backward()

    assert head.weight.grad is None
    torch.testing.assert_close(states.grad, head.weight.sum(0).expand(5, 8))


def test_under_autocast_the_head_computes_in_the_lower_precision() -> None:
    head, states = _head(bias=False).float(), torch.randn(5, 8)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert head_product(head, states).dtype == torch.bfloat16


@pytest.mark.parametrize("bias", [False, True])
def test_a_lowered_head_has_autocasts_logits_and_adds_its_gradients_in_float32(bias: bool) -> None:
    head, own = _head(bias).float(), _head(bias).float()
    model = LanguageModel(SimpleNamespace(get_output_embeddings=lambda: head), 11)
    total = torch.zeros(11, 8)
    with lowered_head(model, "bfloat16"), torch.autocast("cpu", dtype=torch.bfloat16):
        for states in _chunks((5, 8)):
            leaf, other = (states.float().requires_grad_() for _ in range(2))
            logits, expected = head_product(head, leaf), own(other)
            torch.testing.assert_close(logits, expected)
            own.weight.grad = None
            logits.sum().backward()
            expected.sum().backward()
            torch.testing.assert_close(leaf.grad, other.grad)
            total += own.weight.grad
    assert head.weight.grad is not None
    assert head.weight.grad.dtype == torch.float32
    torch.testing.assert_close(head.weight.grad, total)
    assert "lowered_VD" not in vars(head)
