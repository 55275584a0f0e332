"""The script inside the sandbox: it limits itself, runs a program and its checks, and reports.

`grading.sandbox` sends the text of this file as `python -c`, so the project's files need not be
visible inside. The payload holds the program, its checks and a secret; each part is read after the
previous one has run. The report is a pipe, which needs no disk. Its first byte says that the
program began; the program cannot take that byte back. `passed` counts only with the secret, so a
program that ends early, or writes `passed` itself, has not passed.
"""

import os
import resource
import sys


def main() -> None:
    """Read the arguments (see `grading.sandbox`) and run the payload; never returns."""
    *limits, payload, report, program_size, checks_size = map(int, sys.argv[1:])
    lower_limits(*limits)
    sys.argv = ["program"]
    run_payload(payload, report, program_size, checks_size)


def lower_limits(
    cpu_s: int, memory_bytes: int, processes: int, file_bytes: int, open_files: int
) -> None:
    """Lower the limits of this process and its children for good."""
    for kind, value, margin in (
        (resource.RLIMIT_CPU, cpu_s, 1),  # SIGXCPU, and a second later SIGKILL
        (resource.RLIMIT_AS, memory_bytes, 0),
        (resource.RLIMIT_NPROC, processes, 0),
        (resource.RLIMIT_FSIZE, file_bytes, 0),
        (resource.RLIMIT_NOFILE, open_files, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (_lower(value, hard), _lower(value + margin, hard)))


def _lower(value: int, hard: int) -> int:
    """Return the limit, at most the hard one: a container refuses more."""
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def run_payload(payload: int, report: int, program_size: int, checks_size: int) -> None:
    """Run the program, then its checks, write the status to the report, and exit."""
    # Local names: the program may replace the originals.
    compile_, execute, read, write = compile, exec, os.pread, os.write
    process, leave, show = os.getpid, os._exit, sys.excepthook
    everything = BaseException
    words: dict[type, bytes] = {AssertionError: b"assertion", MemoryError: b"memory"}
    own = process()
    write(report, b"+")
    module = type(sys)("program")
    sys.modules["program"] = module
    verdict, error = b"syntax", None
    try:
        text = read(payload, program_size, 0).decode("utf-8", "surrogatepass")
        code = compile_(text, "program", "exec", dont_inherit=True)
        verdict = b"error"
        execute(code, module.__dict__)
        text = read(payload, checks_size, program_size).decode()
        execute(compile_(text, "checks", "exec", dont_inherit=True), module.__dict__)
        verdict = b"passed " + read(payload, 1024, program_size + checks_size)
    except everything as raised:
        error = raised
        for kind in type(raised).__mro__:
            verdict = words.get(kind, verdict)
    if process() == own:  # a fork of the program gets here as well
        write(report, verdict)
        if error is not None:
            below = error.__traceback__ and error.__traceback__.tb_next
            show(type(error), error.with_traceback(below), below)
    leave(0)


if __name__ == "__main__":
    main()
