"""Looks after a store: what is in it and for whom, whether it is sound, what may go.

What a stored run or one under way needs never goes; of the rest, what was used longest ago goes
first. Nothing is taken from under a process: what somebody is making is locked.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from draftmark.errors import UserError
from draftmark.store.entries import ASIDE, ENTRY, LIGHT, SEAL, Damaged, read_entry, set_aside
from draftmark.store.run_locks import HOLDS, Hold, closure, holds
from draftmark.store.store import FAILURES, LOCKS, LOGS, RUNS, SCRATCH, WRITING, Store

_KEY = re.compile(r"[0-9a-f]{64}")
# What is no stage in a store, and in no pack is taken for one.
_BESIDE = {ASIDE, FAILURES, HOLDS, LOCKS, LOGS, RUNS, SCRATCH, WRITING}
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class Item:
    """A folder of a store that may stay or go; `used` is when, in seconds since 1970.

    `key` is empty of what nobody can be at work on.
    """

    directory: Path
    key: str
    num_bytes: int
    used: float
    made: float
    runs: tuple[str, ...] = ()  # that it was made for
    needed: bool = False

    @property
    def name(self) -> str:
        """What it is called in lines: its stage, or the folder that it lies in, and its key."""
        return f"{self.directory.parent.name:12} {self.directory.name[:12]}"


@dataclass(frozen=True)
class Collected:
    """What was taken away, or would be, and how many bytes the store holds then."""

    gone: tuple[Item, ...]
    num_bytes: int

    @property
    def freed(self) -> int:
        """How many bytes went."""
        return sum(item.num_bytes for item in self.gone)


def parse_size(text: str) -> int:
    """Return the bytes in words such as "20GB", in powers of 1000; raises UserError for others."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip(), re.ASCII)
    if not found or found[2].upper() not in _UNITS:
        raise UserError(f"{text!r} is no size; give one like 500MB or 20GB.")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def results(store: Store) -> list[Item]:
    """Return every result, by stage and key; raises UserError if there is no store."""
    _require(store)
    made = [path for path in folders(store.root) if (path / ENTRY).is_file()]
    known = holds(store)
    held = [key for hold in known if hold.status != "gone" for key in hold.keys]
    needed = closure({path.name: path / ENTRY for path in made}, held)
    return [_item(path, path.name, known, needed) for path in made]


def verify(store: Store) -> Iterator[tuple[Item, str]]:
    """Yield every result with what is wrong with it, if anything is: then it was set aside."""
    for item in results(store):
        try:
            read_entry(item.directory)
            yield item, ""
        except Damaged:
            yield item, _set_aside(store, item)


def collect(store: Store, limit: int | None = None, *, dry: bool = False) -> Collected:
    """Take away what was left behind, and while the store is above its limit what nobody needs.

    Raises UserError if there is no store.
    """
    _require(store)
    with store.lock_of(HOLDS):  # no run starts meanwhile
        total = size_of(store.root)
        gone = []
        kept = results(store)
        spare = [item for item in [*kept, *_unfinished(store, kept)] if not item.needed]
        for item in _left_behind(store, kept):
            gone += _take(store, item, dry=dry)
        for item in sorted(spare, key=lambda item: item.used):
            if limit is None or total - sum(each.num_bytes for each in gone) <= limit:
                break
            gone += _take(store, item, dry=dry)
    return Collected(tuple(gone), total - sum(item.num_bytes for item in gone))


def size_of(directory: Path) -> int:
    """Return the bytes of all files in a folder, without what links lead to."""
    return sum(
        (Path(place) / name).lstat().st_size
        for place, _, names in os.walk(directory)
        for name in names
    )


def label(item: Item) -> str:
    """Return what a result says that it is."""
    try:
        return str(json.loads((item.directory / ENTRY).read_bytes())["label"])
    except (OSError, ValueError, KeyError, TypeError):
        return "does not read"


def _require(store: Store) -> None:
    if not store.root.is_dir():
        raise UserError(f"There is no store {store.root}; name its folder with --store.")


def folders(root: Path) -> list[Path]:
    """Return the folders of results below a store's, whole or not."""
    return [
        path
        for path in sorted(root.glob("*/*"))
        if _KEY.fullmatch(path.name) and path.parent.name not in _BESIDE and path.is_dir()
    ]


def _item(path: Path, key: str, known: list[Hold], needed: frozenset[str]) -> Item:
    times = [(path / name).stat().st_mtime for name in (ENTRY, SEAL) if (path / name).exists()]
    made = times[0] if times else path.stat().st_mtime
    runs = tuple(hold.run for hold in known if key in hold.keys)
    return Item(path, key, size_of(path), max([made, *times]), made, runs, key in needed)


def _left_behind(store: Store, kept: list[Item]) -> Iterator[Item]:
    """Yield what no run reads again: of killed runs, damaged, checkpoints of what is finished."""
    done = _whole(kept)
    for path in sorted(store.root.glob(f"{WRITING}/*")):
        key = _KEY.match(path.name)
        yield _item(path, key[0] if key else "", [], frozenset())
    for path in sorted(store.root.glob(f"{ASIDE}/*")):
        yield _item(path, "", [], frozenset())
    for path in folders(store.root):
        if not (path / ENTRY).is_file():
            yield _item(path, path.name, [], frozenset())
    for path in sorted(store.root.glob(f"{SCRATCH}/*")):
        if path.name in done:
            yield _item(path, path.name, [], frozenset())


def _unfinished(store: Store, kept: list[Item]) -> Iterator[Item]:
    """Yield the checkpoints of what is not finished."""
    done = _whole(kept)
    known = holds(store)
    needed = frozenset(key for hold in known if hold.status != "gone" for key in hold.keys)
    for path in sorted(store.root.glob(f"{SCRATCH}/*")):
        if path.name not in done:
            yield _item(path, path.name, known, needed)


def _whole(kept: list[Item]) -> set[str]:
    """Return the keys of results that are not light: those may be under way once more."""
    return {item.key for item in kept if not (item.directory / LIGHT).exists()}


def _take(store: Store, item: Item, *, dry: bool) -> list[Item]:
    """Take a folder away, and return it; nothing, if somebody is at work on it."""
    try:
        with store.lock_of(item.key).acquire(timeout=0) if item.key else nullcontext():
            if not dry:
                (store.root / WRITING).mkdir(exist_ok=True)
                # In one step out of sight: half a result is never where a whole one was.
                away = item.directory.replace(store.root / WRITING / f"gone-{item.directory.name}")
                away.unlink() if away.is_symlink() else shutil.rmtree(away)
    except Timeout:
        return []
    return [item]


def _set_aside(store: Store, item: Item) -> str:
    """Move a damaged result away; return what was wrong with it, unless it was made anew."""
    with store.lock_of(item.key):
        try:
            read_entry(item.directory)
        except Damaged as damage:
            if not item.directory.exists():
                return ""
            return f"{damage}; set aside in {set_aside(store.root, item.directory)}"
    return ""
