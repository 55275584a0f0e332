"""Prompt lookup decoding: the draft copies from the text so far, without a model (Saxena 2023).

The method takes the longest n-gram at the end of the text that occurs earlier, and drafts what
follows the first occurrence; without an occurrence it drafts nothing. It follows
https://github.com/apoorvumang/prompt-lookup-decoding, transformers (`prompt_lookup_num_tokens`) and
vLLM (method "ngram"). It is strong if answers repeat prompts: summaries, code edits.
"""

# In short: Prompt lookup decoding: copies from the text so far.
# Trains: nothing.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from draftmark.speculation.methods import TrainingFreeMethod
from draftmark.types import (
    AcceptanceTable,
    Proposal,
    Sampler,
    Samplers,
    Text,
)

if TYPE_CHECKING:
    import torch

    from draftmark.models.hidden_states import TargetLogits


class LookupSession:
    """An index of one text's n-grams: each n-gram with the position after its first occurrence."""

    def __init__(self, max_ngram: int, min_ngram: int) -> None:
        self._sizes = range(max_ngram, min_ngram - 1, -1)
        self._following: dict[tuple[int, ...], int] = {}
        self._indexed = 0

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        """Return up to `num_tokens` tokens that followed the longest n-gram ending `token_ids`."""
        ids = tuple(token_ids)
        # Index only n-grams that end before the last token, so that a token follows each.
        for end in range(self._indexed + 1, len(ids)):
            for size in self._sizes:
                if size <= end:
                    self._following.setdefault(ids[end - size : end], end)
        self._indexed = max(self._indexed, len(ids) - 1)
        for size in self._sizes:
            position = self._following.get(ids[-size:]) if size < len(ids) else None
            if position is not None:
                return Proposal(ids[position : position + num_tokens])
        return Proposal(())


@dataclass(frozen=True)
class PromptLookup(TrainingFreeMethod):
    """`max_ngram`, `min_ngram`: the range of n-gram sizes, tried from the longest.

    The method is its own drafter. Proposals are deterministic, so samplers do not matter.
    """

    max_ngram: Annotated[int, Field(ge=1)] = 3
    min_ngram: Annotated[int, Field(ge=1)] = 1

    def __post_init__(self) -> None:
        """Raise ValueError for an empty range."""
        if self.min_ngram > self.max_ngram:
            raise ValueError(f"min_ngram = {self.min_ngram} is above max_ngram = {self.max_ngram}")

    def score(
        self, texts: Sequence[Text], target: "TargetLogits", samplers: Samplers
    ) -> Iterator[AcceptanceTable]:
        """Yield the acceptance table of each text."""
        from draftmark.speculation.scoring import score_deterministic

        sizes = self.max_ngram, self.min_ngram
        return score_deterministic(lambda _: LookupSession(*sizes), texts, target, samplers)

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: "torch.Generator"
    ) -> LookupSession:
        """Return a session; its first proposal indexes the prompt."""
        return LookupSession(self.max_ngram, self.min_ngram)


METHOD = PromptLookup
