"""Prompt lookup: its proposals by hand and against a plain search."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.baselines.prompt_lookup import METHOD as PromptLookup
from draftmark.baselines.prompt_lookup import LookupSession
from draftmark.config.recipe import MethodEntry
from draftmark.errors import UserError
from draftmark.speculation.methods import build_method

texts = st.lists(st.integers(0, 3), min_size=1, max_size=30)


def search(ids: Sequence[int], num_tokens: int, max_ngram: int, min_ngram: int) -> tuple[int, ...]:
    """Return what followed the longest n-gram that ends the text, searched from the left."""
    for size in range(max_ngram, min_ngram - 1, -1):
        for start in range(len(ids) - size):
            if list(ids[start : start + size]) == list(ids[-size:]) and size < len(ids):
                return tuple(ids[start + size : start + size + num_tokens])
    return ()


def test_it_drafts_what_followed_the_last_tokens_earlier() -> None:
    assert LookupSession(2, 1).propose([1, 2, 3, 4, 1, 2], 2).token_ids == (3, 4)


def test_the_first_occurrence_of_the_longest_match_wins() -> None:
    assert LookupSession(2, 1).propose([2, 9, 1, 2, 8, 1, 2, 7, 1, 2], 1).token_ids == (8,)


def test_without_a_match_nothing_is_drafted() -> None:
    assert LookupSession(3, 1).propose([1, 2, 3], 4).token_ids == ()
    assert LookupSession(3, 2).propose([1, 2, 1], 4).token_ids == ()


def test_a_draft_ends_where_the_text_ends() -> None:
    assert LookupSession(1, 1).propose([5, 6, 5], 4).token_ids == (6, 5)


@given(texts, st.integers(1, 6), st.integers(1, 3), st.integers(0, 2))
def test_it_equals_a_search_from_the_left(
    ids: list[int], num_tokens: int, min_ngram: int, more: int
) -> None:
    session = LookupSession(min_ngram + more, min_ngram)
    for end in range(1, len(ids) + 1):  # one session follows a text as it grows
        found = session.propose(ids[:end], num_tokens).token_ids
        assert found == search(ids[:end], num_tokens, min_ngram + more, min_ngram)


@given(texts, st.integers(1, 6))
def test_a_shorter_draft_is_a_prefix_of_a_longer_one(ids: list[int], num_tokens: int) -> None:
    session = LookupSession(3, 1)
    long = session.propose(ids, num_tokens + 3).token_ids
    assert session.propose(ids, num_tokens).token_ids == long[:num_tokens]


def test_an_empty_ngram_range_is_refused() -> None:
    entry = MethodEntry.model_validate({"name": "prompt_lookup", "min_ngram": 4, "max_ngram": 2})
    with pytest.raises(UserError, match="min_ngram = 4 is above max_ngram = 2"):
        build_method(entry)


def test_it_has_no_model() -> None:
    assert PromptLookup.kind == "training_free"
