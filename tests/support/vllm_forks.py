"""Processes of vLLM without the 7 seconds in which one imports it: forks of one that has.

`vllm_forks` starts the process that forks; `command` is the command line that stands for a program
or module of Python. It starts a small process, which passes its standard streams to a fork and ends
with it. If either is killed, the other ends, and so do the processes that the fork has started.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_IMPORTED = (
    "vllm",
    "vllm.v1.engine.llm_engine",
    "vllm.v1.worker.cpu_worker",
    "vllm.model_executor.layers.quantization.compressed_tensors.utils",
)
_MESSAGE_BYTES = 2**20


@contextmanager
def vllm_forks(variables: Mapping[str, str]) -> Iterator[Path]:
    """Import vLLM in a process with additional variables; yield the path of its socket."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "forks")
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, "fork", str(path)],
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n", "vLLM cannot be imported"
            yield path
        finally:
            process.communicate()  # closes its input, which ends it


def command(forks: Path, *arguments: str) -> list[str]:
    """Return the command line for a program, or for `-m` and a module, with its arguments."""
    return [sys.executable, "-S", "-P", __file__, "stand-in", str(forks), *arguments]


def _stand_in(path: str, arguments: list[str]) -> None:
    """Have a fork run a program with this process's streams and variables; end when it ends."""
    with socket.socket(socket.AF_UNIX) as fork:
        fork.connect(path)
        request = {"arguments": arguments, "variables": dict(os.environ), "folder": str(Path.cwd())}
        socket.send_fds(fork, [json.dumps(request).encode()], [0, 1, 2])
        os.close(0)
        os.close(1)
        fork.recv(1)


def _serve(path: str) -> None:
    """Fork for each connection until the standard input closes, then wait for the forks."""
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # vLLM collects garbage several times as it starts: not that of these imports
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        os.write(1, b"ready\n")
        while 0 not in select.select([0, listener], [], [])[0]:
            connection, _ = listener.accept()
            content, streams, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 3)
            if os.fork() == 0:
                listener.close()
                _run(connection, streams, json.loads(content))
            for each in (connection.detach(), *streams):
                os.close(each)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _run(connection: socket.socket, streams: list[int], request: Mapping[str, Any]) -> None:
    """Run a program in this fork as Python would, and end."""
    os.setsid()
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["variables"])
    os.chdir(request["folder"])
    first, *rest = request["arguments"]
    code = 1
    try:
        if first == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [first, *rest]
            runpy.run_path(first, run_name="__main__")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_with(connection: socket.socket) -> None:
    """Kill this fork and all that it started when the process that it stands for has ended."""
    connection.recv(1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[1] == "fork":
        _serve(sys.argv[2])
    else:
        _stand_in(sys.argv[2], sys.argv[3:])
