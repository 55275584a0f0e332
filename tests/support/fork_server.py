"""A process that imports modules and forks for each program to be run: see `shared_python`.

python -P fork_server.py FOLDER MODULE...

ends when the modules are imported; the process that forks goes on in the background, until the last
of those that hold it has ended. It listens at FOLDER/socket, and FOLDER/python has it run a
program. It removes FOLDER in the end.
"""

import gc
import importlib
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from stand_in import FILES

HOLD = b"{}"  # the message of a process that holds this one
_MESSAGE_BYTES = 2**20
_FIRST_S = 60.0  # how long it waits for the first that holds it


def main(folder: Path, modules: Sequence[str]) -> None:
    """Import modules and leave a process that forks in the background."""
    script = folder / "python"
    words = [sys.executable, "-S", "-P", Path(__file__).with_name("stand_in.py"), folder / "socket"]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    sys.executable = str(script)  # so programs that these programs start are forks too
    for name in modules:
        importlib.import_module(name)
    gc.freeze()  # programs collect garbage: not that of these imports
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(100)
        if os.fork() == 0:
            os.setsid()
            Server(listener).serve()
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)


class Server:
    """Forks for each program; reports how it ended, or kills it when what stands for it ends."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._holding: set[socket.socket] = set()
        self._running: dict[socket.socket, int] = {}  # process ids, by what stands for them
        self._ended, self._wake = os.pipe()  # holds a byte when a fork has ended
        for end in (self._ended, self._wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Fork until no process holds this one, then kill what runs."""
        while True:
            awaited = [self._listener, self._ended, *self._holding, *self._running]
            ready = select.select(awaited, [], [], None if self._holding else _FIRST_S)[0]
            if self._ended in ready:
                self._report()
            for connection in self._running.keys() & set(ready):
                self._kill(connection)
            for connection in self._holding & set(ready):
                self._holding.remove(connection)
                connection.close()
            if self._listener in ready:
                self._accept()
            if not self._holding:
                break
        for connection in self._running:
            self._kill(connection)

    def _report(self) -> None:
        """Send the exit codes of forks that have ended."""
        os.read(self._ended, _MESSAGE_BYTES)
        for connection, process in list(self._running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                del self._running[connection]
                with suppress(OSError):
                    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
                connection.close()

    def _kill(self, connection: socket.socket) -> None:
        """Kill a fork and all that it started."""
        with suppress(ProcessLookupError):  # it does not lead its group yet, or has ended
            os.killpg(self._running[connection], signal.SIGKILL)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        content, files, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, FILES)
        if content == HOLD:
            self._holding.add(connection)
        elif process := os.fork():
            self._running[connection] = process
        else:
            connection.close()
            self._leave()
            run(files, json.loads(content))
        for number in files:
            os.close(number)

    def _leave(self) -> None:
        """Close, in a fork, what is the server's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (self._listener, *self._holding, *self._running):
            each.close()
        for end in (self._ended, self._wake):
            os.close(end)


def run(files: Sequence[int], request: Mapping[str, Any]) -> NoReturn:
    """Run a program in this fork as Python would, and end."""
    os.setsid()
    _give_numbers(files, request["files"])
    os.environ.clear()
    os.environ.update(request["variables"])
    os.chdir(request["folder"])
    code = 1
    try:
        code = _exit_code(request["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code % 256)


def _give_numbers(files: Sequence[int], numbers: Sequence[int]) -> None:
    """Give open files the numbers that they had in the process that stands for this one."""
    free = max([*numbers, *files]) + 1
    for number, each in enumerate(files, start=free):
        os.dup2(each, number, inheritable=False)
        os.close(each)
    for number, wanted in enumerate(numbers, start=free):
        os.dup2(number, wanted)
        os.close(number)


def _exit_code(arguments: Sequence[str]) -> int:
    """Run a program; return its exit code."""
    try:
        _run_program(arguments)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


def _run_program(arguments: Sequence[str]) -> None:
    """Run `-m MODULE`, `-c TEXT` or a file; other options of Python have no effect."""
    first = next(n for n, word in enumerate(arguments) if word in ("-m", "-c") or word[0] != "-")
    option, *rest = arguments[first:]
    added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [path for path in added if path and path not in sys.path]
    sys.argv = rest if option == "-m" else [option, *rest[option == "-c" :]]
    if "-P" not in arguments[:first]:
        in_folder = option in ("-m", "-c")
        sys.path.insert(0, str(Path.cwd() if in_folder else Path(option).resolve().parent))
    if option == "-m":
        warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif option == "-c":
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(option, run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
