"""Real rows of the text tasks, where this machine has them: what they hold and how they grade."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer

from harness.data import load_splits
from harness.inputs.data_check import check
from harness.inputs.sources import DATA_VARIABLE, data_folder
from harness.types import Task
from tasks import alpaca, cnn_dm, xsum

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DIRECTORY = Path(os.environ.get(DATA_VARIABLE) or BESIDE)
TASKS = [alpaca.TASK, cnn_dm.TASK, xsum.TASK]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_real_rows_are_examples_whose_own_answers_are_right(task: Task) -> None:
    folder = DIRECTORY / data_folder(task)
    if not folder.is_dir():
        pytest.skip(f"no real rows: {DATA_VARIABLE} names none of {data_folder(task)}")
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)

    splits = load_splits(
        task,
        {"train": 100, "validation": 100, "test": 300},
        sources=["directory"],
        directory=DIRECTORY,
    )

    for example, other in pairwise(splits["test"].examples):
        assert task.grade(example, example.reference)[task.headline] == 1.0
        scores = scorer.score(example.reference, other.reference)
        expected = {name: score.fmeasure for name, score in scores.items()}
        assert task.grade(example, other.reference) == expected


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_no_real_row_is_malformed_and_few_are_left_out(task: Task) -> None:
    if not (DIRECTORY / data_folder(task)).is_dir():
        pytest.skip(f"no real rows: {DATA_VARIABLE} names none of {data_folder(task)}")

    found = check(task, sources=["directory"], directory=DIRECTORY)

    assert found.malformed == 0
    for split in found.splits.values():
        assert split.read >= len(split.rows.examples) > 0.99 * split.read
