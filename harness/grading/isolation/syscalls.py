"""The seccomp filter (a classic BPF program) of isolated programs.

It refuses memory that the limits do not count (System V shared memory, message queues and
semaphores), access to other processes, and calls with a history of kernel bugs that no short
program needs.
"""

import os
import struct
from itertools import chain

_REFUSED = {  # the number on x86_64, on aarch64
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "unshare": (272, 97),
    "setns": (308, 268),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
}
# The column of the number, and the kernel's AUDIT_ARCH constant.
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_MACHINE = os.uname().machine
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # in the kernel's struct seccomp_data
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # refuse: EPERM
_X32 = 0x40000000  # calls of the x32 ABI start here


def seccomp_filter(machine: str = _MACHINE) -> bytes:
    """Return the filter for a machine; empty for an architecture that is not listed here."""
    if machine not in _ARCHITECTURES:
        return b""
    column, architecture = _ARCHITECTURES[machine]
    numbers = [row[column] for row in _REFUSED.values()]
    count = len(numbers)
    return b"".join(
        struct.pack("=HBBI", code, jump_if_true, jump_if_false, value)
        for code, jump_if_true, jump_if_false, value in chain(
            [
                (_LOAD, 0, 0, _ARCHITECTURE_AT),
                (_IF_EQUAL, 1, 0, architecture),
                (_RETURN, 0, 0, _KILL),
                (_LOAD, 0, 0, _NUMBER_AT),
                (_IF_AT_LEAST, count + 1, 0, _X32),
            ],
            ((_IF_EQUAL, count - place, 0, number) for place, number in enumerate(numbers)),
            [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)],
        )
    )
