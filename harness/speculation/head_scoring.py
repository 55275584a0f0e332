"""How likely the tokens of a head's chains are to be accepted, along the target's own texts.

As `scoring` has it for laws that are given whole, with the work that a chain saves: at each depth
the output head, which is most of the cost, is asked for those chains alone that can still be
followed. Of greedy chains that is the few whose tokens so far are the target's.

Legend: N position of a response, V vocabulary, D depth, R and S start of a chain, A start of a
chain that is followed, H hidden size.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from draftmark.models.feature_head import FeatureHead
from draftmark.models.head_rollout import roll
from draftmark.models.hidden_states import LiveStates, TargetLogits, batches_by_length
from draftmark.models.sampling import sampler_probs
from draftmark.speculation.scoring import acceptance
from draftmark.training.divergences import overlap
from draftmark.types import MAX_GAMMA, AcceptanceTable, Samplers, Text

# A chain is followed while the chance that all of its tokens are accepted is more than this. What
# is not followed would add less than that, once for each start, to any count of a text.
NEGLIGIBLE = 2.0**-40


@torch.no_grad()
def score_chains(
    head: FeatureHead, texts: Sequence[Text], target: TargetLogits, samplers: Samplers
) -> Iterator[AcceptanceTable]:
    """Yield the acceptance table of each text, for blocks of up to MAX_GAMMA tokens.

    Acceptance is 0 from the depth on at which a chain is no longer followed (NEGLIGIBLE). The
    target's states are those of `target`, or computed by its body if it has none.
    """
    states = target.layer_states or LiveStates(target.target, head.model.shape.layers)
    for batch in batches_by_length(texts):
        chains = [_Chains(text, target, samplers) for text in batch]
        features = [head.fuse(states.states_of(text)) for text in batch]
        depth = min(MAX_GAMMA, max(len(text.response_ids) for text in batch))
        for hidden_BRH in roll(head, batch, features, depth):
            for one, hidden_RH in zip(chains, hidden_BRH, strict=True):
                one.follow(head, hidden_RH)
            if not any(len(one.followed) for one in chains):
                break
        yield from (one.table() for one in chains)


class _Chains:
    """The chains of one text, all of the same depth: one from every start of its response."""

    def __init__(self, text: Text, target: TargetLogits, samplers: Samplers) -> None:
        self._text, self._target, self._samplers = text, target, samplers
        length, self._depth = len(text.response_ids), 0
        self._accept_SD = np.zeros((length, MAX_GAMMA))
        self._reach_S = torch.ones(length, dtype=torch.float64)  # all tokens so far accepted
        self._y_N = torch.tensor(text.response_ids)
        self._p_N = self._overlap_S = self._agree_S = torch.empty(0)

    @property
    def followed(self) -> torch.Tensor:
        """The starts [A] whose chains have a token at this depth and may have come so far."""
        left = max(len(self._y_N) - self._depth, 0)
        return torch.nonzero(self._reach_S[:left] > NEGLIGIBLE)[:, 0]

    def follow(self, head: FeatureHead, hidden_RH: torch.Tensor) -> None:
        """Take the head's features at this depth, of each start, and go on to the next."""
        starts_A = self.followed
        if len(starts_A):
            logits_AV = head.logits(hidden_RH[starts_A.to(hidden_RH.device)])
            q_AV = sampler_probs(logits_AV, self._samplers.draft)
            if self._depth == 0:
                self._first(logits_AV, q_AV)
            accept_A = self._acceptance(q_AV, starts_A + self._depth)
            self._accept_SD[starts_A.numpy(), self._depth] = accept_A.numpy()
            self._reach_S[starts_A] *= accept_A
        self._depth += 1

    def _first(self, logits_NV: torch.Tensor, q_NV: torch.Tensor) -> None:
        """Note what is said of the first drafted tokens alone, and how likely the text's are."""
        target_logits_NV = self._target.logits(self._text)
        p_NV = sampler_probs(target_logits_NV, self._samplers.target)
        self._p_N = p_NV.gather(-1, self._y_N[:, None].to(p_NV.device))[:, 0].double().cpu()
        self._overlap_S = overlap(q_NV, p_NV).double().cpu()
        self._agree_S = (logits_NV.argmax(-1) == target_logits_NV.argmax(-1)).double().cpu()

    def _acceptance(self, q_AV: torch.Tensor, positions_A: torch.Tensor) -> torch.Tensor:
        """Return how likely the text's tokens at some positions are accepted [A]."""
        y_A, p_A = self._y_N[positions_A], self._p_N[positions_A]
        q_A = q_AV.gather(-1, y_A[:, None].to(q_AV.device))[:, 0].double().cpu()
        accept_A = acceptance(p_A, q_A)
        impossible_A = p_A == 0  # by rounding: that any token was accepted
        if impossible_A.any():
            accept_A[impossible_A] = self._overlap(
                q_AV[impossible_A.to(q_AV.device)], positions_A[impossible_A]
            )
        return accept_A

    def _overlap(self, q_AV: torch.Tensor, positions_A: torch.Tensor) -> torch.Tensor:
        logits_NV = self._target.logits(self._text)
        p_AV = sampler_probs(logits_NV[positions_A.to(logits_NV.device)], self._samplers.target)
        return overlap(q_AV, p_AV).double().cpu()

    def table(self) -> AcceptanceTable:
        """Return what was found."""
        length = len(self._y_N)
        drafted_S = np.minimum(MAX_GAMMA, length - np.arange(length))
        return AcceptanceTable(
            self._text.example_id,
            self._accept_SD,
            drafted_S,
            self._overlap_S.numpy(),
            self._agree_S.numpy(),
        )
