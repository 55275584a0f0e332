"""One teacher-forced pass of a draft over the target's own texts -> acceptance probabilities.

p is the target's law, q the law that the draft token is drawn from, both after the sampler's warp;
y is the target's own text under that sampler. Speculative sampling emits y with law p, and given y
its token was accepted, not resampled, with probability min(1, q(y) / p(y)) (DESIGN section 4). At
temperature 0 the same formula says 1 where the draft's first choice is y.

Legend: N position of a response, V vocabulary, S start of a block.
"""

from collections.abc import Iterator, Sequence

import torch

from harness.divergences import overlap
from harness.models import LanguageModel
from harness.tables import sliding_table
from harness.teacher import TargetLaws, hidden_states
from harness.types import AcceptanceTable, Text
from harness.verification import warp

MAX_DEPTH = 16


@torch.no_grad()
def score_language_model(
    model: LanguageModel, texts: Sequence[Text], target: TargetLaws, temperature: float
) -> Iterator[AcceptanceTable]:
    """Yield the acceptance table of each text, for blocks of up to MAX_DEPTH tokens."""
    for text, hidden_ND in hidden_states(model, texts):
        draft_logits_NV = model.logits(hidden_ND)
        target_logits_NV = target.logits(text)
        q_NV = warp(draft_logits_NV, temperature)
        p_NV = warp(target_logits_NV, temperature)
        y_N = torch.tensor(text.response_ids, device=q_NV.device)
        agree_N = draft_logits_NV.argmax(-1) == target_logits_NV.argmax(-1)
        yield sliding_table(
            text.example_id,
            accept_S=_acceptance(p_NV, q_NV, y_N, temperature).double().cpu().numpy(),
            overlap_S=overlap(q_NV, p_NV).double().cpu().numpy(),
            greedy_match_S=agree_N.double().cpu().numpy(),
            depth=MAX_DEPTH,
        )


def _acceptance(
    p_NV: torch.Tensor, q_NV: torch.Tensor, y_N: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the probability [N] that y was accepted rather than resampled."""
    q_N = q_NV.gather(-1, y_N[:, None])[:, 0]
    if temperature == 0:  # p is one-hot on y by definition, whatever rounding makes of a near tie
        return q_N
    p_N = p_NV.gather(-1, y_N[:, None])[:, 0]
    return torch.where(q_N >= p_N, torch.ones_like(q_N), q_N / p_N)
