"""Rows read as one sequence, one after the other, so that no padding is computed.

Each row keeps its own positions, from 0, and its own attention; all other parts of a transformer
treat tokens alone. A family's code must call transformers' attention interface for that, and must
have no part that mixes tokens but attention. `can_pack` tries both on the model itself.

Legend: B batch, H attention head, T position, D hidden size.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from draftmark.models.attention import has_torch_attention
from draftmark.models.language_model import LanguageModel, pad_rows

_NAME = "draftmark_rows"
_WINDOWS = ("sliding_window", "attention_chunk_size")
_PROBE = ((1, 2, 3, 4, 5), (6, 7), (8, 9, 10))
_TOLERANCE = 1e-4  # relative to the largest state, in float32


def _attend_in_rows(
    module: torch.nn.Module,
    query_BHTD: torch.Tensor,
    key_BHTD: torch.Tensor,
    value_BHTD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    row_lengths: list[int],
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention [B, T, H, D] of each row to itself, causal; B is 1, T over all rows."""
    rows = zip(
        *(torch.split(each, row_lengths, dim=2) for each in (query_BHTD, key_BHTD, value_BHTD)),
        strict=True,
    )
    attended = [sdpa_attention_forward(module, *row, None, **settings)[0] for row in rows]
    return torch.cat(attended, dim=1), None


AttentionInterface.register(_NAME, _attend_in_rows)


def packed_states(model: LanguageModel, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, ...]:
    """Return the final states [T, D] of each row, read as one sequence."""
    ids_T, positions_T = (
        torch.tensor([each for row in rows for each in numbers(row)], device=model.device)
        for numbers in (list, lambda row: range(len(row)))
    )
    lengths = [len(row) for row in rows]
    with _own_attention(model.model.config):
        read = model.model.base_model(
            input_ids=ids_T[None],
            position_ids=positions_T[None],
            use_cache=False,
            row_lengths=lengths,
        )
    return cast(tuple[torch.Tensor, ...], read.last_hidden_state[0].split(lengths))


@contextmanager
def _own_attention(config: Any) -> Iterator[None]:
    before = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before


@torch.no_grad()
def can_pack(model: LanguageModel) -> bool:
    """True if the model has the same states for packed rows as for padded rows, up to rounding.

    False for families with recurrent layers or attention code of their own, for feature heads, and
    on a GPU, where one kernel for all rows is faster than one for each.
    """
    recurrent = getattr(model.model, "_is_stateful", False)
    if not has_torch_attention(model.model) or recurrent or model.device.type != "cpu":
        return False
    rows = [[each % model.vocab_size for each in row] for row in _PROBE]
    try:
        packed = packed_states(model, rows)
    except Exception:  # whatever a family's code raises here, it reads padded rows
        return False
    padded_BTD = model.hidden(*pad_rows(rows, model.device))
    tolerance = _TOLERANCE * float(padded_BTD.abs().max())
    return math.isfinite(tolerance) and all(
        torch.allclose(states_TD, padded_TD[: len(states_TD)], atol=tolerance, rtol=0)
        for states_TD, padded_TD in zip(packed, padded_BTD, strict=True)
    )


def fits_windows(config: Any, rows: Iterable[Sequence[int]]) -> bool:
    """True if no row is longer than a window of the model's attention, which packing ignores."""
    windows = [getattr(config, name, None) for name in _WINDOWS]
    return max(map(len, rows)) <= min((each for each in windows if each), default=math.inf)
