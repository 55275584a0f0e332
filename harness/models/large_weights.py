"""The embedding and the head of a draft in training, often one tied weight, the largest of a model.

torch would allocate a gradient of their size for each chunk of logits, another for each lookup of
ids, and autocast a copy of the head for each chunk. The C library returns blocks of that size to
the system, and mapping them again costs more than the arithmetic on them: a fifth of a step in
bfloat16. Here a gradient is added where the weight keeps it, and a copy is written where the last
one was.

Legend: N position, D hidden size, V vocabulary.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch.nn.functional import embedding, linear

LARGE_BYTES = 32 << 20  # blocks of this size or more return to the system when they are freed
_BLOCK = 2**21  # weights whose gradient is computed at once: 4 MiB in bfloat16, of one core's cache


@contextmanager
def lowered_head(model: Any, dtype: str) -> Iterator[None]:
    """Keep the head's weight in `dtype` too, for all products in the block.

    Autocast would cast the weight for every chunk of positions. Heads with a bias are left to
    autocast, which rounds product and bias together. The copy is made anew for each block, since a
    fused optimiser changes weights without a new version.
    """
    head, computed = model.get_output_embeddings(), getattr(torch, dtype)
    plain = type(head) is torch.nn.Linear and head.bias is None and head.weight.requires_grad
    if plain and head.weight.dtype != computed:
        head.lowered_VD = _room(head, computed).copy_(head.weight.detach())
    try:
        yield
    finally:
        vars(head).pop("lowered_VD", None)


def _room(head: torch.nn.Linear, dtype: torch.dtype) -> torch.Tensor:
    """Return the memory of the head's last lowered copy, or new memory for one."""
    room_VD = vars(head).get("room_VD")
    if room_VD is None or (room_VD.dtype, room_VD.device) != (dtype, head.weight.device):
        room_VD = torch.empty_like(head.weight, dtype=dtype, requires_grad=False)
        vars(head)["room_VD"] = room_VD
    return cast(torch.Tensor, room_VD)


def head_product(head: Any, states: torch.Tensor) -> torch.Tensor:
    """Return the logits [..., V] of states [..., D], as calling the head does.

    The backward pass adds the weight's gradient to the stored one in place.
    """
    if not _adds_in_place(head, states):
        return cast(torch.Tensor, head(states))
    weight_VD = vars(head).get("lowered_VD", head.weight.detach())
    logits: torch.Tensor = _Product.apply(  # type: ignore[no-untyped-call]
        states, head.weight, weight_VD
    )
    return logits if head.bias is None else logits + head.bias


def _adds_in_place(head: Any, states: torch.Tensor) -> bool:
    """True if the head is a plain matrix that trains, in its own dtype or with a lowered copy."""
    if type(head) is not torch.nn.Linear or not torch.is_grad_enabled():
        return False
    if not (head.weight.requires_grad and head.weight.is_leaf):
        return False
    if torch.is_autocast_enabled(states.device.type):
        return "lowered_VD" in vars(head)
    return states.dtype == head.weight.dtype


class _Product(torch.autograd.Function):
    """states @ weight.T, in the dtype of `computed_VD`, a copy of the weight or the weight itself.

    The backward pass adds the weight's gradient in place.
    """

    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, weight_VD: torch.Tensor, computed_VD: torch.Tensor
    ) -> torch.Tensor:
        ctx.dtype, states = states.dtype, states.to(computed_VD.dtype)
        ctx.save_for_backward(states, weight_VD, computed_VD)
        return linear(states, computed_VD)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        states, weight_VD, computed_VD = ctx.saved_tensors
        _add_product(_stored_gradient(weight_VD), gradient.flatten(0, -2), states.flatten(0, -2))
        return (gradient @ computed_VD).to(ctx.dtype), None, None


def _stored_gradient(weight: torch.Tensor) -> torch.Tensor:
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


def _add_product(
    total_VD: torch.Tensor, gradient_NV: torch.Tensor, states_ND: torch.Tensor
) -> None:
    """Add gradient.T @ states to `total_VD`; a lower precision in blocks that fit the cache."""
    if total_VD.dtype == gradient_NV.dtype:
        total_VD.addmm_(gradient_NV.T, states_ND)
        return
    num_rows, width = total_VD.shape
    size = max(1, _BLOCK // width) if total_VD.device.type == "cpu" else num_rows
    for start in range(0, num_rows, size):
        block = slice(start, start + size)
        total_VD[block] += gradient_NV[:, block].T @ states_ND


@contextmanager
def embedding_in_place(model: Any) -> Iterator[None]:
    """Look ids up, in the block, such that the gradient is added to the stored one in place.

    On a CPU, for a plain embedding that trains; on a GPU the order of such additions is not fixed.
    """
    module = model.get_input_embeddings()
    if not _is_plain(module) or "forward" in vars(module):
        yield
        return
    module.forward = partial(_look_up, module)
    try:
        yield
    finally:
        del module.forward


def _is_plain(module: Any) -> bool:
    if type(module) is not torch.nn.Embedding or module.weight.device.type != "cpu":
        return False
    return module.max_norm is None and not (module.scale_grad_by_freq or module.sparse)


def _look_up(module: torch.nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
    if not (torch.is_grad_enabled() and module.weight.requires_grad and module.weight.is_leaf):
        return embedding(ids, module.weight, module.padding_idx)
    return cast(
        torch.Tensor,
        _Lookup.apply(module.weight, ids, module.padding_idx),  # type: ignore[no-untyped-call]
    )


class _Lookup(torch.autograd.Function):
    """weight[ids]; the row of `padding_id` has no gradient, as in torch's embedding."""

    @staticmethod
    def forward(
        ctx: Any, weight_VD: torch.Tensor, ids: torch.Tensor, padding_id: int | None
    ) -> torch.Tensor:
        ctx.save_for_backward(weight_VD, ids)
        ctx.padding_id = padding_id
        return embedding(ids, weight_VD)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, None, None]:
        weight_VD, ids = ctx.saved_tensors
        if ctx.padding_id is not None:
            gradient = gradient.masked_fill((ids == ctx.padding_id)[..., None], 0)
        total_VD, width = _stored_gradient(weight_VD), gradient.shape[-1]
        total_VD.index_add_(0, ids.flatten(), gradient.reshape(-1, width).to(total_VD.dtype))
        return None, None, None


def clear_gradients(parameters: Iterable[torch.Tensor]) -> None:
    """Free the gradients; on a CPU, set those of large weights to 0 where they are."""
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None or gradient.nbytes < LARGE_BYTES or gradient.device.type != "cpu":
            parameter.grad = None
        else:
            gradient.zero_()
