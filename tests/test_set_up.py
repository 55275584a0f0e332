"""The set-up of `make demo` and `make test`: which Python, which packages, what it prints."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import ROOT

SET_UP, INSTALL = ROOT / "tools" / "set-up", ROOT / "tools" / "install.py"
PROGRAMS = ("sh", "dirname", "mkdir", "rm", "cp", "chmod", "touch", "uname", "env", "id", "make")
# A Python for the shell alone: it answers what is asked of a Python, and notes what it runs.
PYTHON = """#!/bin/sh
case "$*" in
    *version_info*) exit {does_not_fit} ;;
    *ensurepip*) exit {lacks_ensurepip} ;;
    "-m venv "*) mkdir -p "$3/bin" && cp '{environment}' "$3/bin/python" ;;
esac
echo "{name} $*" >>'{notes}'
"""
UV = """#!/bin/sh
if [ "$1" = venv ]; then
    for venv; do :; done
    mkdir -p "$venv/bin" && cp '{environment}' "$venv/bin/python"
fi
echo "uv $*" >>'{notes}'
"""


@dataclass(frozen=True)
class Machine:
    """A machine with nothing on PATH but a shell's programs and what a test puts there."""

    home: Path

    @property
    def notes(self) -> list[str]:
        file = self.home / "notes"
        return file.read_text("utf-8").splitlines() if file.exists() else []

    def add_python(self, name: str, *, fits: bool = True, has_ensurepip: bool = True) -> None:
        self._add("bin", name, PYTHON, does_not_fit=int(not fits), lacks=int(not has_ensurepip))

    def add_uv(self) -> None:
        self._add("bin", "uv", UV)

    def _add(
        self, folder: str, name: str, text: str, does_not_fit: int = 0, lacks: int = 0
    ) -> None:
        file = self.home / folder / name
        facts = {"does_not_fit": does_not_fit, "lacks_ensurepip": lacks, "name": name}
        places = {"notes": self.home / "notes", "environment": self.home / "environment" / "python"}
        file.write_text(text.format(**facts, **places), encoding="utf-8")
        file.chmod(0o755)

    def run(self, *command: object, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.home / "bin"), **variables}
        words = [str(word) for word in command]
        return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)

    def set_up(
        self, python: str = "", lock: str = "requirements.lock", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return self.run("sh", SET_UP, self.venv, python, lock, **variables)

    @property
    def venv(self) -> Path:
        return self.home / "a new" / "environment"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    found = Machine(tmp_path)
    for folder in ("bin", "environment"):
        (tmp_path / folder).mkdir()
    for program in PROGRAMS:
        (tmp_path / "bin" / program).symlink_to(str(shutil.which(program)))
    found._add("environment", "python", PYTHON)
    return found


def made_by(machine: Machine) -> str:
    """Return the command that made the environment, without the environment's place."""
    [made] = [note for note in machine.notes if " venv " in note]
    return made.removesuffix(f" {machine.venv}")


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["python3.11", "python3.12"], "python3.11"),
        (["python3.14"], "python3.14"),
        (["python3.13", "python3"], "python3.13"),
        (["python3"], "python3"),
        (["python"], "python"),
    ],
)
def test_the_first_python_that_is_there_is_taken(
    machine: Machine, there: list[str], taken: str
) -> None:
    for name in there:
        machine.add_python(name)

    done = machine.set_up()

    assert done.returncode == 0, done.stderr
    assert made_by(machine) == f"{taken} -m venv"
    assert machine.notes[-1] == f"python {INSTALL} requirements.lock"
    assert not (machine.venv / ".installing").exists()


