"""Which results of a store are needed, and by which runs: those stored, and those under way.

A run writes down its name, where its results go and the keys of its stages before it starts
(`<store>/holds/`), and holds a lock on that file as long as it lives: the system lets go of it,
however the run ends.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from draftmark.errors import UserError
from draftmark.store.graph import Node, digest
from draftmark.store.run_folder import FILE, load_results
from draftmark.store.store import Store, write_json

HOLDS = "holds"
Status = Literal["running", "stored", "gone"]


@dataclass(frozen=True)
class Hold:
    """A run and the results that it is made of.

    `gone`: it does not run, and where its results should be there are none (any more).
    """

    run: str
    status: Status
    keys: frozenset[str]


@contextmanager
def held(store: Store, directory: Path, nodes: Iterable[Node]) -> Iterator[None]:
    """Keep the results of nodes in the store while the block runs, and then for `directory`."""
    place = os.path.relpath(directory.resolve(), store.root.resolve())
    (store.root / HOLDS).mkdir(parents=True, exist_ok=True)
    path = store.root / HOLDS / f"{directory.name}-{digest(place)[:8]}.json"
    with store.lock_of(HOLDS):  # not while results are taken away
        if not path.exists():
            keys = sorted(node.key for node in nodes)
            write_json(path, {"run": directory.name, "results": place, "keys": keys})
        file = path.open("rb+")
        fcntl.flock(file, fcntl.LOCK_SH)
    with file:
        yield


def holds(store: Store) -> list[Hold]:
    """Return all runs that the store knows, and those whose folders are beside it."""
    found = [_read(store, path) for path in sorted((store.root / HOLDS).glob("*.json"))]
    known = {hold.run for hold in found}
    for path in sorted(store.root.resolve().parent.glob(f"*/{FILE}")):
        if path.parent.name not in known:
            found.append(Hold(path.parent.name, "stored", _keys_of(path.parent)))
    return found


def closure(entries: Mapping[str, Path], keys: Iterable[str]) -> frozenset[str]:
    """Return keys with those of what their results were made of.

    `entries`: where the `entry.json` of each result is, by its key.
    """
    needed: set[str] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key not in needed:
            needed.add(key)
            with suppress(KeyError, OSError, ValueError, AttributeError):  # gone or damaged
                waiting += json.loads(entries[key].read_bytes())["inputs"].values()
    return frozenset(needed)


def _read(store: Store, path: Path) -> Hold:
    with path.open("rb+") as file:
        try:
            told = json.loads(file.read())
            run, results, keys = str(told["run"]), str(told["results"]), frozenset(told["keys"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} does not read ({error}); delete it, and run {path.stem} again."
            ) from error
        stored = (store.root / results / FILE).is_file()
        status: Status = "running" if _is_locked(file) else "stored" if stored else "gone"
        return Hold(run, status, keys)


def _is_locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _keys_of(directory: Path) -> frozenset[str]:
    """Return the keys that a run's results name as what they were made of."""
    return frozenset(
        entry["key"]
        for row in load_results(directory).results
        for entry in row.provenance.get("entries", ())
    )
