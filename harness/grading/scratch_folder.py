"""Scratch folders: new ones for a block, deleted with it even if the process is killed.

A killed process cannot delete its folder. It holds a lock on the folder instead, which the system
releases, and the next process deletes the folders that nobody has locked.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def scratch_folder(prefix: str, directory: Path | None = None) -> Iterator[Path]:
    """Yield a new folder in `directory`, by default the system's for temporary files.

    The folder is deleted with the block. Before, those of the prefix that killed processes of this
    user left are deleted.
    """
    place = directory or Path(tempfile.gettempdir())
    _delete_abandoned(place, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    try:
        # Until the lock is taken, another process may delete the folder: then OSError is raised,
        # and the user runs the command again.
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _delete_abandoned(place: Path, prefix: str) -> None:
    for folder in place.glob(f"{prefix}*"):
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
