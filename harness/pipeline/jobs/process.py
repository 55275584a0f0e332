"""A process of the pool, seen from the run's process: one stage at a time."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from draftmark.pipeline.jobs import worker
from draftmark.pipeline.jobs.shown import ShownStage
from draftmark.pipeline.stage_worker import Outcome
from draftmark.progress import Progress
from draftmark.store.graph import Node

_ENDS_S = 5.0  # the time until a worker that does not exit is killed


class WorkerProcess:
    """A worker with its connection. It exits when the connection closes, however this process ends.

    It is no child of `multiprocessing`, which would import the main script again.
    """

    def __init__(self, context: IO[bytes]) -> None:
        """Start a worker that reads its context from a file."""
        self.connection, theirs = multiprocessing.Pipe()
        with theirs, _no_interrupts():
            descriptor = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", worker.__name__, str(descriptor)],
                stdin=context,
                pass_fds=(descriptor,),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    @property
    def lives(self) -> bool:
        """True if the process has not ended."""
        return self._process.poll() is None

    def start(self, node: Node, progress: Progress) -> None:
        """Start a stage; its progress is shown under its name."""
        self._shown = ShownStage(progress, node.title)
        with suppress(BrokenPipeError):  # it died; `receive` notices
            self.connection.send(node.key)

    def receive(self) -> Outcome | None:
        """Show the worker's next message; return the outcome if it ends the stage.

        Raises EOFError if the worker has died.
        """
        try:
            name, *arguments = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            self._shown.close()
            raise EOFError from error
        if name == worker.OUTCOME:
            outcome: Outcome = arguments[0]
            return outcome
        getattr(self._shown, name)(*arguments)
        return None

    def ending(self) -> str:
        """Return in words how a process ended that has died."""
        self.close()
        code = self._process.returncode
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def close(self) -> None:
        """End the process, with the stage that it is at."""
        self.connection.close()
        try:
            self._process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back while the block runs, and from processes that it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
