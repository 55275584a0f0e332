"""Numbers in a file, memory-mapped: what is too large to be held."""

import os
from pathlib import Path

import torch


def mapped(path: Path, size: int, dtype: torch.dtype, *, create: bool = False) -> torch.Tensor:
    """Return the `size` numbers of a file; `create` makes a new file, to be filled.

    Its place on the disk is taken at once, OSError if there is none left: to write to a map that
    has no place behind it ends the process (SIGBUS) without a word.
    """
    if create:
        with path.open("wb") as file:
            _take_place(file.fileno(), size * dtype.itemsize)
    return torch.from_file(str(path), shared=create, size=size, dtype=dtype)


def _take_place(file: int, num_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, num_bytes)
        return
    piece = bytes(2**20)
    for start in range(0, num_bytes, len(piece)):
        os.write(file, piece[: num_bytes - start])
