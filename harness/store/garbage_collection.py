"""Garbage collection: list and verify the results of a store, delete what no run needs.

Results that a stored or running run needs are never deleted; the others go least recently used
first. A folder whose key a process has locked stays.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from draftmark.errors import UserError
from draftmark.store.entries import (
    ENTRY,
    SEAL,
    Damaged,
    read_entry,
    stored_facts,
    stored_inputs,
)
from draftmark.store.leftovers import delete_free_locks, delete_leftovers, leftover_files
from draftmark.store.run_locks import RUN_LOCKS, RunLock, read_run_locks
from draftmark.store.store import (
    ASIDE,
    CHECKS,
    FAILURES,
    LOCKS,
    LOGS,
    RUNS,
    SCRATCH,
    WRITING,
    Store,
)

_KEY = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = (WRITING, ASIDE, SCRATCH)  # of killed runs, damaged results, checkpoints
_NOT_STAGES = {*_UNFINISHED, CHECKS, FAILURES, RUN_LOCKS, LOCKS, LOGS, RUNS}
Note = Callable[[str], object]
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def _drop(note: str) -> None:
    """Ignore a note."""


@dataclass(frozen=True)
class StoredFolder:
    """A result, or another folder of a store that may be deleted."""

    directory: Path
    key: str  # a process that writes here locks this key; "" if none writes
    num_bytes: int
    used: float  # time of last use, in seconds since 1970
    made: float  # likewise
    runs: tuple[str, ...]  # runs that have this result as a stage
    needed: bool  # a stored or running run needs it, perhaps as an input

    @property
    def name(self) -> str:
        """The parent folder, which is a result's stage, and the start of the key."""
        return f"{self.directory.parent.name:12} {self.directory.name[:12]}"

    @property
    def label(self) -> str:
        """The label in a result's entry."""
        facts = stored_facts(self.directory)
        return facts[0] if facts else "unreadable"


@dataclass(frozen=True)
class Collected:
    """The folders that were deleted, or would be, and the bytes of the store without them."""

    gone: tuple[StoredFolder, ...]
    num_bytes: int
    left: tuple[Path, ...] = ()  # journals and run locks

    @property
    def freed(self) -> int:
        """The bytes of the deleted folders."""
        return sum(item.num_bytes for item in self.gone)


def parse_size(text: str) -> int:
    """Return the bytes of a size such as "20GB", in powers of 1000; raises UserError if invalid."""
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip(), re.ASCII)
    if not size or size[2].upper() not in _UNITS:
        raise UserError(f"{text!r} is not a size; give one like 500MB or 20GB.")
    return int(float(size[1]) * _UNITS[size[2].upper()])


def stored_results(store: Store, note: Note = _drop) -> list[StoredFolder]:
    """Return every result, by stage and key; raises UserError if there is no store.

    `note` takes a sentence on each run that cannot be read.
    """
    finished = [path for path in _stage_folders(store) if (path / ENTRY).is_file()]
    return list(_items(store, finished, _noted_runs(store, note)))


def _noted_runs(store: Store, note: Note) -> list[RunLock]:
    runs = read_run_locks(store)
    for run in runs:
        if run.problem:
            note(run.problem)
    return runs


def verify_store(store: Store, note: Note = _drop) -> Iterator[tuple[StoredFolder, str]]:
    """Yield every result with its damage ("" if intact); set damaged results aside.

    `note` takes a sentence on each run that cannot be read.
    """
    for item in stored_results(store, note):
        yield item, _set_aside(store, item) if _damage(item.directory) else ""


def _set_aside(store: Store, item: StoredFolder) -> str:
    """Set a damaged result aside, unless a process replaces it meanwhile; return its damage."""
    damage = _damage(item.directory)
    try:
        with store.lock(item.key):
            if damage := _damage(item.directory):
                damage += f"; set aside in {store.set_aside(item.directory)}"
    except OSError as error:
        damage += f"; not set aside: {error.strerror}"
    return damage


def _damage(directory: Path) -> str:
    try:
        read_entry(directory)
    except Damaged as damage:
        return str(damage) if directory.exists() else ""
    return ""


