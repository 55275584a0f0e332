"""kill -9: whatever a run was about, the next one goes on and ends with the same results.

So does a run whose workers are killed.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mortal_runs
import psutil
import pytest
from places import ROOT

from draftmark.grading.isolation import bubblewrap
from draftmark.pipeline.executor import execute_stages
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.journal import Journal
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.results import Results
from draftmark.store.entries import ENTRY, files_in, sha256_of
from draftmark.store.run_folder import load_results
from draftmark.store.store import Store

QUIET = Progress(quiet=True)
MACHINES = ("speedup", "first_token_s", "token_s", "peak_bytes", "energy_j")  # and of its moment


def killed(
    kind: str, folder: Path, kills: int, jobs: int = 1, python: str = sys.executable
) -> dict[str, int]:
    """Kill so many runs in a process of its own, let one finish, and return what was found."""
    done = subprocess.run(
        [python, mortal_runs.__file__, kind, str(folder), str(kills), "0", str(jobs)],
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


@pytest.mark.parametrize(
    ("jobs", "kills", "moments"),
    [(1, 100, 30), pytest.param(2, 20, 10, marks=pytest.mark.slow)],
)
def test_killed_many_times_a_run_ends_with_the_same_bytes_and_leaves_no_process(
    tmp_path: Path, jobs: int, kills: int, moments: int
) -> None:
    """Between the kills no result is half there: all that has an entry is as it was written."""
    (tmp_path / "lives").mkdir()
    calm = Store(tmp_path / "calm")
    execute_stages(mortal_runs.graph(bubblewrap.why_unavailable() is None), calm, QUIET)

    found = killed("graph", tmp_path / "lives", kills, jobs)

    assert (found["kills"], found["orphans"], found["damaged"]) == (kills, 0, 0)
    assert found["moments"] > moments
    for place in (tmp_path / "lives").iterdir():
        assert written(place / "store") == written(calm.root)


def _kill_workers(journal: Journal, kills: int, ended: threading.Event) -> set[str]:
    """Kill workers at random moments of stages, each stage at most once; return the stages."""
    assert journal.folder is not None
    draw, struck = random.Random(0), set[str]()
    while len(struck) < kills and not ended.wait(draw.uniform(0, 0.05)):
        at_work = {pid: key for pid, key in _stages_at(journal.folder).items() if key not in struck}
        for pid, key in list(at_work.items())[:1]:
            os.kill(pid, signal.SIGSTOP)  # so that it is still in this stage when it is killed
            alive = _stages_at(journal.folder).get(pid) == key
            os.kill(pid, signal.SIGKILL if alive else signal.SIGCONT)
            struck |= {key} if alive else set()
    return struck


def _stages_at(folder: Path) -> dict[int, str]:
    """Return the stage of every process that has started one and not finished it."""
    at: dict[int, str] = {}
    for path in folder.glob("*.jsonl"):
        for line in path.read_text("utf-8").splitlines(keepends=True):
            event = json.loads(line) if line.endswith("\n") else {}
            if event.get("event") == "start":
                at[event["pid"]] = event["key"]
            elif event.get("event") == "done":
                at.pop(event["pid"])
    return {pid: key for pid, key in at.items() if psutil.pid_exists(pid)}


def test_workers_that_are_killed_leave_the_results_as_they_were(tmp_path: Path) -> None:
    nodes = mortal_runs.graph(False)
    calm, store = Store(tmp_path / "calm"), Store(tmp_path / "store")
    execute_stages(nodes, calm, QUIET)
    journal, ended = Journal.open(store, "run"), threading.Event()

    with ThreadPoolExecutor() as threads:
        striking = threads.submit(_kill_workers, journal, 8, ended)
        try:
            failures = mortal_runs.executor(2)(nodes, store, QUIET, journal=journal)
        finally:
            ended.set()

    assert failures == {}
    assert striking.result()
    assert written(store.root) == written(calm.root)


def facts(results: Results) -> list[object]:
    """Return what must not differ between two runs: all numbers but times and memory."""
    return [
        (row.cell, {name: n for name, n in row.numbers.items() if not name.startswith(MACHINES)})
        for row in results.results
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "kills"), [(1, 3), (2, 1)])
def test_a_killed_recipe_ends_with_the_same_numbers(
    tmp_path: Path, python: str, jobs: int, kills: int
) -> None:
    (tmp_path / "lives").mkdir()
    recipe = tmp_path / "lives" / "small.toml"
    recipe.write_text(mortal_runs.RECIPE)
    expected = run_experiment(
        plan_experiment(load_recipe(str(recipe)), QUIET), "small", Store(tmp_path / "calm"), QUIET
    )

    found = killed("recipe", tmp_path / "lives", kills, jobs, python)

    assert (found["kills"], found["orphans"], found["damaged"]) == (kills, 0, 0)
    for place in (path for path in (tmp_path / "lives").iterdir() if path.is_dir()):
        (results,) = place.glob("small-*")
        assert facts(load_results(results)) == facts(expected)
