"""Ctrl-C once lets what runs finish, twice stops at once; either way the next run goes on.

Real processes and real signals, of a run whose stages sleep.
"""

import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from draftmark.environment import install_hint
from draftmark.pipeline.status import RunStatus, run_status
from draftmark.store.entries import ENTRY
from tests.support.sleepers import RUN

SLEEPERS = [sys.executable, "-m", "tests.support.sleepers"]
LONG = ["--chains", "2", "--length", "3", "--seconds", "2"]


def _begin(folder: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*SLEEPERS, str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _until(holds: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    while not holds():
        assert process.poll() is None
        time.sleep(0.01)


def _runs(folder: Path) -> bool:
    """Say whether a stage is running."""
    return any(folder.glob("store/tmp/*"))


def _made(folder: Path) -> int:
    return len(list(folder.glob(f"store/*/*/{ENTRY}")))


def _now(folder: Path) -> RunStatus:
    return run_status(folder / "store", RUN)


def _goes_on(folder: Path, *options: str) -> None:
    """Assert that the same command makes the rest, and nothing else."""
    before = {path: path.stat().st_mtime_ns for path in folder.glob(f"store/*/*/{ENTRY}")}
    done = _begin(folder, *LONG[:-1], "0.01", *options)
    assert "0 failures" in done.communicate()[0]
    assert _made(folder) == 6
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    assert _now(folder).end == ""


@pytest.mark.slow
def test_ctrl_c_once_finishes_the_stage_that_runs_and_stops(tmp_path: Path) -> None:
    process = _begin(tmp_path, *LONG)
    _until(lambda: _runs(tmp_path), process)
    process.send_signal(signal.SIGINT)
    _until(lambda: _now(tmp_path).stopping, process)

    said, _ = process.communicate()

    assert process.returncode == 130
    assert said.startswith("Stopped. Finished results are kept")
    assert _made(tmp_path) == 1
    assert not _runs(tmp_path)
    assert (_now(tmp_path).end or "").startswith("Stopped")
    _goes_on(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason=f"Ray is not installed; {install_hint('ray')}"
)
@pytest.mark.parametrize("times", [1, 2])
def test_on_a_cluster_ctrl_c_does_the_same(tmp_path: Path, times: int) -> None:
    seconds = "4" if times == 1 else "600"
    process = _begin(tmp_path, *LONG[:-1], seconds, "--cluster", "local")
    _until(lambda: _runs(tmp_path), process)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _until(lambda: _now(tmp_path).stopping, process)
    if times == 2:
        process.send_signal(signal.SIGINT)

    said, _ = process.communicate()

    assert process.returncode == 130
    assert said.startswith("Stopped. Finished results are kept")
    assert _made(tmp_path) in ((1, 2) if times == 1 else (0,))
    assert psutil.wait_procs(below, timeout=60)[1] == []
    _goes_on(tmp_path)


@pytest.mark.slow
def test_ctrl_c_twice_stops_at_once_and_what_ran_is_no_result(tmp_path: Path) -> None:
    process = _begin(tmp_path, *LONG[:-1], "600")
    _until(lambda: _runs(tmp_path), process)
    process.send_signal(signal.SIGINT)
    _until(lambda: _now(tmp_path).stopping, process)
    process.send_signal(signal.SIGINT)

    process.communicate(timeout=60)

    assert process.returncode == 130
    assert _made(tmp_path) == 0
    _goes_on(tmp_path)


@pytest.mark.slow
def test_a_run_that_was_killed_is_seen_to_be_dead_and_goes_on(tmp_path: Path) -> None:
    process = _begin(tmp_path, *LONG[:-1], "600")
    _until(lambda: _runs(tmp_path), process)
    _until(lambda: bool(_now(tmp_path).in_state("running")), process)
    process.kill()
    process.communicate()

    assert (_now(tmp_path).end or "").startswith("it died. Finished results are kept")
    assert not _now(tmp_path).in_state("running")
    _goes_on(tmp_path)
