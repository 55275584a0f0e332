"""Recipes of the steps: the quickstart, changed, run by the command line as a user does."""

import subprocess
import sys
from importlib import resources
from pathlib import Path

from draftmark.pipeline.recipe_files import load_recipe
from draftmark.results import Result, Results
from draftmark.store.run_folder import load_results

SMALL = {
    "train_rows = 256": "train_rows = 4",
    "validation_rows = 32": "validation_rows = 2",
    "test_rows = 64": "test_rows = 4",
    "passes = 5": "passes = 1",
    "blocks = 5": "blocks = 2",
    "num_speculative_tokens = 4": "num_speculative_tokens = 4\nmax_new_tokens = 8",
}
KD_ALONE = {
    "threads = 1": "speed = false\nthreads = 1",
    '[[methods]]\nname = "untrained"\n\n': "",
    '[[methods]]\nname = "prompt_lookup"\n\n': "",
    "[speed]\n": "",
    "prompts_per_block = 1\n": "",
}
BFLOAT16 = {
    "[speed]": '[speed]\ndtype = "bfloat16"',
    'name = "tiny-2of8"': 'name = "tiny-2of8"\ndtype = "bfloat16"',
}


def changed_quickstart(folder: Path, name: str, changes: dict[str, str], *, small: bool) -> Path:
    """Write the quickstart with parts of its text replaced, in order; return its file.

    Raises ValueError if the recipe has no such part.
    """
    recipes = resources.files("draftmark.baselines") / "recipes"
    text = (recipes / "quickstart.toml").read_text(encoding="utf-8")
    for old, new in {**(SMALL if small else {}), **changes}.items():
        if old not in text:
            raise ValueError(f"the quickstart has no {old!r}")
        text = text.replace(old, new)
    file = folder / f"{name}.toml"
    file.write_text(text, encoding="utf-8")
    load_recipe(str(file))
    return file


def run_recipe(file: Path, *words: str) -> Results:
    """Run a recipe with a store and results of its own; return its results.

    Raises RuntimeError with the cells that failed and their reasons, or if there are no results.
    """
    place = file.with_suffix("")
    command = [sys.executable, "-m", "draftmark", "run", str(file), *words]
    done = subprocess.run(
        [*command, "--store", str(place / "store"), "--out", str(place / "results")]
    )
    folders = list((place / "results").glob(f"{file.stem}-*"))
    if not folders:
        raise RuntimeError(f"draftmark run ended with exit code {done.returncode}")
    [folder] = folders
    results = load_results(folder)
    if failed := [reason for row in results.results if (reason := reason_of(row))]:
        raise RuntimeError("; ".join(failed))
    return results


def reason_of(row: Result) -> str:
    """Return why a cell or a speed of it failed, or an empty text."""
    reasons = [row.failure, *row.speed_failures.values(), *row.speed_refusals.values()]
    return "; ".join(f"{row.cell.task}, {row.cell.method}: {each}" for each in reasons if each)
