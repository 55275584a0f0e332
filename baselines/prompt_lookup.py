"""Prompt lookup: drafts what followed the last few tokens where they stood before. No model.

Saxena (2023, https://github.com/apoorvumang/prompt-lookup-decoding), as in transformers
(`prompt_lookup_num_tokens`) and vLLM (method "ngram"): the longest n-gram that ends the text so far
and occurs earlier in it, at its first occurrence. Strong where an answer repeats its prompt
(summaries, code to edit), and it drafts nothing where nothing matches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from draftmark.speculation.interfaces import Drafter
from draftmark.types import (
    AcceptanceTable,
    Kind,
    Ledger,
    Placement,
    Proposal,
    Sampler,
    Samplers,
    Text,
)

if TYPE_CHECKING:
    import torch

    from draftmark.models.hidden_states import TargetLogits
    from draftmark.training.context import Draft, TrainingContext


class LookupSession:
    """The n-grams of one text, by what follows the first occurrence of each."""

    def __init__(self, max_ngram: int, min_ngram: int) -> None:
        self._sizes = range(max_ngram, min_ngram - 1, -1)
        self._following: dict[tuple[int, ...], int] = {}  # n-gram -> position after it
        self._known = 0

    def propose(self, token_ids: Sequence[int], num_tokens: int) -> Proposal:
        """Return what followed the longest n-gram that ends `token_ids`; none if none is there."""
        ids = tuple(token_ids)
        self._learn(ids)
        for size in self._sizes:
            position = self._following.get(ids[-size:]) if size < len(ids) else None
            if position is not None:
                return Proposal(ids[position : position + num_tokens])
        return Proposal(())

    def _learn(self, ids: tuple[int, ...]) -> None:
        """Note the n-grams that end before the last token: something follows each of them."""
        for end in range(self._known + 1, len(ids)):
            for size in self._sizes:
                if size <= end:
                    self._following.setdefault(ids[end - size : end], end)
        self._known = max(self._known, len(ids) - 1)


@dataclass(frozen=True)
class LookupDrafter:
    """Proposes by lookup; it draws nothing, so samplers do not matter to it."""

    max_ngram: int
    min_ngram: int

    def score(
        self, texts: Sequence[Text], target: "TargetLogits", samplers: Samplers
    ) -> Iterator[AcceptanceTable]:
        """Yield the acceptance table of each text."""
        from draftmark.speculation.scoring import score_deterministic

        return score_deterministic(lambda _: self._session(), texts, target, samplers)

    def start(
        self, prompt_ids: Sequence[int], sampler: Sampler, generator: "torch.Generator"
    ) -> LookupSession:
        """Return a session, which reads the prompt with the first proposal."""
        return self._session()

    def _session(self) -> LookupSession:
        return LookupSession(self.max_ngram, self.min_ngram)


@dataclass(frozen=True)
class PromptLookup:
    """N-grams of `max_ngram` tokens are looked for first, then shorter ones down to `min_ngram`."""

    max_ngram: Annotated[int, Field(ge=1)] = 3
    min_ngram: Annotated[int, Field(ge=1)] = 1

    kind: ClassVar[Kind] = "training_free"
    trains: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ValueError for a range of n-grams that is empty."""
        if self.min_ngram > self.max_ngram:
            raise ValueError(f"min_ngram = {self.min_ngram} is above max_ngram = {self.max_ngram}")

    def train(self, context: "TrainingContext") -> "Draft":
        """Return no model, at no cost."""
        from draftmark.training.context import Draft

        return Draft(None, Ledger())

    def drafter(self, directory: Path, placement: Placement) -> Drafter:
        """Return what looks up; nothing is read from the folder."""
        return LookupDrafter(self.max_ngram, self.min_ngram)


METHOD = PromptLookup
