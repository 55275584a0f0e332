"""A program in a process group of its own, asked and answering by lines of JSON, with a time limit.

What a serving engine needs: it keeps its memory until its process ends, starts processes of its
own, and may crash or hang. Whatever becomes of it, or of what asks it, nothing of it stays behind.
"""

import json
import os
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

_LOG_LINES = 6  # of what a child wrote last, in the reason for its failure


class ChildFailure(Exception):
    """A child ended, did not answer in time, or said that it failed."""


class Child:
    """A child process. It reads a JSON document a line and writes one for each."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], timeout_s: float
    ) -> None:
        """Start it; `timeout_s` is the time that it has for each answer."""
        self._name, self._timeout_s, self._late = name, timeout_s, threading.Event()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            start_new_session=True,  # a group that can be ended as a whole
        )
        threading.Thread(target=_outlive, args=(self._process,), daemon=True).start()
        # When nothing holds the child any more, after a failure too, and when this process ends.
        self.close = weakref.finalize(self, _end, self._process, self._log)

    @property
    def pid(self) -> int:
        """The process, which leads its group."""
        return self._process.pid

    def ask(self, question: Any) -> Any:
        """Return the answer to a question.

        Raises ChildFailure if there is none, with the end of the child's log, or if the answer is
        that it failed; the child is ended then.
        """
        timer = threading.Timer(self._timeout_s, _give_up, (self._process, self._late))
        timer.start()
        try:
            line = self._exchange(json.dumps(question).encode() + b"\n")
        finally:
            timer.cancel()
        told = json.loads(line) if line else {}
        if "answer" in told:
            return told["answer"]
        reason = f"failed: {told['failed']}" if told else self._end_in_words() + self._last_lines()
        self.close()
        raise ChildFailure(f"{self._name} {reason}")

    def _exchange(self, line: bytes) -> bytes:
        """Return the line that answers a line; none if the child is gone."""
        asked, answering = self._process.stdin, self._process.stdout
        assert asked
        assert answering
        with suppress(BrokenPipeError):
            asked.write(line)
            asked.flush()
            return answering.readline()
        return b""

    def _end_in_words(self) -> str:
        if self._late.is_set():
            return f"did not answer within {self._timeout_s:g} s and was ended"
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=5)
            if code < 0:
                return f"was ended by {signal.Signals(-code).name}"
            return f"ended with exit code {code}"
        return "closed its answers"

    def _last_lines(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        last = [line.strip() for line in lines if line.strip()][-_LOG_LINES:]
        return "; it wrote last: " + " | ".join(last) if last else ""


def _outlive(process: "subprocess.Popen[bytes]") -> None:
    """End what a child that ended by itself has left: it would hold the answers' pipe open."""
    process.wait()
    _kill(process)


def _give_up(process: "subprocess.Popen[bytes]", late: threading.Event) -> None:
    late.set()
    _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End a child and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(process: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
    _kill(process)
    process.wait()
    for pipe in (process.stdin, process.stdout, log):
        with suppress(BrokenPipeError):
            assert pipe
            pipe.close()
