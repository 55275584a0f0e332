"""GSM8K's real rows, where this machine has them: every gold answer grades as right."""

import pytest
from places import REAL_ROWS

from draftmark.data.rows import load_splits
from draftmark.data.sources import DATA_VARIABLE
from draftmark.tasks.gsm8k import TASK

pytestmark = pytest.mark.skipif(
    not (REAL_ROWS / "gsm8k").is_dir(), reason=f"no real rows: {DATA_VARIABLE} names none"
)


def test_every_real_row_is_an_example_whose_own_answer_is_right() -> None:
    counts = {"train": 1000, "validation": 300, "test": 500}
    splits = load_splits(TASK, counts, sources=["directory"], directory=REAL_ROWS)
    for rows in splits.values():
        assert rows.source == "directory"
        for example in rows.examples:
            assert TASK.grade(example, example.reference)["exact_match"] == 1.0
            assert TASK.grade(example, example.reference)["flexible_match"] == 1.0
            assert set(TASK.grade(example, "I do not know.").values()) == {0.0}
