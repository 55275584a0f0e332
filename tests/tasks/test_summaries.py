"""CNN/DailyMail and XSum: how a row becomes a prompt, what is left out, what is graded."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from draftmark.data.sources import data_folder
from draftmark.tasks import cnn_dm, xsum
from draftmark.tasks._summaries import first_words
from draftmark.types import Row, Task

TASKS = [
    pytest.param(cnn_dm.TASK, cnn_dm.MAX_SOURCE_WORDS, id="cnn_dm"),
    pytest.param(xsum.TASK, xsum.MAX_SOURCE_WORDS, id="xsum"),
]


def _row(task: Task, article: str, summary: str) -> Row:
    return dict(zip(task.columns, (article, summary), strict=True))


def _content(task: Task, article: str) -> str:
    return task.to_example("toy/0", _row(task, article, "A summary.")).messages[0]["content"]


@pytest.mark.parametrize(("task", "max_words"), TASKS)
def test_an_article_is_followed_by_the_instruction(task: Task, max_words: int) -> None:
    example = task.to_example(f"{task.name}/test/3", _row(task, "A storm.\nIt rained.", "Rain."))

    assert example.id == f"{task.name}/test/3"
    assert [turn["role"] for turn in example.messages] == ["user"]
    article, instruction = example.messages[0]["content"].split("\n\n")
    assert article == "A storm.\nIt rained."
    assert instruction.startswith("Summarize the news article above in ")
    assert example.reference == "Rain."
    assert example.meta == {"source_words": 4, "max_source_words": max_words}


@pytest.mark.parametrize(("task", "max_words"), TASKS)
def test_a_long_article_is_cut_and_its_meta_says_so(task: Task, max_words: int) -> None:
    words = [f"word{n}" for n in range(max_words + 5)]

    example = task.to_example("toy/0", _row(task, " ".join(words), "A summary."))

    assert example.messages[0]["content"].split()[:max_words] == words[:max_words]
    assert words[max_words] not in example.messages[0]["content"]
    assert example.meta["source_words"] == max_words + 5


@pytest.mark.parametrize(("task", "max_words"), TASKS)
def test_an_article_that_just_fits_is_whole(task: Task, max_words: int) -> None:
    article = "a\n" * (max_words - 1) + "end"

    assert _content(task, article).startswith(f"{article}\n\n")


@pytest.mark.parametrize(("task", "_"), TASKS)
def test_rows_without_an_article_or_a_summary_are_left_out(task: Task, _: Any) -> None:
    source, summary = task.columns

    assert task.left_out(_row(task, "A storm.", "Rain.")) is None
    assert task.left_out(_row(task, " \n", "Rain.")) == f"empty {source}"
    assert task.left_out(_row(task, "A storm.", "")) == f"empty {summary}"


@pytest.mark.parametrize(("task", "_"), TASKS)
def test_the_headline_is_one_of_the_scores_and_full_for_the_gold_summary(
    task: Task, _: Any
) -> None:
    example = task.to_example("toy/0", _row(task, "A storm.", "It rained .\nA lot ."))

    assert task.grade(example, example.reference)[task.headline] == 1.0
    assert task.grade(example, "Nothing of it")[task.headline] < 0.5


@given(text=st.text(max_size=40), max_words=st.integers(min_value=0, max_value=12))
def test_the_opening_is_a_beginning_with_as_many_words_as_fit(text: str, max_words: int) -> None:
    cut = first_words(text, max_words)

    assert text.startswith(cut)
    assert len(cut.split()) <= max_words
    if len(text.split()) <= max_words:
        assert cut.split() == text.split()


def test_data_sets_are_pinned_and_cnn_dm_has_a_folder_of_another_name() -> None:
    assert (data_folder(cnn_dm.TASK), data_folder(xsum.TASK)) == ("cnn_dailymail", "xsum")
    assert cnn_dm.TASK.hub.files == "3.0.0/{split}-*.parquet"
    for task in (cnn_dm.TASK, xsum.TASK):
        assert len(task.hub.revision) == 40
        assert set(task.hub.splits) == {"train", "validation", "test"}
