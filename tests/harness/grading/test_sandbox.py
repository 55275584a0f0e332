"""The sandbox says how a program ended, limits it, and never runs one unisolated unasked."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import ROOT

from draftmark.errors import MachineError, UserError
from draftmark.grading import sandbox
from draftmark.grading.isolation import bubblewrap, memory
from draftmark.grading.sandbox import STATUSES, Limits, Outcome, Program, Sandbox, Status

LIMITS = Limits(cpu_s=1, wall_s=20, memory_bytes=128 * 2**20)
REASON = bubblewrap.why_unavailable()
isolated = pytest.mark.skipif(REASON is not None, reason=f"no isolation: {REASON}")
ENDS: list[tuple[str, str, Status]] = [
    ("def f(): return 1", "assert f() == 1", "passed"),
    ("def f(): return 2", "assert f() == 1", "assertion"),
    ("class Wrong(AssertionError): pass\nraise Wrong", "", "assertion"),
    ("def f(: return 1", "assert f() == 1", "syntax"),
    ("eval('1 +')", "", "error"),
    ("", "assert f() == 1", "error"),
    ("while True: pass", "", "timeout"),
    ("held = bytearray(2**30)", "", "memory"),
    ("print('x' * 2**21)", "", "output"),
    ("raise SystemExit(0)", "assert True", "error"),
    ("import os; os._exit(0)", "assert True", "error"),
]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without bubblewrap."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine whose bubblewrap cannot make namespaces."""
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions' >&2; exit 1\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


@isolated
@pytest.mark.parametrize(("source", "checks", "status"), ENDS)
def test_an_outcome_says_how_the_program_ended(source: str, checks: str, status: Status) -> None:
    outcome = Sandbox(limits=LIMITS).run(Program(source, checks))

    assert outcome.status == status
    assert outcome.isolated


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(("source", "checks", "status"), ENDS)
def test_limits_alone_tell_the_same_and_mark_it(source: str, checks: str, status: Status) -> None:
    outcome = Sandbox(unsafe=True, limits=LIMITS).run(Program(source, checks))

    assert outcome.status == status
    assert not outcome.isolated


@pytest.mark.usefixtures("bare")
def test_without_bubblewrap_nothing_runs_and_the_mend_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        Sandbox().run(Program(f"open({str(tmp_path / 'ran')!r}, 'w')"))

    assert str(caught.value) == (
        "Model-written programs cannot be isolated: bubblewrap is not installed; run "
        "`apt-get install bubblewrap`, or accept the risk with --unsafe-code."
    )
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("broken")
def test_a_bubblewrap_that_cannot_isolate_is_found_out_by_running_it() -> None:
    with pytest.raises(UserError, match=r"cannot isolate here \(bwrap: No permissions\)"):
        Sandbox().run_many([Program("")])


@isolated
def test_unsafe_still_isolates_where_it_can() -> None:
    assert Sandbox(unsafe=True).run(Program("")).isolated


@pytest.mark.usefixtures("bare")
def test_unsafe_time_is_up_for_the_whole_group(tmp_path: Path) -> None:
    """The grandchild would write the file after the program was ended."""
    late = tmp_path / "late"
    source = "import os, time\nif os.fork() == 0:\n    time.sleep(3)\n"
    source += f"    open({str(late)!r}, 'w')\ntime.sleep(99)"
    limits = Limits(wall_s=1, processes=100_000)

    outcome = Sandbox(unsafe=True, limits=limits).run(Program(source))

    assert outcome.status == "timeout"
    time.sleep(3)
    assert not late.exists()


@isolated
def test_many_programs_come_back_in_order() -> None:
    programs = [Program(f"x = {i}", f"assert x != 3, x\nprint({i})") for i in range(9)]

    outcomes = Sandbox().run_many(programs, workers=4)

    assert [outcome.status == "passed" for outcome in outcomes] == [i != 3 for i in range(9)]
    assert [outcome.output for outcome in outcomes if outcome.status == "passed"] == [
        f"{i}\n" for i in range(9) if i != 3
    ]


