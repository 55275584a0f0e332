"""The arguments of bubblewrap: what a program can see and reach.

It sees Python's own files, read-only, /dev/null and an empty /tmp of its own, but no /proc. It has
its own user, process, network, IPC and host namespaces, has no capability, may make no further
namespace, and gets the system call filter of `isolation.syscalls`.

Root would be root inside as well, and the kernel does not limit root's processes. So root first
becomes `nobody`, in an outer bubblewrap that shows the same files: Python's own folder (in /root)
may be closed to other users.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from draftmark.grading.isolation import syscalls
from draftmark.grading.isolation.memory import memory_file

INSTALL = "apt-get install bubblewrap"
# The base interpreter of a virtual environment: it has the standard library only.
PYTHON = Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()
_NOBODY = "65534"
_PROBE_TIMEOUT_S = 60


def why_unavailable() -> str | None:
    """Return why programs cannot be isolated on this machine, or None if they can."""
    if not syscalls.seccomp_filter():
        return f"draftmark has no list of the system calls of {os.uname().machine}"
    bwrap = shutil.which("bwrap")
    return _failure(bwrap) if bwrap else "bubblewrap is not installed"


def command_prefix(scratch_bytes: int, refused: int) -> list[str]:
    """Return the words that isolate a command if put before it, with a /tmp of `scratch_bytes`.

    `refused` is an open file with `syscalls.seccomp_filter()`; the command must inherit it.
    """
    bwrap = shutil.which("bwrap") or "bwrap"
    inner = [bwrap, *_view(), *_isolation(scratch_bytes, refused), "--"]
    return inner if os.getuid() else [*_step_down(bwrap), *inner]


class _Failed(Exception):
    """bubblewrap cannot isolate; the next call tries again, as the cause may be gone."""


def _failure(bwrap: str) -> str | None:
    """Return bubblewrap's error for a trivial program, or None if the program ran."""
    try:
        return _probe(bwrap)
    except (_Failed, OSError, subprocess.TimeoutExpired) as error:
        return f"{bwrap} cannot isolate here ({error})"


@cache
def _probe(bwrap: str) -> None:
    """Run a trivial program; raises _Failed with bubblewrap's error."""
    with memory_file(syscalls.seccomp_filter()) as refused:
        done = subprocess.run(
            [*command_prefix(2**20, refused.fileno()), str(PYTHON), "-S", "-c", "pass"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            env={},
            pass_fds=[refused.fileno()],
            check=False,
        )
    reason = done.stderr.decode(errors="replace").strip().partition("\n")[0]
    if done.returncode:
        raise _Failed(reason)


def _view(*tools: str) -> Iterator[str]:
    """Yield the arguments that show Python, its shared libraries, and some tools."""
    base = Path(sys.base_prefix)
    libraries = {base / "lib", base / sys.platlibdir}
    libraries |= {Path(name) for name in ("/usr/lib", "/usr/lib64", "/lib", "/lib64")}
    shown = [PYTHON, *sorted(libraries), *map(Path, ("/etc/ld.so.cache", "/dev/null", *tools))]
    # bubblewrap copies the permissions of missing parents; --dir makes them readable.
    for folder in sorted({parent for path in shown for parent in path.parents} - {Path("/")}):
        yield from ("--dir", str(folder))
    for path in shown:
        how = "--dev-bind-try" if path.is_char_device() else "--ro-bind-try"
        yield from (how, str(path), str(path))


def _isolation(scratch_bytes: int, refused: int) -> list[str]:
    return [
        *(
            "--seccomp",
            str(refused),
            "--unshare-all",
            "--unshare-user",
            "--disable-userns",
            "--cap-drop",
            "ALL",
        ),
        *("--hostname", "sandbox", "--new-session", "--die-with-parent"),
        *("--size", str(scratch_bytes), "--tmpfs", "/tmp", "--chdir", "/tmp"),
        *("--remount-ro", "/"),
    ]


def _step_down(bwrap: str) -> list[str]:
    """Return the command that makes root `nobody`, who sees only `_view` and can run bubblewrap."""
    setpriv = shutil.which("setpriv") or "setpriv"
    return [
        *(bwrap, *_view(bwrap, setpriv), "--cap-drop", "ALL"),
        # Root's dying processes cannot signal those of `nobody`; the end of their namespace can.
        *("--unshare-pid", "--die-with-parent"),
        *("--bind", "/proc", "/proc", "--dir", "/tmp"),  # for the inner bubblewrap
        *("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"),
        "--",
        *(setpriv, "--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups", "--"),
    ]
