"""Real rows of the text tasks, where this machine has them: what they hold and how they grade."""

from itertools import pairwise

import pytest
from places import REAL_ROWS
from rouge_score.rouge_scorer import RougeScorer

from draftmark.data.check import check_task
from draftmark.data.rows import load_splits
from draftmark.data.sources import DATA_VARIABLE, data_folder
from draftmark.tasks import alpaca, cnn_dm, xsum
from draftmark.types import Task

TASKS = [alpaca.TASK, cnn_dm.TASK, xsum.TASK]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_real_rows_are_examples_whose_own_answers_are_right(task: Task) -> None:
    folder = REAL_ROWS / data_folder(task)
    if not folder.is_dir():
        pytest.skip(f"no real rows: {DATA_VARIABLE} names none of {data_folder(task)}")
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)

    splits = load_splits(
        task,
        {"train": 100, "validation": 100, "test": 300},
        sources=["directory"],
        directory=REAL_ROWS,
    )

    for example, other in pairwise(splits["test"].examples):
        assert task.grade(example, example.reference)[task.headline] == 1.0
        scores = scorer.score(example.reference, other.reference)
        expected = {name: score.fmeasure for name, score in scores.items()}
        assert task.grade(example, other.reference) == expected


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_no_real_row_is_malformed_and_few_are_left_out(task: Task) -> None:
    if not (REAL_ROWS / data_folder(task)).is_dir():
        pytest.skip(f"no real rows: {DATA_VARIABLE} names none of {data_folder(task)}")

    found = check_task(task, sources=["directory"], directory=REAL_ROWS)

    assert found.malformed == 0
    for rows in found.splits.values():
        assert rows.num_read >= len(rows.examples) > 0.99 * rows.num_read
