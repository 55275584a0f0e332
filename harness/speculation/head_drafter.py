"""A feature head as a drafter: scored depth by depth, and proposing with the target's features.

Legend: T slot, L layer, D hidden size, N position of a response, G drafted token, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache

from draftmark.models.feature_head import FeatureHead
from draftmark.models.head_rollout import roll
from draftmark.models.hidden_states import LiveStates, TargetLogits, batches_by_length
from draftmark.models.sampling import draw, sampler_probs
from draftmark.speculation.scoring import acceptance
from draftmark.training.divergences import overlap
from draftmark.types import MAX_GAMMA, AcceptanceTable, Proposal, Sampler, Samplers, Text


class FeatureHeadSession:
    """A head with the KV cache of one text; what it drafted itself is dropped every round."""

    def __init__(
        self,
        head: FeatureHead,
        prompt_ids: Sequence[int],
        sampler: Sampler,
        generator: torch.Generator,
    ) -> None:
        self.layers = head.model.shape.layers
        self._head, self._prompt = head, prompt_ids
        self._sampler, self._generator = sampler, generator
        self._cache = DynamicCache()
        self._unread: list[torch.Tensor] = []  # features of the target that no slot has read yet
        self._slots = 0  # of the target's features, in the cache
        self._drafted = 0  # slots of the head's own features, after them

    def observe(self, states_TLD: torch.Tensor) -> None:
        """Take the target's states of the tokens that it has read and kept, after all before.

        Of the prompt the head reads at once what does not need its last token, as the target does.
        """
        self._unread += self._head.fuse(states_TLD)
        if self._slots == 0 and len(self._prompt) > 2:
            self._read(self._prompt[:-1])

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        """Return `num_tokens` tokens drawn one after the other, with their laws q_GV.

        None while there is no feature to start from: after a prompt of one token.
        """
        if len(token_ids) < 2 or not num_tokens:
            return Proposal(())
        feature_D = self._read(token_ids)
        drafted: list[int] = []
        laws = []
        for number in range(num_tokens):
            if number:
                feature_D = self._step(drafted[-1:], feature_D[None])[-1]
                self._drafted += 1
            laws.append(sampler_probs(self._head.logits(feature_D), self._sampler).cpu())
            drafted.append(int(draw(laws[-1], self._generator)))
        return Proposal(tuple(drafted), torch.stack(laws))

    def _read(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Forget the head's own features, read the target's; return the feature [D] that follows.

        Slot i reads the feature of token i with token i + 1, so the last token has no slot yet.
        """
        if self._drafted:
            self._cache.crop(-self._drafted)
            self._drafted = 0
        new = len(token_ids) - 1 - self._slots
        features_TD = torch.stack(self._unread[:new])
        del self._unread[:new]
        hidden_TD = self._step(token_ids[self._slots + 1 :], features_TD)
        self._slots += new
        return hidden_TD[-1]

    def _step(self, following: Sequence[int], features_TD: torch.Tensor) -> torch.Tensor:
        """Return the features [T, D] that follow new slots at the end of the cache."""
        device = self._head.device
        before = self._slots + self._drafted
        every_K = torch.arange(before + len(following), device=device)
        new_T = every_K[before:]
        return self._head.step(
            torch.tensor([list(following)], device=device),
            features_TD[None],
            new_T[None],
            (every_K <= new_T[:, None])[None],
            self._cache,
        )[0]


@dataclass(frozen=True)
class FeatureHeadDrafter:
    """A trained head that proposes a chain of tokens."""

    head: FeatureHead

    def score(
        self, texts: Sequence[Text], target: TargetLogits, samplers: Samplers
    ) -> Iterator[AcceptanceTable]:
        """Yield the acceptance table of each text, for blocks of up to MAX_GAMMA tokens."""
        return score_chains(self.head, texts, target, samplers)

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: torch.Generator
    ) -> FeatureHeadSession:
        """Return a session; the engine shows it the target's states."""
        return FeatureHeadSession(self.head, prompt_ids, sampler, generator)


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
