"""Opens files that somebody else may have made: plain ones alone, of a size that they fill.

A FIFO in place of a file would be read for ever, a device without end, and a sparse file of 10 TB
for days.
"""

import os
import stat
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from draftmark.errors import UserError

MAX_TEXT = 2**30  # bytes of a file that is read whole, such as results.json
_GIANT = 2**30  # bytes; smaller sparse files do no harm
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class NotPlain(UserError, OSError):
    """A path that is not a plain file, or one that is mostly a hole or too large."""


def open_plain(path: Path) -> BufferedReader:
    """Return an open plain file; raises NotPlain before another is opened, or read."""
    _check_kind(path, path.stat())  # to open a device may already do something
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        facts = os.fstat(number)
        _check_kind(path, facts)
        if facts.st_size > _GIANT and _is_mostly_hole(number, facts):
            raise NotPlain(
                f"{path} is a sparse file: of its {facts.st_size / 1e9:.0f} GB only "
                f"{facts.st_blocks * 512 / 1e9:.1f} GB are there; copy it again."
            )
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def read_plain(path: Path, max_bytes: int = MAX_TEXT) -> bytes:
    """Return the bytes of a plain file; raises NotPlain for another, a larger or a failing one."""
    with open_plain(path) as file:
        try:
            few = os.fstat(file.fileno()).st_size <= max_bytes
            data = file.read(max_bytes + 1) if few else None
        except OSError as error:
            raise NotPlain(
                f"{path} cannot be read: {error.strerror}; check its disk, or copy it again."
            ) from error
    if data is None or len(data) > max_bytes:
        raise NotPlain(f"{path} is larger than {max_bytes / 1e6:.0f} MB; copy it again.")
    return data


def real_path(path: Path) -> Path:
    """Return a path without links, a loop of links as it is: `Path.resolve` may raise there."""
    return Path(os.path.realpath(path))


def check_plain_folder(directory: Path) -> None:
    """Raise NotPlain unless the files of a folder are plain; folders inside it are not read."""
    for path in sorted(directory.iterdir()):
        # A link may lead nowhere, and a file that nobody needs may be closed to this user.
        if path.exists() and not path.is_dir():
            with suppress(PermissionError):
                open_plain(path).close()


def _check_kind(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        kind = _KINDS.get(stat.S_IFMT(facts.st_mode), "no file")
        raise NotPlain(f"{path} is {kind}, not a plain file; delete it or copy it again.")


def _is_mostly_hole(number: int, facts: os.stat_result) -> bool:
    """True if less than half of a file is on the disk, and not because the disk compresses."""
    if facts.st_blocks * 512 > facts.st_size / 2:
        return False
    try:
        hole = os.lseek(number, 0, os.SEEK_HOLE)  # the end, where the system knows no holes
    except OSError:
        return False
    finally:
        os.lseek(number, 0, os.SEEK_SET)
    return hole < facts.st_size
