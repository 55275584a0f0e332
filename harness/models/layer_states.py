"""What a target's layers put out at every position of texts, on disk: what feature heads read.

The prompt's positions as well, for a head reads them; other methods need the final states of the
supervised positions alone (`teacher`). Layer k stands for what comes out of k layers: 0 is the
embedding, the number of layers the final state, after the last norm. That is how transformers
counts `hidden_states`, and vLLM its auxiliary ones. A text's last token predicts nothing and is
left out.

Legend: B batch, T position, L layer, D hidden size.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from draftmark.errors import UserError
from draftmark.models.hidden_states import batches_by_length, right_padded
from draftmark.models.language_model import LanguageModel
from draftmark.models.memory_map import mapped
from draftmark.progress import Step
from draftmark.store.records import TEXTS, read_texts, write_texts
from draftmark.store.store import write_json
from draftmark.types import Text

GIGABYTE = 10**9
_STATES, _SHAPE = "states.bin", "shape.json"


def num_positions(text: Text) -> int:
    """Return at how many positions a text has states: all but its last token's."""
    return len(text.prompt_ids) + len(text.response_ids) - 1


def layer_states(
    model: LanguageModel,
    layers: Sequence[int],
    ids_BT: torch.Tensor,
    mask_BT: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return what some layers put out [B, T, L, D]."""
    every = model.model.base_model(
        input_ids=ids_BT, attention_mask=mask_BT, use_cache=False, output_hidden_states=True
    ).hidden_states
    return torch.stack([every[layer] for layer in layers], dim=2)


@dataclass(frozen=True)
class LiveStates:
    """States that the target computes when they are asked for."""

    target: LanguageModel
    layers: tuple[int, ...]

    @torch.no_grad()
    def of(self, text: Text) -> torch.Tensor:
        """Return the states [T, L, D] of one text."""
        return layer_states(self.target, self.layers, *right_padded([text], self.target.device))[0]


@dataclass(frozen=True)
class States:
    """Texts and their states, memory-mapped."""

    texts: tuple[Text, ...]
    layers: tuple[int, ...]
    states_TLD: torch.Tensor  # of all texts, one after the other

    @classmethod
    def load(cls, directory: Path, *, create: bool = False) -> "States":
        """Return what `write_states` wrote; `create` maps a new file, to be filled."""
        texts = tuple(read_texts(directory / TEXTS))
        shape = json.loads((directory / _SHAPE).read_text("utf-8"))
        layers, width = tuple(shape["layers"]), shape["hidden_size"]
        size = sum(map(num_positions, texts)) * len(layers) * width
        dtype = getattr(torch, shape["dtype"])
        flat = mapped(directory / _STATES, size, dtype, create=create)
        return cls(texts, layers, flat.view(-1, len(layers), width))

    @cached_property
    def _offsets(self) -> dict[str, int]:
        offsets, offset = {}, 0
        for text in self.texts:
            offsets[text.example_id] = offset
            offset += num_positions(text)
        return offsets

    def of(self, text: Text) -> torch.Tensor:
        """Return the states [T, L, D] of one text."""
        start = self._offsets[text.example_id]
        return self.states_TLD[start : start + num_positions(text)]


@torch.no_grad()
def write_states(
    model: LanguageModel,
    texts: Sequence[Text],
    layers: Sequence[int],
    directory: Path,
    *,
    dtype: str,
    limit: float,
    step: Step,
) -> None:
    """Write what some layers put out on texts, in their order, with the texts themselves.

    Raises UserError, before anything is written, if that is more than `limit` gigabytes or more
    than the disk has left.
    """
    per_token = len(layers) * model.hidden_size * getattr(torch, dtype).itemsize
    check_size(texts, per_token, limit, directory)
    shape = {"dtype": dtype, "hidden_size": model.hidden_size, "layers": list(layers)}
    write_json(directory / _SHAPE, shape)
    write_texts(directory / TEXTS, texts)
    kept = States.load(directory, create=True)
    for batch in batches_by_length(texts):
        states_BTLD = layer_states(model, layers, *right_padded(batch, model.device))
        for text, states_TLD in zip(batch, states_BTLD, strict=True):
            kept.of(text).copy_(states_TLD[: num_positions(text)])
            step.advance()


def check_size(texts: Iterable[Text], per_token: int, limit: float, directory: Path) -> None:
    """Raise UserError if states of `per_token` bytes at each position are more than may be."""
    tokens = sum(map(num_positions, texts))
    needed, free = tokens * per_token, shutil.disk_usage(directory).free
    if needed > limit * GIGABYTE:
        raise UserError(
            f"The target's states would take {needed / GIGABYTE:.2f} GB ({tokens} tokens of "
            f"{per_token} bytes); data.max_features_gb is {limit:g}. Raise it, or lower the rows."
        )
    if needed > free:
        raise UserError(
            f"The target's states would take {needed / GIGABYTE:.2f} GB ({tokens} tokens of "
            f"{per_token} bytes) and the disk has {free / GIGABYTE:.2f} GB left; lower the "
            "rows, or keep the store elsewhere (--store)."
        )
