"""Suffix decoding: its tree against a count of all occurrences, and its replay of requests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.baselines.suffix import METHOD as Suffix
from draftmark.baselines.suffix import SuffixSession
from draftmark.engines.measure.lossless import read_target_logits
from draftmark.errors import Unsupported
from draftmark.speculation.blocks import REFERENCE, block_counts
from draftmark.speculation.suffix_tree import Continuation, SuffixTree
from draftmark.types import GREEDY, Samplers, Text

DEPTH = 5
ids = st.lists(st.integers(0, 3), min_size=1, max_size=25)


def occurrences(texts: Sequence[Sequence[int]], sequence: Sequence[int]) -> int:
    """Return how often a sequence occurs in the texts."""
    size = len(sequence)
    return sum(
        list(text[start : start + size]) == list(sequence)
        for text in texts
        for start in range(len(text) - size + 1)
    )


def likelihoods(
    texts: Sequence[Sequence[int]], match: Sequence[int], path: Sequence[int]
) -> list[float]:
    """Return the estimated probability of each prefix of a path that follows a match."""
    prob, found = 1.0, []
    for place in range(len(path)):
        before = [*match, *path[:place]]
        counts = {token: occurrences(texts, [*before, token]) for token in range(4)}
        assert counts[path[place]] == max(counts.values())  # the likeliest token
        prob *= counts[path[place]] / occurrences(texts, before)
        found.append(prob)
    return found


@given(st.lists(ids, min_size=1, max_size=3), st.sampled_from([0.0, 0.1, 0.4]))
def test_a_continuation_is_the_likeliest_by_a_count_of_all_occurrences(
    texts: list[list[int]], min_prob: float
) -> None:
    tree = SuffixTree(DEPTH)
    for text in texts:
        tree.start_text()
        tree.extend(text)
    last = texts[-1][-DEPTH:]
    by_match = [
        tree.best_continuation(last[-size - 1 :], DEPTH, 1.0, min_prob)
        for size in range(1, len(last))
    ]
    scores = [found.score for found in by_match]
    assert scores == sorted(scores)  # a longer match can only be a better choice
    for size, found in enumerate(by_match, 1):
        if found.score and found != (by_match[size - 2] if size > 1 else None):
            probs = likelihoods(texts, last[-size:], found.tokens)
            assert len(found.tokens) <= size
            assert found.score == pytest.approx(sum(probs), abs=1e-5)
            assert min(probs) >= min_prob - 1e-6


def test_the_longest_of_equally_likely_matches_drafts() -> None:
    tree = SuffixTree(8)
    tree.extend([1, 2, 3, 4, 5, 1, 2, 3])
    # 3 occurred twice, and once 4 followed: 1/2; so after 2 3 and after 1 2 3, which draft more.
    assert tree.best_continuation([1, 2, 3], 8, 1.0, 0.1) == Continuation((4, 5), 1.0)
    assert tree.best_continuation([2, 3], 8, 1.0, 0.1) == Continuation((4,), 0.5)
    assert tree.best_continuation([1, 2, 3], 8, 0.5, 0.1) == Continuation((4,), 0.5)
    assert tree.best_continuation([1, 2, 3], 8, 1.0, 0.6).tokens == ()


def test_a_text_does_not_follow_the_one_before() -> None:
    tree = SuffixTree(4)
    tree.extend([1, 2])
    tree.start_text()
    tree.extend([3, 1, 2])
    assert tree.best_continuation([1, 2], 4, 1.0, 0.0).tokens == ()


# What Arctic Inference at 9d46438 drafts after each token of TEXT: depth 6, up to 6 tokens, factor
# 1, probability 0.1. Of equal counts its order decides.
TEXT = "014410100212003231132422434230403300144101002120"
DRAFTED = (
    "- - - 4 4 1 44 10 1 - 0 1 1 21 - 1 2 0 0 2 31 4 1 1 22 2 4 24 11 0 2 0 23 2 40 21 44 410 101 "
    "010 100 002 021 212 120 200 003 032"
)


def test_it_drafts_what_the_original_drafts() -> None:
    tree, text = SuffixTree(6), list(map(int, TEXT))
    for place, drafted in enumerate(DRAFTED.split()):
        tree.extend([text[place]])
        found = tree.best_continuation(text[: place + 1][-6:], 6, 1.0, 0.1)
        assert "".join(map(str, found.tokens)) == drafted.replace("-", "")


@given(ids, st.integers(1, 6))
def test_a_shorter_draft_is_a_prefix_of_a_longer_one(text: list[int], num_tokens: int) -> None:
    session = SuffixSession(Suffix(), text[:1], None)
    long = session.propose(text, num_tokens + 3).token_ids
    assert session.propose(text, num_tokens).token_ids == long[:num_tokens]


PROMPT = (7, 8, 9)
REPEATED = Text("first", PROMPT, (1, 2, 3, 4, 5, 6, 1, 2, 3, 4))
AGAIN = Text("second", (8, 9, 7), (1, 2, 3, 4, 5, 6))


def passes(target: Any, method: Any, texts: Sequence[Text]) -> list[float]:
    """Return the passes of each text at temperature 0, in blocks of 4."""
    logits = read_target_logits(target, texts)
    tables = list(method.score(texts, logits, Samplers(GREEDY, GREEDY)))
    counted: list[float] = block_counts(tables, 4, REFERENCE).passes_B.tolist()
    return counted


def test_earlier_responses_draft_for_later_requests_in_their_order(target: Any) -> None:
    alone, cached = Suffix(), Suffix(cache_responses=True)
    # 7 passes write 1 2 3 4 5 6 1. That 1 drafts 2, and 3 follows; 1 2 3 draft 4 5 6.
    assert passes(target, alone, [REPEATED, AGAIN]) == [9.0, 6.0]
    # The same, for the second request, after one pass has written 1.
    assert passes(target, cached, [REPEATED, AGAIN]) == [9.0, 3.0]
    assert passes(target, cached, [AGAIN, REPEATED])[0] == 6.0


def test_a_cache_of_responses_is_scored_and_not_run() -> None:
    with pytest.raises(Unsupported, match="would find its own answers"):
        Suffix(cache_responses=True).start(PROMPT, GREEDY, None)
    assert Suffix().drafter(Path(), None).start(PROMPT, GREEDY, None)
