"""Child processes: they answer, fail in words, and leave nothing behind, whatever happens."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from draftmark.engines._vllm.child_process import Child, ChildFailure
from draftmark.pipeline.executor import execute_stages
from draftmark.progress import Progress
from draftmark.store.graph import Job, Node
from draftmark.store.store import Store

# Answers with its own number and that of a process that it started; some questions end it.
PROGRAM = """
import json, os, subprocess, sys, time
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
for line in sys.stdin:
    question = json.loads(line)
    if question == "hang":
        time.sleep(600)
    if question == "crash":
        print("the last words", file=sys.stderr, flush=True)
        os._exit(7)
    told = {"failed": "OSError: no"} if question == "fail" else {"answer": [question, other.pid]}
    print(json.dumps(told), flush=True)
"""
Start = Callable[..., Child]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return a function that starts the program."""
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")

    def started(timeout_s: float = 120.0) -> Child:
        command = [sys.executable, str(tmp_path / "program.py")]
        return Child("the program", command, dict(os.environ), timeout_s)

    return started


def gone(pid: int) -> bool:
    """Say whether a process has ended; one that nobody has waited for has."""
    for _ in range(200):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_it_answers_every_question(start: Start) -> None:
    child = start()
    assert [child.ask(text)[0] for text in ("a", "x" * 200_000)] == ["a", "x" * 200_000]
    child.close()


def test_what_fails_there_is_told_here_and_nothing_is_left(start: Start) -> None:
    child = start()
    other = child.ask("a")[1]
    with pytest.raises(ChildFailure, match="the program failed: OSError: no"):
        child.ask("fail")
    assert gone(child.pid)
    assert gone(other)


def test_a_crash_is_told_with_its_last_words_and_nothing_is_left(start: Start) -> None:
    child = start()
    other = child.ask("a")[1]
    with pytest.raises(ChildFailure, match="ended with exit code 7; its log ends: the last words"):
        child.ask("crash")
    assert gone(child.pid)
    assert gone(other)


def test_a_child_that_is_killed_is_told_and_nothing_is_left(start: Start) -> None:
    child = start()
    other = child.ask("a")[1]
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(ChildFailure, match="the program was ended by SIGKILL"):
        child.ask("b")
    assert gone(other)


def test_a_child_that_hangs_is_ended_with_all_that_it_started(start: Start) -> None:
    child = start(timeout_s=3.0)
    other = child.ask("a")[1]
    with pytest.raises(ChildFailure, match="did not answer within 3 s and was ended"):
        child.ask("hang")
    assert gone(child.pid)
    assert gone(other)


def test_a_child_that_is_stopped_is_ended_too(start: Start) -> None:
    """It reads nothing any more: a long question does not even get through."""
    child = start(timeout_s=3.0)
    child.ask("a")
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(ChildFailure, match="did not answer within 3 s"):
        child.ask("x" * 1_000_000)
    assert gone(child.pid)


def test_a_child_that_nothing_holds_any_more_ends(start: Start) -> None:
    child = start()
    pid, other = child.pid, child.ask("a")[1]
    del child
    assert gone(pid)
    assert gone(other)


@pytest.mark.parametrize("question", ["hang", "crash"])
def test_a_stage_whose_engine_is_gone_fails_and_the_rest_goes_on(
    question: str, start: Start, tmp_path: Path
) -> None:
    """Both arms are open, as in a measurement: the one that did nothing wrong ends as well."""
    pids: list[int] = []

    def build(job: Job) -> None:
        arms = [start(timeout_s=3.0), start(timeout_s=120.0)]
        pids.extend(pid for arm in arms for pid in (arm.pid, arm.ask("a")[1]))
        arms[0].ask(question)

    def made(job: Job) -> None:
        (job.out / "text").write_text("made")

    broken = Node("decodes", "an engine", {}, {}, code=(), build=build)
    other = Node("decodes", "another", {"other": True}, {}, code=(), build=made)
    store = Store(tmp_path / "store")
    failures = execute_stages([broken, other], store, Progress(quiet=True))
    assert failures.keys() == {broken.key}
    assert failures[broken.key].reason.startswith("ChildFailure: the program ")
    assert store.has(other)
    assert all(map(gone, pids))
