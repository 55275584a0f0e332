"""ROUGE: what the package gives when it is called directly, and what the rules around it say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from draftmark.tasks._rouge import ROUGE_TYPES, grade, is_readable, rouge
from draftmark.types import Example

WORDS = st.sampled_from(
    ["the", "cat", "cats", "sitting", "run", "running", "3", "1,000", "naïve", "彼女", "\n", "."]
)
TEXTS = st.lists(WORDS, max_size=30).map(" ".join) | st.text(max_size=60)


def _directly(reference: str, text: str) -> dict[str, float]:
    scores = RougeScorer(list(ROUGE_TYPES), use_stemmer=True).score(reference, text)
    return {name: score.fmeasure for name, score in scores.items()}


def _example(reference: str) -> Example:
    return Example("toy/test/0", ({"role": "user", "content": "Summarize."},), reference)


@given(reference=TEXTS, text=TEXTS)
def test_scores_are_the_packages_own_to_the_last_digit(reference: str, text: str) -> None:
    assert rouge(reference, text) == _directly(reference, text)


@given(reference=TEXTS, text=TEXTS)
def test_scores_are_between_nothing_and_everything(reference: str, text: str) -> None:
    assert all(0.0 <= score <= 1.0 for score in rouge(reference, text).values())


def test_known_overlaps_are_counted() -> None:
    scores = rouge("the quick brown fox jumps", "the quick fox jumped high")

    assert scores["rouge1"] == pytest.approx(4 / 5)  # the stemmer makes jumps and jumped one
    assert scores["rouge2"] == pytest.approx(2 / 8 + 2 / 8)  # "the quick" and "fox jump" of 4
    assert scores["rougeL"] == pytest.approx(4 / 5)


def test_a_sentence_is_a_line() -> None:
    """Sentences in another order cost ROUGE-L, but not Lsum, if each is on its own line."""
    first, second = "alpha beta gamma delta", "one two three four"

    assert rouge(f"{first}\n{second}", f"{second}\n{first}")["rougeLsum"] == 1.0
    assert rouge(f"{first}\n{second}", f"{second}\n{first}")["rougeL"] == 0.5
    assert rouge(f"{first}. {second}.", f"{second}. {first}.")["rougeLsum"] == 0.5


@pytest.mark.parametrize("text", ["", " \n", "...", "no"])
def test_a_response_without_a_word_of_the_reference_scores_nothing(text: str) -> None:
    assert grade(_example("A cat sat."), text) == dict.fromkeys(ROUGE_TYPES, 0.0)


@given(text=TEXTS)
def test_a_text_matches_itself_exactly_where_rouge_can_read_it(text: str) -> None:
    assert rouge(text, text)["rouge1"] == float(is_readable(text))
