"""Memory that goes back to the system when a tensor is freed."""

import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE_BYTES = 1 << 20


def return_large_blocks() -> None:
    """Let the C library map each large block by itself, from here on in this process.

    Left alone, glibc learns from the first large tensors that are freed to keep blocks of up to
    32 MiB in its heap, where those of a training step leave gaps that the next step's do not fit:
    a third of a training's peak on a processor. Other C libraries are left as they are.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
