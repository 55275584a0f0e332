"""kill -9: whatever a run was about, the next one goes on and ends with the same results."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mortal_runs
import pytest
from places import ROOT

from draftmark.grading.isolation import bubblewrap
from draftmark.pipeline.executor import execute_stages
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.results import Results
from draftmark.store.entries import ENTRY, files_in, sha256_of
from draftmark.store.run_folder import load_results
from draftmark.store.store import Store

QUIET = Progress(quiet=True)
MACHINES = ("speedup", "first_token_s", "token_s", "peak_bytes", "energy_j")  # and of its moment


def killed(kind: str, folder: Path, kills: int) -> dict[str, int]:
    """Kill so many runs in a process of its own, let one finish, and return what was found."""
    done = subprocess.run(
        [sys.executable, mortal_runs.__file__, kind, str(folder), str(kills), "0"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


def written(store: Path) -> dict[str, str]:
    """Return the hash of every file of every result."""
    return {
        str((path.parent / name).relative_to(store)): sha256_of(path.parent / name)
        for path in store.glob(f"*/*/{ENTRY}")
        for name in files_in(path.parent)
        if not name.startswith("entry.")  # which say how long it took
    }


def test_killed_a_hundred_times_a_run_ends_with_the_same_bytes_and_leaves_no_process(
    tmp_path: Path,
) -> None:
    """Between the kills no result is half there: all that has an entry is as it was written."""
    (tmp_path / "lives").mkdir()
    calm = Store(tmp_path / "calm")
    execute_stages(mortal_runs.graph(bubblewrap.why_unavailable() is None), calm, QUIET)

    found = killed("graph", tmp_path / "lives", 100)

    assert (found["kills"], found["orphans"], found["damaged"]) == (100, 0, 0)
    assert found["moments"] > 30
    for place in (tmp_path / "lives").iterdir():
        assert written(place / "store") == written(calm.root)


def facts(results: Results) -> list[object]:
    """Return what must not differ between two runs: all numbers but times and memory."""
    return [
        (row.cell, {name: n for name, n in row.numbers.items() if not name.startswith(MACHINES)})
        for row in results.results
    ]


@pytest.mark.slow
def test_a_killed_recipe_ends_with_the_same_numbers(tmp_path: Path) -> None:
    (tmp_path / "lives").mkdir()
    recipe = tmp_path / "lives" / "small.toml"
    recipe.write_text(mortal_runs.RECIPE)
    expected = run_experiment(
        plan_experiment(load_recipe(str(recipe)), QUIET), "small", Store(tmp_path / "calm"), QUIET
    )

    found = killed("recipe", tmp_path / "lives", 3)

    assert (found["kills"], found["orphans"], found["damaged"]) == (3, 0, 0)
    for place in (path for path in (tmp_path / "lives").iterdir() if path.is_dir()):
        (results,) = place.glob("small-*")
        assert facts(load_results(results)) == facts(expected)
