"""The system calls of isolated programs: what a program of the standard library needs.

The list says what is allowed, not what is refused: a call that the next kernel adds is then refused
until someone has read what it does. An absent call returns ENOSYS, as on an older kernel, so that
libraries fall back (`clone3` to `clone`).

Absent on purpose, as no limit counts the kernel memory that they hold: `listen`, `bind`, `connect`
(connections that wait for an `accept`), `sendmsg` (open files inside messages), `setsockopt` and
F_SETPIPE_SZ (larger buffers), `memfd_create`, `splice`, `tee` and `vmsplice` (pages inside pipes),
`inotify_init`, message queues and System V memory. So an open file holds at most the default buffer
of a socket, and the limit of open files bounds the rest.

Absent on purpose, as they reach other processes or have a history of kernel bugs: `pidfd_getfd`,
`kcmp`, `ptrace`, `process_vm_readv`, `unshare`, `setns`, `mount`, `bpf`, `io_uring_setup`,
`userfaultfd`, `perf_event_open`, `keyctl` and their kin.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_EVERY_BIT = 0xFFFFFFFF
_NAMESPACES = 0x7E020000  # CLONE_NEW*
_TYPES = _EVERY_BIT & ~0x80800  # SOCK_CLOEXEC, SOCK_NONBLOCK
_ODD_MESSAGES = 0x20000001  # MSG_OOB; MSG_FASTOPEN, which connects
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_STREAM, _DATAGRAM, _PACKETS = 1, 2, 5
# Duplicates, flags, locks (SQLite's) and F_GETPIPE_SZ.
_FILE_COMMANDS = (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032)
# TCGETS, TCGETS2, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, FICLONE.
_DEVICE_COMMANDS = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x40049409)
_PROCESS_COMMANDS = (15, 16, 0x53564D41)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA


@dataclass(frozen=True)
class Check:
    """A condition of a call: an argument under a mask is among `values`, else the call fails."""

    argument: int
    values: tuple[int, ...]
    error: int  # errno
    mask: int = _EVERY_BIT


# The conditions of the calls that are not allowed for all arguments.
CHECKS: Mapping[str, tuple[Check, ...]] = MappingProxyType(
    {
        "socket": (
            Check(0, (_AF_UNIX, _AF_INET, _AF_INET6), errno.EAFNOSUPPORT),
            Check(1, (_STREAM, _DATAGRAM), errno.ESOCKTNOSUPPORT, _TYPES),
            # The default, TCP, UDP: another protocol would load a module into the kernel.
            Check(2, (0, 6, 17), errno.EPROTONOSUPPORT),
        ),
        "socketpair": (
            Check(0, (_AF_UNIX,), errno.EAFNOSUPPORT),
            Check(1, (_STREAM, _DATAGRAM, _PACKETS), errno.ESOCKTNOSUPPORT, _TYPES),
        ),
        "sendto": (Check(3, (0,), errno.EOPNOTSUPP, _ODD_MESSAGES),),
        "recvfrom": (Check(3, (0,), errno.EOPNOTSUPP, _ODD_MESSAGES),),
        "clone": (Check(0, (0,), errno.EPERM, _NAMESPACES),),
        "fcntl": (Check(1, _FILE_COMMANDS, errno.EINVAL),),
        "ioctl": (Check(1, _DEVICE_COMMANDS, errno.ENOTTY),),
        "prctl": (Check(0, _PROCESS_COMMANDS, errno.EINVAL),),
    }
)

# Name: the number on x86_64, on aarch64 (None: that machine has no such call).
ALLOWED: Mapping[str, tuple[int | None, int | None]] = MappingProxyType(
    {
        # Memory.
        "brk": (12, 214),
        "mmap": (9, 222),
        "munmap": (11, 215),
        "mprotect": (10, 226),
        "mremap": (25, 216),
        "madvise": (28, 233),
        "msync": (26, 227),
        # Files.
        "fcntl": (72, 25),
        "ioctl": (16, 29),
        "open": (2, None),
        "openat": (257, 56),
        "creat": (85, None),
        "close": (3, 57),
        "close_range": (436, 436),
        "dup": (32, 23),
        "dup2": (33, None),
        "dup3": (292, 24),
        "read": (0, 63),
        "pread64": (17, 67),
        "readv": (19, 65),
        "preadv": (295, 69),
        "write": (1, 64),
        "pwrite64": (18, 68),
        "writev": (20, 66),
        "pwritev": (296, 70),
        "lseek": (8, 62),
        "sendfile": (40, 71),
        "copy_file_range": (326, 285),
        "fsync": (74, 82),
        "fdatasync": (75, 83),
        "flock": (73, 32),
        "fadvise64": (221, 223),
        "truncate": (76, 45),
        "ftruncate": (77, 46),
        "fallocate": (285, 47),
        "umask": (95, 166),
        # Names.
        "stat": (4, None),
        "lstat": (6, None),
        "fstat": (5, 80),
        "newfstatat": (262, 79),
        "statx": (332, 291),
        "access": (21, None),
        "faccessat": (269, 48),
        "faccessat2": (439, 439),
        "readlink": (89, None),
        "readlinkat": (267, 78),
        "getcwd": (79, 17),
        "chdir": (80, 49),
        "fchdir": (81, 50),
        "mkdir": (83, None),
        "mkdirat": (258, 34),
        "rmdir": (84, None),
        "unlink": (87, None),
        "unlinkat": (263, 35),
        "rename": (82, None),
        "renameat": (264, 38),
        "renameat2": (316, 276),
        "link": (86, None),
        "linkat": (265, 37),
        "symlink": (88, None),
        "symlinkat": (266, 36),
        "mknod": (133, None),
        "mknodat": (259, 33),
        "chmod": (90, None),
        "fchmod": (91, 52),
        "fchmodat": (268, 53),
        "fchmodat2": (452, 452),
        "chown": (92, None),
        "lchown": (94, None),
        "fchown": (93, 55),
        "fchownat": (260, 54),
        "utime": (132, None),
        "utimes": (235, None),
        "futimesat": (261, None),
        "utimensat": (280, 88),
        "getdents": (78, None),
        "getdents64": (217, 61),
        "statfs": (137, 43),
        "fstatfs": (138, 44),
        "getxattr": (191, 8),
        "lgetxattr": (192, 9),
        "fgetxattr": (193, 10),
        "listxattr": (194, 11),
        "llistxattr": (195, 12),
        "flistxattr": (196, 13),
        # Waiting.
        "select": (23, None),
        "pselect6": (270, 72),
        "poll": (7, None),
        "ppoll": (271, 73),
        "epoll_create": (213, None),
        "epoll_create1": (291, 20),
        "epoll_ctl": (233, 21),
        "epoll_wait": (232, None),
        "epoll_pwait": (281, 22),
        "eventfd": (284, None),
        "eventfd2": (290, 19),
        "pipe": (22, None),
        "pipe2": (293, 59),
        "pause": (34, None),
        "alarm": (37, None),
        "nanosleep": (35, 101),
        "clock_nanosleep": (230, 115),
        # Time.
        "time": (201, None),
        "gettimeofday": (96, 169),
        "clock_gettime": (228, 113),
        "clock_getres": (229, 114),
        "times": (100, 153),
        "getitimer": (36, 102),
        "setitimer": (38, 103),
        # Processes.
        "clone": (56, 220),
        "prctl": (157, 167),
        "execve": (59, 221),
        "exit": (60, 93),
        "exit_group": (231, 94),
        "wait4": (61, 260),
        "waitid": (247, 95),
        "fork": (57, None),
        "vfork": (58, None),
        "getpid": (39, 172),
        "getppid": (110, 173),
        "gettid": (186, 178),
        "getuid": (102, 174),
        "geteuid": (107, 175),
        "getgid": (104, 176),
        "getegid": (108, 177),
        "getresuid": (118, 148),
        "getresgid": (120, 150),
        "getgroups": (115, 158),
        "getpgid": (121, 155),
        "getpgrp": (111, None),
        "setpgid": (109, 154),
        "getsid": (124, 156),
        "setsid": (112, 157),
        "kill": (62, 129),
        "tkill": (200, 130),
        "tgkill": (234, 131),
        "getpriority": (140, 141),
        "setpriority": (141, 140),
        "sched_yield": (24, 124),
        "sched_getaffinity": (204, 123),
        "sched_getparam": (143, 121),
        "sched_getscheduler": (145, 120),
        "sched_get_priority_max": (146, 125),
        "sched_get_priority_min": (147, 126),
        "getcpu": (309, 168),
        "getrlimit": (97, 163),
        "setrlimit": (160, 164),
        "prlimit64": (302, 261),
        "getrusage": (98, 165),
        "sysinfo": (99, 179),
        "uname": (63, 160),
        "arch_prctl": (158, None),
        "getrandom": (318, 278),
        # Threads and signals.
        "futex": (202, 98),
        "set_tid_address": (218, 96),
        "set_robust_list": (273, 99),
        "get_robust_list": (274, 100),
        "rseq": (334, 293),
        "membarrier": (324, 283),
        "restart_syscall": (219, 128),
        "rt_sigaction": (13, 134),
        "rt_sigprocmask": (14, 135),
        "rt_sigreturn": (15, 139),
        "rt_sigsuspend": (130, 133),
        "rt_sigpending": (127, 136),
        "rt_sigtimedwait": (128, 137),
        "sigaltstack": (131, 132),
        # Sockets.
        "socket": (41, 198),
        "socketpair": (53, 199),
        "sendto": (44, 206),
        "recvfrom": (45, 207),
        "shutdown": (48, 210),
        "getsockname": (51, 204),
        "getpeername": (52, 205),
        "getsockopt": (55, 209),
    }
)
