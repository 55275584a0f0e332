"""Files that runs leave beside the results of a store: journals, run locks and locks of results."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from filelock import Timeout

from draftmark.store.journals import attempts, is_locked
from draftmark.store.run_locks import RunLock
from draftmark.store.store import LOCKS, Store


def leftover_files(store: Store, runs: Sequence[RunLock]) -> Iterator[Path]:
    """Yield what no run needs: run locks and journals of runs without results, older journals.

    The last journal of a run that runs or has results stays, for `draftmark status`.
    """
    kept = {run.run for run in runs if run.status != "gone"}
    for run in runs:
        if run.status == "gone" and run.file:
            yield run.file
    latest = {path.parent.name: path for path in attempts(store.root)}
    for path in attempts(store.root):
        is_last = path == latest[path.parent.name]
        if not (is_last and path.parent.name in kept) and not is_locked(path):
            yield path


def delete_leftovers(paths: Iterable[Path]) -> None:
    """Delete files and folders, and the folders above journals that are then empty."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        else:
            path.unlink(missing_ok=True)


def delete_free_locks(store: Store) -> None:
    """Delete the locks of results that no process holds; the next process makes its own.

    A lock is deleted by its holder: who waits for it meets a file without a name, and starts anew.
    """
    for path in (store.root / LOCKS).glob("*.lock"):
        try:
            with store.lock(path.stem).acquire(timeout=0):
                path.unlink(missing_ok=True)
        except (Timeout, OSError):
            continue
