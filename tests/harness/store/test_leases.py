"""A shared store's locks end with their holder, wherever it is; nothing is made in one folder."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import SoftFileLease, Timeout

from draftmark.pipeline.executor import ensure_entry
from draftmark.progress import Progress
from draftmark.store import store as store_module
from draftmark.store.graph import Job, Node
from draftmark.store.store import Store

QUIET = Progress(quiet=True)
HOLD = """
import socket, sys, time
from pathlib import Path
if sys.argv[2]:
    socket.gethostname = lambda: sys.argv[2]
from draftmark.store import store
from draftmark.store.graph import Node
store.LEASE_S = float(sys.argv[3])
with store.Store(Path(sys.argv[1])).lock(Node("stage", "n", {}, {}, ()).key):
    print("locked", flush=True)
    time.sleep(600)
"""


def _node() -> Node:
    return Node("stage", "n", {}, {}, (), lambda job: _write(job, "made"))


def _write(job: Job, text: str) -> None:
    (job.out / "text").write_text(text)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    shared = Store(tmp_path / "store")
    shared.share()
    return shared


def _holder(store: Store, host: str, lease_s: float) -> "subprocess.Popen[str]":
    """Return a process that holds the lock of the node, as if it were on another machine."""
    command = [sys.executable, "-c", HOLD, str(store.root), host, str(lease_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


@pytest.mark.slow
@pytest.mark.parametrize("host", ["", "another-machine"])
def test_a_lock_holds_while_its_holder_lives_and_not_after(
    store: Store, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LEASE_S", 3.0)
    process = _holder(store, host, 3.0)
    lock = store.lock(_node().key)
    assert isinstance(lock, SoftFileLease)
    with pytest.raises(Timeout):
        lock.acquire(timeout=4.5)  # longer than a lease: the holder renews it
    process.kill()
    process.communicate()

    entry = ensure_entry(_node(), store, QUIET)

    assert (entry.directory / "text").read_text() == "made"


def test_one_that_wakes_after_its_lease_was_taken_over_changes_nothing(store: Store) -> None:
    node = _node()
    late = store.new_directory(node)
    (late / "text").write_text("made")
    theirs = store.root / "tmp" / f"{node.key}-elsewhere-1"
    late.replace(theirs)
    entry = ensure_entry(node, Store(store.root), QUIET)
    before = (entry.directory / "entry.json").stat().st_mtime_ns
    assert not theirs.exists()  # what it left is cleared away

    theirs.mkdir()
    (theirs / "text").write_text("made")
    time.sleep(0.01)
    store.commit(node, theirs, seconds=1.0)

    assert (entry.directory / "entry.json").stat().st_mtime_ns == before
    assert not theirs.exists()
