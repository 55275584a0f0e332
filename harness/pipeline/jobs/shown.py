"""The progress of a stage in another process: sent as messages, shown by the run's process.

A message is the name of a method of `ShownStage` and its arguments.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

from draftmark.progress import Progress, Step

Send = Callable[[tuple[Any, ...]], None]
_SENT_S = 0.25  # the least time between two messages of one step


class SentProgress(Progress):
    """The progress of a worker; processes that its stages start are quiet."""

    def __init__(self, send: Send) -> None:
        super().__init__(quiet=True)
        self._send_now, self._lock, self._numbers = send, threading.Lock(), count()

    def _send(self, *message: Any) -> None:
        with self._lock:  # stages may count their units in several threads
            self._send_now(message)

    def say(self, line: str) -> None:
        """Send one line."""
        self._send("say", line)

    def stage_done(self, line: str) -> None:
        """Send the line of a stage that is done."""
        self._send("stage_done", line)

    @contextmanager
    def step(self, label: str, total: int) -> Iterator[Step]:
        """Send the units of a step while the block runs."""
        number = next(self._numbers)
        self._send("begin", number, label, total)
        step = _SentStep(lambda *units: self._send("advance", number, *units))
        try:
            yield step
        finally:
            step.flush()
            self._send("end", number)


class _SentStep:
    """Collects units, so that messages cost little."""

    def __init__(self, send: Callable[[int, str], None]) -> None:
        self._send, self._amount, self._note, self._sent_at = send, 0, "", 0.0

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._amount, self._note = self._amount + amount, note
        if time.monotonic() - self._sent_at >= _SENT_S:
            self.flush()

    def flush(self) -> None:
        """Send the units that were not sent yet."""
        self._sent_at = time.monotonic()
        if self._amount or self._note:
            self._send(self._amount, self._note)
        self._amount, self._note = 0, ""


class ShownStage:
    """Shows the messages of one stage; its steps carry its name, as other stages run beside it."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name = progress, name
        self._steps: dict[int, tuple[Step, ExitStack]] = {}

    def say(self, line: str) -> None:
        """Print one line."""
        self._progress.say(line)

    def stage_done(self, line: str) -> None:
        """Print the line of a stage that is done."""
        self._progress.stage_done(line)

    def begin(self, number: int, label: str, total: int) -> None:
        """Show a step of `total` units."""
        stack = ExitStack()
        step = stack.enter_context(self._progress.step(f"{self._name}: {label}", total))
        self._steps[number] = step, stack

    def advance(self, number: int, amount: int, note: str) -> None:
        """Count `amount` more units of a step as done."""
        self._steps[number][0].advance(amount, note)

    def end(self, number: int) -> None:
        """Hide a step."""
        self._steps.pop(number)[1].close()

    def close(self) -> None:
        """Hide the steps that are left: the stage's process has died."""
        for number in list(self._steps):
            self.end(number)
