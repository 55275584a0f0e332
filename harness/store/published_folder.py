"""Publishes a folder as a whole: it is written beside the old one, then both are swapped.

A reader, or a run that was killed, sees the old folder or the new one, never files of both. What
someone else put into the old folder is kept. A file in the folder lists the names that are ours.
"""

import ctypes
import errno
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from draftmark.errors import UserError
from draftmark.store.files import NEW_FILE, locked_folder, sync_folder
from draftmark.store.plain_files import read_plain, real_path

MARK = ".draftmark"  # the names of the folder's own entries, one a line; written last
_MAX_MARK = 10_000_000  # bytes
_BESIDE = (".published", ".replaced")  # the new folder, or the old one after the swap
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of linux/fcntl.h and linux/fs.h
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL)  # an old kernel, or another file system


def publish_folder(out: Path, files: Iterable[tuple[str, str | bytes]]) -> list[Path]:
    """Make a folder hold these files, by their paths in it; return their paths.

    Raises UserError if the folder holds something and was not published, or if another process
    publishes beside it.
    """
    named, out = out, real_path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with locked_folder(out.parent):
        for left in sorted(out.parent.iterdir()):
            if left.name.startswith(f".{out.name}.") and left.suffix in _BESIDE:
                _retire(left, out)  # a killed process left it
        _refuse_foreign(out)
        new = out.with_name(f".{out.name}.{secrets.token_hex(8)}{_BESIDE[0]}")
        new.mkdir()
        try:
            names = _write(new, files)
            _swap(new, out)
        finally:
            _retire(new, out)
        sync_folder(out.parent)
    return [named / name for name in names]


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not (out.is_dir() and ((out / MARK).is_file() or not any(out.iterdir()))):
        raise UserError(
            f"{out} holds files that were not published by this version, and would be replaced; "
            "name a new folder, or delete this one."
        )
    if out.is_dir() and (out / MARK).is_file():
        _own_names(out)  # raises now if the file cannot be read, not after the swap


def _write(folder: Path, files: Iterable[tuple[str, str | bytes]]) -> list[str]:
    """Write files into a new folder, then its mark; return their names, synced.

    Raises UserError for two files of one name, such as pages of results with a cell twice.
    """
    names: dict[str, None] = {}
    for name, content in files:
        if name in names:
            raise UserError(f"Two files would be {name}: two parts of the results are the same.")
        _write_new(folder / name, content)
        names[name] = None
    own = dict.fromkeys(Path(name).parts[0] for name in names)
    _write_new(folder / MARK, "\n".join(own))
    for place, _, found in os.walk(folder):
        for file in found:
            _sync(Path(place) / file)
        sync_folder(Path(place))
    return list(names)


def _write_new(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, NEW_FILE, 0o666), "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _swap(new: Path, out: Path) -> None:
    """Give the new folder the old one's name; the old one, if there is any, gets the new one's."""
    if not out.exists() or not any(out.iterdir()):
        new.replace(out)
        return
    try:
        _exchange(new, out)
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            raise
        old = new.with_suffix(_BESIDE[1])
        out.replace(old)
        new.replace(out)
        old.replace(new)


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders in one step (Linux's renameat2)."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(other))
    paths = os.fsencode(one), os.fsencode(other)
    if rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))


def _retire(folder: Path, out: Path) -> None:
    """Remove an old or unfinished folder; entries that are not ours move to `out`."""
    if folder.is_symlink() or not folder.is_dir():
        return
    if not (folder / MARK).is_file():
        shutil.rmtree(folder)  # unfinished, so all of it is ours
        return
    own = _own_names(folder)
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name in own):
        if entry.name in own:
            _remove(entry)
        elif entry.name != MARK and out.is_dir() and not os.path.lexists(out / entry.name):
            entry.replace(out / entry.name)
    if {entry.name for entry in folder.iterdir()} == {MARK}:
        (folder / MARK).unlink()  # last: without it all of the folder would be ours
        folder.rmdir()


def _own_names(folder: Path) -> set[str]:
    """Return the names that the mark of a folder lists; raises NotPlain for a giant."""
    return {*read_plain(folder / MARK, _MAX_MARK).decode("utf-8", "replace").splitlines()}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
