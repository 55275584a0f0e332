"""Reads the masked slots of a language model's blocks from every start of a response at once.

PARD (An et al. 2025, arXiv 2504.18583): after the text come mask tokens, and the model's states
there predict the tokens of a block in one pass. Slot 0 is the text's last token; slot k reads a
mask token at the k-th position after it, and sees the text and the block's masks before it.

On a text that the target wrote, drafting computes exactly these states along the accepted tokens,
so training and scoring share this pass.

Legend: T token, R start (of the response), A start whose block is read, K slot of a block, Q masked
slot, S key (a token of the text, or a masked slot), D hidden size.
"""

from collections.abc import Iterator

import torch
from transformers import DynamicCache

from draftmark.errors import UserError
from draftmark.models.language_model import LanguageModel
from draftmark.types import Text

SLOTS_AT_ONCE = 2048  # bounds the memory of attention between blocks and text


def read_slots(
    model: LanguageModel, text: Text, mask_token: int, drawn_RK: torch.Tensor
) -> torch.Tensor:
    """Return the states [R, K, D] of the drawn slots of each block, and zeros elsewhere.

    Block r starts at response token r, and its slot k predicts response token r + k. Raises
    UserError for a model whose attention has a window.
    """
    _check_attention(model)
    ids_1T = torch.tensor([[*text.prompt_ids, *text.response_ids[:-1]]], device=model.device)
    cache = DynamicCache()
    first_TD = _states(model, cache, input_ids=ids_1T)
    drawn_RK = drawn_RK.to(model.device)
    anchors_R = len(text.prompt_ids) - 1 + torch.arange(len(drawn_RK), device=model.device)
    later = list(_masked_slots(model, cache, anchors_R, drawn_RK, mask_token))
    states_RKD = torch.stack([first_TD[anchors_R], *torch.cat(later).unbind(1)], dim=1)
    return states_RKD * drawn_RK[..., None]


def _masked_slots(
    model: LanguageModel,
    cache: DynamicCache,
    anchors_R: torch.Tensor,
    drawn_RK: torch.Tensor,
    mask_token: int,
) -> Iterator[torch.Tensor]:
    """Yield the states [A, K - 1, D] after the first slot, of some blocks at a time."""
    num_masked = drawn_RK.shape[1] - 1
    size = max(1, SLOTS_AT_ONCE // max(1, num_masked))
    for first in range(0, len(anchors_R), size):
        anchors_A, drawn_AK = anchors_R[first : first + size], drawn_RK[first : first + size]
        states_AKD = torch.zeros(
            len(anchors_A), num_masked, model.hidden_size, device=anchors_A.device
        )
        places = torch.nonzero(drawn_AK[:, 1:], as_tuple=True)
        if len(places[0]):
            read_QD = _read_masked(model, cache, anchors_A, places, mask_token)
            states_AKD = states_AKD.to(read_QD.dtype).index_put(places, read_QD)
        yield states_AKD


def _read_masked(
    model: LanguageModel,
    cache: DynamicCache,
    anchors_A: torch.Tensor,
    places: tuple[torch.Tensor, ...],
    mask_token: int,
) -> torch.Tensor:
    """Return the states [Q, D] of masked slots; the cache keeps the text alone."""
    of_block_Q, slot_Q = places
    anchor_Q = anchors_A[of_block_Q]
    num_tokens = cache.get_seq_length()
    tokens_S = torch.arange(num_tokens, device=anchor_Q.device)
    same_QQ = of_block_Q[:, None] == of_block_Q
    sees_QS = torch.cat(
        [tokens_S <= anchor_Q[:, None], same_QQ & (slot_Q <= slot_Q[:, None])], dim=1
    )
    ids_1Q = torch.full((1, len(slot_Q)), mask_token, device=anchor_Q.device)
    dtype = model.model.dtype
    mask_QS = torch.zeros(sees_QS.shape, dtype=dtype, device=anchor_Q.device)
    mask_QS = mask_QS.masked_fill(~sees_QS, torch.finfo(dtype).min)
    states_QD = _states(
        model,
        cache,
        input_ids=ids_1Q,
        attention_mask=mask_QS[None, None],
        position_ids=(anchor_Q + 1 + slot_Q)[None],
    )
    cache.crop(-len(slot_Q))
    return states_QD


def _states(model: LanguageModel, cache: DynamicCache, **inputs: torch.Tensor) -> torch.Tensor:
    read = model.model.base_model(past_key_values=cache, use_cache=True, **inputs)
    states_TD: torch.Tensor = read.last_hidden_state[0]
    return states_TD


def _check_attention(model: LanguageModel) -> None:
    config = model.model.config
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        raise UserError(
            f"{config.model_type!r} models with an attention window cannot draft in parallel; take "
            "another draft, or method kd."
        )
