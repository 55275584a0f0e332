"""A head's logits, with a gradient that needs no second copy of the head.

Logits are made in chunks of positions, and torch makes the head's gradient anew for each of them,
as large as the head itself, to add it to the others. Here it is added where it is kept.

Legend: V vocabulary, D hidden size.
"""

from typing import Any

import torch
from torch.nn.functional import linear


def head_product(head: Any, states: torch.Tensor) -> torch.Tensor:
    """Return a head's logits [..., V] of states [..., D]: what calling the head returns."""
    weight_VD, bias_V = head.weight, getattr(head, "bias", None)
    if not _adds_in_place(head, states):
        logits: torch.Tensor = head(states)
        return logits
    logits = _Product.apply(states, weight_VD)  # type: ignore[no-untyped-call]
    return logits if bias_V is None else logits + bias_V


def _adds_in_place(head: Any, states: torch.Tensor) -> bool:
    """Say whether the head is a plain matrix that trains in the dtype it is kept in."""
    return (
        type(head) is torch.nn.Linear
        and torch.is_grad_enabled()
        and head.weight.requires_grad
        and head.weight.is_leaf
        and states.dtype == head.weight.dtype
        and not torch.is_autocast_enabled(states.device.type)
    )


class _Product(torch.autograd.Function):
    """states @ weight.T, whose backward pass adds the weight's gradient in place."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight_VD: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(states, weight_VD)
        return linear(states, weight_VD)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        states, weight_VD = ctx.saved_tensors
        gradient_NV, states_ND = gradient.flatten(0, -2), states.flatten(0, -2)
        if weight_VD.grad is None:
            weight_VD.grad = gradient_NV.T @ states_ND
        else:
            weight_VD.grad.addmm_(gradient_NV.T, states_ND)
        return gradient @ weight_VD, None
