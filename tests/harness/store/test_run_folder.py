"""Results on disk: what is read back is what was written."""

from dataclasses import replace
from pathlib import Path

import pytest
from stored_runs import run_of

from draftmark.errors import UserError
from draftmark.results import Comparison, Number, Result, Results, Standing
from draftmark.store.run_folder import check_ranks, load_results, save_results
from draftmark.types import Ledger


def test_results_are_read_back_as_they_were_with_how_training_went(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [[0.5, 0.7]]})
    (row,) = results.results
    history = ({"step": 0.0, "validation_acceptance": 0.25},)
    rows: tuple[Result, ...] = (replace(row, history=history), replace(row, failure="No."))

    save_results(replace(results, results=rows), tmp_path)

    assert load_results(tmp_path) == replace(results, results=rows)


ODD = {"value": 1e300, "low": -1e280, "high": 1e280, "effective": 1e101}
NUMBER = Number(0.5, 0.4, 0.6, 2, "")


@pytest.mark.parametrize(
    "number",
    [
        *(replace(NUMBER, value=value) for value in (1e300, -1e200)),
        *(replace(NUMBER, **{name: value}) for name, value in ODD.items()),
    ],
)
def test_a_number_that_nobody_measured_is_refused(tmp_path: Path, number: Number) -> None:
    results = run_of(tmp_path, {"kd": [[0.5, 0.7]]})
    (row,) = results.results
    compared = Comparison(row.cell.contender, "a", "speedup", number, 0.5, 0.5, None, None)
    behind = Standing(row.cell.contender, "block_efficiency[t=0,gamma=4]", "b", number)
    for odd in (
        replace(results, results=(replace(row, numbers={behind.quantity: number}),), standings=()),
        replace(results, comparisons=(compared,)),
        replace(results, block_comparisons=(compared,)),
        replace(results, standings=(behind,)),
        replace(results, block_standings=(behind,)),
    ):
        _refused(odd, tmp_path)


def test_a_rank_without_its_number_is_refused(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [[0.5, 0.7]]})
    ranked = Standing(results.results[0].cell.contender, "block_efficiency[t=0,gamma=4]", "a", None)
    check_ranks(replace(results, standings=()))
    with pytest.raises(ValueError, match=r"kd has a rank and no block_efficiency\[t=0,gamma=4\]"):
        check_ranks(replace(results, results=(), pooled=(), standings=(ranked,)))


def test_a_product_of_many_small_probabilities_is_a_number(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [[0.5, 0.7]]})
    (row,) = results.results
    number = replace(NUMBER, value=1e-103, low=0.0, high=1e-98)
    own = replace(results, results=(replace(row, numbers={"accepted_per_pass": number}),))
    save_results(own, tmp_path)
    assert load_results(tmp_path).results[0].numbers["accepted_per_pass"] == number


@pytest.mark.parametrize("name", ["p_value", "adjusted_p", "detectable", "prompts_needed"])
def test_a_comparison_that_nobody_made_is_refused(tmp_path: Path, name: str) -> None:
    results = run_of(tmp_path, {"kd": [[0.5, 0.7]]})
    compared = Comparison(
        results.results[0].cell.contender, "a", "speedup", NUMBER, 0.5, 0.5, None, None
    )
    odd = replace(compared, **{name: 10**110 if name == "prompts_needed" else 1e110})
    _refused(replace(results, comparisons=(odd,)), tmp_path)


def test_a_training_that_nobody_ran_is_refused(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"kd": [[0.5, 0.7]]})
    (row,) = results.results
    history = ({"step": 0.0, "loss": 1e280, "validation_loss": 1.0},)
    for odd in (
        replace(row, history=history),
        replace(row, ledger=Ledger(flops=1e290)),
        replace(row, ledger=Ledger(steps=10**120)),
    ):
        _refused(replace(results, results=(odd,)), tmp_path)


def _refused(results: Results, folder: Path) -> None:
    save_results(results, folder)
    with pytest.raises(UserError, match="which nobody measured"):
        load_results(folder)
