"""A feature head as a drafter: scored depth by depth, and proposing with the target's features.

Legend: T slot, L layer, D hidden size, N position of a response, G drafted token, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from draftmark.models.feature_head import FeatureHead
from draftmark.models.hidden_states import TargetLogits
from draftmark.models.sampling import draw, sampler_probs
from draftmark.speculation.head_scoring import score_chains
from draftmark.types import AcceptanceTable, Proposal, Sampler, Samplers, Text


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
