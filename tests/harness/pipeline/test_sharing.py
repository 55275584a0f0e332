"""Two runs that share a store at once make each stage once, and both end with its results."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from mortal_runs import QUIET, RECIPE
from places import ROOT

from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.store.run_folder import load_results

MADE = re.compile(r"^(.+): [0-9.]+ s$", re.M)  # what is said of a stage when it is there


@pytest.mark.slow
def test_two_runs_that_share_a_store_make_each_stage_once(python: str, tmp_path: Path) -> None:
    recipe = tmp_path / "two.toml"
    recipe.write_text(RECIPE)
    command = [python, "-m", "draftmark", "run", str(recipe)]
    runs = [
        subprocess.Popen(
            [*command, "--store", str(tmp_path / "store"), "--out", str(tmp_path / name)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("a", "b")
    ]
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said

    made = Counter(label for text in said for label in MADE.findall(text))
    nodes = plan_experiment(load_recipe(str(recipe)), QUIET).nodes
    entries = list((tmp_path / "store").glob("*/*/entry.json"))
    assert made.total() == len(made) == len(entries) <= len(nodes)
    first, second = (load_results(next((tmp_path / name).glob("two-*"))) for name in ("a", "b"))
    assert [row.numbers for row in first.results] == [row.numbers for row in second.results]
