"""The filter of system calls, run as the kernel would run it."""

import struct

import pytest

from draftmark.grading.isolation.syscalls import seccomp_filter

ALLOW, EPERM, KILL = 0x7FFF0000, 0x00050001, 0x80000000
NAMES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# From the kernel's tables: shmget, ptrace, mount, unshare, bpf, io_uring_setup.
REFUSED = {"x86_64": (29, 101, 165, 272, 321, 425), "aarch64": (194, 117, 40, 97, 280, 425)}
# read, write, mmap, clone, execve, exit_group.
ALLOWED = {"x86_64": (0, 1, 9, 56, 59, 231), "aarch64": (63, 64, 222, 220, 221, 94)}


def verdict(machine: str, architecture: int, number: int) -> int:
    """Return what the filter of a machine says of a call; the four instructions that it uses."""
    program = list(struct.iter_unpack("=HBBI", seccomp_filter(machine)))
    data = {0: number, 4: architecture}
    at = loaded = 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        match code:
            case 0x20:
                loaded = data[value]
            case 0x15:
                at += if_true if loaded == value else if_false
            case 0x35:
                at += if_true if loaded >= value else if_false
            case 0x06:
                return value


@pytest.mark.parametrize("machine", NAMES)
def test_the_calls_of_the_list_are_refused_and_no_others(machine: str) -> None:
    answers = {number: verdict(machine, NAMES[machine], number) for number in range(500)}

    assert all(answers[number] == EPERM for number in REFUSED[machine])
    assert all(answers[number] == ALLOW for number in ALLOWED[machine])
    assert sum(answer == EPERM for answer in answers.values()) == 19
    assert set(answers.values()) == {ALLOW, EPERM}


@pytest.mark.parametrize("machine", NAMES)
def test_calls_by_another_abi_are_not_let_through(machine: str) -> None:
    assert verdict(machine, 0x40000003, 1) == KILL  # 32-bit x86
    assert verdict(machine, NAMES[machine], 0x40000000 + 1) == EPERM  # x32


def test_an_unknown_architecture_has_no_filter() -> None:
    assert seccomp_filter("vax") == b""
