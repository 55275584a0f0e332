"""A language model as a drafter: scored in one pass, and proposing token by token.

Its law at a position does not depend on where the block started, so one teacher-forced pass fills
the acceptance table of every block length. Shared by every method that trains a language model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from draftmark.models.hidden_states import TargetLogits
from draftmark.models.kv_cache import CachedModel
from draftmark.models.language_model import LanguageModel
from draftmark.models.sampling import draw, sampler_probs
from draftmark.speculation.scoring import score_language_model
from draftmark.types import AcceptanceTable, Proposal, Sampler, Samplers, Text


class LanguageModelSession:
    """A draft model with the KV cache of one text."""

    def __init__(self, model: LanguageModel, sampler: Sampler, generator: torch.Generator) -> None:
        self._cached = CachedModel(model)
        self._sampler = sampler
        self._generator = generator

    def prefill(self, token_ids: Sequence[int]) -> None:
        """Read the prompt, all but its last token, as the target does."""
        if len(token_ids) > 1:
            self._cached.feed(token_ids[:-1])

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        """Return `num_tokens` tokens drawn one after the other, with their laws q_GV."""
        # What was drafted and rejected is still in the cache: keep what agrees with the text.
        self._cached.keep(_agreeing(self._cached.seen, token_ids))
        unread = token_ids[len(self._cached.seen) :]
        drafted: list[int] = []
        laws = []
        for _ in range(num_tokens):
            logits_V = self._cached.model.logits(self._cached.feed(unread)[-1])
            law_V = sampler_probs(logits_V, self._sampler).cpu()
            drafted.append(int(draw(law_V, self._generator)))
            laws.append(law_V)
            unread = drafted[-1:]
        return Proposal(tuple(drafted), torch.stack(laws))


def _agreeing(seen: Sequence[int], token_ids: Sequence[int]) -> int:
    """Return how many leading tokens agree, at most all but the last of `token_ids`."""
    limit = min(len(seen), len(token_ids) - 1)
    for index in range(limit):
        if seen[index] != token_ids[index]:
            return index
    return limit


@dataclass(frozen=True)
class LanguageModelDrafter:
    """A trained language model that proposes."""

    model: LanguageModel

    def score(
        self, texts: Sequence[Text], target: TargetLogits, samplers: Samplers
    ) -> Iterator[AcceptanceTable]:
        """Yield the acceptance table of each text."""
        return score_language_model(self.model, texts, target, samplers)

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: torch.Generator
    ) -> LanguageModelSession:
        """Return a session that has read the prompt."""
        session = LanguageModelSession(self.model, sampler, generator)
        session.prefill(prompt_ids)
        return session
