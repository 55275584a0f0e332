"""The drafter of a parallel draft: a language model that proposes a block in one pass.

Scoring follows `speculation.scoring`: one pass reads every slot of the blocks from every start. A
block drafts at most as many tokens as the draft was trained with, whatever the block length asked
for.

Legend: G drafted token, T token, R start, K slot of a block, D hidden size, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from draftmark.models.finite import check_logits
from draftmark.models.hidden_states import TargetLogits
from draftmark.models.kv_cache import CachedModel
from draftmark.models.language_model import LanguageModel, cut_or_widen
from draftmark.models.parallel_reading import read_slots
from draftmark.models.sampling import draw_tokens, sampler_probs
from draftmark.speculation.head_drafter import Chains
from draftmark.types import MAX_GAMMA, AcceptanceTable, Proposal, Sampler, Samplers, Text


@dataclass(frozen=True)
class ParallelDraft(LanguageModel):
    """A language model that answers the slots of a block, each but the first at a mask token."""

    mask_token: int
    block_size: int


class ParallelSession:
    """A draft with the KV cache of one text; masked slots are dropped each round."""

    def __init__(
        self,
        draft: ParallelDraft,
        prompt_ids: Sequence[int],
        sampler: Sampler,
        generator: torch.Generator,
    ) -> None:
        self._draft, self._cached = draft, CachedModel(draft)
        self._sampler, self._generator = sampler, generator
        self._read = len(prompt_ids) - 1  # tokens of the text in the cache
        if self._read:
            self._cached.feed(prompt_ids[:-1])

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        """Return the first `num_tokens` tokens of a block, with their distributions q_GV."""
        count = min(num_tokens, self._draft.block_size)
        if not count:
            return Proposal(())
        self._cached.keep(self._read)
        masks = [self._draft.mask_token] * (count - 1)
        states_TD = self._cached.feed([*token_ids[self._read :], *masks])
        self._read = len(token_ids)
        logits_GV = self._draft.logits(states_TD[-count:])
        check_logits(logits_GV, "this text", "the draft's")
        q_GV = sampler_probs(logits_GV, self._sampler).cpu()
        return Proposal(tuple(draw_tokens(q_GV, self._generator).tolist()), q_GV)


@dataclass(frozen=True)
class ParallelDrafter:
    """A trained parallel draft."""

    draft: ParallelDraft

    @property
    def block_size(self) -> int:
        """The number of tokens of a whole block."""
        return self.draft.block_size

    @torch.no_grad()
    def score(
        self, texts: Sequence[Text], target: TargetLogits, samplers: Samplers
    ) -> Iterator[AcceptanceTable]:
        """Yield the acceptance table of each text, for blocks of up to the draft's block size."""
        size = min(self.draft.block_size, MAX_GAMMA)
        for text in texts:
            length = len(text.response_ids)
            within_RK = torch.arange(length)[:, None] + torch.arange(size) < length
            states_RKD = read_slots(self.draft, text, self.draft.mask_token, within_RK)
            chains = Chains(text, target, samplers)
            head = _Widened(self.draft.model, target.logits(text).shape[-1])
            for slot in range(size):
                chains.follow(head, states_RKD[:, slot])
            yield chains.table(size)

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: torch.Generator
    ) -> ParallelSession:
        """Return a session that has read the prompt, except its last token."""
        return ParallelSession(self.draft, prompt_ids, sampler, generator)


@dataclass(frozen=True)
class _Widened(LanguageModel):
    """A draft whose logits have as many columns as the target's."""

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits [..., V] of the target's vocabulary."""
        rows = self.model.get_output_embeddings().weight.shape[0]
        known = LanguageModel(self.model, min(rows, self.vocab_size))
        return cut_or_widen(known.logits(hidden), self.vocab_size)