@isolated
def test_only_the_end_of_the_output_is_kept() -> None:
    outcome = Sandbox().run(Program("print('a' * 100_000)\nprint('b' * 100)"))

    assert outcome.status == "passed"
    assert len(outcome.output) == 2000
    assert outcome.output.endswith("a\n" + "b" * 100 + "\n")


@isolated
def test_a_failure_shows_the_programs_own_lines_only() -> None:
    outcome = Sandbox().run(Program("def f():\n    return 1 / 0", "assert f() == 1"))

    assert outcome.output == (
        "Traceback (most recent call last):\n"
        '  File "checks", line 1, in <module>\n'
        '  File "program", line 2, in f\n'
        "ZeroDivisionError: division by zero\n"
    )


@isolated
def test_the_limits_hold_inside() -> None:
    limits = Limits(cpu_s=7, memory_bytes=2**28, processes=5, file_bytes=2**16)
    source = "import resource\nfor kind in 'CPU', 'AS', 'NPROC', 'FSIZE', 'NOFILE', 'CORE':\n"
    source += "    print(*resource.getrlimit(getattr(resource, 'RLIMIT_' + kind)))"

    outcome = Sandbox(limits=limits).run(Program(source))

    assert outcome.output.split("\n")[:-1] == [
        "7 8",
        f"{2**28} {2**28}",
        "5 5",
        f"{2**16} {2**16}",
        "64 64",
        "0 0",
    ]


