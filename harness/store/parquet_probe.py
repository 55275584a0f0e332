"""Reads Parquet files of others in a process of its own first.

pyarrow ends its process on some malformed files, where an exception would leave C++ code that may
not throw. A process that is lost this way, by memory or by time, costs one file.
"""

import atexit
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

import pyarrow as pa

from draftmark.errors import UserError
from draftmark.store.plain_files import open_plain

_READ = "read"
_BYTES, _SECONDS = 4 * 1024**3, 60  # more than the other process has, and for a file


def require_readable(path: Path, most_rows: int, fix: str) -> None:
    """Raise UserError, with the fix, if reading a file ends the process that does it.

    Comes before `reading.explained`, which reads the file's footer in this process. Files with
    errors that can be raised pass, as do those of more than `most_rows` rows, whose columns are not
    read. With 0, the footer alone is read, which takes a millisecond.
    """
    if not _probe(os.getpid()).reads(path, most_rows):
        raise UserError(f"{path} cannot be read: the process that read it was lost; {fix}.")


class _Probe:
    """A process that reads files, started when it is needed; threads take turns."""

    def __init__(self) -> None:
        self._turn, self._owner = threading.Lock(), os.getpid()
        self._process: subprocess.Popen[str] | None = None
        atexit.register(self.close)

    def reads(self, path: Path, most_rows: int) -> bool:
        """True if the process outlives a file; one that was lost before is started again."""
        with self._turn:
            return any(self._outlives(path, most_rows) for _ in range(2))

    def _outlives(self, path: Path, most_rows: int) -> bool:
        process = self._process or self._start()
        assert process.stdin
        assert process.stdout
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps([str(path.absolute()), most_rows]) + "\n")
            process.stdin.flush()
        if process.stdout.readline().strip() == _READ:
            return True
        self.close()
        return False

    def _start(self) -> "subprocess.Popen[str]":
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        return self._process

    def close(self) -> None:
        """End the process, unless it belongs to the process from which this one was forked."""
        if self._process and self._owner == os.getpid():
            with suppress(BrokenPipeError):
                self._process.communicate()
            self._process = None


@cache
def _probe(process: int) -> _Probe:
    """Return the probe of this process: one that was forked has another."""
    return _Probe()


def _read_all() -> None:
    """Read each file that a line of the standard input names, and answer with a line."""
    _limit_memory()
    for line in sys.stdin:
        path, most_rows = json.loads(line)
        signal.alarm(_SECONDS)  # ends the process, wherever it is
        with suppress(pa.ArrowException, OSError, ValueError):
            _read(path, most_rows)
        signal.alarm(0)
        print(_READ, flush=True)


def _limit_memory() -> None:
    """Limit the address space to what the process has and `_BYTES` more, where the system can."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    pages = Path("/proc/self/statm")
    if pages.is_file():
        most = int(pages.read_text().split()[0]) * resource.getpagesize() + _BYTES
        known = resource.getrlimit(resource.RLIMIT_AS)[1]
        least = most if known == resource.RLIM_INFINITY else min(most, known)
        resource.setrlimit(resource.RLIMIT_AS, (least, known))


def _read(path: str, most_rows: int) -> None:
    """Read a file's metadata, and the columns if none claims more than `most_rows` values."""
    import pyarrow.parquet as pq  # which the other process may not need

    with open_plain(Path(path)) as plain, pq.ParquetFile(plain) as file:
        groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
        columns = [group.column(place) for group in groups for place in range(group.num_columns)]
        counts = [group.num_rows for group in groups]
        counts += [column.num_values for column in columns if column.compression]
        if all(0 <= count <= most_rows for count in counts):
            file.read(use_threads=False)


if __name__ == "__main__":
    _read_all()
