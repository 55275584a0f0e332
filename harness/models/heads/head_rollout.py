"""Rolls a feature head forward from every start of a response at once; depth j reads depth j - 1.

A chain that starts at slot s reads the target's features up to s, and the head's own features
beyond. At depth j the chain's slot s + j attends to slots 0 ... s of the target's features and to
the chain's own slots at depths 1 ... j: one causal block, then diagonals, because chains of
different starts do not see each other. EAGLE-3's training-time test has this attention pattern (Li
et al. 2025, arXiv 2503.01840, section 3.2). On a text that the target wrote, chain drafting
computes exactly these features, so training and scoring share this pass.

Legend: B text, T token, S slot, R start (of the response), D hidden size, K slot in the cache.
"""

from collections.abc import Iterator, Sequence

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from draftmark.errors import UserError
from draftmark.models.heads.feature_head import FeatureHead
from draftmark.models.hidden_states import StateSource, batches_by_length
from draftmark.types import Text


def roll_forward(
    head: FeatureHead, texts: Sequence[Text], features: Sequence[torch.Tensor], depth: int
) -> Iterator[torch.Tensor]:
    """Yield, for each depth j, the head's features [B, R, D] for response tokens r + j.

    `features` are the fused features [T, D] of each text. For a response of R tokens the rows
    r + j < R are valid. Raises UserError for a prompt of one token, which leaves no feature before
    the response.
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
    hidden_BRD = hidden_BSD.gather(1, starts_BR[..., None].expand(-1, -1, hidden_BSD.shape[-1]))
    yield hidden_BRD
    mask_BRK = slots_BS[:, None, :] <= starts_BR[:, :, None]
    own_BRR = torch.eye(starts_BR.shape[1], dtype=torch.bool, device=device).expand(
        len(texts), -1, -1
    )
    for j in range(1, depth):
        following_BR = ids_BT.gather(1, (starts_BR + j + 1).clamp(max=ids_BT.shape[1] - 1))
        mask_BRK = torch.cat([mask_BRK, own_BRR], dim=-1)
        hidden_BRD = head.step(following_BR, hidden_BRD, starts_BR + j, mask_BRK, cache)
        yield hidden_BRD


@torch.no_grad()
def rolled_features(
    head: FeatureHead, texts: Sequence[Text], states: StateSource, depth: int
) -> Iterator[tuple[Text, list[torch.Tensor]]]:
    """Yield each text with the head's features [R - j, D] of each depth j, for tokens r + j.

    The number of depths is `depth`, or the length of a shorter response.
    """
    for batch in batches_by_length(texts):
        fused = [head.fuse(states.states_of(text)) for text in batch]
        longest = max(len(text.response_ids) for text in batch)
        by_depth = list(roll_forward(head, batch, fused, min(depth, longest)))
        for index, text in enumerate(batch):
            length = len(text.response_ids)
            yield text, [hidden[index, : length - j] for j, hidden in enumerate(by_depth[:length])]


def _check_prompts(texts: Sequence[Text]) -> None:
    for text in texts:
        if len(text.prompt_ids) < 2:
            raise UserError(
                f"{text.example_id}: the prompt has {len(text.prompt_ids)} tokens; a feature head "
                "needs 2 or more, because it reads the feature of the token before the last."
            )


def _starts(texts: Sequence[Text], num_slots: int) -> torch.Tensor:
    """Return the slots [B, R] from which response tokens r are drafted at depth 0."""
    longest = max(len(text.response_ids) for text in texts)
    first_B1 = torch.tensor([[len(text.prompt_ids) - 2] for text in texts])
    return (first_B1 + torch.arange(longest)).clamp(max=num_slots - 1)
