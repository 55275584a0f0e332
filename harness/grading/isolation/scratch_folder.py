"""The scratch space of a program: an isolated one has a /tmp of its own, another one a folder.

A killed process cannot delete such a folder. It holds a lock on the folder instead, which the
system releases, and the next process deletes the folders that nobody has locked.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "draftmark-program-"


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """Yield a new folder, which is deleted with the block."""
    _delete_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        # Until the lock is taken, another process may delete the folder: then OSError is raised,
        # and the program is run again.
        with _locked(folder):
            yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def count_files(pid: int, scratch_bytes: int) -> int:
    """Return the number of files in the /tmp, of `scratch_bytes`, of a process below `pid`."""
    import psutil

    counts = [0]
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(OSError):
                facts = os.statvfs(f"/proc/{process.pid}/root/tmp")
                if facts.f_blocks * facts.f_frsize == scratch_bytes:  # not the machine's own /tmp
                    counts.append(facts.f_files - facts.f_ffree)
    return max(counts)


def _delete_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), _locked(folder):
            if folder.lstat().st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder in the block; raises OSError if another process does."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(number), folder.lstat()):
            raise FileNotFoundError(f"{folder} was replaced")
        yield
    finally:
        os.close(number)
