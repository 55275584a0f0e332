"""A head's product and an embedding's lookup have torch's own values, and gradients in place."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from draftmark.models import large_weights
from draftmark.models.large_weights import (
    clear_gradients,
    embedding_in_place,
    head_product,
    lowered_head,
)


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
@pytest.mark.parametrize("block", [1, 24, 2**21])
def test_a_lowered_head_has_autocasts_logits_and_adds_its_gradients_in_float32(
    bias: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, own = _head(bias).float(), _head(bias).float()
    model = SimpleNamespace(get_output_embeddings=lambda: head)
    monkeypatch.setattr(large_weights, "_BLOCK", block)
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


def _embedding(**options: Any) -> torch.nn.Embedding:
    torch.manual_seed(0)
    return torch.nn.Embedding(11, 8, dtype=torch.float64, **options)


@pytest.mark.parametrize("padding_idx", [None, 3])
def test_an_embedding_in_place_adds_torchs_gradient_to_the_stored_one(
    padding_idx: int | None,
) -> None:
    mine, torchs = _embedding(padding_idx=padding_idx), _embedding(padding_idx=padding_idx)
    model = SimpleNamespace(get_input_embeddings=lambda: mine)
    ids_BT = torch.tensor([[3, 1, 10, 1], [0, 3, 1, 3]])
    mine.weight.grad = torch.ones_like(mine.weight)
    place = mine.weight.grad.data_ptr()

    with embedding_in_place(model):
        states_BTD = mine(ids_BT)
    states_BTD.pow(3).sum().backward()
    torchs(ids_BT).pow(3).sum().backward()

    assert torch.equal(states_BTD, torchs(ids_BT))
    assert torchs.weight.grad is not None
    torch.testing.assert_close(mine.weight.grad, torchs.weight.grad + 1)
    assert mine.weight.grad.data_ptr() == place
    assert "forward" not in vars(mine)


@pytest.mark.parametrize(
    "options", [{"sparse": True}, {"max_norm": 1.0}, {"scale_grad_by_freq": True}]
)
def test_an_embedding_with_an_option_of_its_own_is_left_alone(options: dict[str, Any]) -> None:
    module = _embedding(**options)
    with embedding_in_place(SimpleNamespace(get_input_embeddings=lambda: module)):
        assert "forward" not in vars(module)


def test_a_tied_weight_has_the_gradients_of_both_its_uses() -> None:
    mine, torchs = _embedding(), _embedding()
    head, ids_T, slopes = _head(bias=False), torch.tensor([4, 2, 4]), []
    model = SimpleNamespace(get_input_embeddings=lambda: mine)
    head.weight = mine.weight
    with embedding_in_place(model):
        head_product(head, mine(ids_T).tanh()).square().sum().backward()
    (torchs(ids_T).tanh() @ torchs.weight.T).square().sum().backward()
    for each in (mine, torchs):
        slopes.append(each.weight.grad)
    torch.testing.assert_close(*slopes)


def test_gradients_of_large_weights_become_0_in_place_and_others_are_freed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large_weights, "LARGE_BYTES", 80)
    large, small = (torch.ones(size, requires_grad=True) for size in (20, 19))
    for each in (large, small):
        each.grad = torch.ones_like(each)
    assert large.grad is not None
    place = large.grad.data_ptr()

    clear_gradients([large, small, torch.ones(30)])

    assert large.grad.tolist() == [0.0] * 20
    assert large.grad.data_ptr() == place
    assert small.grad is None
