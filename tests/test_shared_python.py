"""The Python that has imported torch runs programs as Python does, and leaves none behind."""

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest


def run(python: str, *words: object, **options: object) -> "subprocess.CompletedProcess[str]":
    command = [python, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    ("source", "code", "error"),
    [
        ("print('so far')", 0, ""),
        ("print('so far'); raise SystemExit(7)", 7, ""),
        ("print('so far'); raise SystemExit('no')", 1, "no\n"),
        ("print('so far', flush=True); import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, ""),
    ],
)
def test_a_program_ends_as_in_an_interpreter_of_its_own(
    python: str, source: str, code: int, error: str
) -> None:
    done = run(python, "-c", source)

    assert (done.returncode, done.stdout, done.stderr) == (code, "so far\n", error)


def test_an_error_prints_its_traceback(python: str) -> None:
    done = run(python, "-c", "1 / 0")

    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_files_modules_arguments_and_the_folder_are_the_programs(
    python: str, tmp_path: Path
) -> None:
    (tmp_path / "other.py").write_text("WORD = 'found'\n", encoding="utf-8")
    source = "import os, sys, other; print(other.WORD, sys.argv[1:], os.getcwd(), __name__)"
    (tmp_path / "program.py").write_text(source, encoding="utf-8")
    expected = f"found ['a', '-b'] {tmp_path} __main__\n"

    for words in (["program.py"], ["-m", "program"], ["-u", "-c", source]):
        assert run(python, *words, "a", "-b", cwd=tmp_path).stdout == expected


def test_programs_that_a_program_starts_have_imported_torch_too(python: str) -> None:
    inner = "import sys; sys.exit('torch' in sys.modules and 5)"
    source = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {inner!r}])"

    assert run(python, "-c", f"{source}.returncode)").returncode == 5


def test_open_files_keep_their_numbers(python: str) -> None:
    receiving, sending = os.pipe()
    done = run(python, "-c", f"import os; os.write({sending}, b'x')", pass_fds=[sending])
    os.close(sending)

    assert done.returncode == 0, done.stderr
    assert os.read(receiving, 9) == b"x"
    assert os.read(receiving, 9) == b""  # the server that forks keeps no copy
    os.close(receiving)


def test_a_program_is_killed_with_what_it_started_when_its_process_is(python: str) -> None:
    # One write each: two prints into one pipe may mix.
    inner = "import os, time; os.write(1, b'%d\\n' % os.getpid()); time.sleep(600)"
    source = f"import os; os.fork(); {inner}"
    with subprocess.Popen([python, "-c", source], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        both = [psutil.Process(int(process.stdout.readline())) for _ in range(2)]
        process.kill()

    assert psutil.wait_procs(both, timeout=30)[1] == []
