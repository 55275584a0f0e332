"""The headers of safetensors files: type, shape and place of every tensor, read without torch.

Somebody else may have written a file. The header is compared with itself and with the file's size,
as the library does when it loads one, so that a plan already refuses what a run would refuse.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

from draftmark.errors import UserError
from draftmark.store.plain_files import NotPlain, open_plain

_MAX_HEADER = 20_000_000  # bytes, of some 150,000 tensors; a larger one takes 20 s to read
_MAX_NAME, _MAX_DIMENSIONS, _MAX_SIZE = 1000, 64, 2**50
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}  # of a value; the library refuses types that it does not know, which may be newer ones


@dataclass(frozen=True)
class TensorFacts:
    """What a header has of a tensor; the bytes from `start` to `end` follow the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path) -> Mapping[str, TensorFacts]:
    """Return the tensors of a file by name; raises UserError if it is cut, damaged or malformed."""
    size = path.stat().st_size
    try:
        with open_plain(path) as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(size, _MAX_HEADER):
                raise ValueError(f"its header would have {length} bytes")
            header = json.loads(file.read(length), object_pairs_hook=_distinct)
        tensors = {
            name: _tensor(name, facts) for name, facts in header.items() if name != "__metadata__"
        }
    except NotPlain:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{path} is not a whole safetensors file ({str(error)[:200]})"
        raise UserError(f"{reason}; copy or download it again.") from error
    _check_places(path, list(tensors.values()), 8 + length, size)
    return tensors


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raises ValueError if a name is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _tensor(name: str, facts: Any) -> TensorFacts:
    """Return a tensor's facts; raises ValueError if no tensor can have them."""
    dtype, shape, (start, end) = facts["dtype"], tuple(facts["shape"]), facts["data_offsets"]
    whole = all(type(n) is int and 0 <= n < _MAX_SIZE for n in (*shape, start, end))
    if not whole or len(shape) > _MAX_DIMENSIONS or len(name) > _MAX_NAME:
        raise ValueError(f"{name[:80]!r} has an impossible name, shape or place")
    if not isinstance(dtype, str) or prod(shape) * _BITS.get(dtype, 0) not in (
        0,
        8 * (end - start),
    ):
        raise ValueError(f"{name!r} has not the bytes of its type and shape")
    return TensorFacts(dtype, shape, start, end)


def _check_places(path: Path, tensors: Sequence[TensorFacts], first: int, size: int) -> None:
    """Raise UserError unless tensors fill a file from byte `first`: no holes, no common bytes."""
    places = sorted([(0, 0), *((tensor.start, tensor.end) for tensor in tensors)])
    named = first + places[-1][1]
    if named != size:
        raise UserError(
            f"{path} has {size} bytes and its header names {named}: it is cut or damaged; copy or "
            "download it again."
        )
    if any(end != start for (_, end), (start, _) in pairwise(places)):
        raise UserError(
            f"{path} has tensors with common bytes, or bytes of none: it is damaged; copy or "
            "download it again."
        )
