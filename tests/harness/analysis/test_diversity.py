"""Diversity: closed forms, laws, and Self-BLEU against a count by hand."""

import math
from itertools import combinations
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from draftmark.analysis.diversity import (
    DEFINITIONS,
    distinct_n,
    fidelity_and_diversity,
    pass_at_k,
    self_bleu,
)

TEXTS = st.lists(st.text(alphabet="abc ", max_size=20), min_size=2, max_size=5)
SENTENCE = "the cat sat on the mat"


@pytest.mark.parametrize(
    ("texts", "n", "share"),
    [
        (["a b c"], 1, 1.0),
        (["a a a a"], 1, 1 / 4),
        (["a b", "a b"], 1, 1 / 2),
        (["a b", "a b"], 2, 1 / 2),
        (["a b", "b a"], 2, 1.0),  # "b b" spans two texts and is none
        (["a", "a b c"], 2, 1.0),
        ([SENTENCE], 1, 5 / 6),
        (["A a"], 1, 1.0),
    ],
)
def test_distinct_n_is_different_grams_of_all(texts: list[str], n: int, share: float) -> None:
    different, total = distinct_n(texts, n)
    assert different / total == share


@given(texts=TEXTS, n=st.integers(min_value=1, max_value=3))
def test_distinct_n_is_above_nothing_and_at_most_one(texts: list[str], n: int) -> None:
    assume(any(len(text.split()) >= n for text in texts))

    different, total = distinct_n(texts, n)
    assert 0 < different <= total
    assert distinct_n(texts + texts, n) == (different, 2 * total)


@pytest.mark.parametrize(("texts", "n"), [([], 1), (["", " "], 1), (["a", "b"], 2)])
def test_texts_shorter_than_n_words_have_no_n_grams(texts: list[str], n: int) -> None:
    assert distinct_n(texts, n) == (0, 0)


@given(text=st.text(alphabet="abc ", max_size=30), count=st.integers(min_value=2, max_value=4))
def test_the_same_response_again_and_again_has_self_bleu_one(text: str, count: int) -> None:
    assert self_bleu([text] * count) == 1.0


def test_responses_without_a_common_word_have_self_bleu_zero() -> None:
    assert self_bleu(["a b c d e", "f g h i j", "k l m n o"]) == 0.0
    assert self_bleu(["", "a b c d"]) == 0.0


@given(texts=TEXTS)
def test_self_bleu_is_between_nothing_and_one_in_any_order(texts: list[str]) -> None:
    assert 0.0 <= self_bleu(texts) <= 1.0 + 1e-12
    assert self_bleu(texts[::-1]) == pytest.approx(self_bleu(texts))


def test_self_bleu_is_the_count_by_hand() -> None:
    """Precisions 5/6, 3/5, 2/4 and 1/3 of n-grams; both texts are as long, so no penalty."""
    expected = math.exp((math.log(5 / 6) + math.log(3 / 5) + math.log(2 / 4) + math.log(1 / 3)) / 4)

    assert self_bleu([SENTENCE, "the cat lay on the mat"]) == pytest.approx(
        math.exp((math.log(5 / 6) + math.log(3 / 5) + math.log(1 / 4) + math.log(0.1 / 3)) / 4)
    )
    assert self_bleu([SENTENCE, "the cat sat on a mat"]) == pytest.approx(expected)


def test_a_response_shorter_than_the_others_pays_the_penalty_for_it() -> None:
    """ "the cat" is all in the other, 6 words long; of the other 2/6 and 1/5 and no more is."""
    longer = math.exp(
        (math.log(2 / 6) + math.log(1 / 5) + math.log(0.1 / 4) + math.log(0.1 / 3)) / 4
    )

    assert self_bleu(["the cat", SENTENCE]) == pytest.approx((math.exp(1 - 6 / 2) + longer) / 2)


@pytest.mark.parametrize("texts", [[], ["one alone"]])
def test_self_bleu_needs_two_responses(texts: list[str]) -> None:
    with pytest.raises(ValueError, match=f"got {len(texts)}"):
        self_bleu(texts)


