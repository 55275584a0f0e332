"""Files of numbers, memory-mapped as tensors."""

import os
from pathlib import Path

import torch


def map_file(path: Path, size: int, dtype: torch.dtype, *, create: bool = False) -> torch.Tensor:
    """Return the `size` numbers of a file, memory-mapped; `create` makes a new file to be filled.

    The disk space of a new file is reserved at once; raises OSError if there is too little. A
    write to a map without disk space would kill the process (SIGBUS) without a message.
    """
    if create:
        with path.open("wb") as file:
            _reserve(file.fileno(), size * dtype.itemsize)
    return torch.from_file(str(path), shared=create, size=size, dtype=dtype)


def _reserve(file: int, num_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, num_bytes)
        return
    piece = bytes(2**20)
    for start in range(0, num_bytes, len(piece)):
        os.write(file, piece[: num_bytes - start])
