"""The seccomp filter (a classic BPF program) that allows the calls of `allowed_calls` alone."""

import errno
import os
import struct
from collections.abc import Iterator

from draftmark.grading.isolation.allowed_calls import ALLOWED, CHECKS, Check

# The column of the number, and the kernel's AUDIT_ARCH constant.
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_MACHINE = os.uname().machine
_LOAD, _AND, _IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # in the kernel's struct seccomp_data
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000  # refuse: plus the errno

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, value


def seccomp_filter(machine: str = _MACHINE) -> bytes:
    """Return the filter for a machine; empty for an architecture that is not listed here."""
    if machine not in _ARCHITECTURES:
        return b""
    column, architecture = _ARCHITECTURES[machine]
    return b"".join(struct.pack("=HBBI", *each) for each in _instructions(column, architecture))


def _instructions(column: int, architecture: int) -> Iterator[Instruction]:
    """Yield the filter; the x32 ABI has numbers of its own, which are not in the list."""
    yield _LOAD, 0, 0, _ARCHITECTURE_AT
    yield _IF_EQUAL, 1, 0, architecture
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER_AT
    for name, numbers in ALLOWED.items():
        number = numbers[column]
        if number is not None:
            block = [each for check in CHECKS.get(name, ()) for each in _checked(check)]
            yield _IF_EQUAL, 0, len(block) + 1, number
            yield from block
            yield _RETURN, 0, 0, _ALLOW
    yield _RETURN, 0, 0, _REFUSE + errno.ENOSYS


def _checked(check: Check) -> Iterator[Instruction]:
    """Yield instructions that return the error of a check, or go on if it holds.

    The kernel reads the lower half of each of these arguments, and so does the filter.
    """
    yield _LOAD, 0, 0, _ARGUMENTS_AT + 8 * check.argument
    yield _AND, 0, 0, check.mask
    for place, value in enumerate(check.values, start=1):
        yield _IF_EQUAL, len(check.values) - place + 1, 0, value
    yield _RETURN, 0, 0, _REFUSE + check.error
