"""Runs model-written programs: isolated, limited, and judged by checks that they must reach.

`isolation.bubblewrap` decides what a program can see and reach; `isolation.jail` runs inside. The
outcome of a program is a value, never an exception.

Safety does not rely on the program, but the score does in one respect: checks run in the program's
own interpreter, as MBPP's assertions on its objects must. A program that inspects the interpreter
to fool its checks can pass; it cannot pass by chance, by ending early or by printing.
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
        """Return the outcome of a program; raises UserError if it cannot be isolated."""
        return self._run(program, isolated=self._isolates())

    def run_many(self, programs: Sequence[Program], workers: int | None = None) -> list[Outcome]:
        """Return the outcome of each program, in order; by default one runs on each core."""
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
        source = program.source.encode("utf-8", "surrogatepass")
        checks = program.checks.encode()
        secret = secrets.token_hex(32).encode()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            (folder / "payload").write_bytes(source + checks + secret)
            (folder / "refused").write_bytes(syscalls.seccomp_filter())
            (folder / "work").mkdir()
            sizes = (len(source), len(checks))
            seconds, timed_out = self._execute(folder, sizes, isolated=isolated)
            report = _read(folder / "report", _REPORT_BYTES)
            output = _read(folder / "output", _EXCERPT_BYTES, from_end=True)
            full = (folder / "output").stat().st_size >= self.limits.file_bytes
        return Outcome(
            status=_status(report, secret, timed_out=timed_out, full=full),
            seconds=seconds,
            output=output.decode("utf-8", "replace"),
            isolated=isolated,
        )

    def _execute(self, folder: Path, sizes: Sequence[int], *, isolated: bool) -> tuple[float, bool]:
        """Run the payload in a folder, then kill its process group.

        Return the seconds it took, and True if time was up.
        """
        with (
            (folder / "payload").open("rb") as payload,
            (folder / "report").open("wb") as report,
            (folder / "output").open("ab") as output,
            (folder / "refused").open("rb") as refused,
        ):
            files = (payload.fileno(), report.fileno())
            prefix = []
            if isolated:
                prefix = bubblewrap.command_prefix(self.limits.scratch_bytes, refused.fileno())
            start = time.monotonic()
            process = subprocess.Popen(
                [*prefix, *_PYTHON, *map(str, (*self._limits(), *files, *sizes))],
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
                return seconds, _killed(code) and seconds >= self.limits.cpu_s
            except subprocess.TimeoutExpired:
                return time.monotonic() - start, True
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _limits(self) -> tuple[int, ...]:
        """Return the arguments of `jail.lower_limits`."""
        own = self.limits
        return own.cpu_s, own.memory_bytes, own.processes, own.file_bytes, _OPEN_FILES


def _killed(code: int) -> bool:
    """True for the exit codes of the CPU limit; bubblewrap adds 128 to signals."""
    signals = (signal.SIGXCPU, signal.SIGKILL)
    return code in {-number for number in signals} | {128 + number for number in signals}


def _read(path: Path, num_bytes: int, *, from_end: bool = False) -> bytes:
    with path.open("rb") as file:
        if from_end:
            file.seek(max(0, path.stat().st_size - num_bytes))
        return file.read(num_bytes)


def _status(report: bytes, secret: bytes, *, timed_out: bool, full: bool) -> Status:
    """Return the status in a report; the program could write any part of it but the secret."""
    if timed_out:
        return "timeout"
    if report == b"passed " + secret:
        return "passed"
    if full:
        return "output"
    word = report.decode("ascii", "replace")
    return next((status for status in STATUSES[1:] if status == word), "error")