@isolated
def test_limits_above_the_hard_ones_are_lowered_to_them() -> None:
    """Run in a process of its own, as a lowered hard limit stays."""
    script = (
        "import resource\n"
        "from draftmark.grading.sandbox import Limits, Program, Sandbox\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**36, 2**36))\n"
        "source = 'import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[1],'\n"
        "source += 'resource.getrlimit(resource.RLIMIT_AS)[1])'\n"
        "print(Sandbox(limits=Limits(memory_bytes=2**40)).run(Program(source)).output)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.split() == ["50", str(2**36)], done.stderr


@isolated
def test_a_program_ends_with_the_process_that_runs_it() -> None:
    mark = str(2**20 + os.getpid())
    script = (
        "from draftmark.grading.sandbox import Limits, Program, Sandbox\n"
        f"Sandbox(limits=Limits(file_bytes={mark})).run(Program('import time; time.sleep(99)'))"
    )
    runner = subprocess.Popen([sys.executable, "-c", script])
    try:
        _wait_until(lambda: _with_argument(mark))
    finally:
        runner.kill()
        runner.wait()

    _wait_until(lambda: not _with_argument(mark))


def _with_argument(argument: str) -> list[int]:
    found = psutil.process_iter(["cmdline"])
    return [process.pid for process in found if argument in (process.info["cmdline"] or ())]


def _wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@isolated
def test_the_program_has_a_temporary_folder_and_nothing_else_to_write_in() -> None:
    source = (
        "import os\n"
        "def writes(folder):\n"
        "    try: open(folder + '/x', 'w').write('x')\n"
        "    except OSError: return False\n"
        "    return True\n"
        "print([folder for folder, _, _ in os.walk('/') if writes(folder)], os.getcwd())"
    )

    assert Sandbox().run(Program(source)).output == "['/tmp'] /tmp\n"


FILLS_BUFFERS = """
import os, socket
def fill(write):
    size, total = 2**16, 0
    while size:
        try: total += write(bytes(size))
        except OSError: size //= 2
    return total
def pair(): return [end.detach() for end in socket.socketpair(socket.AF_UNIX, KIND)]
kept = total = 0
try:
    while True:
        ends = os.pipe() if KIND is None else pair()
        for end in ends: os.set_blocking(end, False)
        total += sum(fill(lambda data: os.write(end, data)) for end in ends)
except OSError: pass
print(total)
"""


@isolated
@pytest.mark.parametrize("kind", [None, 1, 2, 5], ids=["pipes", "streams", "datagrams", "packets"])
def test_the_limit_of_open_files_bounds_what_the_kernel_holds(kind: int | None) -> None:
    """In the smallest pieces that a buffer takes, whose overhead counts against the buffer."""
    outcome = Sandbox().run(Program(f"KIND = {kind}\n{FILLS_BUFFERS}", "assert total > 2**20"))

    assert outcome.status == "passed", outcome.output
    assert int(outcome.output) < Limits().memory_bytes / 8


@isolated
def test_a_program_that_makes_files_without_end_is_ended() -> None:
    """Each empty file takes a kilobyte of the kernel's memory, which no other limit counts."""
    makes = "import itertools\nfor n in itertools.count():\n    open(str(n), 'w').close()"
    few = "for n in range(1000):\n    open(str(n), 'w').close()\nimport time; time.sleep(1)"
    slow = Limits(cpu_s=10, wall_s=20)

    outcomes = Sandbox(limits=slow).run_many([Program(makes), Program(few, "assert True")])

    assert [outcome.status for outcome in outcomes] == ["output", "passed"]


@isolated
def test_what_the_standard_library_does_within_a_process_is_allowed() -> None:
    source = (
        "import asyncio, multiprocessing, os, shutil, socket, sqlite3, subprocess, sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "assert asyncio.run(asyncio.sleep(0.01, 'slept')) == 'slept'\n"
        "assert list(ThreadPoolExecutor(2).map(abs, [-1, -2])) == [1, 2]\n"
        "with sqlite3.connect('data') as base: base.execute('create table t(x)')\n"
        "shutil.copy2('data', 'copy'); os.mkdir('all'); shutil.copytree('all', 'again')\n"
        "shown = subprocess.run([sys.executable, '-S', '-c', 'print(5)'], capture_output=True)\n"
        "assert shown.stdout == b'5\\n', shown\n"
        "one, other = multiprocessing.Pipe()\n"
        "if os.fork() == 0: other.send('child'); os._exit(0)\n"
        "assert one.recv() == 'child'\n"
        "os.mkfifo('queue'); os.link('data', 'same'); os.symlink('data', 'link')\n"
        "mine, theirs = socket.socketpair(); mine.sendall(b'x'); assert theirs.recv(1) == b'x'\n"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()"
    )

    outcome = Sandbox().run(Program(source, "assert True"))

    assert outcome.status == "passed", outcome.output


@isolated
def test_runs_share_nothing() -> None:
    write, read = Program("open('/tmp/x', 'w')"), Program("open('/tmp/x')")

    assert [outcome.status for outcome in Sandbox().run_many([write, read], workers=1)] == [
        "passed",
        "error",
    ]


@isolated
def test_sets_iterate_alike_on_every_run() -> None:
    program = Program("print({'one', 'two', 'three', 'four', 'five'})")

    outputs = {outcome.output for outcome in Sandbox().run_many([program] * 5)}

    assert len(outputs) == 1


@isolated
def test_dataclasses_and_pickles_find_their_module() -> None:
    source = (
        "from __future__ import annotations\n"
        "import pickle\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Point:\n    x: int\n"
        "if __name__ == '__main__': raise ValueError('not run as a script')"
    )
    checks = "assert pickle.loads(pickle.dumps(Point(3))).x == 3"

    assert Sandbox().run(Program(source, checks)).status == "passed"


@isolated
@settings(max_examples=15)
@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_has_an_outcome(text: str) -> None:
    outcome = Sandbox(limits=LIMITS).run(Program(text, "assert False"))

    assert isinstance(outcome, Outcome)
    assert outcome.status != "passed"


def test_this_process_keeps_its_own_limits() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)

    Sandbox(unsafe=True).run(Program(""))

    assert resource.getrlimit(resource.RLIMIT_AS) == before


@isolated
@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_others_than_root_are_isolated_too() -> None:
    """With the system's Python, if there is one: root's own may be closed to others."""
    python = shutil.which("python3", path="/usr/bin")
    if python is None:
        pytest.skip("no Python in /usr/bin")
    script = "from draftmark.grading.sandbox import *; print(Sandbox().run(Program('import os')))"

    done = subprocess.run(
        [python, "-B", "-c", script],
        capture_output=True,
        text=True,
        user=65534,
        group=65534,
        extra_groups=(),
        cwd="/",
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ["PATH"]},
    )

    if "ModuleNotFoundError" in done.stderr:
        pytest.skip("this checkout is closed to others")
    assert "status='passed'" in done.stdout, done.stderr
    assert "isolated=True" in done.stdout


