"""A cache that grows in place holds what transformers' cache holds, whatever is done to both."""

from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from transformers import DynamicCache, Gemma3TextConfig, LlamaConfig, Mamba2Config

from draftmark.models.growing_cache import GrowingLayer, GrowingWindowLayer, growing_cache

HEADS, SIZE, WINDOW = 2, 4, 6
MIXED = Gemma3TextConfig(
    num_hidden_layers=2,
    sliding_window=WINDOW,
    layer_types=["sliding_attention", "full_attention"],
)

Step = tuple[str, int]
APPEND = st.tuples(st.just("append"), st.integers(1, 9))
CROP = st.tuples(st.just("crop"), st.integers(0, 3))
SELECT = st.tuples(st.just("select"), st.integers(0, 99))


def new_states(rows: int, tokens: int, number: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    return [torch.randn(rows, HEADS, tokens, SIZE, generator=generator) for _ in "kv"]


def both(room: int, *, record: bool) -> tuple[DynamicCache, DynamicCache]:
    caches = (DynamicCache(config=MIXED), growing_cache(MIXED, room))
    if record:
        for cache in caches:
            cache.activate_past_recording()
    return caches


def append(caches: tuple[Any, Any], rows: int, tokens: int, number: int) -> None:
    for index in range(2):
        sizes = [cache.get_mask_sizes(tokens, index) for cache in caches]
        assert sizes[0] == sizes[1]
        states = new_states(rows, tokens, 10 * number + index)
        seen = [cache.update(*states, index) for cache in caches]
        for its, mine in zip(*seen, strict=True):
            assert torch.equal(its, mine)
            assert mine.shape[2] == sizes[1][0]


@settings(max_examples=60, deadline=None)
@given(room=st.integers(1, 20), steps=st.lists(st.one_of(APPEND, SELECT), min_size=1, max_size=12))
def test_tokens_and_rows_of_a_batch(room: int, steps: list[Step]) -> None:
    caches, rows = both(room, record=False), 5
    append(caches, rows, 3, 0)
    for number, (what, amount) in enumerate(steps, 1):
        if what == "append":
            append(caches, rows, amount, number)
        elif rows > 1:
            order = torch.randperm(rows, generator=torch.Generator().manual_seed(amount))
            rows -= 1
            for cache in caches:
                cache.batch_select_indices(order[:rows])
    append(caches, rows, 1, 99)


@settings(max_examples=60, deadline=None)
@given(room=st.integers(1, 20), steps=st.lists(st.one_of(APPEND, CROP), min_size=1, max_size=12))
def test_tokens_dropped_from_a_text(room: int, steps: list[Step]) -> None:
    caches = both(room, record=True)
    last = 4
    append(caches, 1, last, 0)
    for number, (what, amount) in enumerate(steps, 1):
        if what == "append":
            append(caches, 1, amount, number)
            last = amount
        elif last:  # a loop drops tokens that it has just read
            for cache in caches:
                cache.crop(-min(amount, last - 1))
            last = 0
        assert caches[0].get_seq_length(0) == caches[1].get_seq_length(0)
        assert caches[0].get_seq_length(1) == caches[1].get_seq_length(1)
    append(caches, 1, 1, 99)


def test_memory_stays_where_it_is_while_there_is_room() -> None:
    cache = growing_cache(LlamaConfig(num_hidden_layers=1), 40)
    keys, _ = cache.update(*new_states(2, 8, 0), 0)
    place, moves = keys.data_ptr(), 0
    for number in range(1, 200):
        keys, _ = cache.update(*new_states(2, 1, number), 0)
        moves += keys.data_ptr() != place
        place = keys.data_ptr()
        if number <= 32:
            assert moves == 0
    assert moves <= 3


def test_a_window_does_not_keep_what_is_behind_it() -> None:
    cache = growing_cache(MIXED, 400)
    for number in range(300):
        cache.update(*new_states(1, 1, number), 0)
    window, _ = cache.layers
    assert isinstance(window, GrowingWindowLayer)
    assert window.keys.untyped_storage().nbytes() < 100 * HEADS * SIZE * 4


def test_layers_are_made_without_a_config_and_others_are_left_alone() -> None:
    cache = growing_cache()
    cache.update(*new_states(1, 3, 0), 1)
    assert [type(layer) for layer in cache.layers] == [GrowingLayer, GrowingLayer]
    recurrent = Mamba2Config(num_hidden_layers=1, num_heads=4, head_dim=8, hidden_size=16)
    mine, its = growing_cache(recurrent), DynamicCache(config=recurrent)
    assert [type(layer) for layer in mine.layers] == [type(layer) for layer in its.layers]


@pytest.mark.parametrize("record", [False, True])
def test_states_once_returned_are_not_overwritten_by_the_next_token(record: bool) -> None:
    caches = both(20, record=record)
    keys, values = caches[1].update(*new_states(1, 8, 0), 1)
    before = keys.clone(), values.clone()
    caches[1].update(*new_states(1, 1, 1), 1)
    assert torch.equal(keys, before[0])
    assert torch.equal(values, before[1])
