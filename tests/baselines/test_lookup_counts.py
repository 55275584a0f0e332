"""What a lookup drafts, engine by engine: fewer than gamma tokens where the text it copies ends.

Each engine's loop runs here over a fixed text, with that engine's own search for tokens to copy.
The tables of one scoring must predict its passes and its drafted, tested and accepted tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers.generation.candidate_generator import PromptLookupCandidateGenerator

from draftmark.baselines.prompt_lookup import METHOD as PromptLookup
from draftmark.engines.measure.lossless import read_target_logits
from draftmark.speculation.blocks import (
    REFERENCE,
    TRANSFORMERS_LOOKUP,
    VLLM,
    Convention,
    block_counts,
)
from draftmark.types import GREEDY, Samplers, Text

CONTEXT = 2048
COUNTS = ("passes", "drafted", "tested", "accepted")
Ids = Sequence[int]
Search = Callable[[Ids, int, int], Ids]  # tokens so far, gamma, tokens that the limit leaves


def search_plainly(so_far: Ids, gamma: int, left: int) -> Ids:
    """As in the reference engine: the first occurrence of the longest of 3, 2, 1 last tokens."""
    for size in (3, 2, 1):
        for end in range(size, len(so_far)):
            if so_far[end - size : end] == so_far[-size:]:
                return so_far[end : end + min(gamma, left)]
    return ()


def search_beyond_the_limit(so_far: Ids, gamma: int, left: int) -> Ids:
    """As in vLLM, which no limit cuts."""
    return search_plainly(so_far, gamma, gamma)


def search_in_transformers(so_far: Ids, gamma: int, left: int, end: int | None = None) -> Ids:
    generator = PromptLookupCandidateGenerator(
        None if end is None else torch.tensor([end]), gamma, 3, max_length=len(so_far) + left
    )
    (found,), _ = generator.get_candidates(torch.tensor([so_far]))
    return tuple(found[len(so_far) :].tolist())


def search_in_vllm(so_far: Ids, gamma: int, left: int) -> Ids:
    from vllm.v1.spec_decode import ngram_proposer

    search: Any = ngram_proposer._find_longest_matched_ngram_and_propose_tokens
    return tuple(search.py_func(np.array(so_far), 1, 3, CONTEXT, gamma).tolist())


def counts_of_loop(
    search: Search, text: Text, gamma: int, limit: int, convention: Convention
) -> list[int]:
    """Return COUNTS of a greedy engine whose target writes the text."""
    passes = drafted = tested = accepted = 0
    start, response = int(convention.prefill_emits_first), text.response_ids
    while start < len(response):
        found = search((*text.prompt_ids, *response[:start]), gamma, limit - start)
        pairs = list(zip(found, response[start:], strict=False))
        equal = next((n for n, (one, other) in enumerate(pairs) if one != other), len(pairs))
        passes, drafted = passes + 1, drafted + len(found)
        tested, accepted = tested + min(equal + 1, len(pairs)), accepted + equal
        start += equal + 1
    return [passes, drafted, tested, accepted]


@pytest.fixture
def predict(target: Any) -> Callable[..., list[float]]:
    def counts(text: Text, gamma: int, limit: int, convention: Convention) -> list[float]:
        logits = read_target_logits(target, [text])
        (table,) = PromptLookup().score([text], logits, Samplers(GREEDY, GREEDY))
        found = block_counts([replace(table, limit=limit)], gamma, convention)
        return [float(getattr(found, f"{name}_B")[0]) for name in COUNTS]

    return counts


END = 9
PROMPT = (7, 1, 2, 3)


@pytest.mark.parametrize(
    ("response", "limit", "gamma", "reference", "transformers", "vllm"),
    [
        # The first pass finds nothing (in vLLM it is prefill). After the 7 the lookup copies the
        # four known tokens 1 2 3 7, of which three are right.
        ((7, 1, 2, 3, END), 8, 16, [2, 4, 4, 3], [2, 4, 4, 3], [1, 4, 4, 3]),
        # With gamma 2 it copies 1 2, and after the next 3 the 7 1 that followed 1 2 3.
        ((7, 1, 2, 3, END), 8, 2, [3, 4, 3, 2], [3, 4, 3, 2], [2, 4, 3, 2]),
        # The limit cuts the text. Only the reference engine then drafts less.
        ((7, 1, 2), 3, 16, [2, 2, 2, 2], [2, 4, 2, 2], [1, 4, 2, 2]),
        # One token is left, for which transformers drafts nothing.
        ((7, 1), 2, 16, [2, 1, 1, 1], [2, 0, 0, 0], [1, 4, 1, 1]),
        # The text ends two tokens into the copy, which nothing foretold.
        ((7, 1, END), 8, 16, [2, 4, 2, 1], [2, 4, 2, 1], [1, 4, 2, 1]),
    ],
)
def test_a_match_that_ends_early_drafts_its_own_tokens_and_not_gamma(
    response: tuple[int, ...],
    limit: int,
    gamma: int,
    reference: list[int],
    transformers: list[int],
    vllm: list[int],
    predict: Any,
) -> None:
    text = Text("a", PROMPT, response)
    engines = (
        (REFERENCE, reference, search_plainly),
        (TRANSFORMERS_LOOKUP, transformers, search_in_transformers),
        (VLLM, vllm, search_beyond_the_limit),
    )
    for convention, known, search in engines:
        assert counts_of_loop(search, text, gamma, limit, convention) == known
        assert predict(text, gamma, limit, convention) == known


def random_texts(number: int, seed: int) -> list[tuple[Text, int]]:
    """Return texts of few different tokens, which repeat themselves, with their length limits."""
    generator = np.random.default_rng(seed)
    texts = []
    for index in range(number):
        words, length = int(generator.integers(2, 12)), int(generator.integers(1, 30))
        ids = tuple(generator.integers(10, 10 + words, size=40).tolist())
        limit = length + int(generator.choice([0, 1, 5, 20]))
        texts.append((Text(str(index), ids[:10], ids[10 : 10 + length]), limit))
    return texts


@pytest.mark.parametrize(
    ("convention", "search"),
    [
        (REFERENCE, search_plainly),
        (TRANSFORMERS_LOOKUP, search_in_transformers),
        pytest.param(VLLM, search_in_vllm, marks=pytest.mark.slow),
    ],
)
def test_counts_are_those_of_each_engines_own_search(
    convention: Convention, search: Search, predict: Any
) -> None:
    if search is search_in_vllm:
        pytest.importorskip("vllm")
    shorter = 0
    for text, limit in random_texts(12, seed=3):
        for gamma in (1, 4, 16):
            counted = counts_of_loop(search, text, gamma, limit, convention)
            assert predict(text, gamma, limit, convention) == counted
            shorter += counted[1] < gamma * counted[0]
    assert shorter > 6  # of 36 have blocks of fewer than gamma tokens


def test_transformers_copies_no_end_token_which_changes_no_pass(predict: Any) -> None:
    """The one difference that tables do not record: the copied 1 9 3 7 is cut before the end."""
    text = Text("a", (7, 1, END, 3), (7, 1, END))

    def search(so_far: Ids, gamma: int, left: int) -> Ids:
        return search_in_transformers(so_far, gamma, left, END)

    assert counts_of_loop(search, text, 16, 8, TRANSFORMERS_LOOKUP) == [2, 1, 1, 1]
    assert predict(text, 16, 8, TRANSFORMERS_LOOKUP) == [2, 4, 2, 2]
