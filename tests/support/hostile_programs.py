"""Hostile programs for the sandbox, each with its expected status; see `test_sandbox_hostile`.

CANARY is the path of a file outside the sandbox that holds SECRET, PORT a listening port of this
machine. A refused attack mostly ends in an exception: `error`. After an attack without effect the
program goes on: `passed`.
"""

from typing import NamedTuple

from draftmark.grading.sandbox import Status


class Hostile(NamedTuple):
    name: str
    status: Status
    source: str
    checks: str = "assert True"


FILES = [
    Hostile("reads a secret file", "error", "print(open(CANARY).read())"),
    Hostile("climbs out of its folder", "error", "print(open('../../../..' + CANARY).read())"),
    Hostile("reads the passwords", "error", "print(open('/etc/shadow').read())"),
    Hostile("lists the home folder", "error", "import os; os.listdir(HOME + '/.cache')"),
    Hostile(
        "searches everywhere",
        "assertion",
        "import os\n"
        "tops = ['/' + name for name in os.listdir('/') if not name.startswith(('usr', 'lib'))]\n"
        "names = [name for top in tops for _, _, names in os.walk(top) for name in names]",
        "assert os.path.basename(CANARY) in names",
    ),
    Hostile("writes over a file", "error", "open(CANARY, 'w').write('gone')"),
    Hostile("makes a file beside it", "error", "open(CANARY + '.new', 'w').write('new')"),
    Hostile(
        "removes folders",
        "passed",
        "import os, shutil\n"
        "for folder in '/tmp', os.path.dirname(CANARY), os.path.dirname(os.__file__):\n"
        "    shutil.rmtree(folder, ignore_errors=True)",
    ),
    Hostile("changes Python itself", "error", "import os; open(os.__file__, 'a').write('#')"),
    Hostile("opens its modes", "error", "import os; os.chmod(os.__file__, 0o777)"),
    Hostile(
        "follows a symbolic link",
        "error",
        "import os; os.symlink(CANARY, 'link'); open('link', 'w').write('gone')",
    ),
    Hostile("makes a hard link", "error", "import os; os.link(os.__file__, '/tmp/link')"),
    Hostile("reads a disk", "error", "open('/dev/vda', 'rb').read(1)"),
    Hostile("reads the memory", "error", "open('/dev/mem', 'rb').read(1)"),
    Hostile("peeks at processes", "error", "import os; print(os.listdir('/proc'))"),
    Hostile("reads its parent's memory", "error", "open('/proc/1/mem', 'rb')"),
]

NETWORK = [
    Hostile(
        "looks for a network",
        "error",
        "import socket",
        "assert [name for _, name in socket.if_nameindex() if name != 'lo']",
    ),
    Hostile(
        "reaches the machine below this one",
        "assertion",
        "import ctypes; libc = ctypes.CDLL(None)",
        "assert libc.socket(40, 1, 0) >= 0",  # AF_VSOCK
    ),
    Hostile(
        "speaks to the kernel by sockets",
        "assertion",
        "import ctypes; libc = ctypes.CDLL(None)",
        # Netlink, packets, the kernel's cryptography, RDS, TIPC, Bluetooth, XDP.
        "assert any(libc.socket(f, t, 0) >= 0 for f in (16, 17, 38, 21, 30, 31, 44)"
        " for t in (1, 2, 3, 5))",
    ),
    Hostile(
        "waits for a caller",
        "error",
        "import socket; socket.create_server(('127.0.0.1', 0))",
    ),
    Hostile(
        "connects to this machine",
        "error",
        "import socket; socket.create_connection(('127.0.0.1', PORT), 2).send(b'x')",
    ),
    Hostile(
        "connects to an abstract socket",
        "error",
        "import socket; socket.socket(socket.AF_UNIX).connect('\\0draftmark-canary')",
    ),
    Hostile("resolves a name", "error", "import socket; socket.getaddrinfo('localhost.test', 80)"),
    Hostile("renames the machine", "error", "import socket; socket.sethostname('mine')"),
]

