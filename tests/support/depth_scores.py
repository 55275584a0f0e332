"""Acceptance of drafts whose distribution depends on the start of a block, from logits per depth.

Legend: N position of a response, V vocabulary, S start of a block, D depth in it.
"""

from collections.abc import Iterable

import numpy as np
import torch

from draftmark.models.hidden_states import TargetLogits
from draftmark.models.sampling import sampler_probs
from draftmark.training.divergences import overlap
from draftmark.types import MAX_GAMMA, AcceptanceTable, Samplers, Text


@torch.no_grad()
def score_by_depth(
    text: Text, target: TargetLogits, samplers: Samplers, logits_by_depth: Iterable[torch.Tensor]
) -> AcceptanceTable:
    """Return the acceptance table of a text: q / p and min(1, q / p) at each depth of each block.

    `logits_by_depth` has for each depth j the draft's logits [S, V] for the token at s + j of the
    blocks that start at s = 0 ... N - j - 1, as feature heads have.
    """
    logits_NV = target.logits(text)
    p_NV, y_N = sampler_probs(logits_NV, samplers.target), torch.tensor(text.response_ids)
    length = len(y_N)
    ratio_SD, depth = np.zeros((length, MAX_GAMMA)), 0
    for depth, logits_SV in enumerate(logits_by_depth):
        q_SV, p_SV = sampler_probs(logits_SV, samplers.draft), p_NV[depth:]
        q_S, p_S = (each.gather(-1, y_N[depth:, None])[:, 0] for each in (q_SV, p_SV))
        overlap_S = overlap(q_SV, p_SV)
        if depth == 0:
            overlap_N, agree_N = overlap_S, logits_SV.argmax(-1) == logits_NV.argmax(-1)
        ratio_S = torch.where(p_S > 0, q_S.double() / p_S.double(), overlap_S.double())
        ratio_SD[: length - depth, depth] = ratio_S.numpy()
    drafted_S = np.minimum(depth + 1, length - np.arange(length))
    return AcceptanceTable(
        text.example_id,
        np.minimum(ratio_SD, 1.0),
        drafted_S,
        overlap_N.double().numpy(),
        agree_N.double().numpy(),
        ratio_SD=ratio_SD,
    )
