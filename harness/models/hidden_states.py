"""Hidden states of a model on texts: computed live, or stored on disk and memory-mapped.

Logits are recomputed from the final states by the head, never stored: D numbers a token instead of
V. Target and draft read the same batches, so the target as its own draft has exactly the same
states and an acceptance of exactly 1.

Layer k is the output of the first k layers: layer 0 is the embedding, the highest the final state,
after the last norm; transformers numbers `hidden_states` so, and vLLM its auxiliary states.

Legend: B batch, T position, N supervised position, L layer, D hidden size, V vocabulary.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from draftmark.errors import UserError
from draftmark.models.finite import check_states
from draftmark.models.language_model import LanguageModel
from draftmark.models.mapped_files import map_file
from draftmark.models.supervised_positions import (
    num_positions,
    right_padded,
    supervised_positions,
)
from draftmark.models.token_ids import check_ids
from draftmark.progress import Step
from draftmark.store.records import TEXTS, read_texts, write_texts
from draftmark.store.store import write_json
from draftmark.types import Text

Positions = Literal["supervised", "all"]  # all: the prompt's positions too
FINAL = (-1,)  # the final state alone, whatever the number of layers
STORED_DTYPE = "bfloat16"  # of the states that drafts are trained on, stored or live
TOKENS_PER_BATCH = 4096
_GIGABYTE = 10**9
_STATES, _SHAPE = "states.bin", "shape.json"


def _padded(texts: Sequence[Text], device: torch.device) -> torch.Tensor:
    """Return ids [B, T] as `right_padded`, for a pass without a mask.

    Causal attention never reads the padding, which stands after the text. Without a mask torch
    skips the later positions and need not repeat grouped keys.
    """
    return right_padded(texts, device)[0]


def batches_by_length(texts: Sequence[Text]) -> Iterator[list[Text]]:
    """Yield texts of similar length together, at most TOKENS_PER_BATCH padded tokens a batch."""
    batch: list[Text] = []
    for text in sorted(texts, key=lambda text: (num_positions(text), text.example_id)):
        if batch and (num_positions(text) + 1) * (len(batch) + 1) > TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch


@torch.no_grad()
def hidden_states(
    model: LanguageModel, texts: Sequence[Text]
) -> Iterator[tuple[Text, torch.Tensor]]:
    """Yield each text with the model's final states [N, D] at its supervised positions."""
    check_texts(model, texts)
    for text, states_NLD in read_states(model, texts, FINAL, "supervised"):
        yield text, states_NLD[:, 0]


@torch.no_grad()
def read_states(
    model: LanguageModel, texts: Sequence[Text], layers: Sequence[int], positions: Positions
) -> Iterator[tuple[Text, torch.Tensor]]:
    """Yield each text with the model's states [T, L, D] at `positions`, batch by batch.

    [N, L, D] if `positions` is supervised. Raises NotFinite for states that are not finite.
    """
    for batch in batches_by_length(texts):
        states_BTLD = layer_states(model, layers, _padded(batch, model.device))
        for text, states_TLD in zip(batch, states_BTLD, strict=True):
            yield text, keep_positions(text, states_TLD, positions)


def keep_positions(text: Text, states_TLD: torch.Tensor, positions: Positions) -> torch.Tensor:
    """Return a text's states at `positions`; raises NotFinite for states that are not finite."""
    kept = slice(num_positions(text)) if positions == "all" else supervised_positions(text)
    check_states(states_TLD[kept], text.example_id)
    return states_TLD[kept]


class Reader(Protocol):
    """What reads texts, in this process or another: a context, a vocabulary and a width."""

    @property
    def hidden_size(self) -> int:
        """The width of a hidden state."""

    @property
    def max_positions(self) -> int:
        """The number of tokens that fit the context."""

    @property
    def vocab_size(self) -> int:
        """The number of tokens of the vocabulary."""


# From a reader, texts, layers and positions to each text with its states, as `read_states`.
Reading = Callable[
    [Any, Sequence[Text], Sequence[int], Positions], Iterable[tuple[Text, torch.Tensor]]
]


def check_texts(model: Reader, texts: Iterable[Text]) -> None:
    """Raise UserError for the first text that a model cannot read.

    It is longer than the model's context, or holds a token that the model has no row for.
    """
    for text in texts:
        token_ids = (*text.prompt_ids, *text.response_ids)
        if len(token_ids) > model.max_positions:
            raise UserError(
                f"{text.example_id}: {len(token_ids)} tokens do not fit the context of "
                f"{model.max_positions} of the model that reads them; lower "
                "evaluation.max_new_tokens, leave the row out, or take a draft with a longer "
                "context."
            )
        check_ids(text.example_id, token_ids, model.vocab_size)


