"""Results on disk: what is read back is what was written."""

from dataclasses import replace
from pathlib import Path

from stored_runs import run_of

from draftmark.results import Result
from draftmark.store.run_folder import load_results, save_results


def test_results_are_read_back_as_they_were_with_how_training_went(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [[0.5, 0.7]]})
    (row,) = results.results
    history = ({"step": 0.0, "validation_acceptance": 0.25},)
    rows: tuple[Result, ...] = (replace(row, history=history), replace(row, failure="No."))

    save_results(replace(results, results=rows), tmp_path)

    assert load_results(tmp_path) == replace(results, results=rows)
