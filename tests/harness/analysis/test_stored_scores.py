"""Scores of prompts in a run's folder: numbers, or a sentence about the file."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from stored_runs import run_of

from draftmark.analysis.stored_counts import stored_rows
from draftmark.errors import UserError
from draftmark.results import Result
from draftmark.store.run_folder import save_results

FILE = "target-grades.parquet"


def _stored(folder: Path, score: Any) -> tuple[Result, Path]:
    """Return a result in a folder, and the folder: its only prompt has the score."""
    results = run_of(folder, {"kd": [(0.5, 0.6)]})
    row = results.results[0]
    table = pa.Table.from_pylist([{"example_id": "gsm8k/test/0", "score": score}])
    parquet.write_table(table, folder / row.records / FILE)
    save_results(results, folder)
    return row, folder


@pytest.mark.parametrize("score", [math.inf, [-1.0, math.nan], {"f1": -math.inf}])
def test_a_score_that_is_not_finite_is_named_wherever_it_stands(tmp_path: Path, score: Any) -> None:
    with pytest.raises(UserError, match=f"{FILE} cannot be read: score is not finite"):
        stored_rows(*_stored(tmp_path, score), FILE)


@pytest.mark.parametrize("score", [0.5, [0.5, 1.0], {"f1": 0.5}, None])
def test_other_scores_are_read_as_they_are(tmp_path: Path, score: Any) -> None:
    (read,) = stored_rows(*_stored(tmp_path, score), FILE)

    assert read == {"example_id": "gsm8k/test/0", "score": score}
