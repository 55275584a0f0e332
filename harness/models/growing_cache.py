"""A KV cache that grows in place.

transformers' dynamic cache copies itself at every token. Here each layer writes new keys and values
into memory that has room for more, and attention reads a view of that memory. Dropped tokens are
overwritten; a row of the batch that leaves is overwritten by a row from the end of the batch.

Legend: B batch, H head, C position in memory, T position in use, D size of a head.
"""

from functools import partial
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

_LEAST_ROOM = 64  # positions


class _InPlace:
    """A layer whose `keys` and `values` [B, H, T, D] are views of memory [B, H, C, D]."""

    keys: torch.Tensor
    values: torch.Tensor
    is_initialized: bool

    def __init__(self, room: int, **options: Any) -> None:
        super().__init__(**options)
        self._room = room
        self._memory: tuple[torch.Tensor, ...] = ()  # of keys, of values

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate the memory, for states like these."""
        super().lazy_initialization(key_states, value_states)  # type: ignore[misc]
        self._memory = tuple(
            states.new_empty((*states.shape[:2], self._room, states.shape[3]))
            for states in (key_states, value_states)
        )
        self._show(0)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows `indices` of the batch, in that order; only rows that move are copied."""
        length, indices = self.keys.shape[2], indices.to(self.keys.device)
        (moved,) = torch.nonzero(
            indices != torch.arange(len(indices), device=indices.device), as_tuple=True
        )
        for memory in self._memory:
            memory[moved, :, :length] = memory[indices[moved], :, :length]
        self._memory = tuple(memory[: len(indices)] for memory in self._memory)
        self._show(length)

    def _append(self, key_states: torch.Tensor, value_states: torch.Tensor, kept: int) -> None:
        """Write states after those in use, of which the last `kept` are needed if memory grows."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, new = self.keys.shape[2], key_states.shape[2]
        if start + new > self._memory[0].shape[2]:
            start = min(start, kept)
            self._grow(start, start + new)
        for memory, states in zip(self._memory, (key_states, value_states), strict=True):
            memory[:, :, start : start + new] = states
        self._show(start + new)

    def _grow(self, kept: int, needed: int) -> None:
        """Move the last `kept` positions to new memory, half as large again as `needed`."""
        grown = []
        for states in (self.keys, self.values):
            size = (*states.shape[:2], needed + max(needed // 2, _LEAST_ROOM), states.shape[3])
            memory = states.new_empty(size)
            memory[:, :, :kept] = states[:, :, states.shape[2] - kept :]
            grown.append(memory)
        self._memory = tuple(grown)

    def _show(self, length: int) -> None:
        self.keys, self.values = (memory[:, :, :length] for memory in self._memory)


class GrowingLayer(_InPlace, DynamicLayer):  # type: ignore[misc]
    """A layer of full attention."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add states [B, H, T, D]; return all keys and values."""
        self._append(key_states, value_states, self.get_seq_length())
        return self.keys, self.values


class GrowingWindowLayer(_InPlace, DynamicSlidingWindowLayer):  # type: ignore[misc]
    """A layer of attention with a window; it keeps earlier tokens if it records the past."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add states [B, H, T, D]; return the keys and values that they may attend to."""
        before, new = self.sliding_window - 1, key_states.shape[2]
        self._append(
            key_states, value_states, self.cumulative_length if self.record_past else before
        )
        self.cumulative_length += new
        visible = slice(max(self.keys.shape[2] - before - new, 0), None)
        return self.keys[:, :, visible], self.values[:, :, visible]

    def crop(self, tokens_to_remove: int) -> None:
        """Remove the last -`tokens_to_remove` tokens; the past must have been recorded."""
        assert self.record_past
        self._show(self.keys.shape[2] + tokens_to_remove)
        self.cumulative_length += tokens_to_remove


def growing_cache(config: Any = None, room: int = _LEAST_ROOM) -> DynamicCache:
    """Return an empty cache for a model of `config`, with room for `room` tokens at first.

    Layers that keep something else than keys and values are transformers' own.
    """
    cache = DynamicCache(config=config)
    if cache.layer_class_to_replicate is not None:
        cache.layer_class_to_replicate = partial(GrowingLayer, room)
    cache.layers = [_in_place(layer, room) for layer in cache.layers]
    return cache


def _in_place(layer: Any, room: int) -> Any:
    """Return a layer of the same kind that grows in place, if there is one."""
    if type(layer) is DynamicLayer:
        return GrowingLayer(room)
    if type(layer) is DynamicSlidingWindowLayer:
        window = layer.sliding_window
        return GrowingWindowLayer(min(room, 2 * window), sliding_window=window)
    return layer
