"""Results on disk: what is read back is what was written."""

from dataclasses import replace
from pathlib import Path

import pytest
from stored_runs import run_of

from draftmark.errors import UserError
from draftmark.results import Number, Result
from draftmark.store.run_folder import load_results, save_results


def test_results_are_read_back_as_they_were_with_how_training_went(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [[0.5, 0.7]]})
    (row,) = results.results
    history = ({"step": 0.0, "validation_acceptance": 0.25},)
    rows: tuple[Result, ...] = (replace(row, history=history), replace(row, failure="No."))

    save_results(replace(results, results=rows), tmp_path)

    assert load_results(tmp_path) == replace(results, results=rows)


@pytest.mark.parametrize("value", [1e300, 1e-300, -1e200])
def test_a_value_that_nobody_measured_is_refused(tmp_path: Path, value: float) -> None:
    results = run_of(tmp_path, {"kd": [[0.5, 0.7]]})
    (row,) = results.results
    odd = replace(row, numbers={"block_efficiency[t=0,gamma=4]": Number(value, None, None, 2, "")})
    save_results(replace(results, results=(odd,), standings=()), tmp_path)

    with pytest.raises(UserError, match="which nobody measured"):
        load_results(tmp_path)
