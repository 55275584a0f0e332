"""The package as people install it: the wheel of the sdist, in an environment of its own."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest
from places import PACKAGE, ROOT, in_repository
from small_runs import small_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BUILD = "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"
# What a checkout has under draftmark's name and an installation needs not.
LEFT_OUT = re.compile(
    r"(tasks/|baselines/|reports/)?README\.md|reports/(accepted|bench|board|measured)/.*"
    r"|tasks/samples/(templates/.*|\w+\.py)"
)
FOLDERS = ("tasks", "reports", "baselines", "harness")
GATE = """
import baselines.mine, harness.mine, reports.mine, tasks.mine
from draftmark import registry


def test_the_gate_passes_beside_packages_of_our_own(acceptance_gate):
    assert acceptance_gate({run!r}, against={accepted!r}).verdict == "PASS"
    for package in baselines, harness, reports, tasks:
        assert package.mine.NAME == "mine"
    assert "gsm8k" in registry.registered_names("tasks")
"""


def _environment(**variables: object) -> dict[str, str]:
    """Return the environment without what leads to the checkout or speaks to this pytest."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith(("PYTEST_", "DRAFTMARK_"))
    }
    return kept | {name: str(value) for name, value in variables.items()}


def _run(*command: object, cwd: Path, **variables: object) -> str:
    """Return what a command prints; a command that fails fails the test with its words."""
    words, environment = list(map(str, command)), _environment(**variables)
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def _files(folder: Path) -> Iterator[str]:
    """Yield the files below a folder, through links."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (str(Path(parent, name).relative_to(folder)) for name in names)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout, without what git ignores: a build writes into its folder."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split()]
    copy = tmp_path_factory.mktemp("checkout") / "draftmark"
    return Path(
        shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", *ignored))
    )


@pytest.fixture(scope="module")
def sdist(checkout: Path) -> Path:
    """Return the unpacked sdist."""
    out = checkout.parent / "out"
    _run(sys.executable, "-c", BUILD, "build_sdist", out, cwd=checkout)
    [file] = out.glob("draftmark-*.tar.gz")
    with tarfile.open(file) as archive:
        archive.extractall(out, filter="data")
    return out / file.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    _run(sys.executable, "-c", BUILD, "build_wheel", sdist.parent, cwd=sdist)
    [file] = sdist.parent.glob("draftmark-*.whl")
    return file


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the scripts of an environment with the wheel and what the tests run with.

    The packages beside draftmark are those of this environment: a path file leads to them, and path
    files found there, like that of an editable install, are not read.
    """
    home = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / "bin" / "python"
    [packages] = home.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    options = ("--quiet", "--no-deps", "--no-index", "--no-compile")
    _run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=home)
    return python.parent