def test_a_python_that_does_not_run_or_is_of_another_version_is_passed_over(
    machine: Machine,
) -> None:
    shim = machine.home / "bin" / "python3.11"
    shim.write_text("#!/bin/sh\necho 'python3.11: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    machine.add_python("python3.12", fits=False)
    machine.add_python("python3.13")

    done = machine.set_up()

    assert made_by(machine) == "python3.13 -m venv"
    assert done.stderr == ""


@pytest.mark.parametrize("options", [{}, {"python": "python3.10"}])
def test_without_a_python_one_sentence_says_what_to_install(
    machine: Machine, options: dict[str, str]
) -> None:
    machine.add_python("python3", fits=False)

    done = machine.set_up(**options)

    assert done.returncode == 1
    [sentence] = done.stderr.splitlines()
    assert sentence == (
        "PYTHON=python3.10 is not a Python of 3.11 to 3.14 that runs here."
        if options
        else "draftmark needs Python 3.11, 3.12, 3.13 or 3.14: install one of them, or uv, "
        "and run make again."
    )
    assert not machine.venv.exists()


def test_a_python_without_ensurepip_is_passed_over_and_named_if_there_is_no_other(
    machine: Machine,
) -> None:
    machine.add_python("python3.12", has_ensurepip=False)

    done = machine.set_up()
    machine.add_python("python3.13")
    again = machine.set_up()

    [sentence] = done.stderr.splitlines()
    assert done.returncode == 1
    assert "python3.12 cannot make virtual environments" in sentence
    assert "apt-get install python3-venv" in sentence
    assert again.returncode == 0
    assert made_by(machine) == "python3.13 -m venv"


@pytest.mark.parametrize(("python", "asked"), [(None, "3.13"), ("python3.12", "python3.12")])
def test_uv_makes_the_environment_where_there_is_uv(
    machine: Machine, python: str | None, asked: str
) -> None:
    machine.add_uv()
    if python:
        machine.add_python(python, has_ensurepip=False)

    assert machine.set_up().returncode == 0

    made = f"uv venv --quiet --allow-existing --seed --python {asked}"
    assert made_by(machine) == made


def test_an_empty_uv_takes_pip(machine: Machine) -> None:
    machine.add_uv()
    machine.add_python("python3.12")

    assert machine.set_up(UV="").returncode == 0

    assert made_by(machine) == "python3.12 -m venv"


def test_what_was_interrupted_starts_again_and_what_is_not_ours_stays(machine: Machine) -> None:
    machine.add_python("python3.12")
    file = machine.venv / "lib" / "half"
    file.parent.mkdir(parents=True)
    file.touch()

    assert machine.set_up().returncode == 0
    assert file.exists()
    (machine.venv / ".installing").touch()
    assert machine.set_up().returncode == 0
    assert not file.exists()
    assert len([note for note in machine.notes if "-m venv" in note]) == 2
    assert machine.set_up().returncode == 0
    assert len([note for note in machine.notes if "-m venv" in note]) == 2


def test_a_whole_environment_outlives_an_addition_that_was_interrupted(machine: Machine) -> None:
    machine.add_python("python3.12")
    assert machine.set_up().returncode == 0
    for name in (".ready", ".installing"):
        (machine.venv / name).touch()

    assert machine.set_up(lock="requirements-vllm.lock").returncode == 0

    assert (machine.venv / ".ready").exists()
    assert not (machine.venv / ".installing").exists()
    assert len([note for note in machine.notes if "-m venv" in note]) == 1


def test_an_environment_whose_python_has_gone_is_made_anew(machine: Machine) -> None:
    machine.add_python("python3.12")
    assert machine.set_up().returncode == 0
    (machine.venv / ".ready").touch()
    (machine.venv / "bin" / "python").unlink()

    assert machine.set_up(lock="requirements-vllm.lock").returncode == 0

    assert not (machine.venv / ".ready").exists()
    assert machine.notes[-1].endswith("install.py requirements.lock requirements-vllm.lock")
    assert len([note for note in machine.notes if "-m venv" in note]) == 2


def test_an_installation_that_fails_is_started_again(machine: Machine) -> None:
    machine.add_python("python3.12")
    broken = machine.home / "environment" / "python"
    whole = broken.read_text("utf-8")
    broken.write_text(whole + 'case "$*" in *install.py*) exit 3 ;; esac\n', encoding="utf-8")

    assert machine.set_up().returncode == 3
    assert (machine.venv / ".installing").exists()
    broken.write_text(whole, encoding="utf-8")
    assert machine.set_up().returncode == 0
    assert not (machine.venv / ".installing").exists()


def test_make_sets_up_once_and_again_when_a_lock_changes(machine: Machine) -> None:
    machine.add_python("python3.12")
    machine._add("bin", "bwrap", "#!/bin/sh\n")
    venv = machine.home / "venv"

    def make(*words: str) -> list[str]:
        before = len(machine.notes)
        done = machine.run("make", f"VENV={venv}", *words, UV="")
        assert done.returncode == 0, done.stderr
        return [note.split("tools/")[-1] for note in machine.notes[before:] if "-c" not in note]

    base, dev = "install.py requirements.lock", "install.py requirements-dev.lock"
    assert make(f"{venv}/.ready")[-1] == base
    assert make(f"{venv}/.ready") == []
    assert make(f"{venv}/.dev") == [dev]
    assert make(f"{venv}/.dev", f"{venv}/.ready") == []
    os.utime(venv / ".ready", (1, 1))
    assert make(f"{venv}/.dev") == [base, dev]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return tools/install.py as a module that does not wait long."""
    spec = importlib.util.spec_from_file_location("install", INSTALL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SILENCE_S", 0.01)
    return module


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Return a function that lists what a uv was asked that refuses sources with a given word."""
    notes, uv = tmp_path / "notes", tmp_path / "uv"
    monkeypatch.setenv("UV", str(uv))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", "/bin")

    def prepare(refused: str) -> list[str]:
        text = f'#!/bin/sh\necho "$*" >>{notes}\ncase "$*" in *{refused}*) exit 2 ;; esac\n'
        uv.write_text(text, encoding="utf-8")
        uv.chmod(0o755)
        return notes.read_text("utf-8").splitlines() if notes.exists() else []

    return prepare


@pytest.mark.parametrize(
    ("refused", "taken"),
    [
        ("none", ["--no-index torch==X+cpu"]),
        ("--no-index", ["--no-index torch==X+cpu", "--index-url CPU torch==X+cpu"]),
        (
            "+cpu",
            [
                "--no-index torch==X+cpu",
                "--index-url CPU torch==X+cpu",
                "torch===X -r requirements-cuda.lock",
            ],
        ),
    ],
)
def test_torch_comes_from_the_first_source_that_has_it(
    install: ModuleType,
    asked: Callable[[str], list[str]],
    refused: str,
    taken: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked(refused)

    assert install.install_torch() == 0

    version = re.search(r"^torch==(.*)$", (ROOT / "requirements.lock").read_text("utf-8"), re.M)
    assert version
    words = [note.partition("--no-deps ")[2].replace(version[1], "X") for note in asked(refused)]
    assert [line.replace(install.CPU_BUILDS, "CPU") for line in words] == taken
    assert ("3 GB" in capsys.readouterr().out) == (refused == "+cpu")


def test_a_failed_installation_shows_the_end_of_its_messages(
    install: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "for n in range(40): print('line', n)\nraise SystemExit(7)"

    code = install.watched([sys.executable, "-c", lines], lambda _: "", os.environ)

    assert code == 7
    assert capsys.readouterr().err.splitlines() == [f"line {n}" for n in range(25, 40)]


def test_an_installation_prints_how_far_it_is(
    install: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = "print('Collecting one')\nimport time; time.sleep(0.3)"

    install.watched(
        [sys.executable, "-c", slow], lambda lines: lines[-1] if lines else "", os.environ
    )

    assert re.search(r"^ +0 s  Collecting one$", capsys.readouterr().out, re.MULTILINE)


def test_progress_is_the_last_step_then_the_packages_that_are_there(install: ModuleType) -> None:
    lines = [
        "Looking in links: somewhere",
        "Collecting numpy==2.4.0 (from -r requirements.lock (line 7))",
        "  Downloading numpy-2.4.0.whl (16.6 MB)",
        "WARNING: something",
    ]
    assert install.progress(lines[:1], 0) == "asking for packages"
    assert install.progress(lines[:2], 0) == "Collecting numpy==2.4.0"
    assert install.progress(lines, 0) == "Downloading numpy-2.4.0.whl (16.6 MB)"
    assert install.progress(["Processing /some/folder/a-1.whl"], 0) == "Processing a-1.whl"
    lines.append("Installing collected packages: one, two, three")
    assert install.progress(lines, 2) == "installed 2 of 3"
    assert install.progress(["Installing collected packages: torch"], 0) == "installing"


def _locked(name: str) -> dict[str, Requirement]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and line[0] != "#"]
    return {canonicalize_name(one.name): one for one in found}


LOCKS = {path.name: _locked(path.name) for path in sorted(ROOT.glob("requirements*.lock"))}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_a_package_has_one_version_in_all_locks() -> None:
    versions: dict[str, set[str]] = {}
    for lock in LOCKS.values():
        for name, requirement in lock.items():
            versions.setdefault(name, set()).add(str(requirement.specifier))
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
    assert all(re.fullmatch(r"==[\w.]+", *found) for found in versions.values())


def test_what_the_set_up_imports_is_in_the_lock(install: ModuleType) -> None:
    tree = ast.parse(install.IMPORTS)
    named = {
        alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
    }
    named |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
    packages = packages_distributions()
    owners = {canonicalize_name(packages[name.partition(".")[0]][0]) for name in named}
    assert len(owners) > 5
    assert owners - {*LOCKS["requirements.lock"]} == set()


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize(
    ("locks", "extras"),
    [
        (["requirements.lock"], []),
        (["requirements.lock", "requirements-dev.lock"], ["dev"]),
        (["requirements.lock", "requirements-ray.lock"], ["ray"]),
    ],
)
def test_a_lock_holds_what_pyproject_asks_for_and_nothing_else(
    python: str, locks: list[str], extras: list[str]
) -> None:
    """What packages need is read from those that are installed, of the locked versions."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    environment |= {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"}
    every = {name: one for lock in locks for name, one in LOCKS[lock].items()}
    locked = {n: o for n, o in every.items() if not o.marker or o.marker.evaluate(environment)}
    direct = [Requirement(line) for line in PROJECT["dependencies"]]
    for extra in extras:
        direct += map(Requirement, PROJECT["optional-dependencies"][extra])

    needed = dict(_needed(direct, environment))

    cuda = {*LOCKS["requirements-cuda.lock"]}
    assert needed.keys() - locked.keys() - cuda == set()
    assert locked.keys() - needed.keys() == set()
    for name, specifiers in needed.items():
        version = str(locked[name].specifier)[2:] if name in locked else None
        assert all(not version or version in found for found in specifiers), name


def _needed(
    direct: list[Requirement], environment: Mapping[str, str]
) -> Iterator[tuple[str, list[object]]]:
    """Yield every package that requirements lead to, with what is asked of its version."""
    found: dict[str, list[object]] = {}
    seen: set[tuple[str, str]] = set()
    waiting = list(direct)
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        found.setdefault(name, []).append(one.specifier)
        for extra in {"", *one.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                asked = requires(name) or []
            except PackageNotFoundError:
                pytest.skip(f"{name} is not installed")
            here = {**environment, "extra": extra}
            every = map(Requirement, asked)
            waiting += [each for each in every if not each.marker or each.marker.evaluate(here)]
    yield from found.items()