PROCESSES = [
    Hostile("bombs with forks", "error", "import os\nwhile True: os.fork()"),
    Hostile(
        "bombs with threads",
        "error",
        "import threading, time\n"
        "while True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
    ),
    Hostile("kills its parent", "passed", "import os; os.kill(os.getppid(), 9)"),
    Hostile("kills all", "error", "import os; os.kill(-1, 9)"),
    Hostile("kills its group", "error", "import os; os.killpg(0, 9)"),
    Hostile("kills itself", "error", "import os; os.kill(os.getpid(), 9)"),
    Hostile("stops itself", "timeout", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"),
    Hostile("becomes another program", "error", "import os; os.execv('/bin/sh', ['sh'])"),
    Hostile(
        "becomes another Python",
        "error",
        "import os, sys; os.execv(sys.executable, ['python', '-c', 'print(1)'])",
    ),
    Hostile(
        "leaves a daemon behind",
        "passed",
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.closerange(0, 64)\n"
        "        time.sleep(99)\n"
        "    os._exit(0)",
    ),
    Hostile(
        "leaves deaf children behind",
        "error",
        "import os, signal, time\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        "        time.sleep(99)\n"
        "os._exit(0)",
    ),
    Hostile(
        "waits for children that sleep",
        "timeout",
        "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(99)\nos.wait()",
    ),
    Hostile(
        "is deaf to signals",
        "timeout",
        "import signal\n"
        "for number in (signal.SIGTERM, signal.SIGXCPU, signal.SIGINT, signal.SIGHUP):\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        "while True: pass",
    ),
    Hostile("takes priority", "error", "import os; os.setpriority(os.PRIO_PROCESS, 0, -20)"),
]

RESOURCES = [
    Hostile("never ends", "timeout", "while True: pass"),
    Hostile("sleeps", "timeout", "import time; time.sleep(999)"),
    Hostile("prints without end", "output", "while True: print('x' * 1000)"),
    Hostile(
        "complains without end", "output", "import sys\nwhile True: sys.stderr.write('x' * 99)"
    ),
    Hostile(
        "prints past the limit",
        "timeout",
        "import os\nwhile True:\n    try: os.write(1, b'x' * 9999)\n    except OSError: pass",
    ),
    Hostile("fills the memory", "memory", "held = []\nwhile True: held.append(bytearray(2**20))"),
    Hostile("maps the memory", "error", "import mmap; mmap.mmap(-1, 2**36)"),
    Hostile(
        "fills the memory with forks",
        "memory",
        "import os\nfor _ in range(4):\n    if os.fork() == 0: break\nheld = bytearray(2**29)",
    ),
    Hostile(
        "fills the disk",
        "error",
        "for number in range(10**6): open(str(number), 'wb').write(bytes(2**19))",
    ),
    Hostile("writes a huge file", "error", "open('huge', 'wb').truncate(2**40)"),
    Hostile(
        "makes files without end",
        "output",
        "import itertools\nfor number in itertools.count(): open(str(number), 'w').close()",
    ),
    Hostile("recurs without end", "error", "def f(): f()\nf()"),
    Hostile(
        "overflows the stack",
        "error",
        "import sys; sys.setrecursionlimit(2**30)\nclass A: pass\nA.__repr__ = repr\nrepr(A())",
    ),
    Hostile("makes a huge number", "timeout", "x = 9 ** 9 ** 9"),
    Hostile("makes a huge string", "memory", "x = 'x' * 2**40"),
    Hostile(
        "raises its limits",
        "error",
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    ),
    Hostile("makes files of memory", "error", "import os; os.memfd_create('mine')"),
    Hostile(
        "widens a pipe",
        "error",
        "import fcntl, os; fcntl.fcntl(os.pipe()[1], fcntl.F_SETPIPE_SZ, 2**20)",
    ),
    Hostile(
        "widens a socket",
        "error",
        "import socket\nsocket.socketpair()[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)",
    ),
    Hostile(
        "hides files in messages",
        "error",
        "import socket\none, other = socket.socketpair()\nsocket.send_fds(one, [b'x'], [0])",
    ),
    Hostile("opens files without end", "error", "held = [open('/dev/null') for _ in range(999)]"),
]

KERNEL = [
    Hostile("crashes", "error", "import ctypes; ctypes.string_at(0)"),
    Hostile(
        "traces its keeper",
        "assertion",
        "import ctypes; libc = ctypes.CDLL(None)",
        "assert libc.ptrace(0x4206, 1, 0, 0) == 0",
    ),
    Hostile(
        "hides memory from the limits",
        "assertion",
        "import ctypes; libc = ctypes.CDLL(None)",
        "assert libc.shmget(0, ctypes.c_size_t(2**20), 0o1600) >= 0",
    ),
    Hostile(
        "makes a namespace",
        "assertion",
        "import ctypes; libc = ctypes.CDLL(None)",
        "assert libc.unshare(0x10000000) == 0",
    ),
    Hostile(
        "mounts",
        "assertion",
        "import ctypes; libc = ctypes.CDLL(None)",
        "assert libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0",
    ),
    Hostile(
        "takes a file of its keeper",
        "assertion",
        "import ctypes; libc = ctypes.CDLL(None)",
        "assert libc.syscall(434, 1, 0) >= 0 or libc.syscall(438, 3, 0, 0) >= 0",  # pidfd_getfd
    ),
    Hostile(
        "compares itself with its keeper",
        "assertion",
        "import ctypes, os; libc = ctypes.CDLL(None)\n"
        "number = {'x86_64': 312, 'aarch64': 272}[os.uname().machine]  # kcmp",
        "assert libc.syscall(number, os.getpid(), 1, 2, 0, 0) >= 0",
    ),
    Hostile("changes its root", "error", "import os; os.chroot('/tmp')"),
    Hostile("becomes root", "error", "import os; os.setuid(0); open(CANARY)"),
]

CHECKS = [
    Hostile("leaves early", "error", "import os; os._exit(0)"),
    Hostile("exits early", "error", "import sys; sys.exit(0)"),
    Hostile("is interrupted", "error", "raise KeyboardInterrupt"),
    Hostile("exits within a check", "error", "import os\ndef f(): os._exit(0)", "assert f()"),
    Hostile(
        "says that it passed",
        "error",
        "import os\n"
        "for fd in range(64):\n"
        "    try: os.write(fd, b'passed ' + b'0' * 64)\n"
        "    except OSError: pass\n"
        "os._exit(0)",
    ),
    Hostile(
        "replaces exec",
        "assertion",
        "import builtins\n"
        "builtins.exec = builtins.compile = lambda *a, **k: None\n"
        "builtins.AssertionError = builtins.BaseException = ZeroDivisionError",
        "assert False",
    ),
    Hostile(
        "replaces what reads and writes",
        "assertion",
        "import os\n"
        "os.pread = lambda *a: b''\n"
        "os.write = lambda *a: None\n"
        "os._exit = os.getpid = lambda *a: 0",
        "assert False",
    ),
    Hostile(
        "changes the runner",
        "assertion",
        "import sys\nmain = sys.modules['__main__']\nmain.judge = main.main = lambda *a: None",
        "assert False",
    ),
    Hostile(
        "finds the checks in a frame",
        "error",
        "import sys\nframe = sys._getframe(1)\nprint(frame.f_locals['checks'])",
    ),
    Hostile("closes all files", "error", "import os; os.closerange(0, 64)"),
    Hostile("asks for input", "error", "input()"),
    Hostile(
        "looks for secrets", "assertion", "import os", "assert 'DRAFTMARK_SECRET' in os.environ"
    ),
    Hostile("is no text", "syntax", "\0\0\0"),
    Hostile("is half a character", "syntax", "x = '\ud800'"),
    Hostile("is garbage", "syntax", "\u202e\ufeff\U0001f4a3 = \xff"),
    Hostile("is nested too deep", "syntax", "x = " + "(" * 5000 + ")" * 5000),
]

# Without isolation the programs exit: isolated, a program is process 2 of its namespace.
GUARD = "import os\nif os.getpid() > 2: os._exit(0)\n"
HOSTILE = [*FILES, *NETWORK, *PROCESSES, *RESOURCES, *KERNEL, *CHECKS]
