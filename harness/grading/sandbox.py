"""Runs model-written programs: isolated, limited, and judged by checks that they must reach.

`isolation.bubblewrap` decides what a program can see and reach; `isolation.jail` runs inside. The
outcome of a program is a value, never an exception. What the machine does to a program is not an
outcome: a program that could not begin, or that the kernel killed because the machine was short of
memory, is run again, and a MachineError in the end. Running a program takes no disk.

Safety does not rely on the program, but the score does in one respect: checks run in the program's
own interpreter, as MBPP's assertions on its objects must. A program that inspects the interpreter
to fool its checks can pass; it cannot pass by chance, by ending early or by printing.
"""

import contextlib
import fcntl
import inspect
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from draftmark.errors import MachineError, UserError
from draftmark.grading.isolation import bubblewrap, jail, syscalls
from draftmark.grading.isolation.memory import kills_for_memory, memory_file
from draftmark.grading.isolation.scratch_folder import count_files, scratch_folder

Status = Literal["passed", "assertion", "syntax", "timeout", "memory", "output", "error"]
STATUSES: tuple[Status, ...] = get_args(Status)

_EXCERPT_BYTES = 2000
_BEGAN, _REPORT_BYTES = b"+", 4096
_WAITS_S = (0.5, 2.0)  # before each further attempt
_OPEN_FILES = 64
_LOOK_EVERY_S = 0.5
# No site packages, no bytecode, unbuffered output; a fixed hash seed fixes the order of sets.
_FLAGS = ("-u", "-B", "-P", "-S", "-X", "utf8")
_PYTHON = (str(bubblewrap.PYTHON), *_FLAGS, "-c", inspect.getsource(jail))
_ENVIRONMENT = {"PYTHONHASHSEED": "0"}


@dataclass(frozen=True)
class Limits:
    """The limits of one program; wall time and /tmp are shared by all its processes."""

    cpu_s: int = 10  # of each process
    wall_s: float = 30.0
    memory_bytes: int = 512 * 2**20  # address space of each process
    processes: int = 8  # and threads
    file_bytes: int = 2**20  # of each file it writes, and of its output
    scratch_bytes: int = 16 * 2**20  # of /tmp
    files: int = 10_000  # in /tmp


