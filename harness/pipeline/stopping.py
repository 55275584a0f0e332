"""Ctrl-C: once, and what runs is finished before the run stops; twice, and it stops now."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

FLAG = "stop"
_SAID = b"\nStopping when the stages that run are done; Ctrl-C again stops now.\n"


class Stopped(Exception):
    """The run was asked to stop and has: what is finished is kept."""

    def __init__(self) -> None:
        super().__init__("Stopped; what is done is kept, and the same command goes on from there.")


class Stop:
    """Whether a run was asked to stop; told by a file too, for those who work on other machines."""

    def __init__(self, folder: Path | None = None) -> None:
        self.flag = folder / FLAG if folder else None
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear Ctrl-C while the block runs; the second one raises KeyboardInterrupt."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's
            return
        before = signal.signal(signal.SIGINT, self._hear)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if self.flag:
            self.flag.touch()
        os.write(2, _SAID)  # no console: one may be at work where the signal came


NEVER = Stop()
