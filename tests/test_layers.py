"""The structure of the code: who may import whom, what importing costs, how long things are."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OWN = ("harness", "tasks", "baselines", "reports")
ALLOWED_OF_HARNESS = {
    "tasks": {"types", "protocols", "data", "errors", "sandbox"},
    "baselines": {
        "types",
        "protocols",
        "errors",
        "divergences",
        "learning.logit_losses",
        "learning.acceptance_losses",
        "learning.batches",
        "training",
        "models",
        "teacher",
        "scoring",
        "drafting.drafters",
        "drafting.methods",
        "heads.feature_heads",
        "heads.feature_drafters",
        "heads.head_inits",
        "heads.head_training",
        "learning.selection",
        "heads.states",
        "drafting.tree_drafters",
        "drafting.trees",
        "storage.selections",
    },
    "reports": {
        "types",
        "published",
        "analysis.literature",
        "errors",
        "store",
        "statistics",
        "blocks",
        "analysis.counting",
        "analysis.costs",
        "analysis.curves",
        "analysis.predictions",
        "storage.records",
        "storage.selections",
        "storage.speed_records",
        "storage.stored",
        "storage.examples",
        "regression.comparable",
        "analysis.significance",
        "analysis.quantities",
        "analysis.slowness",
        "analysis.choosing",
        "analysis.parts",
        "storage.stored_speed",
        "regression.steps",
        "text",
    },
}
HEAVY = ("torch", "transformers")
FREE_OF_TORCH = (
    "types",
    "published",
    "analysis.literature",
    "plans.planning",
    "config",
    "registry",
    "store",
    "statistics",
    "analysis.significance",
    "analysis.quantities",
    "blocks",
    "analysis.counting",
    "analysis.costs",
    "analysis.parts",
    "analysis.slowness",
    "analysis.choosing",
    "analysis.speeds",
    "storage.stored_speed",
    "storage.speed_records",
    "analysis.predictions",
    "inputs.leaks",
    "analysis.fairness",
    "analysis.curves",
    "sandbox",
    "cli",
    "runner",
    "scheduling.cluster",
    "scheduling.status",
    "experiment",
    "storage.records",
    "storage.selections",
    "storage.stored",
    "regression.comparable",
    "regression.accepted",
    "regression.gating",
    "regression.gate",
    "regression.looks",
    "regression.pilots",
    "storage.publishing",
    "storage.cell_records",
    "analysis.summary",
    "analysis.quality",
    "analysis.diversity",
    "grading.scores",
    "nodes.assessments",
    "grading.judging",
    "grading.chat",
)
MAX_FILE_LINES, MAX_FUNCTION_LINES = 250, 50


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports anywhere in it; a relative import starts with a dot"""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (_member(module, alias.name) for alias in node.names)


def _member(module: str, name: str) -> str:
    """Return `module.name` if that is one of the project's modules, else `module`."""
    if module.partition(".")[0] not in OWN or not (ROOT / module.replace(".", "/")).is_dir():
        return module
    return f"{module}.{name}" if importlib.util.find_spec(f"{module}.{name}") else module


def _offending(package: str, *forbidden: str) -> list[str]:
    """Return "file imports module" for each import of a forbidden package or what is in it."""
    return [
        f"{_name(path)} imports {module}"
        for path in _files(package)
        for module in _imports(path)
        if module.partition(".")[0] in forbidden
    ]


@pytest.mark.parametrize("package", OWN)
def test_packages_never_import_what_they_must_find_by_name(package: str) -> None:
    others = set(OWN) - {package, "harness"}

    assert _offending(package, *others) == []


@pytest.mark.parametrize("package", ALLOWED_OF_HARNESS)
def test_plug_ins_import_only_the_open_part_of_harness(package: str) -> None:
    allowed = {f"harness.{name}" for name in ALLOWED_OF_HARNESS[package]}

    offenders = [
        f"{_name(path)} imports {module}"
        for path in _files(package)
        for module in _imports(path)
        if module.partition(".")[0] == "harness" and module not in allowed
    ]

    assert offenders == []


@pytest.mark.parametrize("package", OWN)
def test_imports_are_absolute_so_that_code_versions_see_them(package: str) -> None:
    relative = [
        f"{_name(path)} imports {module}"
        for path in _files(package)
        for module in _imports(path)
        if module.startswith(".")
    ]

    assert relative == []


@pytest.mark.parametrize("package", ["tasks", "reports"])
def test_tasks_and_reports_never_name_a_heavy_package(package: str) -> None:
    """The scripts that made the sample rows and the tiny target are exempt."""
    offenders = [line for line in _offending(package, *HEAVY) if "tasks/samples/" not in line]

    assert offenders == []


def test_importing_tasks_methods_reports_and_the_core_loads_no_torch() -> None:
    modules = [f"harness.{name}" for name in FREE_OF_TORCH]
    for package in ("tasks", "baselines", "reports"):
        modules += [_module(path) for path in _files(package) if path.parent.name == package]

    assert _who_loads_torch([f"import {module}" for module in modules]) == []


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["plan", "quickstart"]])
def test_what_runs_nothing_loads_no_torch(arguments: list[str]) -> None:
    lines = [
        "import contextlib, sys",
        "from harness.cli import main",
        f"sys.argv[1:] = {arguments!r}",
    ]
    call = "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr): main()"

    assert _who_loads_torch([*lines, call]) == []


def _who_loads_torch(statements: list[str]) -> list[str]:
    """Return the first of some statements after which a fresh interpreter has torch loaded."""
    check = "if 'torch' in sys.modules: print({!r}); sys.exit()"
    script = ["import sys", *chain(*((line, check.format(line)) for line in statements))]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(script)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("package", OWN)
def test_files_fit_the_budget(package: str) -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in _files(package)}

    too_long = [f"{_name(path)}: {n} lines" for path, n in lengths.items() if n > MAX_FILE_LINES]

    assert too_long == []


@pytest.mark.parametrize("package", OWN)
def test_functions_fit_the_budget(package: str) -> None:
    too_long = [
        f"{_name(path)}: {node.name} has {length} lines"
        for path in _files(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]

    assert too_long == []
