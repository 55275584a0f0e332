"""Run locks: which results of a store the stored and running runs need.

Before a run starts it writes its name, the folder of its results and the keys of its stages to
`<store>/holds/`, and locks this file. The system releases the lock when the run's process ends.
"""

import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import BaseModel

from draftmark.errors import UserError
from draftmark.store.files import write_json
from draftmark.store.graph import Node, json_digest
from draftmark.store.plain_files import read_plain
from draftmark.store.reading import explained, read_json
from draftmark.store.run_folder import RESULTS, load_numbers
from draftmark.store.store import Store

RUN_LOCKS = "holds"
_KEY = re.compile(rb"\b[0-9a-f]{64}\b")


@dataclass(frozen=True)
class RunLock:
    """A run with the keys of its stages; "gone" if it neither runs nor has stored results.

    It is "unreadable" if its lock file is damaged: then its keys are unknown.
    """

    run: str
    status: Literal["running", "stored", "gone", "unreadable"]
    keys: frozenset[str]
    problem: str = ""  # why its lock file or its results cannot be read
    file: Path | None = None  # None for a run folder without a lock


@contextmanager
def lock_run(store: Store, directory: Path, nodes: Iterable[Node]) -> Iterator[None]:
    """Protect the nodes' results in the block, and later as long as `directory` has results."""
    place = os.path.relpath(directory.resolve(), store.root.resolve())
    (store.root / RUN_LOCKS).mkdir(parents=True, exist_ok=True)
    path = store.root / RUN_LOCKS / f"{directory.name}-{json_digest(place)[:8]}.json"
    with store.lock(RUN_LOCKS):  # waits until a garbage collection ends
        if not path.exists():
            keys = sorted(node.key for node in nodes)
            write_json(path, {"run": directory.name, "results": place, "keys": keys})
        file = path.open("rb+")
        fcntl.flock(file, fcntl.LOCK_SH)
    with file:
        yield


def read_run_locks(store: Store) -> list[RunLock]:
    """Return the locks of all runs of a store, and of run folders beside it without a lock file.

    What cannot be read is among them, with its problem.
    """
    found = [_read(store, path) for path in sorted((store.root / RUN_LOCKS).glob("*.json"))]
    locked = {lock.run for lock in found}
    beside = sorted(store.root.resolve().parent.glob(f"*/{RESULTS}"))
    return found + [_stored(path.parent) for path in beside if path.parent.name not in locked]


def _stored(directory: Path) -> RunLock:
    """Return the lock of a run's folder that has none.

    Whatever looks like a key is one in results that cannot be read: of an older version, say.
    """
    try:
        rows = load_numbers(directory).results
    except UserError as error:
        problem = f"Passed by: {error} Stages that it names are kept."
        return RunLock(directory.name, "stored", _keys_in(directory / RESULTS), problem)
    entries = [entry for row in rows for entry in row.provenance.get("entries", ())]
    return RunLock(directory.name, "stored", frozenset(entry["key"] for entry in entries))


def _keys_in(path: Path) -> frozenset[str]:
    try:
        text = read_plain(path)
    except OSError:
        return frozenset()
    return frozenset(key.decode() for key in _KEY.findall(text))


class _Note(BaseModel):
    """What the file of a run lock says."""

    run: str
    results: str
    keys: frozenset[str]


def _read(store: Store, path: Path) -> RunLock:
    try:
        note = read_json(path, _Note, f"delete it, and run {path.stem} again")
        with explained(path), _opened(path) as file:
            if not _is_free(file):
                return RunLock(note.run, "running", note.keys, file=path)
            stored = (store.root / note.results / RESULTS).is_file()
    except UserError as error:
        return RunLock(path.stem, "unreadable", frozenset(), str(error), path)
    return RunLock(note.run, "stored" if stored else "gone", note.keys, file=path)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb+")  # some network file systems lock only what may be written
    except OSError:
        return path.open("rb")  # a read-only file system


def _is_free(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