def collect_garbage(
    store: Store, limit: int | None = None, *, dry: bool = False, note: Note = _drop
) -> Collected:
    """Delete leftovers, then folders that no run needs while the store is above `limit` bytes.

    Leftovers: folders of killed runs, damaged results, checkpoints of finished stages, journals and
    locks that no run needs. With `dry` nothing is deleted. `note` takes a sentence on each run
    whose results cannot be read. Raises UserError if there is no store, if one of its folders is a
    link, or if a run's lock file is damaged: its needs are unknown.
    """
    gone: list[StoredFolder] = []
    spare: list[StoredFolder] = []
    stages = _stage_folders(store)
    _refuse_links(store)
    reads = dry and not os.access(store.root, os.W_OK)
    with nullcontext() if reads else store.lock(RUN_LOCKS):  # no run starts meanwhile
        runs = _noted_runs(store, note)
        if unknown := [run.problem for run in runs if run.status == "unreadable"]:
            raise UserError(unknown[0])
        left = list(leftover_files(store, runs))
        if not dry:
            delete_leftovers(left)
        total = folder_size(store.root)
        finished = {path.name for path in stages if (path / ENTRY).is_file()}
        others = [path for name in _UNFINISHED for path in sorted(store.root.glob(f"{name}/*"))]
        for item in _items(store, [*others, *stages], runs):
            folder = item.directory.parent.name
            if folder == SCRATCH:
                leftover = item.key in finished
            else:
                leftover = folder in _UNFINISHED or not (item.directory / ENTRY).is_file()
            if leftover:
                gone += _delete(store, item, dry=dry)
            elif not item.needed:
                spare.append(item)
        for item in sorted(spare, key=lambda item: item.used):
            if limit is None or total - sum(each.num_bytes for each in gone) <= limit:
                break
            gone += _delete(store, item, dry=dry)
        if not dry:
            delete_free_locks(store)
    return Collected(tuple(gone), total - sum(item.num_bytes for item in gone), tuple(left))


def _refuse_links(store: Store) -> None:
    """Raise UserError if a folder of the store is a link: what is in there may be anybody's."""
    for path in (*sorted(store.root.iterdir()), *sorted((store.root / RUNS).glob("*"))):
        if path.is_symlink():
            raise UserError(
                f"{path} is a link, and nothing is deleted through one; delete the link, or move "
                "the folder that it leads to here."
            )


def _delete(store: Store, item: StoredFolder, *, dry: bool) -> list[StoredFolder]:
    """Delete a folder; return it in a list, or [] if a process has locked it."""
    try:
        writes = item.key and os.access(store.root, os.W_OK)
        with store.lock(item.key).acquire(timeout=0) if writes else nullcontext():
            if not dry:
                (store.root / WRITING).mkdir(exist_ok=True)
                # One rename, so that a killed collection leaves no partial result in its place.
                away = item.directory.replace(store.root / WRITING / f"gone-{item.directory.name}")
                is_folder = away.is_dir() and not away.is_symlink()
                shutil.rmtree(away) if is_folder else away.unlink()
    except Timeout:
        return []
    return [item]


def folder_size(directory: Path) -> int:
    """Return the bytes of all files below a folder; links are not followed."""
    files = (Path(place) / name for place, _, names in os.walk(directory) for name in names)
    return sum(file.lstat().st_size for file in files)


def _stage_folders(store: Store) -> list[Path]:
    """Return all folders `<stage>/<key>` of a store; raises UserError if there is no store."""
    if not store.root.is_dir():
        raise UserError(f"There is no store {store.root}; name its folder with --store.")
    return [
        path
        for path in sorted(store.root.glob("*/*"))
        if _KEY.fullmatch(path.name) and path.parent.name not in _NOT_STAGES and path.is_dir()
    ]


def _items(
    store: Store, folders: Iterable[Path], runs: Sequence[RunLock]
) -> Iterator[StoredFolder]:
    """Yield folders of a store with their sizes, times and the runs that need them."""
    needed = _needed(store, runs)
    for path in folders:
        match = _KEY.match(path.name)
        key = match[0] if match else ""
        files = [path / name for name in (ENTRY, SEAL) if (path / name).exists()] or [path]
        times = [file.stat().st_mtime for file in files]
        names = tuple(run.run for run in runs if key in run.keys)
        yield StoredFolder(path, key, folder_size(path), max(times), times[0], names, key in needed)


def _needed(store: Store, runs: Iterable[RunLock]) -> set[str]:
    """Return the keys of all stages of the stored and running runs, and of their inputs."""
    folders = {path.name: path for path in _stage_folders(store)}
    waiting = [key for run in runs if run.status != "gone" for key in run.keys]
    needed: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key not in needed:
            needed.add(key)
            if key in folders:
                waiting += stored_inputs(folders[key])
    return needed
