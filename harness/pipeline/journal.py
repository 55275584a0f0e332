"""The journal of a run: its events, as JSON lines in a folder of the store.

Every process writes its own file, so machines that share the folder never write to the same file.
Runs never read a journal: `draftmark status` does.
"""

import fcntl
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from draftmark.errors import UserError
from draftmark.pipeline.stopping import Stopped
from draftmark.progress import Progress, Step
from draftmark.store.graph import Node
from draftmark.store.journals import ALIVE, attempt_number, attempts
from draftmark.store.store import RUNS, Store

HEARTBEAT_S = 5.0  # the time between two touches of ALIVE, which other machines watch
_STEP_S = 1.0  # the least time between two events of one step


@dataclass(frozen=True)
class Journal:
    """A folder for the events of one attempt at a run; without a folder they are dropped."""

    folder: Path | None = None

    @classmethod
    def open(cls, store: Store, run: str) -> "Journal":
        """Return the journal of a new attempt at `run`, the name of a run's folder."""
        # After all others of the store, even if the clock went back.
        number = max(time.time_ns(), 1 + max(map(attempt_number, attempts(store.root)), default=0))
        folder = (store.root / RUNS / run / f"{number:020d}-{os.getpid()}").resolve()
        folder.mkdir(parents=True)
        return cls(folder)

    def record(self, event: str, **facts: Any) -> None:
        """Append an event, with its time, host and process."""
        if self.folder is None:
            return
        host, pid = platform.node(), os.getpid()
        line = json.dumps({"at": time.time(), "event": event, "host": host, "pid": pid, **facts})
        with (self.folder / f"{host}-{pid}.jsonl").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def record_run(self, title: str, nodes: Iterable[Node], store: Store, jobs: int = 1) -> None:
        """Append the run's first event: its stages, and which of them are cached."""
        nodes = list(nodes)
        missing = store.missing(nodes)
        stages = [
            {
                "key": node.key,
                "stage": node.stage,
                "label": node.label,
                "inputs": [upstream.key for upstream in node.inputs.values()],
                "cached": node.key not in missing,
            }
            for node in nodes
            if not node.existing_folder
        ]
        self.record("run", title=title, started=_process_start(), jobs=jobs, stages=stages)

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Touch ALIVE at intervals while the block runs; append how the run ended."""
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), daemon=True)
        thread.start()
        try:
            with self._lock():
                yield
        except BaseException as error:
            self.record("end", reason=_reason(error))
            raise
        else:
            self.record("end", reason="")
        finally:
            ended.set()
            thread.join()

    def _lock(self) -> AbstractContextManager[object]:
        """Lock ALIVE, which shows other processes that this one lives, whatever the clock says."""
        if self.folder is None:
            return nullcontext()
        file = (self.folder / ALIVE).open("ab")
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    def _beat(self, ended: threading.Event) -> None:
        while self.folder is not None:
            (self.folder / ALIVE).touch()
            if ended.wait(HEARTBEAT_S):
                return

    def recorded(self, progress: Progress, node: Node) -> Progress:
        """Return a progress that shows a node's steps and appends them to the journal."""
        return _JournalProgress(progress, self, node) if self.folder else progress


def _reason(error: BaseException) -> str:
    if isinstance(error, Stopped | UserError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _process_start() -> float:
    """Return the start time of this process, which tells apart processes with the same id."""
    import psutil

    return float(psutil.Process().create_time())


class _JournalProgress(Progress):
    def __init__(self, shown: Progress, journal: Journal, node: Node) -> None:
        super().__init__(shown.console, quiet=shown.quiet)
        self._shown, self._journal, self._node = shown, journal, node

    def say(self, line: str) -> None:
        self._shown.say(line)

    @contextmanager
    def step(self, label: str, total: int) -> Iterator[Step]:
        def append(done: int) -> None:
            facts = {"label": label, "done": done, "total": total}
            self._journal.record("step", key=self._node.key, **facts)

        with self._shown.step(label, total) as step:
            yield _JournalStep(step, append)


class _JournalStep:
    def __init__(self, shown: Step, append: Callable[[int], None]) -> None:
        self._shown, self._append = shown, append
        self._done, self._appended_at = 0, 0.0

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._shown.advance(amount, note)
        self._done += amount
        if time.monotonic() - self._appended_at >= _STEP_S:
            self._appended_at = time.monotonic()
            self._append(self._done)


NO_JOURNAL = Journal()
