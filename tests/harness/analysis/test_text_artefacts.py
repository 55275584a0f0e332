"""Texts that are cut, empty or repeat themselves: their shares, and the warning at verdicts."""

import numpy as np
import pytest

from draftmark.analysis.text_artefacts import artefacts, repetition, text_quantities
from draftmark.results import Number
from draftmark.types import Text

PROMPT = (1, 2)


def test_repetition_is_the_share_of_4_grams_that_occurred_before() -> None:
    assert repetition(range(20)) == 0.0
    assert repetition([7] * 20) == pytest.approx(1 - 1 / 17)
    assert repetition([1, 2, 3, 4, 5, 1, 2, 3, 4]) == pytest.approx(1 / 6)
    assert repetition([1, 2, 3]) == 0.0  # there is no 4-gram


def test_a_loop_at_the_end_of_a_long_text_is_found() -> None:
    """A text that starts well, and repeats five tokens from its middle on."""
    text = [*range(300), *([1, 2, 3, 4, 5] * 40)]
    assert repetition(text) > 0.9
    assert repetition(text[:300]) == 0.0


def test_a_loop_that_is_longer_than_the_last_tokens_is_found() -> None:
    """A paragraph of 200 tokens that is said again; only its first 4-grams are new."""
    assert repetition([*range(200), *range(200)]) == 1.0
    assert repetition([*range(200), *range(500, 525), *range(100)]) == pytest.approx(97 / 125)


def test_random_text_does_not_repeat() -> None:
    generator = np.random.default_rng(0)
    assert max(repetition(generator.integers(0, 50, 200).tolist()) for _ in range(20)) < 0.01


def test_each_kind_is_counted_by_temperature() -> None:
    texts = [
        Text("a", PROMPT, tuple(range(10)), "stop"),
        Text("b", PROMPT, (5,) * 40, "length"),
        Text("c", PROMPT, (0,), "stop"),
        Text("d", PROMPT, (5, 6) * 40, "stop"),
    ]
    found = text_quantities({0.0: texts, 1.0: texts[:2]})
    shares = {key: float(item.counts[0].mean()) for key, item in found.items()}
    assert shares == {
        "repeating_texts[t=0]": 0.5,
        "truncated_texts[t=0]": 0.25,
        "empty_texts[t=0]": 0.25,
        "repeating_texts[t=1]": 0.5,
        "truncated_texts[t=1]": 0.5,
        "empty_texts[t=1]": 0.0,
    }
    assert all(item.is_share for item in found.values())


def test_a_warning_names_what_most_texts_are() -> None:
    def share(value: float) -> Number:
        return Number(value, None, None, 64, "share")

    numbers = {
        "repeating_texts[t=0]": share(0.98),
        "truncated_texts[t=0]": share(1.0),
        "empty_texts[t=0]": share(0.0),
        "truncated_texts[t=1]": share(0.5),  # a half is not most
    }
    (sentence,) = artefacts(numbers, [0.0, 1.0])
    assert "texts at temperature 0, 98% repeat themselves and 100% are cut" in sentence
    assert not list(artefacts({}, [0.0]))  # an old run did not count them
