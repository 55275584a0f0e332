"""Bounds archives and GGUF files before anything in them is unpacked or allocated.

The sizes in a header are compared with the size of the file: a valid header never claims more.
"""

import gzip
import io
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

from draftmark.errors import UserError

MAX_UNPACKED = 4 * 2**30  # bytes of one file of rows, or of one member of an archive
_RATIO, _ALWAYS = 200, 64 * 2**20  # the best ratio of text; bytes that are harmless at any ratio
_GGUF_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY, _MAX_DEPTH, _MAX_DIMENSIONS = 8, 9, 4, 4
_LEAST_BITS = 1  # of a weight, at the strongest quantisation


def unzip_within_limit(data: bytes, path: Path) -> bytes:
    """Return the unpacked bytes of gzip data; raises UserError if they are disproportionate.

    Raises OSError, EOFError or zlib.error, as gzip does, for damaged data.
    """
    limit = min(MAX_UNPACKED, max(_ALWAYS, _RATIO * len(data)))
    with gzip.open(io.BytesIO(data)) as packed:
        unpacked = packed.read(limit + 1)
    if len(unpacked) > limit:
        raise UserError(
            f"{path} unpacks to more than {limit / 1e6:.0f} MB, out of proportion to its size; "
            "if that is intended, unpack it yourself."
        )
    return unpacked


def check_member(info: zipfile.ZipInfo) -> None:
    """Raise UserError if a member of an archive claims to be too large."""
    if info.file_size > MAX_UNPACKED:
        raise UserError(
            f"{info.filename} claims {info.file_size / 1e9:.1f} GB, above the limit of "
            f"{MAX_UNPACKED / 1e9:.1f} GB; it is not unpacked."
        )


def check_gguf(path: Path) -> None:
    """Raise UserError if a GGUF file's header claims more than the file could hold."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            _check_header(file, size)
        except (ValueError, struct.error) as error:
            raise UserError(
                f"{path} is not a GGUF file that draftmark opens: {error or 'it is cut'}; fetch it "
                "again, or from elsewhere."
            ) from error


def _check_header(file: BinaryIO, size: int) -> None:
    magic, version, tensors, facts = struct.unpack("<4sIQQ", file.read(24))
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"it starts with {magic!r}, version {version}")
    for count, least in ((facts, 13), (tensors, 24)):  # least: bytes of the smallest entry
        _fits(count * least, file, size)
    for _ in range(facts):
        _skip_string(file, size)
        _skip_value(file, size, *struct.unpack("<I", file.read(4)))
    for _ in range(tensors):
        _skip_string(file, size)
        (dimensions,) = struct.unpack("<I", file.read(4))
        if dimensions > _MAX_DIMENSIONS:
            raise ValueError(f"a tensor of {dimensions} dimensions")
        weights = 1
        for _ in range(dimensions):
            weights *= struct.unpack("<Q", file.read(8))[0]
        _, offset = struct.unpack("<IQ", file.read(12))
        if weights * _LEAST_BITS > 8 * size or offset > size:
            raise ValueError(f"a tensor of {weights} weights at byte {offset}, of {size}")


def _skip_value(file: BinaryIO, size: int, kind: int, depth: int = 0) -> None:
    if kind == _STRING:
        _skip_string(file, size)
    elif kind == _ARRAY and depth < _MAX_DEPTH:
        inner, count = struct.unpack("<IQ", file.read(12))
        if inner in _GGUF_FIXED:
            _skip(file, size, count * _GGUF_FIXED[inner])
            return
        _fits(count * 8, file, size)
        for _ in range(count):
            _skip_value(file, size, inner, depth + 1)
    elif kind in _GGUF_FIXED:
        _skip(file, size, _GGUF_FIXED[kind])
    else:
        raise ValueError(f"a value of the unknown kind {kind}")


def _skip_string(file: BinaryIO, size: int) -> None:
    (length,) = struct.unpack("<Q", file.read(8))
    _skip(file, size, length)


def _skip(file: BinaryIO, size: int, num_bytes: int) -> None:
    _fits(num_bytes, file, size)
    file.seek(num_bytes, 1)


def _fits(num_bytes: int, file: BinaryIO, size: int) -> None:
    if num_bytes > size - file.tell():
        raise ValueError(f"{num_bytes} bytes are claimed where {size - file.tell()} are left")
