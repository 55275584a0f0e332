"""Reads the blocks of a head from every start of a response at once.

On a text that the target wrote, drafting computes exactly these states along the accepted tokens,
so training and scoring share this pass.

Legend: T token, L layer, R start (of the response), K slot of a block, X width of a joined state.
"""

from collections.abc import Iterator

import torch
from transformers import DynamicCache

from draftmark.errors import UserError
from draftmark.models.heads.block_head import BlockContext, BlockHead
from draftmark.types import Text

SLOTS_AT_ONCE = 2048  # bounds the memory of attention between blocks and context


def read_blocks(
    head: BlockHead, text: Text, states_TLD: torch.Tensor, drawn_RK: torch.Tensor
) -> torch.Tensor:
    """Return the joined states [R, K, X] of the drawn slots of each block, and zeros elsewhere.

    Block r starts at response token r, and its slot k predicts response token r + k. Raises
    UserError for a prompt of one token, which leaves no state before the response.
    """
    _check_prompt(text)
    ids_T = torch.tensor([*text.prompt_ids, *text.response_ids], device=head.device)
    context = BlockContext(DynamicCache())
    head.model.extend(context, ids_T[1:-1], head.fuse(states_TLD)[: len(ids_T) - 2])
    drawn_RK = drawn_RK.to(head.device)
    (starts_A,) = torch.nonzero(drawn_RK.any(1), as_tuple=True)
    anchors_A = starts_A + len(text.prompt_ids) - 1
    parts = _parts(head, context, ids_T, anchors_A, drawn_RK[starts_A])
    read = [torch.zeros(0, head.block_size, head.width, device=head.device), *parts]
    states_AKX = torch.cat(read)
    return states_AKX.new_zeros((len(drawn_RK), *states_AKX.shape[1:])).index_copy(
        0, starts_A, states_AKX
    )


def _parts(
    head: BlockHead,
    context: BlockContext,
    ids_T: torch.Tensor,
    anchors_A: torch.Tensor,
    drawn_AK: torch.Tensor,
) -> Iterator[torch.Tensor]:
    """Yield the states of some blocks at a time."""
    size = max(1, SLOTS_AT_ONCE // head.block_size)
    slots_K = torch.arange(head.block_size, device=head.device)
    for first in range(0, len(anchors_A), size):
        part_A, part_AK = anchors_A[first : first + size], drawn_AK[first : first + size]
        states_AKD = head.model.blocks(context, ids_T[part_A], part_A, part_AK)
        previous_AK = ids_T[(part_A[:, None] + slots_K).clamp(max=len(ids_T) - 1)]
        yield head.model.join(states_AKD, previous_AK) * part_AK[..., None]


def slots_within(length: int, block_size: int) -> torch.Tensor:
    """Return drawn_RK, True for every slot that predicts a token of a response."""
    return torch.arange(length)[:, None] + torch.arange(block_size) < length


def _check_prompt(text: Text) -> None:
    if len(text.prompt_ids) < 2:
        raise UserError(
            f"{text.example_id}: the prompt has {len(text.prompt_ids)} tokens; a block head needs "
            "2 or more, because it reads the state of the token before the last."
        )
