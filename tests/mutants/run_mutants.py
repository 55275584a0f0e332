"""Plants faults one by one in a copy of the code, and prints those that no test sees.

`targets.toml` names the files with the tests that must see their faults, and explains the faults
that no test can see. Every fault runs in a process forked from one that has imported the libraries.
Exit status 1 if a fault survives without an explanation.
"""

import argparse
import gc
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from faults import Fault, faults_of

ROOT = Path(__file__).parents[2]
TARGETS = Path(__file__).with_name("targets.toml")
COPIED = ("harness", "tasks", "baselines", "reports", "src", "tests", "docs")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "Makefile")
LIBRARIES = (
    *("numpy", "scipy.stats", "pytest", "hypothesis", "pydantic", "pyarrow", "torch"),
    "transformers.models.llama.modeling_llama",
)


@dataclass(frozen=True)
class Target:
    """A file, the tests that must see its faults, and the faults that cannot be seen.

    `explained` maps (line of code, replaced text, new text) to the reason.
    """

    file: str
    tests: Sequence[str]
    explained: dict[tuple[str, str, str], str]


def targets() -> list[Target]:
    """Return the targets in `targets.toml`."""
    found = []
    for item in tomllib.loads(TARGETS.read_text("utf-8"))["target"]:
        explained = {tuple(each["fault"]): each["reason"] for each in item.get("explained", [])}
        found.append(Target(item["file"], item["tests"], explained))
    return found


def copy_project(folder: Path) -> None:
    """Copy the project, links as links."""
    skip = shutil.ignore_patterns("__pycache__", ".hypothesis")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=skip)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)


def run_tests(folder: Path, tests: Sequence[str], log: Path, limit_s: float) -> int | None:
    """Run tests in a forked process; return its exit status, None if it took too long."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(_in_child(folder, tests, log))
        except BaseException:
            traceback.print_exc()
        finally:  # never go back into the parent's code
            os._exit(1)
    started = time.monotonic()
    while time.monotonic() - started < limit_s:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _in_child(folder: Path, tests: Sequence[str], log: Path) -> int:
    os.setpgid(0, 0)
    with log.open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(folder)
    sys.path.insert(0, str(folder / "src"))
    os.environ["PYTHONPATH"] = str(folder / "src")
    import pytest
    from hypothesis import Phase, settings

    seen = (Phase.explicit, Phase.generate)  # a failure is enough, the simplest is not needed
    settings.register_profile(
        "mutants", phases=seen, derandomize=True, database=None, deadline=None
    )
    options = ["-n", "0", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # imported before the fork
    return int(pytest.main([*options, "--hypothesis-profile", "mutants", *tests]))


def survivors(target: Target, folder: Path, every: int, start: int) -> tuple[int, list[Fault]]:
    """Return the number of planted faults, and those that no test sees and nothing explains."""
    path, log = folder / target.file, folder / "log.txt"
    source = path.read_text("utf-8")
    started = time.monotonic()
    if run_tests(folder, target.tests, log, 600) != 0:
        raise SystemExit(f"The tests of {target.file} fail without a fault:\n{log.read_text()}")
    limit_s = 30 + 10 * (time.monotonic() - started)
    sys.dont_write_bytecode = True
    lines, left = source.splitlines(), []
    planted = faults_of(source)[start::every]
    for fault in planted:
        path.write_text(fault.plant(source), "utf-8")
        for stale in path.parent.glob(f"__pycache__/{path.stem}.*"):
            stale.unlink()
        code = lines[fault.line - 1].strip()
        if run_tests(folder, target.tests, log, limit_s) == 0:
            reason = target.explained.get((code, fault.old, fault.new))
            if reason is None:
                left.append(fault)
                print(f"  {fault.line}: {fault.old!r} -> {fault.new!r} in: {code}", flush=True)
    path.write_text(source, "utf-8")
    return len(planted), left


def main() -> None:
    """Plant the faults of the files given, of all targets by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="files of targets.toml [default: all]")
    parser.add_argument("--every", type=int, default=1, help="plant one fault in so many")
    parser.add_argument("--start", type=int, default=0, help="the first fault planted in each file")
    given = parser.parse_args()
    for library in LIBRARIES:
        __import__(library)
    gc.freeze()  # a child looks through what its tests made alone
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "project"
        copy_project(folder)
        for target in targets():
            if given.files and target.file not in given.files:
                continue
            started = time.monotonic()
            print(target.file, flush=True)
            planted, left = survivors(target, folder, given.every, given.start)
            took = time.monotonic() - started
            print(f"  {planted} faults, {len(left)} unseen and unexplained, {took:.0f} s")
            failed = failed or bool(left)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
