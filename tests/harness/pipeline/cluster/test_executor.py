"""On a cluster: workers and machines that die change nothing, and what it lacks is said."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from places import ROOT
from small_runs import small_recipe

from draftmark.cli import main
from draftmark.environment import install_hint
from draftmark.pipeline.experiment import plan_experiment
from draftmark.pipeline.recipe_files import load_recipe
from draftmark.pipeline.runner import run_experiment
from draftmark.progress import Progress
from draftmark.store.entries import ENTRY
from draftmark.store.records import DRAFT
from draftmark.store.run_folder import load_results
from draftmark.store.store import Store

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason=f"Ray is not installed; {install_hint('ray')}"
)
# Grades are left out: those of six answers take 5 ms, which is less than a kill takes.
KINDS = {"responses", "features", "draft", "scores", "likelihoods"}
RECIPE = small_recipe(
    (16, 4, 6), ["untrained", "kd"], top="speed = false", evaluation="max_new_tokens = 32"
)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "cut.toml"
    path.write_text(RECIPE)
    return path


def _draftmark(recipe: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "draftmark", "run", str(recipe), "--out", str(out)]


@contextmanager
def two_nodes() -> Iterator[subprocess.Popen[str]]:
    """Give a cluster of two nodes; when the block is left, none of its processes is."""
    script = ROOT / "tests" / "support" / "two_nodes.py"
    process = subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    below: list[psutil.Process] = []
    try:
        yield process
        below = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.communicate(timeout=120)
    _, alive = psutil.wait_procs(below, timeout=30)
    assert alive == []


def _journals(store: Path) -> Iterator[Path]:
    return store.glob("runs/*/*/*.jsonl")


def _events(store: Path) -> list[dict[str, Any]]:
    """Return what a run has told of itself so far."""
    lines = [
        line
        for path in _journals(store)
        for line in path.read_text("utf-8").splitlines(keepends=True)
    ]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _files(store: Path) -> dict[str, dict[str, Any]]:
    """Return the hashes of all results' files, but of the ledgers: they hold times."""
    entries = [json.loads(path.read_text("utf-8")) for path in store.glob(f"*/*/{ENTRY}")]
    return {
        entry["key"]: {name: file for name, file in entry["files"].items() if name != DRAFT}
        for entry in entries
    }


def _torment(process: subprocess.Popen[Any], cluster: subprocess.Popen[str], store: Path) -> None:
    """Kill a worker in a stage of each of `KINDS`, and a node with all that is on it."""
    assert cluster.stdin is not None
    struck: dict[str, str] = {}  # stages whose worker was killed when they began, and their kinds
    survived: set[str] = set()  # kinds of which such a stage began again
    read = 0  # bytes
    while process.poll() is None:
        time.sleep(0.02)
        if (written := sum(path.stat().st_size for path in _journals(store))) == read:
            continue
        read, events = written, _events(store)
        stages = {s["key"]: s["stage"] for e in events for s in e.get("stages", ())}
        starts = [event for event in events if event["event"] == "start"]
        began = Counter(event["key"] for event in starts)
        over = {event["key"] for event in events if event["event"] == "done"}
        if "draft" not in survived and any(began[k] > 1 for k, s in struck.items() if s == "draft"):
            cluster.stdin.write("kill\n")
            cluster.stdin.flush()
        survived |= {stage for key, stage in struck.items() if began[key] > 1}
        waiting = {stage for key, stage in struck.items() if key not in over}
        for event in starts:
            key, stage = event["key"], stages[event["key"]]
            if key not in struck and key not in over and stage not in survived | waiting:
                struck[key] = stage
                waiting.add(stage)
                with suppress(ProcessLookupError):
                    os.kill(event["pid"], signal.SIGKILL)
    assert survived >= KINDS


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_killed_in_every_stage_and_a_node_once_leave_the_results_as_they_were(
    recipe: Path, tmp_path: Path
) -> None:
    quiet = Progress(quiet=True)
    calm = Store(tmp_path / "calm")
    expected = run_experiment(plan_experiment(load_recipe(str(recipe)), quiet), "cut", calm, quiet)

    out = tmp_path / "out"
    with two_nodes() as cluster:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        with (tmp_path / "said.txt").open("w") as said:
            process = subprocess.Popen(
                [*_draftmark(recipe, out), "--cluster", address],
                env={**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},  # as the cluster
                stdout=said,
                stderr=said,
            )
        _torment(process, cluster, out / "store")
        assert process.returncode == 0, (tmp_path / "said.txt").read_text()
        assert cluster.stdout.readline() == "killed\n"

    assert _files(out / "store") == _files(calm.root)
    found = load_results(next(out.glob("cut-*")))
    assert [row.numbers for row in found.results] == [row.numbers for row in expected.results]


def test_a_cluster_without_ray_ends_in_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(sys, "argv", ["draftmark", "run", "quickstart", "--cluster", "local"])

    with pytest.raises(SystemExit) as stop:
        main.main()

    assert stop.value.code == 2
    said = capsys.readouterr().err
    hint = install_hint("ray")
    assert said == f"draftmark: --cluster needs Ray, which is not installed; run `{hint}`.\n"


def test_jobs_on_a_cluster_are_a_mistake_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "quickstart", "--cluster", "local", "--jobs", "2"]
    monkeypatch.setattr(sys, "argv", ["draftmark", *arguments])

    with pytest.raises(SystemExit) as stop:
        main.main()

    assert stop.value.code == 2
    assert "--jobs 2 counts stages of this machine" in capsys.readouterr().err


@needs_ray
def test_an_address_where_nobody_listens_ends_in_a_sentence(recipe: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"

    done = subprocess.run(
        [*_draftmark(recipe, tmp_path / "out"), "--cluster", address],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    assert f"There is no Ray cluster at '{address}'" in done.stderr
    assert "Traceback" not in done.stderr
