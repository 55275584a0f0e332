"""Writes files: every file of a run, a store or accepted numbers goes through `replace_file`.

A folder may come from elsewhere and hold links under any name. The data go to a new file of a
random name in the same folder, are synced, and replace the old file by a rename, so no link is
followed and no reader meets half a file.
"""

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, BinaryIO

from draftmark.errors import UserError
from draftmark.store.plain_files import NotPlain, open_plain

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ELOOP),
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ETXTBSY, errno.EMFILE, errno.ENFILE),
    *(errno.EBUSY, errno.EXDEV),
)
_LOST = (errno.EIO, errno.ESTALE)
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.tmp")
_NOT_FOR_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # sync or lock, on some file systems
_LOCK_WAIT_S, _LOCK_POLL_S = 60.0, 0.05


@contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file, which replaces `path` when the block ends; a link there is not followed.

    If the block raises, `path` stays as it was. An OSError names the file. What killed processes
    left half written in the same folder is deleted first.
    """
    with _naming(path):
        _delete_unfinished(path.parent)
        temporary, number = _new_file(path.parent)
        with os.fdopen(number, "wb") as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        sync_folder(path.parent)


def _new_file(folder: Path) -> tuple[Path, int]:
    """Return the path and descriptor of a new file, locked as long as it is open."""
    while True:
        path = folder / f".{secrets.token_hex(16)}.tmp"
        number = os.open(path, NEW_FILE, 0o666)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(number, fcntl.LOCK_EX)
        if path.exists():  # else another process deleted it before it was locked
            return path, number
        os.close(number)


def _delete_unfinished(folder: Path) -> None:
    """Delete files of `_new_file` that no process has locked."""
    for path in folder.glob(".*.tmp"):
        if not _UNFINISHED.fullmatch(path.name):
            continue
        with suppress(OSError):  # a link, or a file that is being written or has got its name
            number = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(number, "rb"):
                if stat.S_ISREG(os.fstat(number).st_mode):
                    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name `path` in an OSError of the block that names no file, or an unfinished one."""
    try:
        yield
    except OSError as error:
        named = Path(str(error.filename))
        if error.filename is None or _UNFINISHED.fullmatch(named.name):
            error.filename, error.filename2 = str(path), None
        raise


def sync_folder(directory: Path) -> None:
    """Write a folder's names to the disk, where the file system can."""
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in _NOT_FOR_FOLDERS:
            raise
    finally:
        os.close(number)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file as `replace_file` does."""
    with replace_file(path) as file:
        file.write(data)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file as `replace_file` does; raises ValueError if a number is not finite."""
    write_atomically(path, json.dumps(value, indent=1, allow_nan=False).encode())


def copy_file(source: Path, path: Path) -> None:
    """Copy a file as `replace_file` writes."""
    with source.open("rb") as read, replace_file(path) as written:
        shutil.copyfileobj(read, written)


def remove_odd_files(directory: Path) -> None:
    """Remove links and what is not plain (see `open_plain`) from a folder's path and all below it.

    So nothing is written through a link, and nothing waits for the other end of a FIFO.
    """
    if directory.is_symlink():
        directory.unlink()
    for place, folders, files in os.walk(directory):
        for path in (Path(place) / name for name in (*folders, *files)):
            if path.is_symlink() or not (path.is_dir() or _is_plain(path)):
                path.unlink()


def _is_plain(path: Path) -> bool:
    try:
        with suppress(PermissionError):
            open_plain(path).close()
    except NotPlain:
        return False
    return True


@contextmanager
def locked_folder(directory: Path) -> Iterator[None]:
    """Hold a lock on a folder in the block; the lock ends with the process and leaves no file.

    Raises UserError if another process holds the lock for a minute, or if the file system has no
    such locks.
    """
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _wait_for_lock(number, directory)
        yield
    finally:
        os.close(number)


def _wait_for_lock(number: int, directory: Path) -> None:
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"Another process writes to {directory}; try again when it has ended."
                ) from error
            time.sleep(_LOCK_POLL_S)
        except OSError as error:
            raise UserError(
                f"{directory} cannot be locked ({error.strerror}), so another process may write "
                "there at the same time; name a folder on a local disk."
            ) from error


@contextmanager
def scratch_folder(prefix: str, directory: Path) -> Iterator[Path]:
    """Yield a new folder in `directory`, which is deleted with the block.

    Those of the prefix that killed processes left are deleted first: a folder in use is locked.
    """
    for left in directory.glob(f"{prefix}*"):
        with suppress(OSError), _locked_alone(left):
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=prefix, dir=directory) as name, _locked_alone(Path(name)):
        yield Path(name)


@contextmanager
def _locked_alone(directory: Path) -> Iterator[None]:
    """Hold the lock of a folder in the block; raises OSError if another process does."""
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(number)


def explain_full_disk(error: Exception, where: Path) -> UserError | None:
    """Return the error to show if a disk is full, else None; `where` is where most is written."""
    # safetensors raises its own error, with the system's message and no errno.
    full = getattr(error, "errno", None) in _FULL
    if not full and os.strerror(errno.ENOSPC) not in str(error):
        return None
    place = _full_place(error, where)
    fix = "free some space there"
    if place == where:
        fix = "free some space (draftmark store gc), or name another folder with --store"
    return UserError(
        f"The disk of {place} is full ({_free(place) / 1e9:.2f} GB free). Finished results are "
        f"kept: {fix}, then run again."
    )


def _full_place(error: Exception, where: Path) -> Path:
    """Return `where`, or a place on the disk that an error is of, if that is another one.

    An error that names no file is of the fullest disk among those that draftmark writes to.
    """
    named = getattr(error, "filename", None)
    if named is None:
        return min(where, Path(gettempdir()), Path.cwd(), key=_free)
    place = _existing(Path(str(named)))
    return where if place.stat().st_dev == _existing(where).stat().st_dev else place


def _free(place: Path) -> int:
    return shutil.disk_usage(_existing(place)).free


def _existing(place: Path) -> Path:
    return next(path for path in (place, *place.absolute().parents) if path.exists())


def explain_refused_file(error: Exception) -> UserError | None:
    """Return the error to show if the system refused to open or write a file, else None."""
    if not isinstance(error, OSError) or error.errno not in _REFUSED:
        return None
    if error.filename is None:  # a read or a write of an open file
        return _explain_lost_disk(error) if error.errno in _LOST else None
    return UserError(
        f"{error.filename} cannot be used: {error.strerror}; check the path and its permissions, "
        "or name another folder."
    )


def _explain_lost_disk(error: OSError) -> UserError:
    return UserError(
        f"A file cannot be read or written to its end: {error.strerror}. A disk fails, or a shared "
        "folder was lost; check them, then run again."
    )
