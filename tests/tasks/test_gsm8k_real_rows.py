"""GSM8K's real rows, where this machine has them: every gold answer grades as right."""

import os
from pathlib import Path

import pytest

from harness.data import load_splits
from harness.inputs.sources import DATA_VARIABLE
from tasks.gsm8k import TASK

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DIRECTORY = Path(os.environ.get(DATA_VARIABLE) or BESIDE)

pytestmark = pytest.mark.skipif(
    not (DIRECTORY / "gsm8k").is_dir(), reason=f"no real rows: {DATA_VARIABLE} names none"
)


def test_every_real_row_is_an_example_whose_own_answer_is_right() -> None:
    counts = {"train": 1000, "validation": 300, "test": 500}
    splits = load_splits(TASK, counts, sources=["directory"], directory=DIRECTORY)
    for rows in splits.values():
        assert rows.source == "directory"
        for example in rows.examples:
            assert TASK.grade(example, example.reference)["exact_match"] == 1.0
            assert TASK.grade(example, example.reference)["flexible_match"] == 1.0
            assert set(TASK.grade(example, "I do not know.").values()) == {0.0}
