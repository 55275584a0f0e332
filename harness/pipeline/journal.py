"""What a run tells of itself while it goes on: events as JSON lines in a folder of the store.

Every process writes a file of its own, so that machines that share the folder never write to one
file at once. A journal is never read by a run: losing it loses nothing.
"""

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from draftmark.errors import UserError
from draftmark.pipeline.stopping import Stopped
from draftmark.progress import Progress, Step
from draftmark.store.graph import Node
from draftmark.store.store import RUNS, Store

ALIVE = "alive"
BEAT_S = 5.0  # how often a run shows that it lives, to those who cannot see its process
_STEP_S = 1.0  # how often the counts within a stage are told


@dataclass(frozen=True)
class Journal:
    """Where a run's events go; nowhere without a folder."""

    folder: Path | None = None

    @classmethod
    def open(cls, store: Store, run: str) -> "Journal":
        """Return the journal of a new attempt at a run, named as its results are."""
        attempt = f"{time.time_ns():020d}-{os.getpid()}"
        folder = (store.root / RUNS / run / attempt).resolve()
        folder.mkdir(parents=True)
        return cls(folder)

    def tell(self, event: str, **facts: Any) -> None:
        """Note an event with its time and the process that it happened in."""
        if self.folder is None:
            return
        who = {"host": platform.node(), "pid": os.getpid()}
        line = json.dumps({"at": time.time(), "event": event, **who, **facts})
        name = f"{who['host']}-{who['pid']}.jsonl"
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def tell_run(self, title: str, nodes: Iterable[Node], store: Store) -> None:
        """Note what the run is: its stages, and which of them are there already."""
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
        self.tell("run", title=title, started=_process_start(), stages=stages)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Show that the run lives while the block runs, and note how it ended."""
        over = threading.Event()
        beating = threading.Thread(target=self._beat, args=(over,), daemon=True)
        beating.start()
        try:
            yield
        except BaseException as error:
            self.tell("end", reason=_reason(error))
            raise
        else:
            self.tell("end", reason="")
        finally:
            over.set()
            beating.join()

    def _beat(self, over: threading.Event) -> None:
        while self.folder is not None:
            (self.folder / ALIVE).touch()
            if over.wait(BEAT_S):
                return

    def listening(self, progress: Progress, node: Node) -> Progress:
        """Return a progress that tells the journal how far a stage is, beside what it shows."""
        return _Told(progress, self, node) if self.folder else progress


def _reason(error: BaseException) -> str:
    if isinstance(error, Stopped | UserError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _process_start() -> float:
    """Return when this process began: with its id, a name that is not given twice."""
    import psutil

    return float(psutil.Process().create_time())


class _Told(Progress):
    def __init__(self, shown: Progress, journal: Journal, node: Node) -> None:
        super().__init__(shown.console, quiet=shown.quiet)
        self._shown, self._journal, self._node = shown, journal, node

    @contextmanager
    def step(self, label: str, total: int) -> Iterator[Step]:
        def tell(done: int) -> None:
            facts = {"label": label, "done": done, "total": total}
            self._journal.tell("step", key=self._node.key, **facts)

        with self._shown.step(label, total) as step:
            yield _Counted(step, tell)


class _Counted:
    def __init__(self, shown: Step, tell: Callable[[int], None]) -> None:
        self._shown, self._tell = shown, tell
        self._done, self._told = 0, 0.0

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._shown.advance(amount, note)
        self._done += amount
        if time.monotonic() - self._told >= _STEP_S:
            self._told = time.monotonic()
            self._tell(self._done)


UNHEARD = Journal()
