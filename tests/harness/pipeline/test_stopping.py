"""Ctrl-C once lets what runs finish, twice stops at once; either way the next run goes on.

Real processes and real signals, of a run whose stages sleep. Ctrl-C goes to every process of the
run, as a terminal sends it.
"""

import importlib.util
import os
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
        start_new_session=True,
    )


def _interrupt(process: "subprocess.Popen[str]") -> None:
    os.killpg(process.pid, signal.SIGINT)


def _until(holds: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    while not holds():
        assert process.poll() is None
        time.sleep(0.01)


def _runs(folder: Path) -> int:
    """Return the number of stages that run."""
    return len(list(folder.glob("store/tmp/*")))


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


def _below(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_once_finishes_the_stages_that_run_and_stops(tmp_path: Path, jobs: int) -> None:
    process = _begin(tmp_path, *LONG, "--jobs", str(jobs))
    _until(lambda: _runs(tmp_path) == jobs, process)
    below = _below(process)
    _interrupt(process)
    _until(lambda: _now(tmp_path).stopping, process)

    said, _ = process.communicate()

    assert process.returncode == 130
    assert said.startswith("Stopped. Finished results are kept")
    assert _made(tmp_path) == jobs
    assert not _runs(tmp_path)
    assert (_now(tmp_path).end or "").startswith("Stopped")
    assert psutil.wait_procs(below, timeout=10)[1] == []
    _goes_on(tmp_path, "--jobs", str(jobs))


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason=f"Ray is not installed; {install_hint('ray')}"
)
@pytest.mark.parametrize("times", [1, 2])
def test_on_a_cluster_ctrl_c_does_the_same(tmp_path: Path, times: int) -> None:
    seconds = "4" if times == 1 else "600"
    process = _begin(tmp_path, *LONG[:-1], seconds, "--cluster", "local")
    _until(lambda: _runs(tmp_path) > 0, process)
    below = psutil.Process(process.pid).children(recursive=True)
    _interrupt(process)
    _until(lambda: _now(tmp_path).stopping, process)
    if times == 2:
        _interrupt(process)

    said, _ = process.communicate()

    assert process.returncode == 130
    assert said.startswith("Stopped. Finished results are kept")
    assert _made(tmp_path) in ((1, 2) if times == 1 else (0,))
    assert psutil.wait_procs(below, timeout=60)[1] == []
    _goes_on(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_twice_stops_at_once_and_what_ran_is_no_result(tmp_path: Path, jobs: int) -> None:
    process = _begin(tmp_path, *LONG[:-1], "600", "--jobs", str(jobs))
    _until(lambda: _runs(tmp_path) == jobs, process)
    below = _below(process)
    _interrupt(process)
    _until(lambda: _now(tmp_path).stopping, process)
    _interrupt(process)

    process.communicate(timeout=60)

    assert process.returncode == 130
    assert _made(tmp_path) == 0
    assert psutil.wait_procs(below, timeout=10)[1] == []
    _goes_on(tmp_path, "--jobs", str(jobs))


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_was_killed_is_seen_to_be_dead_and_goes_on(tmp_path: Path, jobs: int) -> None:
    process = _begin(tmp_path, *LONG[:-1], "600", "--jobs", str(jobs))
    _until(lambda: _runs(tmp_path) == jobs, process)
    _until(lambda: len(_now(tmp_path).in_state("running")) == jobs, process)
    below = _below(process)
    process.kill()
    process.communicate()

    assert (_now(tmp_path).end or "").startswith("it died. Finished results are kept")
    assert not _now(tmp_path).in_state("running")
    assert psutil.wait_procs(below, timeout=10)[1] == []
    _goes_on(tmp_path, "--jobs", str(jobs))


SWALLOWS = """
import os, signal, sys, time

class Swallows:
    def find_spec(self, name, path=None, target=None):
        if name == "draftmark.pipeline.experiment":
            sys.meta_path.remove(self)
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(60)
            except BaseException:
                print("swallowed", file=sys.stderr)

sys.meta_path.insert(0, Swallows())
"""


def test_ctrl_c_in_an_import_that_would_swallow_it_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SWALLOWS)
    command = ["run", "quickstart", "--tasks", "gsm8k", "--out", str(tmp_path / "results")]
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])

    done = subprocess.run(
        [sys.executable, "-m", "draftmark.cli.start", *command],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (-signal.SIGINT, "\nStopped.\n")
    assert not list(tmp_path.glob(f"results/store/*/*/{ENTRY}"))


SWALLOWED = """
import signal
from contextlib import suppress
from draftmark.pipeline.stopping import Stop, note_interrupts

with note_interrupts():
    with suppress(KeyboardInterrupt):  # as a library's callback does
        signal.raise_signal(signal.SIGINT)
    with Stop().catch_interrupts():
        print("the run goes on")
"""


def test_a_run_that_begins_after_a_swallowed_ctrl_c_stops_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (-signal.SIGINT, "")
    assert done.stderr.endswith("KeyboardInterrupt\n")


UNHANDLED = """
import signal, sys
from draftmark.cli import main as command_line
from draftmark.cli.start import main

command_line.app = lambda **_: signal.raise_signal(signal.SIGINT)
main()
"""


def test_ctrl_c_in_a_command_that_handles_none_ends_it_in_a_sentence() -> None:
    done = subprocess.run([sys.executable, "-c", UNHANDLED], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (130, "draftmark: Stopped.\n")
