"""The graph of stages: nodes with their inputs, and the key that names each result.

A key is a hash of what decides a result's bytes: the stage, its settings, its code and the keys of
its inputs; never a path, a date or a machine. All keys are known before a stage runs, so
`draftmark plan` knows which results are cached.
"""

import ast
import hashlib
import importlib.util
import inspect
import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType
from typing import Any

from draftmark.progress import Progress

Inputs = Mapping[str, Path]  # the folders of a node's inputs
Build = Callable[["Job"], None]

# The code of a stage is its modules and the project's modules that they import, except these
# packages: they store results, or declare settings that other modules use.
_NEUTRAL = ("draftmark.config", "draftmark.store")

RESULT_FILES = "left"  # files in this folder of `Job.scratch` become part of the result


@dataclass(frozen=True)
class Job:
    """The folders and the progress display of a stage that is being built."""

    inputs: Inputs
    out: Path  # this folder becomes the result
    scratch: Path  # checkpoints and RESULT_FILES, kept across interruptions
    progress: Progress
    logs: Path | None = None  # tracker logs, outside the result


@dataclass(frozen=True, eq=False)
class Node:
    """One stage with its inputs, or an existing folder (`existing_folder`) named by its digest."""

    stage: str
    label: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, "Node"]
    code: tuple[str, ...]  # names of the modules that compute it; if empty, `build` has no version
    build: Build | None = None
    existing_folder: Path | None = None
    ignored: frozenset[str] = frozenset()  # imports of `code` that cannot change the result
    processes: int = 1  # processes that share the work; not in the key
    facts: Mapping[str, Any] = field(default_factory=dict)  # of an existing folder; not in the key
    task: str = ""  # whose rows the stage reads, for people; not in the key
    action: str = ""  # a verb and its object, such as "train kd"; not in the key

    @property
    def title(self) -> str:
        """The stage as progress output names it, such as "train kd (gsm8k)"."""
        action = self.action or self.label
        return f"{action} ({self.task})" if self.task else action

    @property
    def object(self) -> str:
        """What the stage acts on: "kd" of "train kd"; the label of a stage without an action."""
        return self.action.partition(" ")[2] or self.label

    @cached_property
    def key(self) -> str:
        """The key that names this node's result."""
        return json_digest(
            {
                "stage": self.stage,
                "settings": self.settings,
                "code": self.versions,
                "build": _source_hash(self.build.__code__) if self.build and self.code else None,
                "inputs": {name: node.key for name, node in self.inputs.items()},
            }
        )

    @property
    def versions(self) -> list[str]:
        """The version of each module in `code`, as installed."""
        return [code_version(module, self.ignored) for module in self.code]


def topological_order(nodes: Iterable[Node], _seen: set[str] | None = None) -> Iterator[Node]:
    """Yield the nodes and all nodes that they depend on, each once, inputs first."""
    seen = set() if _seen is None else _seen
    for node in nodes:
        if node.key not in seen:
            seen.add(node.key)
            yield from topological_order(node.inputs.values(), seen)
            yield node


def json_digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value, independent of key order; raises ValueError on NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_version(module: str, ignored: frozenset[str] = frozenset()) -> str:
    """Return a hash of a module and of the project's modules that it imports, transitively.

    A plug-in's package counts as the project's. Modules are hashed as syntax trees without
    docstrings, so comments and layout do not change the version.
    """
    return json_digest({name: _module_hash(name) for name in sorted(_closure(module, ignored))})


@cache
def _closure(module: str, ignored: frozenset[str] = frozenset()) -> frozenset[str]:
    own = frozenset({"draftmark", module.partition(".")[0]})
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in reached | ignored and (name == module or not _is_neutral(name)):
            reached.add(name)
            waiting.extend(_own_imports(name, own))
    return frozenset(reached)


def _is_neutral(module: str) -> bool:
    """True for modules of the ground layer and of packages that cannot change a result."""
    package = module.rpartition(".")[0]
    return package == "draftmark" or package in _NEUTRAL


def _spec(module: str) -> ModuleSpec:
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"there is no module {module}"
    return spec


@cache
def _parse(module: str) -> ast.Module:
    origin = _spec(module).origin
    assert origin is not None, f"{module} has no source"
    return ast.parse(Path(origin).read_text(encoding="utf-8"))


@cache
def _module_hash(module: str) -> str:
    return _tree_hash(_parse(module))


@cache
def _own_imports(module: str, own: frozenset[str]) -> tuple[str, ...]:
    """Return the modules of the packages `own` that a module imports."""
    return tuple(name for name in _imports(module, own) if name.partition(".")[0] in own)


def _imports(module: str, own: frozenset[str]) -> Iterator[str]:
    """Yield what a module imports; for names from a package `own`, the modules of these names."""
    for statement in _executed(_parse(module)):
        names: list[str] = []
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            relative = "." * statement.level + (statement.module or "")
            package = _spec(module).parent if statement.level else None
            names = [importlib.util.resolve_name(relative, package)]
            if names[0].partition(".")[0] in own:  # `_is_module` imports the package
                members = [f"{names[0]}.{alias.name}" for alias in statement.names]
                names = [member for member in members if _is_module(member)] or names
        yield from names


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a syntax tree, without blocks under `if TYPE_CHECKING`."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _executed(child)


def _is_module(name: str) -> bool:
    """True if a module has this name; only the packages above it are imported."""
    package = importlib.util.find_spec(name.rpartition(".")[0])
    if package is None or package.submodule_search_locations is None:
        return False
    return importlib.util.find_spec(name) is not None


@cache
def _source_hash(code: CodeType) -> str:
    """Return the hash of a function's source, cached as many nodes share a build."""
    return _tree_hash(ast.parse(textwrap.dedent(inspect.getsource(code))))


def _tree_hash(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_docstring(line)] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_docstring(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
    return False
