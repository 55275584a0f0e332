"""A measurement of speed that fails is a row with its reason; the cell keeps its other numbers."""

from dataclasses import replace
from pathlib import Path

import pytest

from draftmark.analysis.quantities import quantity_key
from draftmark.analysis.stored_speed import with_unmeasured_numbers
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.runner import run_experiment
from draftmark.pipeline.save_records import save_records
from draftmark.progress import Progress
from draftmark.reports.speed import speed
from draftmark.results import Results
from draftmark.store.run_folder import load_results, save_results
from draftmark.store.store import Store

RECIPE = """
title = "speed, where one measurement fails"
tasks = ["gsm8k"]
threads = 1

[data]
sources = ["samples"]
train_rows = 2
validation_rows = 2
test_rows = 4

[[pairs]]
name = "tiny"
target = "tiny-target"
draft = { pruned = [0, 7] }

[[methods]]
name = "untrained"

[evaluation]
max_new_tokens = 8
temperatures = [0.0]

[speed]
num_speculative_tokens = 2
blocks = 2
prompts_per_block = 2
batch_sizes = [1, 2]
noise_floor = true
cost_model = true
"""
ALONE = "gamma=2,engine=reference,t=0,batch=1,length=natural"
TOGETHER = ALONE.replace("batch=1", "batch=2")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return results_of(RECIPE, tmp_path)


def results_of(recipe: str, tmp_path: Path) -> Results:
    """Return the results of a recipe as they read from its run's folder."""
    path = tmp_path / "recipe.toml"
    path.write_text(recipe)
    quiet, store = Progress(quiet=True), Store(tmp_path / "store")
    prepared = plan_experiment(load_recipe(str(path)), quiet)
    made = save_records(
        prepared, run_experiment(prepared, "r", store, quiet), store, tmp_path / "out"
    )
    save_results(made, tmp_path / "out")
    return load_results(tmp_path / "out")


def test_what_the_engine_refuses_is_named_and_the_rest_has_numbers(
    results: Results, tmp_path: Path
) -> None:
    (row,) = results.results
    assert row.failure is None
    assert not row.speed_failures
    assert row.speed_refusals.keys() == {TOGETHER, f"noise floor, {TOGETHER.partition(',')[2]}"}
    assert "decodes one prompt at a time, not 2" in row.speed_refusals[TOGETHER]
    measured = {"speedup", f"speedup[{ALONE}]", f"cost_ratio[{ALONE}]", f"overhead[{ALONE}]"}
    assert measured <= row.numbers.keys()
    assert f"noise_floor[{ALONE.partition(',')[2]}]" in row.numbers
    assert quantity_key("acceptance_rate", 0.0, 4) in row.numbers
    # Passes of two prompts at once are timed, but no engine counted or timed blocks of them.
    together = {name.partition("[")[0] for name in row.numbers if TOGETHER in name}
    assert together == {"cost_ratio", "verification_cost", "expected_speedup"}
    files = {path.name for path in (tmp_path / "out" / row.records).iterdir()}
    assert {"decodes.parquet", "runs.parquet", "parts.parquet", "decode-grades.parquet"} <= files
    assert "decodes-1.parquet" not in files


def test_where_engines_refuse_all_that_was_asked_the_row_has_failed(tmp_path: Path) -> None:
    recipe = RECIPE.replace("batch_sizes = [1, 2]", "batch_sizes = [2]")
    results = results_of(recipe.replace("noise_floor = true\n", ""), tmp_path)
    (row,) = results.results
    assert (row.failure, dict(row.speed_refusals)) == (None, {})
    assert "decodes one prompt at a time, not 2" in row.speed_failures[TOGETHER]
    # The parts were timed all the same: c, and what is expected at it, are printed.
    page = speed(results, tmp_path / "out")["speed.md"]
    (line,) = (each for each in page.splitlines() if each.startswith("| untrained | reference"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    for name, place in (("cost_ratio", -3), ("verification_cost", -2), ("expected_speedup", -1)):
        assert cells[place].startswith(f"{row.numbers[f'{name}[{TOGETHER}]'].value:.3f} [")
    assert cells[5:10] == ["-"] * 5
    assert "decodes one prompt at a time, not 2" in page
    # Results of earlier versions lack these numbers; their records have what it takes.
    kept = {name: n for name, n in row.numbers.items() if TOGETHER not in name}
    earlier = replace(results, results=(replace(row, numbers=kept),))
    (again,) = with_unmeasured_numbers(earlier, tmp_path / "out").results
    assert len(kept) == len(row.numbers) - 3
    assert again.numbers.keys() == row.numbers.keys()
    for name in row.numbers.keys() - kept.keys():
        ends = [(n.value, n.low, n.high) for n in (again.numbers[name], row.numbers[name])]
        assert ends[0] == pytest.approx(ends[1], abs=1e-4)  # counts are rounded as published
