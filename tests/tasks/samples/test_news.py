"""Tests that summaries say no more than their articles, and that lengths are in range."""

import re
from itertools import islice
from string import Formatter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark.tasks.samples.news import STORIES, Story, generate_cnn_dm_rows, generate_xsum_rows

SEEDS = st.integers(min_value=0, max_value=2**32)
OPEN = r"[\[\]{}|]|  | [.,?]|\.\.|\n\n"


def fields(*texts: str) -> set[str]:
    """Return the fields that texts use; a full name gives away the last name too."""
    found = {name for text in texts for _, name, _, _ in Formatter().parse(text) if name}
    return found | ({"last"} if "who" in found else set())


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.lead)
def test_highlights_and_summary_say_only_what_the_core_always_reports(story: Story) -> None:
    assert fields(*story.highlights) <= fields(story.lead, *story.core)
    assert fields(story.summary) <= fields(*story.core)


@settings(max_examples=20)
@given(seed=SEEDS)
def test_articles_have_75_to_130_words_and_two_or_three_highlights(seed: int) -> None:
    for row in islice(generate_cnn_dm_rows(seed), 20):
        assert 75 <= len(row["article"].split()) <= 130
        assert 2 <= len(row["highlights"].splitlines()) <= 3
        assert not re.search(OPEN, row["article"] + row["highlights"])


@settings(max_examples=20)
@given(seed=SEEDS)
def test_documents_have_55_to_110_words_and_one_sentence_as_summary(seed: int) -> None:
    for row in islice(generate_xsum_rows(seed), 20):
        assert 55 <= len(row["document"].split()) <= 110
        assert "\n" not in row["summary"]
        assert row["summary"].endswith(".")
        assert not re.search(OPEN, row["document"] + row["summary"])


@settings(max_examples=20)
@given(seed=SEEDS)
def test_no_document_holds_its_summary(seed: int) -> None:
    for row in islice(generate_xsum_rows(seed), 20):
        assert row["summary"] not in row["document"].splitlines()


@settings(max_examples=20)
@given(seed=SEEDS)
def test_every_number_of_a_summary_is_in_the_news(seed: int) -> None:
    pairs = [(row["article"], row["highlights"]) for row in islice(generate_cnn_dm_rows(seed), 20)]
    pairs += [(row["document"], row["summary"]) for row in islice(generate_xsum_rows(seed), 20)]
    for article, summary in pairs:
        assert set(re.findall(r"\d[\d,]*", summary)) <= set(re.findall(r"\d[\d,]*", article))