@dataclass(frozen=True)
class Program:
    """An untrusted program, and the statements that check it."""

    source: str
    checks: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    `passed`: all checks ran and held. `assertion`: a check failed, or an assertion of the program.
    `syntax`: it does not compile. `timeout`, `memory`, `output`: it exceeded a limit. `error`: any
    other exception, crash or early end.
    """

    status: Status
    seconds: float
    output: str  # the end of its output
    isolated: bool


@dataclass(frozen=True)
class Sandbox:
    """Runs programs; `unsafe` runs them with limits only, on a machine that cannot isolate.

    Such a program has this user's files and network, and its processes may outlive it.
    """

    unsafe: bool = False
    limits: Limits = Limits()

    def run(self, program: Program) -> Outcome:
        """Return the outcome of a program, as `run_many` does."""
        return self._run(program, isolated=self._isolates())

    def run_many(self, programs: Sequence[Program], workers: int | None = None) -> list[Outcome]:
        """Return the outcome of each program, in order; by default one runs on each core.

        Raises UserError if programs cannot be isolated, MachineError if the machine cannot run one.
        """
        isolated = self._isolates()
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            return list(pool.map(lambda program: self._run(program, isolated=isolated), programs))

    @property
    def exposes(self) -> bool:
        """True if programs would run here with this user's rights."""
        return self.unsafe and bubblewrap.why_unavailable() is not None

    def _isolates(self) -> bool:
        """True if programs are isolated here; raises UserError if they are not and must be."""
        reason = bubblewrap.why_unavailable()
        if reason and not self.unsafe:
            raise UserError(
                f"Model-written programs cannot be isolated: {reason}; run "
                f"`{bubblewrap.INSTALL}`, or accept the risk with --unsafe-code."
            )
        return reason is None

    def _run(self, program: Program, *, isolated: bool) -> Outcome:
        """Return the outcome of a program, tried again after a failure of the machine."""
        for wait_s in (*_WAITS_S, None):
            try:
                return self._attempt(program, isolated=isolated)
            except (_NotRun, OSError) as error:
                if wait_s is None:
                    raise MachineError(
                        f"This machine failed to run a model-written program: {error}; it was not "
                        "graded. Free memory, processes or disk, then run again."
                    ) from error
                time.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, program: Program, *, isolated: bool) -> Outcome:
        source = program.source.encode("utf-8", "surrogatepass")
        checks = program.checks.encode()
        secret = secrets.token_hex(32).encode()
        with (
            memory_file(source + checks + secret) as payload,
            memory_file(syscalls.seccomp_filter()) as refused,
            memory_file() as output,
            contextlib.nullcontext("/") if isolated else scratch_folder() as folder,
        ):
            files = _Files(payload.fileno(), refused.fileno(), output.fileno(), Path(folder))
            kills = kills_for_memory()
            end = self._execute(files, (len(source), len(checks)), isolated=isolated)
            size = output.seek(0, os.SEEK_END)
            output.seek(max(0, size - _EXCERPT_BYTES))
            excerpt = output.read().decode("utf-8", "replace")
        self._check_machine(end, excerpt, kills)
        full = end.floods or size >= self.limits.file_bytes
        status = _status(end.report, secret, timed_out=self._timed_out(end), full=full)
        return Outcome(status, end.seconds, excerpt, isolated)

    def _execute(self, files: "_Files", sizes: Sequence[int], *, isolated: bool) -> "_End":
        """Run the payload, then kill its process group; return how it ended."""
        fcntl.fcntl(files.output, fcntl.F_SETFL, os.O_APPEND)
        with _report_pipe() as (receiving, sending):
            passed = (files.payload, sending)
            prefix = []
            if isolated:
                prefix = bubblewrap.command_prefix(self.limits.scratch_bytes, files.refused)
            start = time.monotonic()
            process = subprocess.Popen(
                [*prefix, *_PYTHON, *map(str, (*self._limits(), *passed, *sizes))],
                stdin=subprocess.DEVNULL,
                stdout=files.output,
                stderr=subprocess.STDOUT,
                pass_fds=(*passed, files.refused),
                cwd=files.folder,
                env=_ENVIRONMENT,
                start_new_session=True,
            )
            try:
                code, floods = self._wait(process, start + self.limits.wall_s)
                seconds = time.monotonic() - start
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            report = b""
            with contextlib.suppress(BlockingIOError):
                report = os.read(receiving, _REPORT_BYTES)
        return _End(code, seconds, report, floods)

    def _wait(self, process: "subprocess.Popen[bytes]", deadline: float) -> tuple[int | None, bool]:
        """Return the exit code, None at the deadline, and True if there are too many files.

        The size of /tmp does not bound empty files, each of which takes memory of the kernel.
        """
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(min(left, _LOOK_EVERY_S)), False
            if count_files(process.pid, self.limits.scratch_bytes) > self.limits.files:
                return None, True
        return None, False

    def _check_machine(self, end: "_End", output: str, kills_before: int) -> None:
        """Raise _NotRun if the machine, not the program, decided the end."""
        if not end.report.startswith(_BEGAN):
            reason = output.strip().partition("\n")[0] or f"exit code {end.code}"
            raise _NotRun(f"it did not begin ({reason})")
        killed = end.code in _KILLED and not self._timed_out(end)
        if killed and end.report == _BEGAN and kills_for_memory() > kills_before:
            raise _NotRun("the kernel killed it, because the machine was short of memory")

    def _timed_out(self, end: "_End") -> bool:
        """True if the program used up its wall time or the time of its processor."""
        return (end.code is None and not end.floods) or (
            end.code in _ENDED_BY_LIMIT and end.seconds >= self.limits.cpu_s
        )

    def _limits(self) -> tuple[int, ...]:
        """Return the arguments of `jail.lower_limits`."""
        own = self.limits
        return own.cpu_s, own.memory_bytes, own.processes, own.file_bytes, _OPEN_FILES


@dataclass(frozen=True)
class _Files:
    """The open files of a run by number, and the folder that it starts in."""

    payload: int
    refused: int
    output: int
    folder: Path


@dataclass(frozen=True)
class _End:
    """How a run ended; `code` is None if it was killed at a limit."""

    code: int | None
    seconds: float
    report: bytes
    floods: bool  # it made too many files


class _NotRun(Exception):
    """The machine did not run a program to its own end."""


def _codes(*signals: int) -> frozenset[int]:
    """Return the exit codes of signals; bubblewrap adds 128."""
    return frozenset(code for number in signals for code in (-number, 128 + number))


_KILLED = _codes(signal.SIGKILL)
_ENDED_BY_LIMIT = _codes(signal.SIGXCPU, signal.SIGKILL)  # of the time of the processor


@contextlib.contextmanager
def _report_pipe() -> Iterator[tuple[int, int]]:
    """Yield both ends of a pipe that never blocks."""
    ends = os.pipe()
    try:
        for end in ends:
            os.set_blocking(end, False)
        yield ends
    finally:
        for end in ends:
            os.close(end)


def _status(report: bytes, secret: bytes, *, timed_out: bool, full: bool) -> Status:
    """Return the status in a report; the program could write any part of it but the secret."""
    if timed_out:
        return "timeout"
    report = report.removeprefix(_BEGAN)
    if report == b"passed " + secret:
        return "passed"
    if full:
        return "output"
    word = report.decode("ascii", "replace")
    return next((status for status in STATUSES[1:] if status == word), "error")