def layer_states(
    model: LanguageModel,
    layers: Sequence[int],
    ids_BT: torch.Tensor,
    mask_BT: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the outputs [B, T, L, D] of `layers`; for the final state alone no other is kept."""
    if tuple(layers) in (FINAL, (model.model.config.num_hidden_layers,)):
        return model.hidden(ids_BT, mask_BT)[:, :, None]
    outputs = model.model.base_model(
        input_ids=ids_BT, attention_mask=mask_BT, use_cache=False, output_hidden_states=True
    ).hidden_states
    return torch.stack([outputs[layer] for layer in layers], dim=2)


class StateSource(Protocol):
    """Stored or live states of some layers at every position of a text."""

    def states_of(self, text: Text) -> torch.Tensor:
        """Return the states [T, L, D] of one text."""


@dataclass(frozen=True)
class LiveStates:
    """States of some layers at every position, computed by the target on demand."""

    target: LanguageModel
    layers: tuple[int, ...]

    @torch.no_grad()
    def states_of(self, text: Text) -> torch.Tensor:
        """Return the states [T, L, D] of one text."""
        check_texts(self.target, [text])
        return layer_states(self.target, self.layers, *right_padded([text], self.target.device))[0]


class FinalStates(Protocol):
    """Texts, and stored or live final states at their supervised positions."""

    @property
    def texts(self) -> Sequence[Text]:
        """The texts."""

    def last_layer_of(self, text: Text) -> torch.Tensor:
        """Return the final states [N, D] of one text."""


@dataclass(frozen=True)
class LiveFinalStates:
    """Texts, and their final states, computed by the target on demand in the stored dtype."""

    target: LanguageModel
    texts: Sequence[Text]

    @torch.no_grad()
    def last_layer_of(self, text: Text) -> torch.Tensor:
        """Return the states [N, D] of one text."""
        ((_, states_ND),) = hidden_states(self.target, [text])
        return states_ND.to("cpu", getattr(torch, STORED_DTYPE))


def load_final_states(directory: Path, target: LanguageModel) -> FinalStates:
    """Return the stored final states of a folder; live ones of `target` if it has only texts."""
    if (directory / _STATES).exists():
        return StoredHiddenStates.load(directory)
    return LiveFinalStates(target, read_texts(directory / TEXTS))


@dataclass(frozen=True)
class StoredHiddenStates:
    """Texts, and their states at some layers and positions, memory-mapped."""

    texts: tuple[Text, ...]
    layers: tuple[int, ...]
    positions: Positions
    states_TLD: torch.Tensor  # of all texts, one after the other

    @classmethod
    def load(cls, directory: Path, *, create: bool = False) -> "StoredHiddenStates":
        """Return the states that `write_hidden_states` wrote; `create` maps a new, empty file."""
        texts = tuple(read_texts(directory / TEXTS))
        shape = json.loads((directory / _SHAPE).read_text("utf-8"))
        layers, positions, width = tuple(shape["layers"]), shape["positions"], shape["hidden_size"]
        size = _num_stored(texts, positions) * len(layers) * width
        dtype = getattr(torch, shape["dtype"])
        flat = map_file(directory / _STATES, size, dtype, create=create)
        return cls(texts, layers, positions, flat.view(-1, len(layers), width))

    @cached_property
    def _slices(self) -> dict[str, slice]:
        slices, offset = {}, 0
        for text in self.texts:
            start, offset = offset, offset + _num_stored([text], self.positions)
            slices[text.example_id] = slice(start, offset)
        return slices

    def states_of(self, text: Text) -> torch.Tensor:
        """Return the states [T, L, D] of one text; [N, L, D] if `positions` is supervised."""
        return self.states_TLD[self._slices[text.example_id]]

    def last_layer_of(self, text: Text) -> torch.Tensor:
        """Return the states [N, D] of one text's last stored layer."""
        return self.states_of(text)[:, -1]


def _num_stored(texts: Iterable[Text], positions: Positions) -> int:
    if positions == "all":
        return sum(map(num_positions, texts))
    return sum(len(text.response_ids) for text in texts)


@torch.no_grad()
def write_hidden_states(
    model: Reader,
    texts: Sequence[Text],
    directory: Path,
    *,
    dtype: str,
    step: Step,
    layers: Sequence[int] = FINAL,
    positions: Positions = "supervised",
    max_gigabytes: float = math.inf,
    read: Reading = read_states,
) -> None:
    """Write the texts and their states at `layers`, in the order of the texts.

    `read` lets the model read. Raises UserError, before anything is written, if the states take
    more than `max_gigabytes` or more than the disk has left, or for a text that the model cannot
    read (see `check_texts`); later, NotFinite for states that are not finite.
    """
    check_texts(model, texts)
    bytes_per_token = len(layers) * model.hidden_size * getattr(torch, dtype).itemsize
    _check_size(_num_stored(texts, positions), bytes_per_token, max_gigabytes, directory)
    shape = {"layers": list(layers), "positions": positions, "hidden_size": model.hidden_size}
    write_json(directory / _SHAPE, {"dtype": dtype, **shape})
    write_texts(directory / TEXTS, texts)
    stored = StoredHiddenStates.load(directory, create=True)
    for text, states_TLD in read(model, texts, layers, positions):
        stored.states_of(text).copy_(states_TLD)
        step.advance()


def _check_size(tokens: int, bytes_per_token: int, max_gigabytes: float, directory: Path) -> None:
    needed, free = tokens * bytes_per_token, shutil.disk_usage(directory).free
    takes = (
        f"The target's states would take {needed / _GIGABYTE:.2f} GB ({tokens} tokens of "
        f"{bytes_per_token} bytes)"
    )
    if needed > max_gigabytes * _GIGABYTE:
        raise UserError(
            f"{takes}; data.max_features_gb is {max_gigabytes:g}. Raise it, or lower the rows."
        )
    if needed > free:
        raise UserError(
            f"{takes} and the disk has {free / _GIGABYTE:.2f} GB left; lower the rows, or keep "
            "the store elsewhere (--store)."
        )


@dataclass(frozen=True)
class TargetLogits:
    """The target's logits on known texts, computed by its head from stored final states."""

    target: LanguageModel
    final_states: StoredHiddenStates
    layer_states: StateSource | None = None  # of the layers that a feature head reads, if stored

    @torch.no_grad()
    def logits(self, text: Text) -> torch.Tensor:
        """Return logits [N, V] at the supervised positions of one text."""
        hidden_ND = self.final_states.last_layer_of(text)
        return self.target.logits(hidden_ND.to(self.target.device, self.target.model.dtype))
