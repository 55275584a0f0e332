"""The filter of system calls, run as the kernel would run it, and by the kernel itself."""

import errno
import json
import platform
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draftmark.grading.isolation import bubblewrap, syscalls
from draftmark.grading.isolation.allowed_calls import ALLOWED, CHECKS
from draftmark.grading.isolation.syscalls import seccomp_filter
from draftmark.grading.sandbox import Program, Sandbox

ALLOW, KILL = 0x7FFF0000, 0x80000000
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
# From the kernel's tables.
REFUSED = {  # ptrace, mount, bpf, io_uring_setup, pidfd_getfd, kcmp, memfd_create, listen, sendmsg
    "x86_64": (101, 165, 321, 425, 438, 312, 319, 50, 46),
    "aarch64": (117, 40, 280, 425, 438, 272, 279, 201, 211),
}
# read, write, mmap, clone, execve, exit_group.
# Calls of the kernel's own trampolines, which no filter sees: elsewhere they end the program.
TRAMPOLINES = {335, 336}  # uretprobe, uprobe, on x86_64
NEEDED = {"x86_64": (0, 1, 9, 56, 59, 231), "aarch64": (63, 64, 222, 220, 221, 94)}
SOCKET, CLONE = {"x86_64": 41, "aarch64": 198}, {"x86_64": 56, "aarch64": 220}
KNOWN = sorted({number for row in ALLOWED.values() for number in row if number is not None})
isolated = pytest.mark.skipif(
    bubblewrap.why_unavailable() is not None, reason=f"no isolation: {bubblewrap.why_unavailable()}"
)


def refusal(error: int) -> int:
    """Return the filter's verdict that a call ends with an error."""
    return 0x00050000 + error


def verdict(machine: str, architecture: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """Return what the filter of a machine says of a call; the four instructions that it uses."""
    program = list(struct.iter_unpack("=HBBI", seccomp_filter(machine)))
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(*arguments, *[0] * 6)[:6])
    at = loaded = 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        match code:
            case 0x20:
                loaded = struct.unpack_from("=I", data, value)[0]
            case 0x54:
                loaded &= value
            case 0x15:
                at += if_true if loaded == value else if_false
            case 0x06:
                return value


def by_the_list(machine: str, number: int, arguments: tuple[int, ...]) -> int:
    """Return what the list of allowed calls says of a call."""
    column = list(MACHINES).index(machine)
    name = next((name for name, row in ALLOWED.items() if row[column] == number), None)
    if name is None:
        return refusal(errno.ENOSYS)
    failed = (
        refusal(check.error)
        for check in CHECKS.get(name, ())
        if (arguments[check.argument] & 0xFFFFFFFF & check.mask) not in check.values
    )
    return next(failed, ALLOW)


@pytest.mark.parametrize("machine", MACHINES)
@settings(max_examples=300)
@given(
    st.one_of(st.sampled_from(KNOWN), st.integers(0, 600), st.integers(0, 2**32 - 1)),
    st.tuples(*[st.one_of(st.integers(0, 64), st.integers(0, 2**64 - 1))] * 6),
)
def test_the_filter_says_what_the_list_says(
    machine: str, number: int, arguments: tuple[int, ...]
) -> None:
    found = verdict(machine, MACHINES[machine], number, arguments)

    assert found == by_the_list(machine, number, arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_what_python_needs_is_allowed_and_what_leads_out_is_not(machine: str) -> None:
    answers = {number: verdict(machine, MACHINES[machine], number) for number in range(700)}

    assert all(answers[number] == refusal(errno.ENOSYS) for number in REFUSED[machine])
    assert all(answers[number] == ALLOW for number in NEEDED[machine])
    assert all(answers[number] == refusal(errno.ENOSYS) for number in range(463, 700))  # unknown


@pytest.mark.parametrize("machine", MACHINES)
def test_three_families_of_sockets_and_no_namespace_can_be_opened(machine: str) -> None:
    def opened(*arguments: int) -> bool:
        return verdict(machine, MACHINES[machine], SOCKET[machine], arguments) == ALLOW

    assert [family for family in range(64) if opened(family, 1, 0)] == [1, 2, 10]
    assert [kind for kind in range(64) if opened(2, kind | 0x80800, 0)] == [1, 2]
    assert [protocol for protocol in range(300) if opened(2, 1, protocol)] == [0, 6, 17]
    for bit in range(64):
        made = verdict(machine, MACHINES[machine], CLONE[machine], (1 << bit,))
        namespace = bit in (17, 25, 26, 27, 28, 29, 30)  # CLONE_NEWNS, NEWCGROUP ... NEWNET
        assert made == (refusal(errno.EPERM) if namespace else ALLOW), bit


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_by_another_abi_are_not_let_through(machine: str) -> None:
    assert verdict(machine, 0x40000003, 1) == KILL  # 32-bit x86
    assert verdict(machine, MACHINES[machine], 0x40000000 + 1) == refusal(errno.ENOSYS)  # x32


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    if not HEADERS[machine].is_file():
        pytest.skip(f"no {HEADERS[machine]}")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", HEADERS[machine].read_text())
    numbers = {name: int(number) for name, number in found}
    numbers["newfstatat"] = numbers.get("newfstatat", numbers.get("fstatat", -1))
    column = list(MACHINES).index(machine)

    wrong = {
        name: numbers.get(name)
        for name, row in ALLOWED.items()
        if row[column] is not None and numbers.get(name, row[column]) != row[column]
    }
    absent = {name for name, row in ALLOWED.items() if row[column] is not None} - numbers.keys()

    assert wrong == {}
    assert absent <= {"fchmodat2", "getrlimit", "setrlimit", "renameat"}  # newer, or by condition


def test_an_unknown_architecture_runs_nothing_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seccomp_filter("vax") == b""

    monkeypatch.setattr(syscalls, "seccomp_filter", lambda: b"")
    assert bubblewrap.why_unavailable() == (
        f"draftmark has no list of the system calls of {platform.machine()}"
    )


FUZZ = """
import ctypes, json, random
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
random.seed(0)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return ctypes.get_errno() if result == -1 else None
def anything():
    return random.choice([0, 1, -1, random.getrandbits(8), random.getrandbits(63)])
answers = {}
for number in NUMBERS:
    for _ in range(5):
        answers.setdefault(number, set()).add(call(number, *[anything() for _ in range(6)]))
print(json.dumps([
    [number for number, errors in answers.items() if errors != {38}],
    [family for family in range(64) if call(SOCKET, family, 1, 0) is None],
    [call(CLONE, 1 << bit | 17, 0, 0, 0, 0) for bit in (17, 25, 26, 27, 28, 29, 30)],
]))
"""


@isolated
def test_the_kernel_refuses_every_call_that_is_not_in_the_list() -> None:
    machine = platform.machine()
    column = list(MACHINES).index(machine)
    allowed = {row[column] for row in ALLOWED.values()}
    numbers = [number for number in range(700) if number not in allowed | TRAMPOLINES]
    numbers += [0x40000000 + number for number in (0, 1, 57, 519, 520, 545)]
    values = f"NUMBERS, SOCKET, CLONE = {numbers}, {SOCKET[machine]}, {CLONE[machine]}"

    outcome = Sandbox().run(Program(f"{values}\n{FUZZ}", "assert True"))

    assert outcome.status == "passed"
    let_through, families, namespaces = json.loads(outcome.output)
    assert let_through == []
    assert families == [1, 2, 10]
    assert namespaces == [errno.EPERM] * 7
