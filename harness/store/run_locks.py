"""Run locks: which results of a store the stored and running runs need.

Before a run starts it writes its name, the folder of its results and the keys of its stages to
`<store>/holds/`, and locks this file. The system releases the lock when the run's process ends.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from draftmark.errors import UserError
from draftmark.store.graph import Node, json_digest
from draftmark.store.run_folder import RESULTS, load_results
from draftmark.store.store import Store, write_json

RUN_LOCKS = "holds"


@dataclass(frozen=True)
class RunLock:
    """A run with the keys of its stages; "gone" if it neither runs nor has stored results."""

    run: str
    status: Literal["running", "stored", "gone"]
    keys: frozenset[str]
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

    Raises UserError if a lock file or such a folder is damaged.
    """
    found = [_read(store, path) for path in sorted((store.root / RUN_LOCKS).glob("*.json"))]
    locked = {lock.run for lock in found}
    for path in sorted(store.root.resolve().parent.glob(f"*/{RESULTS}")):
        if path.parent.name not in locked:
            rows = load_results(path.parent).results
            entries = [entry for row in rows for entry in row.provenance.get("entries", ())]
            keys = frozenset(entry["key"] for entry in entries)
            found.append(RunLock(path.parent.name, "stored", keys))
    return found


def _read(store: Store, path: Path) -> RunLock:
    with path.open("rb+") as file:
        try:
            facts = json.loads(file.read())
            run, results, keys = str(facts["run"]), str(facts["results"]), frozenset(facts["keys"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} cannot be read ({error}); delete it, and run {path.stem} again."
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return RunLock(run, "running", keys, path)
    stored = (store.root / results / RESULTS).is_file()
    return RunLock(run, "stored" if stored else "gone", keys, path)
