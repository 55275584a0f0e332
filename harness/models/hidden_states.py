"""The target as teacher: final hidden states at supervised positions, kept on disk.

Logits are recomputed through the head, never stored: D numbers for each token instead of V. The
same function reads target and draft in the same batches, so a draft that is its own target gives
the same bits, and an acceptance of exactly 1.

Legend: B batch, T position, N supervised position, D hidden size, V vocabulary. The supervised
positions of a text are those that predict its response: token i of the response is predicted at
position (prompt length + i - 1).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch

from draftmark.models.language_model import LanguageModel
from draftmark.models.memory_map import mapped
from draftmark.progress import Step
from draftmark.store.records import TEXTS, read_texts, write_texts
from draftmark.store.store import write_json
from draftmark.types import Text


class StateSource(Protocol):
    """Where the states of texts come from."""

    def of(self, text: Text) -> torch.Tensor:
        """Return the states [T, L, D] of one text."""


TOKENS_PER_BATCH = 4096
_HIDDEN, _SHAPE = "hidden.bin", "shape.json"


def right_padded(texts: Sequence[Text], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (ids [B, T], mask [B, T]) of prompts and responses, each from the first position.

    The last token of a text predicts nothing that is supervised and is left out.
    """
    rows = [[*text.prompt_ids, *text.response_ids][:-1] for text in texts]
    longest = max(map(len, rows))
    ids_BT = torch.zeros(len(rows), longest, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    for index, row in enumerate(rows):
        ids_BT[index, : len(row)] = torch.tensor(row)
        mask_BT[index, : len(row)] = 1
    return ids_BT.to(device), mask_BT.to(device)


def supervised(texts: Sequence[Text], states_BTX: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield, for each text, what stands at its supervised positions: [N, ...]."""
    for index, text in enumerate(texts):
        first = len(text.prompt_ids) - 1
        yield states_BTX[index, first : first + len(text.response_ids)]


def batches_by_length(texts: Sequence[Text]) -> Iterator[list[Text]]:
    """Yield texts of like length together, at most TOKENS_PER_BATCH padded tokens at a time."""
    batch: list[Text] = []
    for text in sorted(texts, key=lambda text: (_length(text), text.example_id)):
        if batch and _length(text) * (len(batch) + 1) > TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch


def _length(text: Text) -> int:
    return len(text.prompt_ids) + len(text.response_ids)


@torch.no_grad()
def hidden_states(
    model: LanguageModel, texts: Sequence[Text]
) -> Iterator[tuple[Text, torch.Tensor]]:
    """Yield each text with the model's hidden states [N, D] at its supervised positions."""
    for batch in batches_by_length(texts):
        states_BTD = model.hidden(*right_padded(batch, model.device))
        yield from zip(batch, supervised(batch, states_BTD), strict=True)


def write_features(
    model: LanguageModel, texts: Sequence[Text], directory: Path, *, dtype: str, step: Step
) -> None:
    """Write the hidden states of texts, in their order, with the texts themselves."""
    write_json(directory / _SHAPE, {"dtype": dtype, "hidden_size": model.hidden_size})
    write_texts(directory / TEXTS, texts)
    kept = Features.load(directory, create=True)
    for text, hidden_ND in hidden_states(model, texts):
        kept.of(text).copy_(hidden_ND)
        step.advance()


@dataclass(frozen=True)
class Features:
    """Texts and their hidden states, memory-mapped."""

    texts: tuple[Text, ...]
    hidden_ND: torch.Tensor  # of all texts, one after the other

    @classmethod
    def load(cls, directory: Path, *, create: bool = False) -> "Features":
        """Return what `write_features` wrote; `create` maps a new file, to be filled."""
        texts = read_texts(directory / TEXTS)
        shape = json.loads((directory / _SHAPE).read_text("utf-8"))
        size = sum(len(text.response_ids) for text in texts) * shape["hidden_size"]
        dtype = getattr(torch, shape["dtype"])
        flat = mapped(directory / _HIDDEN, size, dtype, create=create)
        return cls(tuple(texts), flat.view(-1, shape["hidden_size"]))

    @cached_property
    def _offsets(self) -> dict[str, int]:
        offsets, offset = {}, 0
        for text in self.texts:
            offsets[text.example_id] = offset
            offset += len(text.response_ids)
        return offsets

    def of(self, text: Text) -> torch.Tensor:
        """Return the hidden states [N, D] of one text."""
        start = self._offsets[text.example_id]
        return self.hidden_ND[start : start + len(text.response_ids)]


@dataclass(frozen=True)
class TargetLogits:
    """The target's logits on known texts, from cached hidden states through its head."""

    target: LanguageModel
    features: Features
    states: "StateSource | None" = None  # of the layers that a feature head reads, if stored

    @torch.no_grad()
    def logits(self, text: Text) -> torch.Tensor:
        """Return logits [N, V] at the supervised positions of one text."""
        hidden_ND = self.features.of(text).to(self.target.device, self.target.model.dtype)
        return self.target.logits(hidden_ND)
