"""Diversity: closed forms, laws, and Self-BLEU against a count by hand."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.diversity import DEFINITIONS, distinct_n, fidelity_and_diversity, self_bleu
from harness.registry import find
from harness.types import Example

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
    assert distinct_n(texts, n) == share


@given(texts=TEXTS, n=st.integers(min_value=1, max_value=3))
def test_distinct_n_is_above_nothing_and_at_most_one(texts: list[str], n: int) -> None:
    assume(any(len(text.split()) >= n for text in texts))

    assert 0.0 < distinct_n(texts, n) <= 1.0
    assert distinct_n(texts + texts, n) == distinct_n(texts, n) / 2


@pytest.mark.parametrize(("texts", "n"), [([], 1), (["", " "], 1), (["a", "b"], 2)])
def test_distinct_n_of_nothing_is_an_error(texts: list[str], n: int) -> None:
    with pytest.raises(ValueError, match=f"distinct-{n} of {len(texts)} texts"):
        distinct_n(texts, n)


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
    with pytest.raises(ValueError, match=f"there are {len(texts)}"):
        self_bleu(texts)


def _examples(count: int) -> list[Example]:
    row = {"question": "How many?", "answer": "Two.\n#### 2"}
    return [find("tasks", "gsm8k").to_example(f"gsm8k/test/{n}", row) for n in range(count)]


def test_fidelity_and_diversity_are_over_prompts() -> None:
    examples = _examples(2)
    responses = {
        "gsm8k/test/0": ["#### 2", "#### 2"],
        "gsm8k/test/1": ["it is #### 2", "so #### 3 then"],
    }

    numbers = fidelity_and_diversity(find("tasks", "gsm8k"), examples, responses)

    assert list(numbers) == list(DEFINITIONS)
    assert numbers["fidelity"].value == (1.0 + 0.5) / 2
    assert numbers["fidelity"].definition == "exact_match, mean over a prompt's responses"
    assert numbers["distinct_1"].value == (2 + 7) / (4 + 8)
    assert numbers["distinct_2"].value == (1 + 6) / (2 + 6)
    assert numbers["self_bleu"].value == pytest.approx(
        (1.0 + self_bleu(responses["gsm8k/test/1"])) / 2
    )
    assert {number.n for number in numbers.values()} == {2}


def test_a_prompt_answered_in_single_words_has_no_pairs_and_spoils_nothing() -> None:
    responses = {"gsm8k/test/0": ["2", "3"], "gsm8k/test/1": ["a b c", "a b d"]}

    numbers = fidelity_and_diversity(find("tasks", "gsm8k"), _examples(2), responses)

    assert numbers["distinct_2"].value == 3 / 4


def test_no_prompts_are_an_error() -> None:
    with pytest.raises(ValueError, match="no prompts"):
        fidelity_and_diversity(find("tasks", "gsm8k"), [], {})
