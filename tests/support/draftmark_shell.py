"""A child process that runs the command line's commands, one after the other, for a local hub.

A process takes a second to start, so several commands share one.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from local_hub import LocalHub, Request

_CHILD = """
import contextlib, io, json, sys
from draftmark.cli.main import main

for line in sys.stdin:
    sys.argv, code = ["draftmark", *json.loads(line)], 0
    with contextlib.redirect_stdout(io.StringIO()) as out:
        with contextlib.redirect_stderr(io.StringIO()) as error:
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
    print(json.dumps([code, out.getvalue(), error.getvalue()]), flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code, output, and requests to the hub."""

    code: int
    out: str
    error: str
    requests: Sequence[Request]

    @property
    def sentence(self) -> str:
        """The last line of the error output, without the program's name."""
        return self.error.splitlines()[-1].removeprefix("draftmark: ")

    @property
    def asked(self) -> list[str]:
        """The requests, each as its method and the last part of its path."""
        return [f"{r.method} {r.path.partition('?')[0].rpartition('/')[2]}" for r in self.requests]


class Shell:
    """The child process."""

    def __init__(self, hub: LocalHub, child: "subprocess.Popen[str]") -> None:
        self._hub, self._child = hub, child

    def kill(self, *arguments: str | Path, at: Event) -> None:
        """Start a command, and kill the process when an event of the hub's comes."""
        self._start(arguments)
        assert at.wait(timeout=60)
        self._child.kill()

    def _start(self, arguments: Sequence[str | Path]) -> None:
        assert self._child.stdin
        print(json.dumps([str(each) for each in arguments]), file=self._child.stdin, flush=True)

    def run(self, *arguments: str | Path) -> Outcome:
        """Return the outcome of a command."""
        assert self._child.stdout
        self._hub.take_requests()
        self._start(arguments)
        line = self._child.stdout.readline()
        assert line, "the command ended its process"
        return Outcome(*json.loads(line), self._hub.take_requests())


@contextmanager
def open_shell(hub: LocalHub, home: Path, **environment: str) -> Iterator[Shell]:
    """Yield a shell whose hub is `hub`, with caches in `home` and `home` as working directory."""
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        cwd=home,
        env=hub.environment(home, **environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        yield Shell(hub, child)
        assert child.stdin
        child.stdin.close()
