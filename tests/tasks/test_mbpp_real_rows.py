"""MBPP's real rows, where this machine has them: every reference program passes its own tests."""

import os
from pathlib import Path

import pytest

from harness.data import DATA_VARIABLE, load_splits
from harness.isolation import bubblewrap
from harness.sandbox import Sandbox
from tasks.mbpp import TASK, grade_programs

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DIRECTORY = Path(os.environ.get(DATA_VARIABLE) or BESIDE)
REASON = bubblewrap.why_not()

pytestmark = [
    pytest.mark.skipif(
        not (DIRECTORY / "mbpp").is_dir(), reason=f"no real rows: {DATA_VARIABLE} names none"
    ),
    pytest.mark.skipif(REASON is not None, reason=f"no isolation: {REASON}"),
]


@pytest.mark.slow
def test_all_974_reference_programs_pass() -> None:
    counts = {"train": 374, "validation": 90, "test": 500, "prompt": 10}
    splits = load_splits(TASK, counts, sources=["directory"], directory=DIRECTORY)
    examples = [example for rows in splits.values() for example in rows.examples]

    scores = grade_programs([(example, example.reference) for example in examples], Sandbox())

    graded = zip(examples, scores, strict=True)
    failed = [example.id for example, score in graded if score["pass@1"] != 1]
    assert len(examples) == 974
    assert failed == []
    assert all(score["isolated"] for score in scores)
