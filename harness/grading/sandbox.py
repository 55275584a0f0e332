"""Runs programs that a model wrote: isolated, limited, and judged by checks that they must reach.

`isolation.bubblewrap` says what a program can see and reach, `isolation.jail`
is what runs inside. How a program ends is a value, never an exception.

Safety does not rest on the program's good will, its score does in one respect: checks run in the
program's own interpreter, as MBPP's assertions on its objects must. A program that inspects that
interpreter to fool its checks can pass; it cannot by chance, by ending early or by printing.
"""

import contextlib
import inspect
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from draftmark.errors import UserError
from draftmark.grading.isolation import bubblewrap, jail, syscalls

Status = Literal["passed", "assertion", "syntax", "timeout", "memory", "output", "error"]
STATUSES: tuple[Status, ...] = get_args(Status)

_EXCERPT_BYTES = 2000
_REPORT_BYTES = 4096
_OPEN_FILES = 64
# No site packages, no bytecode written, output as it comes; sets iterate alike on every run.
_FLAGS = ("-u", "-B", "-P", "-S", "-X", "utf8")
_ENVIRONMENT = {"PYTHONHASHSEED": "0"}


@dataclass(frozen=True)
class Limits:
    """What one program may use. Wall time and the /tmp are for all its processes together."""

    cpu_s: int = 10  # of each process
    wall_s: float = 30.0
    memory_bytes: int = 512 * 2**20  # address space of each process
    processes: int = 8  # threads count as well
    file_bytes: int = 2**20  # of each file it writes, what it prints among them
    scratch_bytes: int = 16 * 2**20


@dataclass(frozen=True)
class Program:
    """A program nobody vouches for, and the statements that tell whether it does its work."""

    source: str
    checks: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    `passed`: all checks ran and held. `assertion`: one did not hold, or the program's own.
    `syntax`: it does not compile. `timeout`, `memory`, `output`: it went over a limit. `error`: any
    other exception, crash or early end.
    """

    status: Status
    seconds: float
    output: str  # the end of what it printed
    isolated: bool


@dataclass(frozen=True)
class Sandbox:
    """Runs programs. `unsafe` allows limits alone on a machine that cannot isolate.

    Unsafe, a program has this user's files and network, and its processes may outlive it.
    """

    unsafe: bool = False
    limits: Limits = Limits()

    def run(self, program: Program) -> Outcome:
        """Return how a program ended; raises UserError where it would not be isolated."""
        return self._run(program, isolated=self._isolates())

    def run_many(self, programs: Sequence[Program], workers: int | None = None) -> list[Outcome]:
        """Return how each program ended, in order; by default one runs on each core."""
        isolated = self._isolates()
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            return list(pool.map(lambda program: self._run(program, isolated=isolated), programs))

    @property
    def exposes(self) -> bool:
        """Whether programs would run here with this user's rights."""
        return self.unsafe and bubblewrap.why_not() is not None

    def _isolates(self) -> bool:
        """Say whether programs are isolated here; raises UserError if not and they must be."""
        reason = bubblewrap.why_not()
        if reason and not self.unsafe:
            raise UserError(
                f"Programs that a model wrote would not be isolated: {reason}; run "
                f"`{bubblewrap.INSTALL}`, or accept the risk with --unsafe-code."
            )
        return reason is None

    def _run(self, program: Program, *, isolated: bool) -> Outcome:
        source = program.source.encode("utf-8", "surrogatepass")
        checks = program.checks.encode()
        secret = secrets.token_hex(32).encode()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            (folder / "payload").write_bytes(source + checks + secret)
            (folder / "refused").write_bytes(syscalls.refusing())
            (folder / "work").mkdir()
            ending = self._execute(folder, [len(source), len(checks)], isolated=isolated)
            report = _read(folder / "report", _REPORT_BYTES)
            output = _read(folder / "output", _EXCERPT_BYTES, from_end=True)
            full = (folder / "output").stat().st_size >= self.limits.file_bytes
        return Outcome(
            status=_status(report, secret, timed_out=ending.timed_out, full=full),
            seconds=ending.seconds,
            output=output.decode("utf-8", "replace"),
            isolated=isolated,
        )

    def _execute(self, folder: Path, sizes: Sequence[int], *, isolated: bool) -> "_Ending":
        """Run the payload of a folder until it ends or time is up; then nothing of it runs on."""
        with (
            (folder / "payload").open("rb") as payload,
            (folder / "report").open("wb") as report,
            (folder / "output").open("ab") as output,
            (folder / "refused").open("rb") as refused,
        ):
            files = (payload.fileno(), report.fileno())
            prefix = (
                bubblewrap.prefix(self.limits.scratch_bytes, refused.fileno()) if isolated else []
            )
            start = time.monotonic()
            process = subprocess.Popen(
                [*prefix, *_python(), *self._limits(), *map(str, (*files, *sizes))],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(*files, refused.fileno()),
                cwd=folder / "work",
                env=_ENVIRONMENT,
                start_new_session=True,
            )
            try:
                code = process.wait(self.limits.wall_s)
                seconds = time.monotonic() - start
                return _Ending(seconds, _killed(code) and seconds >= self.limits.cpu_s)
            except subprocess.TimeoutExpired:
                return _Ending(time.monotonic() - start, timed_out=True)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _limits(self) -> list[str]:
        limits = self.limits
        return [
            str(value)
            for value in (
                limits.cpu_s,
                limits.memory_bytes,
                limits.processes,
                limits.file_bytes,
                _OPEN_FILES,
            )
        ]


@dataclass(frozen=True)
class _Ending:
    seconds: float
    timed_out: bool


def _python() -> list[str]:
    return [str(bubblewrap.PYTHON), *_FLAGS, "-c", inspect.getsource(jail)]


def _killed(code: int) -> bool:
    """Tell whether an exit code is that of the CPU limit; bubblewrap adds 128 to signals."""
    signals = (signal.SIGXCPU, signal.SIGKILL)
    return code in {-number for number in signals} | {128 + number for number in signals}


def _read(path: Path, num_bytes: int, *, from_end: bool = False) -> bytes:
    with path.open("rb") as file:
        if from_end:
            file.seek(max(0, path.stat().st_size - num_bytes))
        return file.read(num_bytes)


def _status(report: bytes, secret: bytes, *, timed_out: bool, full: bool) -> Status:
    """Return what a report says; all but the secret could be the program's own writing."""
    if timed_out:
        return "timeout"
    if report == b"passed " + secret:
        return "passed"
    if full:
        return "output"
    word = report.decode("ascii", "replace")
    return next((status for status in STATUSES[1:] if status == word), "error")
