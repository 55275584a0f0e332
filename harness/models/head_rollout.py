"""A head rolled forward from every start of a response at once: depth j feeds on depth j - 1.

A chain that starts at slot s reads the target's features up to s, and beyond it what the head
itself put out. At depth j the slot s + j of that chain attends to the slots 0 ... s of the target's
features and to the chain's own at depths 1 ... j: one causal block, then diagonals, since the
chains of different starts do not see each other. That is the attention pattern of EAGLE-3's
training-time test (Li et al. 2025, arXiv 2503.01840, section 3.2), and, along a text that the
target wrote, exactly what chain drafting computes: training and scoring are the same pass.

Legend: B text, T token, S slot, R start (of the response), D hidden size, K slot in the cache.
"""

from collections.abc import Iterator, Sequence

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from draftmark.errors import UserError
from draftmark.models.feature_head import FeatureHead
from draftmark.models.hidden_states import StateSource, batches_by_length
from draftmark.types import Text


def roll(
    head: FeatureHead, texts: Sequence[Text], features: Sequence[torch.Tensor], depth: int
) -> Iterator[torch.Tensor]:
    """Yield, for each depth j, the head's features [B, R, D] for the tokens at r + j of responses.

    `features` are those of each text [T, D], fused. Of a response of R tokens the rows r + j < R
    mean something. Raises UserError for a prompt of one token: no feature stands before its answer.
    """
    _check_prompts(texts)
    device = head.device
    ids_BT = pad_sequence(
        [torch.tensor([*text.prompt_ids, *text.response_ids]) for text in texts], batch_first=True
    ).to(device)
    features_BSD = pad_sequence(list(features), batch_first=True)[:, : ids_BT.shape[1] - 2]
    num_slots = features_BSD.shape[1]
    slots_BS = torch.arange(num_slots, device=device).expand(len(texts), -1)
    starts_BR = _starts(texts, num_slots).to(device)
    cache = DynamicCache()
    causal_BSS = slots_BS[:, None, :] <= slots_BS[:, :, None]
    hidden_BSD = head.step(ids_BT[:, 1:-1], features_BSD, slots_BS, causal_BSS, cache)
    hidden_BRD = hidden_BSD.gather(1, _columns(starts_BR, hidden_BSD.shape[-1]))
    yield hidden_BRD
    mask_BRK = slots_BS[:, None, :] <= starts_BR[:, :, None]
    own_BRR = torch.eye(starts_BR.shape[1], dtype=torch.bool, device=device).expand(
        len(texts), -1, -1
    )
    for back in range(1, depth):
        following_BR = ids_BT.gather(1, (starts_BR + back + 1).clamp(max=ids_BT.shape[1] - 1))
        mask_BRK = torch.cat([mask_BRK, own_BRR], dim=-1)
        hidden_BRD = head.step(following_BR, hidden_BRD, starts_BR + back, mask_BRK, cache)
        yield hidden_BRD


@torch.no_grad()
def rolled(
    head: FeatureHead, texts: Sequence[Text], states: StateSource, depth: int
) -> Iterator[tuple[Text, list[torch.Tensor]]]:
    """Yield each text with the head's features [N - j, D] at each depth j, for the token at r + j.

    There are `depth` of them, or as many as the response has tokens.
    """
    for batch in batches_by_length(texts):
        fused = [head.fuse(states.states_of(text)) for text in batch]
        longest = max(len(text.response_ids) for text in batch)
        by_depth = list(roll(head, batch, fused, min(depth, longest)))
        for index, text in enumerate(batch):
            length = len(text.response_ids)
            yield (
                text,
                [hidden[index, : length - j] for j, hidden in enumerate(by_depth[:length])],
            )


def _check_prompts(texts: Sequence[Text]) -> None:
    for text in texts:
        if len(text.prompt_ids) < 2:
            raise UserError(
                f"{text.example_id}: the prompt has {len(text.prompt_ids)} tokens; a feature head "
                "needs 2 or more, for it reads the feature of the one before the last."
            )


def _starts(texts: Sequence[Text], num_slots: int) -> torch.Tensor:
    """Return the slot [B, R] from which the token r of each response is drafted first."""
    longest = max(len(text.response_ids) for text in texts)
    first_B1 = torch.tensor([[len(text.prompt_ids) - 2] for text in texts])
    return (first_B1 + torch.arange(longest)).clamp(max=num_slots - 1)


def _columns(index_BR: torch.Tensor, width: int) -> torch.Tensor:
    return index_BR[..., None].expand(-1, -1, width)
