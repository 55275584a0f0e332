"""Programs that mean harm do none, leave nothing behind, and are counted as what they are."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hostile_programs import GUARD, HOSTILE, Hostile

from draftmark.grading.isolation import bubblewrap
from draftmark.grading.sandbox import Limits, Outcome, Program, Sandbox

SECRET = "the canary sings"
# An odd limit, so that what this test started can be told from what others did.
LIMITS = Limits(
    cpu_s=1, wall_s=8, memory_bytes=128 * 2**20, file_bytes=2**20 + os.getpid(), processes=8
)
GRACE_S = 10

pytestmark = pytest.mark.skipif(
    bubblewrap.why_unavailable() is not None, reason=f"no isolation: {bubblewrap.why_unavailable()}"
)


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    """A port of this machine and an abstract socket, both of which listen."""
    with socket.create_server(("127.0.0.1", 0)) as port, socket.socket(socket.AF_UNIX) as name:
        name.bind("\0draftmark-canary")
        name.listen()
        yield [port, name]


@pytest.mark.slow
def test_hostile_programs_do_no_harm_and_are_counted_as_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listeners: list[socket.socket]
) -> None:
    canary = tmp_path / "canary.txt"
    canary.write_text(SECRET, encoding="utf-8")
    monkeypatch.setenv("DRAFTMARK_SECRET", SECRET)
    values = (str(canary), listeners[0].getsockname()[1], str(Path.home()))
    before = f"{GUARD}CANARY, PORT, HOME = {values}\n"
    programs = [Program(before + hostile.source, hostile.checks) for hostile in HOSTILE]

    outcomes = Sandbox(limits=LIMITS).run_many(programs)

    assert {hostile.name: outcome.status for hostile, outcome in _both(outcomes)} == {
        hostile.name: hostile.status for hostile in HOSTILE
    }
    assert all(outcome.isolated for outcome in outcomes)
    assert not [hostile.name for hostile, outcome in _both(outcomes) if SECRET in outcome.output]
    assert max(len(outcome.output) for outcome in outcomes) <= 2000
    assert canary.read_text("utf-8") == SECRET
    assert [path.name for path in tmp_path.iterdir()] == ["canary.txt"]
    assert [_reached(listener) for listener in listeners] == [False, False]
    assert _survivors() == []


def _both(outcomes: list[Outcome]) -> Iterator[tuple[Hostile, Outcome]]:
    return zip(HOSTILE, outcomes, strict=True)


def _reached(listener: socket.socket) -> bool:
    listener.settimeout(0)
    try:
        listener.accept()
    except BlockingIOError:
        return False
    return True


def _survivors() -> list[str]:
    """Return what still runs of what this test started, once the kernel had time to end it."""
    deadline = time.monotonic() + GRACE_S
    while (alive := list(_running())) and time.monotonic() < deadline:
        time.sleep(0.1)
    return alive


def _running() -> Iterator[str]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(LIMITS.file_bytes) in process.cmdline():
                yield f"{process.pid} {process.status()}"
