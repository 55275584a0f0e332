"""A child process that answers questions in lines of JSON, within a time limit.

The child runs an engine that keeps its memory until the process ends, starts other processes, and
may crash or hang. The child's process group is killed when the child or this process ends.
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

_LOG_LINES = 6  # the last lines of a child's log in the reason for its failure


class ChildFailure(Exception):
    """A child ended, did not answer in time, or reported a failure."""


class Child:
    """A child process that reads questions and writes answers, one JSON document per line."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], timeout_s: float
    ) -> None:
        """Start the child; `timeout_s` limits each answer."""
        self._name, self._timeout_s, self._late = name, timeout_s, threading.Event()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            start_new_session=True,  # a group, which can be killed as a whole
        )
        threading.Thread(target=_kill_orphans, args=(self._process,), daemon=True).start()
        # Runs when this object is collected, and when this process ends.
        self.close = weakref.finalize(self, _end, self._process, self._log)

    @property
    def pid(self) -> int:
        """The id of the process, which leads its group."""
        return self._process.pid

    def ask(self, question: Any) -> Any:
        """Return the answer to a question.

        Raises ChildFailure with the failure that the child reports or, without an answer, with the
        end of the child's log; then the child is killed.
        """
        timer = threading.Timer(self._timeout_s, _time_out, (self._process, self._late))
        timer.start()
        try:
            line = self._exchange(json.dumps(question).encode() + b"\n")
        finally:
            timer.cancel()
        answer = json.loads(line) if line else {}
        if "answer" in answer:
            return answer["answer"]
        reason = f"failed: {answer['failed']}" if answer else self._ending() + self._last_lines()
        self.close()
        raise ChildFailure(f"{self._name} {reason}")

    def _exchange(self, line: bytes) -> bytes:
        """Return the child's answer to a line; b"" if the child has ended."""
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.write(line)
            self._process.stdin.flush()
            return self._process.stdout.readline()
        return b""

    def _ending(self) -> str:
        if self._late.is_set():
            return f"did not answer within {self._timeout_s:g} s and was ended"
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=5)
            if code < 0:
                return f"was ended by {signal.Signals(-code).name}"
            return f"ended with exit code {code}"
        return "closed its output"

    def _last_lines(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        last = [line.strip() for line in lines if line.strip()][-_LOG_LINES:]
        return "; its log ends: " + " | ".join(last) if last else ""


def _kill_orphans(process: "subprocess.Popen[bytes]") -> None:
    """When a child ends, kill the processes that it leaves, which would keep its pipe open."""
    process.wait()
    _kill(process)


def _time_out(process: "subprocess.Popen[bytes]", late: threading.Event) -> None:
    late.set()
    _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a child and the processes that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(process: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
    _kill(process)
    process.wait()
    for pipe in (process.stdin, process.stdout, log):
        with suppress(BrokenPipeError):
            assert pipe
            pipe.close()
