"""Where a recipe places a target: on one device, or spread by memory over several."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

_MEMORY = re.compile(r"\d+(?:\.\d+)?[KMG]i?B")


def check_placement(value: Any) -> Any:
    """Return a placement; raises ValueError for another one than "single", "auto" or limits."""
    limits = value.items() if isinstance(value, Mapping) else ()
    for device, size in limits:
        if device != "cpu" and not str(device).isdecimal():
            raise ValueError(f"limits {device!r}; a device is the number of a GPU, or cpu")
        if not isinstance(size, str) or not _MEMORY.fullmatch(size):
            raise ValueError(f'{device} must be a size such as "70GiB" or "8.5GB", not {size!r}')
    if not limits and value not in ("single", "auto"):
        raise ValueError(
            "must be 'single', 'auto', or a table of limits such as "
            f'{{ 0 = "70GiB", cpu = "8GiB" }}, not {value!r}'
        )
    return value


TargetPlacement = Annotated[str | Mapping[str, str], BeforeValidator(check_placement)]


def memory_limits(placement: str | Mapping[str, str]) -> tuple[tuple[str, str], ...] | None:
    """Return the limits of a target that is spread over devices; None for one on one device."""
    if isinstance(placement, Mapping):
        return tuple(sorted(placement.items()))
    return () if placement == "auto" else None
