"""Files that need no disk, and the count of processes that the machine killed for memory."""

import os
import re
import tempfile
from pathlib import Path
from typing import BinaryIO

_COUNTS = (
    Path("/proc/vmstat"),
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),  # cgroups of version 1
)
_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def memory_file(data: bytes = b"") -> BinaryIO:
    """Return an unnamed file in memory, positioned at its start; on disk where Linux is missing."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("draftmark")
    else:
        number, name = tempfile.mkstemp()
        Path(name).unlink()
    file = os.fdopen(number, "r+b", buffering=0)
    file.write(data)
    file.seek(0)
    return file


def kills_for_memory() -> int:
    """Return how many processes the kernel has killed for memory, as far as its counters say."""
    counts = [path.read_text() for path in _COUNTS if path.is_file()]
    return sum(int(count) for text in counts for count in _KILLS.findall(text))
