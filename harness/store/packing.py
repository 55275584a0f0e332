"""A run's finished stages in a folder small enough to commit, and from there into another store.

    entries/<stage>/<key>/    `entry.json` and its seal, as the store has them
    files/<sha256>            what entries hold, each distinct file once

Tables and text are packed. What weighs is left out: weights, hidden states; an entry that lacks
some is light in the store that it is unpacked into. The bytes of a pack depend on the run alone.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from filelock import Timeout
from pydantic import Field, ValidationError

from draftmark.config.validation import Section, explain_error
from draftmark.errors import UserError
from draftmark.store import garbage_collection
from draftmark.store.checksums import inside
from draftmark.store.entries import (
    ENTRY,
    LIGHT,
    SEAL,
    Damaged,
    Entry,
    describe,
    listed,
    read_facts,
    set_aside,
)
from draftmark.store.run_locks import HOLDS, closure, holds
from draftmark.store.store import WRITING, Store, write_whole
from draftmark.text import plain

ENTRIES, FILES = "entries", "files"
_PACKED = {".json", ".jsonl", ".parquet", ".txt", ".jinja", ".model"}  # tables and text, no code
_MOST_BYTES = 10**7  # of an `entry.json`
_STAGE = re.compile(r"[a-z]+")
_Key = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _File(Section):
    sha256: _Key
    bytes: Annotated[int, Field(ge=0)]


# Names that lead nowhere but into the entry's folder.
_Name = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")
]


class _Facts(Section):
    """What an `entry.json` may say."""

    key: _Key
    stage: str
    label: str
    settings: dict[str, Any]
    inputs: dict[str, _Key]
    files: dict[_Name, _File]
    seconds: float
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Moved:
    """What was packed or unpacked: how many results, how many of them light, how many passed by."""

    results: int
    light: int
    there: int = 0


def pack(store: Store, run: str, out: Path) -> Moved:
    """Write what is finished of a run into a folder; what a former pack left there stays.

    Raises UserError if the run is not known, or if what was to be packed is damaged.
    """
    known = holds(store)
    if run not in {hold.run for hold in known}:
        names = ", ".join(sorted(hold.run for hold in known)) or "none"
        raise UserError(f"Nothing is known of a run {run!r} in {store.root}; known: {names}.")
    keys = [key for hold in known if hold.run == run for key in hold.keys]
    moved = []
    with store.lock_of(HOLDS):  # nothing is taken away meanwhile
        folders = {path.name: path for path in garbage_collection.folders(store.root)}
        needed = closure({key: path / ENTRY for key, path in folders.items()}, keys)
        for key in sorted(needed & folders.keys()):
            if (folders[key] / ENTRY).is_file():
                try:
                    moved.append(_pack(folders[key], out))
                except Damaged as damage:
                    raise UserError(f"{damage}; set it aside: draftmark store verify.") from damage
    return Moved(len(moved), sum(moved))


def unpack(packed: Path, store: Store) -> Moved:
    """Put the results of a pack into a store, each verified; what is there already stays as it is.

    Raises UserError if the folder is no pack, or at the first thing that is not as it was packed.
    """
    moved, there = [], 0
    folders = [
        path
        for path in garbage_collection.folders(packed / ENTRIES)
        if _STAGE.fullmatch(path.parent.name)
    ]
    if not folders:
        raise UserError(f"{packed} is no pack; name a folder that `draftmark store pack` wrote.")
    for folder in folders:
        try:
            light = _unpack(packed, folder, store)
        except Damaged as damage:
            raise UserError(f"{damage}; bring the pack again.") from damage
        if light is None:
            there += 1
        else:
            moved.append(light)
    return Moved(len(moved), sum(moved), there)


def _pack(folder: Path, out: Path) -> bool:
    """Pack an entry, its files first; say whether some were left out."""
    entry, files = _read(folder, folder)
    for name, recorded in files.items():
        if _is_packed(name):
            to = inside(out, f"{FILES}/{recorded.sha256}")
            if not (to.is_file() and describe(to) == recorded.model_dump()):
                _copy(inside(folder, name), to, recorded)
    place = inside(out, f"{ENTRIES}/{entry.stage}/{entry.key}")
    place.mkdir(parents=True, exist_ok=True)
    for name in (SEAL, ENTRY):
        write_whole(place / name, (folder / name).read_bytes())
    return not all(map(_is_packed, files))


def _unpack(packed: Path, folder: Path, store: Store) -> bool | None:
    """Put an entry into the store; say whether it is light, or None if there is one already.

    So it is where somebody is making it now.
    """
    entry, files = _read(packed, folder)
    final = store.root / entry.stage / entry.key
    try:
        with store.lock_of(entry.key).acquire(timeout=0):
            if (final / ENTRY).is_file():
                return None
            if final.exists():
                set_aside(store.root, final)
            writing = store.root / WRITING / f"{entry.key}-unpacked"
            shutil.rmtree(writing, ignore_errors=True)
            _fill(writing, packed, folder, files)
            final.parent.mkdir(parents=True, exist_ok=True)
            writing.replace(final)
    except Timeout:
        return None
    return not all(map(_is_packed, files))


def _fill(writing: Path, packed: Path, folder: Path, files: Mapping[str, _File]) -> None:
    """Write an entry as the store has it, light if files were left out."""
    writing.mkdir(parents=True)
    for name, recorded in files.items():
        if _is_packed(name):
            _copy(inside(packed, f"{FILES}/{recorded.sha256}"), writing / name, recorded)
    if left_out := [name for name in files if not _is_packed(name)]:
        (writing / LIGHT).write_bytes(listed(left_out))
    for name in (SEAL, ENTRY):
        write_whole(writing / name, (folder / name).read_bytes())


def _is_packed(name: str) -> bool:
    return Path(name).suffix in _PACKED


def _read(root: Path, folder: Path) -> tuple[Entry, dict[str, _File]]:
    """Return an entry and its files, by names that lead nowhere; raises Damaged for any other.

    Raises UserError if links lead out of `root`.
    """
    for name in (ENTRY, SEAL):
        path = inside(root, str((folder / name).relative_to(root)))
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            raise Damaged(f"{path} is not what was written: it is missing or too large")
    entry = read_facts(folder)
    told = {name: value for name, value in vars(entry).items() if name != "directory"}
    try:
        return entry, _Facts.model_validate(told).files
    except ValidationError as error:
        raise Damaged(
            plain(explain_error(error, f"{folder / ENTRY} does not read")).removesuffix(".")
        ) from error


def _copy(source: Path, to: Path, recorded: _File) -> None:
    """Copy a file; raises Damaged if it is not as large as was recorded, or its hash differs."""
    if not source.is_file():
        raise Damaged(f"{source} is missing")
    if source.stat().st_size != recorded.bytes:
        raise Damaged(f"{source} is not what was written: it has another size")
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, to)
    if describe(to) != recorded.model_dump():
        to.unlink()
        raise Damaged(f"{source} is not what was written: its hash differs")
