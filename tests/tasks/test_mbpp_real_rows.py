"""MBPP's real rows, where this machine has them: every reference program passes its own tests."""

import pytest
from places import REAL_ROWS

from draftmark.data.rows import DATA_VARIABLE, load_splits
from draftmark.grading.isolation import bubblewrap
from draftmark.grading.sandbox import Sandbox
from draftmark.tasks.mbpp import TASK, grade_programs

REASON = bubblewrap.why_unavailable()

pytestmark = [
    pytest.mark.skipif(
        not (REAL_ROWS / "mbpp").is_dir(), reason=f"no real rows: {DATA_VARIABLE} names none"
    ),
    pytest.mark.skipif(REASON is not None, reason=f"no isolation: {REASON}"),
]


@pytest.mark.slow
def test_all_974_reference_programs_pass() -> None:
    counts = {"train": 374, "validation": 90, "test": 500, "prompt": 10}
    splits = load_splits(TASK, counts, sources=["directory"], directory=REAL_ROWS)
    examples = [example for rows in splits.values() for example in rows.examples]

    scores = grade_programs([(example, example.reference) for example in examples], Sandbox())

    graded = zip(examples, scores, strict=True)
    failed = [example.id for example, score in graded if score["pass@1"] != 1]
    assert len(examples) == 974
    assert failed == []
    assert all(score["isolated"] for score in scores)
