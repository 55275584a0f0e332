"""Ctrl-C: the first lets running stages finish before the run stops, the second stops at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

FLAG = "stop"
_noted = threading.Event()  # Ctrl-C was pressed before a run could catch it
_MESSAGE = b"\nStopping when the running stages have finished; Ctrl-C again stops now.\n"


@contextmanager
def note_interrupts() -> Iterator[None]:
    """Note each Ctrl-C in the block, besides raising KeyboardInterrupt.

    Libraries swallow that exception now and then, in callbacks or a bare `except`. A run that
    begins afterwards stops at once. During an import Ctrl-C ends the process: the import might
    swallow the exception, too, or end in a traceback.
    """
    before = signal.getsignal(signal.SIGINT)
    ours = before is signal.default_int_handler or before is signal.SIG_DFL
    if not ours or not _in_main_thread():
        yield  # Ctrl-C is ignored, or not ours to handle
        return
    _noted.clear()
    signal.signal(signal.SIGINT, _note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _note(number: int, frame: "FrameType | None") -> None:
    if _imports(frame):
        os.write(2, b"\nStopped.\n")
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    _noted.set()
    raise KeyboardInterrupt


def _imports(frame: "FrameType | None") -> bool:
    """True if a frame, or one that it was called from, is of Python's import system."""
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class Stopped(Exception):
    """The run stopped because the user asked; finished results are kept."""

    def __init__(self) -> None:
        super().__init__("Stopped. Finished results are kept; run the same command to continue.")


class Stop:
    """The stop flag of a run: a file in the journal's folder shows it to other machines."""

    def __init__(self, folder: "Path | None" = None) -> None:
        self.flag = folder / FLAG if folder else None
        self.requested = False

    @contextmanager
    def catch_interrupts(self) -> Iterator[None]:
        """Set the flag on Ctrl-C while the block runs; the second raises KeyboardInterrupt.

        One that was pressed before the block, and swallowed, raises it too.
        """
        if not _in_main_thread():
            yield  # only the main thread can handle signals
            return
        if _noted.is_set():
            raise KeyboardInterrupt
        before = signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupt(self, number: int, frame: "FrameType | None") -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if self.flag:
            self.flag.touch()
        os.write(2, _MESSAGE)  # a signal handler must not wait for the console's lock


NO_STOP = Stop()
