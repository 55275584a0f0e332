"""A process that stands for a fork of another: see `shared_python`. It imports as little as it can.

python -S -P stand_in.py SOCKET ARGUMENT...
"""

import json
import os
import signal
import socket
import sys

FILES = 200  # open files that a fork may get, at most


def main(path: str, arguments: list[str]) -> None:
    """Have a fork run a program with this process's files and variables; end as it ends."""
    with socket.socket(socket.AF_UNIX) as fork:
        files = [number for number in range(FILES) if is_inherited(number)]
        fork.connect(path)
        folder = os.getcwd()  # noqa: PTH109 (pathlib would take its time to import)
        request = {"arguments": arguments, "variables": dict(os.environ), "folder": folder}
        socket.send_fds(fork, [json.dumps(request | {"files": files}).encode()], files)
        for number in files:
            os.close(number)  # the fork's alone, so that its readers see the fork end
        code = int(fork.recv(9) or -signal.SIGKILL)
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


def is_inherited(number: int) -> bool:
    """True for an open file that processes inherit which this one starts."""
    try:
        return os.get_inheritable(number)
    except OSError:
        return False


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
