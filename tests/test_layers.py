"""The structure of the code: who may import whom, what importing costs, how long things are."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path
from statistics import quantiles

import pytest

import draftmark

PACKAGE = Path(draftmark.__file__).parent
PLUG_INS = ("tasks", "baselines", "reports")
# A package imports only what stands on a lower floor, or itself.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("types", "results", "registry", "errors", "text", "progress", "environment"),
    ("config", "grading"),
    ("store",),
    ("data",),
    ("models",),
    ("training",),
    ("speculation",),
    ("analysis",),
    ("engines",),
    ("pipeline",),
    ("api", "cli", "contract"),
)
GROUND = FLOORS[0]
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
SEEN_BY = {
    "tasks": {"types", "errors", "data", "grading"},
    "baselines": {name for names in FLOORS[: FLOOR_OF["speculation"] + 1] for name in names},
    "reports": {"types", "results", "errors", "text", "config", "store", "analysis"},
}
BLOCK_STATISTICS = {"draftmark.speculation.blocks", "draftmark.speculation.engine_counts"}
FREE_OF_TORCH = (*GROUND, "config", "grading", "store", "data", "analysis", "api", "cli", *PLUG_INS)
SAMPLES = "draftmark.tasks.samples"  # scripts that made the sample rows and the tiny target
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_P90_FUNCTION_LINES = 350, 50, 20
MAX_LOOSE_NAMES = 14


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("draftmark", *parts)).removesuffix(".__init__")


def _walk(folder: Path) -> Iterator[Path]:
    """Yield Python files; unlike rglob on every version, through links to folders."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            yield from _walk(entry)
        elif entry.suffix == ".py":
            yield entry


FILES = {_module(path): path for path in _walk(PACKAGE)}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def _package(module: str) -> str:
    """Return the name under `draftmark` that a module belongs to."""
    return (f"{module}.").split(".")[1]


def _imports(module: str) -> Iterator[str]:
    """Yield each module that a module imports: at the top, in a function or for type checkers."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            members = (f"{name}.{alias.name}" for alias in node.names)
            yield from (member if member in FILES else name for member in members)


OWN_IMPORTS = {
    module: {name for name in _imports(module) if name.partition(".")[0] == "draftmark"}
    for module in FILES
}


def test_no_import_points_upwards() -> None:
    upwards = [
        f"{module} -> {name}"
        for module, names in OWN_IMPORTS.items()
        for name in names
        if _package(module) in FLOOR_OF and _package(module) not in PLUG_INS
        if _package(name) not in (_package(module), *GROUND)
        if FLOOR_OF[_package(name)] >= FLOOR_OF[_package(module)]
    ]

    assert upwards == []


def test_no_imports_go_in_a_circle() -> None:
    TopologicalSorter(OWN_IMPORTS).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("plug_in", PLUG_INS)
def test_plug_ins_see_their_floors_and_never_each_other(plug_in: str) -> None:
    beyond = [
        f"{module} -> {name}"
        for module, names in OWN_IMPORTS.items()
        if _package(module) == plug_in
        for name in names
        if _package(name) not in SEEN_BY[plug_in] | {plug_in}
        if not (plug_in == "reports" and name in BLOCK_STATISTICS)
        if not module.startswith(SAMPLES)
    ]

    assert beyond == []


def test_every_package_has_a_floor() -> None:
    found = {_package(module) for module in FILES} - {"", "__main__", *PLUG_INS}

    assert found == set(FLOOR_OF)


def test_imports_are_absolute_and_by_the_one_name() -> None:
    others = {"harness", *PLUG_INS}
    offenders = [
        f"{module} imports {name}"
        for module in FILES
        for name in _imports(module)
        if name.startswith(".") or name.partition(".")[0] in others
    ]

    assert offenders == []


def test_a_folder_list_fits_the_eye() -> None:
    loose = [
        entry.name
        for entry in PACKAGE.iterdir()
        if entry.name not in {name for names in FLOORS[1:] for name in names} | {"__pycache__"}
    ]

    assert len(loose) <= MAX_LOOSE_NAMES


def test_importing_what_needs_no_torch_loads_none() -> None:
    modules = [
        module
        for module in FILES
        if _package(module) in FREE_OF_TORCH and not module.startswith(SAMPLES)
        if "__main__" not in module
    ]

    assert _who_loads_torch([f"import {module}" for module in modules]) == []


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (
            ["--help"],
            [
                "torch",
                "pydantic",
                "rich",
                "filelock",
                "numpy",
                "draftmark.config",
                "draftmark.store",
            ],
        ),
        (["list"], ["torch", "rich", "filelock", "numpy", "draftmark.config", "draftmark.store"]),
        (
            ["plan", "quickstart"],
            ["torch", "pandas", "matplotlib", "transformers", "datasets", "statsmodels"],
        ),
    ],
)
def test_a_command_loads_no_package_that_it_does_not_need(
    arguments: list[str], unneeded: list[str]
) -> None:
    script = (
        "import contextlib, sys\n"
        "from draftmark.cli.main import main\n"
        f"sys.argv[1:] = {arguments!r}\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr): main()\n"
        f"print([name for name in {unneeded!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def _who_loads_torch(statements: list[str]) -> list[str]:
    """Return the first of some statements after which a fresh interpreter has torch loaded."""
    check = "if 'torch' in sys.modules: print({!r}); sys.exit()"
    script = ["import sys", *chain(*((line, check.format(line)) for line in statements))]
    done = subprocess.run([sys.executable, "-c", "\n".join(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_files_fit_the_budget() -> None:
    lengths = {
        module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in FILES.items()
    }

    assert {module: n for module, n in lengths.items() if n > MAX_FILE_LINES} == {}


def test_functions_fit_the_budget() -> None:
    lengths = {
        f"{module}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}
    assert quantiles(lengths.values(), n=10)[-1] <= MAX_P90_FUNCTION_LINES