@pytest.fixture(scope="module")
def quickstart(scripts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of a part of the quickstart, in a folder that had nothing but its recipe."""
    folder = tmp_path_factory.mktemp("empty")
    recipe = small_recipe((16, 4, 4), ["untrained"], top="speed = false", evaluation="")
    (folder / "quickstart.toml").write_text(recipe)
    _run(scripts / "draftmark", "run", "quickstart.toml", cwd=folder)
    assert sorted(path.name for path in folder.iterdir()) == ["quickstart.toml", "results"]
    [run] = folder.glob("results/quickstart-*")
    return run


def test_the_sdist_holds_the_code_and_what_its_tests_need(sdist: Path) -> None:
    held = set(_files(sdist))
    named = ["LICENSE", "Makefile", "README.md", "pyproject.toml", "requirements.lock", ".ci/run"]
    named += ["requirements-dev.lock", "tools/set-up", "tools/install.py"]

    assert set(named) <= held
    for folder in ("src/draftmark", "tests", "docs"):
        assert {f"{folder}/{name}" for name in _files(ROOT / folder)} - held == set()
    tests = ("tests/test_docs.py", "tests/harness/test_registry.py")
    _run(
        *(sys.executable, "-m", "pytest", "-n", "0", "-m", "not slow", *tests),
        cwd=sdist,
        PYTHONPATH=sdist / "src",
    )


def test_the_wheel_holds_one_name_with_every_module_and_what_it_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if ".dist-info/" not in name]
        [metadata] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        facts = message_from_bytes(archive.read(metadata))
        [top_level] = [name for name in archive.namelist() if name.endswith("/top_level.txt")]
        assert archive.read(top_level) == b"draftmark\n"

    expected = {name for name in _files(PACKAGE) if not LEFT_OUT.fullmatch(name)}
    assert set(files) == {f"draftmark/{name}" for name in expected}
    assert facts["License-Expression"] == "Apache-2.0"
    assert facts["License-File"] == "LICENSE"
    links = [link.split(", ")[0] for link in facts.get_all("Project-URL", [])]
    assert {"Homepage", "Documentation", "Issues", "Changelog"} <= set(links)
    assert "Typing :: Typed" in facts.get_all("Classifier", [])


def test_every_module_of_the_wheel_imports_from_the_place_it_was_installed_to(
    wheel: Path, scripts: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if name.endswith(".py")]
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files
    }
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: print(importlib.import_module(name).__file__)"
    )

    # One runs the command line; the other is imported by vLLM alone.
    left_out = {"draftmark.__main__"}
    if importlib.util.find_spec("vllm") is None:
        left_out.add("draftmark.engines._vllm.states_connector")

    found = _run(scripts / "python", "-c", script, *sorted(modules - left_out), cwd=tmp_path)

    assert len(found.split()) == len(files) - len(left_out)
    assert all(Path(file).is_relative_to(scripts.parent) for file in found.split())


@pytest.mark.parametrize("has_init", [True, False])
def test_it_works_beside_packages_that_are_called_like_its_folders(
    scripts: Path, quickstart: Path, tmp_path: Path, has_init: bool
) -> None:
    for name in (*FOLDERS, "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text('NAME = "mine"\n', encoding="utf-8")
        if has_init:
            (tmp_path / name / "__init__.py").touch()
    accepted = str(tmp_path / "accepted.json")
    text = GATE.format(run=str(quickstart), accepted=accepted)
    (tmp_path / "tests" / "test_gate.py").write_text(text, encoding="utf-8")

    def draftmark(*arguments: object) -> str:
        return _run(scripts / "python", "-m", "draftmark", *arguments, cwd=tmp_path)

    listed = draftmark("list")
    assert "gsm8k" in listed
    assert "leaderboard" in listed
    assert "mine" not in listed
    store = quickstart.parent / "store"
    recipe = quickstart.parent.parent / "quickstart.toml"
    draftmark("run", recipe, "--out", "results", "--store", store)
    draftmark("report", quickstart, "leaderboard", "site", "speed", "tables")
    draftmark("bless", quickstart, accepted, "--reason", "first")
    assert "1 passed" in _run(scripts / "python", "-m", "pytest", cwd=tmp_path)


def test_its_messages_say_what_pip_installs(scripts: Path, tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules |= {'vllm': None, 'ray': None}\n"
        "from draftmark.cli.doctor import diagnosis, diagnosis_lines\n"
        "for line in diagnosis_lines(diagnosis(None)): print(line.name, line.text)"
    )

    printed = _run(scripts / "python", "-c", script, cwd=tmp_path)

    for extra in ("vllm", "ray"):
        assert f"extra {extra} not installed; pip install 'draftmark[{extra}]'\n" in printed
    assert "make " not in printed


def test_the_contract_tests_a_method_of_an_installed_plug_in(scripts: Path, tmp_path: Path) -> None:
    page = in_repository("docs/adding-a-method.md").read_text("utf-8")
    source = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "top_k.py").write_text(source, encoding="utf-8")
    facts = tmp_path / "my_package-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(
        "[draftmark.baselines]\ntop_k = my_package.top_k:METHOD\n"
    )
    contract = ("-m", "pytest", "--pyargs", "draftmark.contract", "-k", "top_k")

    assert "1 passed" in _run(scripts / "python", *contract, cwd=tmp_path, PYTHONPATH=tmp_path)


def test_an_editable_install_adds_one_name_and_lists_a_new_file_at_once(
    checkout: Path, tmp_path: Path
) -> None:
    _run(sys.executable, "-c", BUILD, "build_editable", tmp_path, cwd=checkout)
    [file] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        [path_file] = [name for name in archive.namelist() if ".dist-info/" not in name]
        source = Path(archive.read(path_file).decode().strip())
    assert source == checkout / "src"
    names = {path.name for path in source.iterdir() if path.suffix != ".egg-info"}
    assert names == {"draftmark"}

    for group, attribute in (("tasks", "TASK"), ("baselines", "METHOD")):
        folder = checkout / group if (checkout / group).exists() else source / "draftmark" / group
        (folder / "mine.py").write_text(f'"""Mine."""\n\n{attribute} = 7\n', encoding="utf-8")
        script = f"from draftmark import registry as r; print(r.find_registered({group!r}, 'mine'))"
        printed = _run(sys.executable, "-c", script, cwd=tmp_path, PYTHONPATH=source)
        (folder / "mine.py").unlink()
        assert printed == "7\n"
