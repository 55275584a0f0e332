"""Two jobs give the bytes of one: all files of the store and of the run but times and memory."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from places import ROOT
from small_runs import small_recipe

from draftmark.store.entries import ENTRY, files_in, sha256_of
from draftmark.store.records import DECODES, DRAFT, read_rows
from draftmark.store.run_folder import RECORDS, RESULTS
from draftmark.store.speed_records import RUNS

RECIPE = small_recipe(
    (16, 4, 6),
    ["kd", "eagle", "prompt_lookup"],
    evaluation="max_new_tokens = 32\n[speed]\nblocks = 2\nprompts_per_block = 1",
)
TIMED = (DRAFT, DECODES, RUNS)  # files that hold times or memory
# Keys of results that hold times or memory, and the start of such numbers' names.
MOMENTS = ("seconds", "train_s", "peak_bytes", "speedup", "first_token_s", "token_s")


def _run(python: str, recipe: Path, jobs: int) -> Path:
    out = recipe.parent / f"jobs{jobs}"
    command = [python, "-m", "draftmark", "run", str(recipe), "--out", str(out)]
    done = subprocess.run([*command, "--jobs", str(jobs)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("2 at once" in done.stderr) == (jobs == 2)
    return out


def _stored(out: Path) -> dict[str, str]:
    """Return the hash of every file of every result that holds no times."""
    return {
        f"{entry.parent.relative_to(out)}/{name}": sha256_of(entry.parent / name)
        for entry in (out / "store").glob(f"*/*/{ENTRY}")
        for name in files_in(entry.parent)
        if not name.startswith("entry.") and name not in TIMED
    }


def _records(out: Path) -> dict[str, Any]:
    """Return the hash of every record beside the results; of decodes, all but the times."""
    (folder,) = out.glob(f"*-????????/{RECORDS}")
    found: dict[str, Any] = {}
    for name in files_in(folder):
        if Path(name).name == DECODES:
            found[name] = [_without_times(row) for row in read_rows(folder / name)]
        elif Path(name).name != RUNS:
            found[name] = sha256_of(folder / name)
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_times(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_times(item)
        for key, item in value.items()
        if key not in TIMED and not key.startswith(MOMENTS) and not key.endswith("_s")
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_jobs_give_the_bytes_of_one(python: str, tmp_path: Path) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(RECIPE)

    one, two = _run(python, recipe, 1), _run(python, recipe, 2)

    assert len(_stored(one)) > 20
    assert _stored(two) == _stored(one)
    assert len(_records(one)) > 10
    assert _records(two) == _records(one)
    (first,), (second,) = (tuple(out.glob(f"*-????????/{RESULTS}")) for out in (one, two))
    assert second.parent.name == first.parent.name
    results, expected = (_without_times(json.loads(path.read_text())) for path in (second, first))
    assert results == expected
    assert expected["manifest"]["threads"] == 1
    methods = [row["cell"]["method"] for row in expected["results"]]
    assert methods == ["kd", "eagle", "prompt_lookup"]
