"""The folders of journals, `<store>/runs/<run>/<attempt>/`: which there are, and which live."""

import fcntl
import re
from pathlib import Path

from draftmark.store.store import RUNS

ALIVE = "alive"  # the process of an attempt locks this file, and touches it
_ATTEMPT = re.compile(r"\d{1,30}-\d+")


def attempts(store: Path, run: str | None = None) -> list[Path]:
    """Return the journals of the attempts at a run, or at all runs of a store, the latest last."""
    runs = [store / RUNS / run] if run else (store / RUNS).glob("*/")
    found = (path for folder in runs for path in folder.glob("*/") if _ATTEMPT.match(path.name))
    return sorted(found, key=attempt_number)


def attempt_number(folder: Path) -> int:
    """Return the number in the name of a journal: nanoseconds since 1970, by a right clock."""
    return int(folder.name.partition("-")[0])


def is_locked(folder: Path) -> bool:
    """True if a process that lives has locked a journal."""
    try:
        with (folder / ALIVE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