def _script_before(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a script of the shell run before bubblewrap, which has been found to isolate."""
    command_prefix = bubblewrap.command_prefix

    def with_script(*arguments: int) -> list[str]:
        return ["/bin/sh", "-c", f'{script}\nexec "$0" "$@"', *command_prefix(*arguments)]

    assert bubblewrap.why_unavailable() is None
    monkeypatch.setattr(bubblewrap, "command_prefix", with_script)
    monkeypatch.setattr(sandbox, "_WAITS_S", (0.0, 0.0))


@isolated
def test_a_sandbox_that_could_not_start_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    twice = f'cd {tmp_path}; test -e b || {{ test -e a && touch b; touch a; echo "busy"; exit 1; }}'
    _script_before(twice, monkeypatch)

    outcomes = Sandbox().run_many([Program("x = 1", "assert x == 1")] * 2, workers=1)

    assert [outcome.status for outcome in outcomes] == ["passed", "passed"]


@isolated
def test_a_sandbox_that_never_starts_grades_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _script_before('echo "bwrap: Resource unavailable" >&2; exit 1', monkeypatch)

    with pytest.raises(MachineError, match=r"not begin \(bwrap: Resource unavailable\); it was"):
        Sandbox().run(Program("x = 1", "assert x == 1"))


@isolated
def test_a_program_that_the_kernel_killed_for_memory_is_not_graded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The counter of kills is a file here, which rises with each run."""
    counter = tmp_path / "counter"
    counter.write_text("oom_kill 0\n")
    kills_itself = Program("import os\nos.kill(os.getpid(), 9)")
    monkeypatch.setattr(memory, "_COUNTS", (counter,))
    assert Sandbox().run(kills_itself).status == "error"

    _script_before(f"echo oom_kill $(date +%s%N) > {counter}", monkeypatch)
    with pytest.raises(MachineError, match="the kernel killed it"):
        Sandbox().run(kills_itself)
    assert Sandbox().run(Program("x = 1", "assert x == 1")).status == "passed"


@isolated
def test_a_program_needs_no_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))

    outcome = Sandbox().run(Program("print('x' * 5000)", "assert True"))

    assert (outcome.status, len(outcome.output)) == ("passed", 2000)


@pytest.mark.usefixtures("bare")
def test_what_a_killed_process_left_in_the_temporary_folder_is_deleted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = (
        "from draftmark.grading.sandbox import Program, Sandbox\n"
        "text = 'import time; open(\\'begun\\', \\'w\\'); time.sleep(9)'\n"
        "Sandbox(unsafe=True).run(Program(text))"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    other = tmp_path / "draftmark-program-link"
    other.symlink_to(tmp_path)

    running = subprocess.Popen([sys.executable, "-c", script], env=environment)
    _wait_until(lambda: list(tmp_path.glob("draftmark-program-*/begun")))
    Sandbox(unsafe=True).run(Program(""))
    beside = list(tmp_path.glob("draftmark-program-*/begun"))
    running.kill()
    running.wait()
    Sandbox(unsafe=True).run(Program(""))

    assert len(beside) == 1  # of a process that lives
    assert list(tmp_path.iterdir()) == [other]


@pytest.mark.usefixtures("bare")
def test_without_a_folder_to_start_in_nothing_is_graded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    monkeypatch.setattr(sandbox, "_WAITS_S", (0.0,))

    with pytest.raises(MachineError, match="No such file or directory"):
        Sandbox(unsafe=True).run(Program(""))


@isolated
def test_no_program_can_pass_for_a_failure_of_the_machine() -> None:
    """Its stage would fail for ever."""
    for source in (
        "import os\nfor n in range(3, 64):\n    try: os.write(n, b'+' * 99)\n    except OSError: 0",
        "import os\nos.closerange(0, 64)",
        "import os\nos.closerange(0, 64)\nos.abort()",
        "import os\nos.kill(0, 9)",
        "import os\nos.fork() and os._exit(1)",
    ):
        assert Sandbox(limits=LIMITS).run(Program(source, "assert 0")).status in STATUSES