def _rows(*texts: str, prompt: int = 0, right: int = 0) -> list[dict[str, Any]]:
    """Return graded responses to a prompt, the first `right` of them right."""
    return [
        {"example_id": f"x/test/{prompt}", "text": text, "match": float(index < right)}
        for index, text in enumerate(texts)
    ]


def test_numbers_are_counted_by_prompt() -> None:
    rows = [
        *_rows("#### 2", "#### 2", right=2),
        *_rows("it is #### 2", "so #### 3 then", prompt=1, right=1),
    ]
    # All first responses come before all second ones, as they are sampled.
    found = fidelity_and_diversity(rows[::2] + rows[1::2], "match", pass_or_fail=False)

    assert {*found} == {*DEFINITIONS} - {"pass@"}
    counts = {name: (top.tolist(), bottom.tolist()) for name, (top, bottom, _) in found.items()}
    assert counts["fidelity"] == ([1.0, 0.5], [1, 1])
    assert counts["distinct_1"] == ([2, 7], [4, 8])
    assert counts["distinct_2"] == ([1, 6], [2, 6])
    bleu = self_bleu(["it is #### 2", "so #### 3 then"])
    assert counts["self_bleu"] == ([1.0, pytest.approx(bleu)], [1, 1])
    assert found["fidelity"][2] == "match, mean over a prompt's responses"


def test_a_prompt_answered_in_single_words_has_no_pairs_and_spoils_nothing() -> None:
    rows = [*_rows("2", "3"), *_rows("a b c", "a b d", prompt=1)]

    top, bottom, _ = fidelity_and_diversity(rows, "match", pass_or_fail=False)["distinct_2"]

    assert (top.tolist(), bottom.tolist()) == ([0, 3], [0, 4])


def test_answers_that_are_right_or_wrong_have_pass_at_k() -> None:
    rows = [*_rows(*"abcdef", right=2), *_rows(*"abcdef", prompt=1)]

    found = fidelity_and_diversity(rows, "match", pass_or_fail=True)

    assert [name for name in found if "@" in name] == ["pass@1", "pass@2", "pass@4", "pass@6"]
    assert found["pass@1"][0].tolist() == [pytest.approx(2 / 6), 0]
    assert found["pass@2"][0].tolist() == [pytest.approx(1 - 6 / 15), 0]
    assert found["pass@6"][0].tolist() == [1, 0]
    assert "one or more of 4 responses pass, by the unbiased estimate of 6" in found["pass@4"][2]


def test_no_responses_are_an_error() -> None:
    with pytest.raises(ValueError, match="needs responses, got none"):
        fidelity_and_diversity([], "match", pass_or_fail=True)


@pytest.mark.parametrize(
    ("samples", "passed", "k", "estimate"),
    [
        (1, 0, 1, 0.0),
        (1, 1, 1, 1.0),
        (10, 3, 1, 0.3),  # for k = 1, the share of samples that pass
        (5, 2, 2, 0.7),  # 1 - C(3, 2) / C(5, 2) = 1 - 3 / 10
        (10, 1, 10, 1.0),
        (200, 1, 100, 0.5),
        (4, 3, 2, 1.0),  # any two of them hold one that passes
    ],
)
def test_pass_at_k_has_its_closed_forms(samples: int, passed: int, k: int, estimate: float) -> None:
    assert pass_at_k(samples, passed, k) == pytest.approx(estimate, abs=1e-15)


@given(st.data())
def test_pass_at_k_is_the_share_of_draws_of_k_that_hold_a_pass(data: st.DataObject) -> None:
    samples = data.draw(st.integers(1, 8))
    passed = data.draw(st.integers(0, samples))
    k = data.draw(st.integers(1, samples))
    draws = list(combinations(range(samples), k))

    share = sum(min(draw) < passed for draw in draws) / len(draws)

    assert pass_at_k(samples, passed, k) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(("samples", "passed", "k"), [(0, 0, 1), (3, 4, 1), (3, -1, 1), (3, 1, 4)])
def test_pass_at_k_of_too_few_samples_is_not_defined(samples: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError, match="is not defined"):
        pass_at_k(samples, passed, k)
