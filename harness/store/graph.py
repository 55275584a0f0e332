"""The graph of stages: what each node depends on, and the key that names its result.

A node's key is a hash of exactly what decides its bytes: the stage, its settings, the code that
computes it, and the keys of its inputs. Never a path, a date or a machine. All keys are known
before anything runs, which is how `draftmark plan` can tell what is cached.
"""

import ast
import hashlib
import importlib.util
import inspect
import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import CodeType
from typing import Any

from draftmark.progress import Progress

Inputs = Mapping[str, Path]  # the folders of a node's inputs
Build = Callable[["Job"], None]

# A stage's code is its module and every module of the project that it imports, but for these
# packages: they carry results about, or declare what code elsewhere uses.
_NEUTRAL = ("draftmark.config", "draftmark.store")

LEFT = "left"  # the folder in `scratch` whose files become part of the result


@dataclass(frozen=True)
class Job:
    """What a stage is given to work with."""

    inputs: Inputs
    out: Path  # a folder that becomes the result
    scratch: Path  # a folder that outlives an interruption: checkpoints, and what is LEFT
    progress: Progress
    logs: Path | None = None  # where trackers write, if they may: beside the store's results


@dataclass(frozen=True, eq=False)
class Node:
    """One stage with its inputs. `given` is a folder that exists already, named by its digest."""

    stage: str
    label: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, "Node"]
    code: tuple[str, ...]  # the modules that compute it; with `build` itself, if there are any
    build: Build | None = None
    given: Path | None = None
    aside: frozenset[str] = frozenset()  # modules that `code` imports and that do not matter
    processes: int = 1  # that share its work: how it is made, not what

    @cached_property
    def key(self) -> str:
        """The name of this node's result."""
        return digest(
            {
                "stage": self.stage,
                "settings": self.settings,
                "code": self.versions,
                "build": _function_hash(self.build) if self.build and self.code else None,
                "inputs": {name: node.key for name, node in self.inputs.items()},
            }
        )

    @property
    def versions(self) -> list[str]:
        """The versions of its code here."""
        return [code_version(module, self.aside) for module in self.code]


def topological(nodes: Iterable[Node]) -> Iterator[Node]:
    """Yield every node reachable from `nodes` once, inputs before what needs them."""
    seen: set[str] = set()

    def visit(node: Node) -> Iterator[Node]:
        if node.key in seen:
            return
        seen.add(node.key)
        for upstream in node.inputs.values():
            yield from visit(upstream)
        yield node

    for node in nodes:
        yield from visit(node)


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value, the same for the same value whatever its key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_version(module: str, aside: frozenset[str] = frozenset()) -> str:
    """Return a hash of a module and of the project's modules that it imports, however deep.

    A plug-in's own package counts as the project's, with its relative imports. The hash is taken of
    the syntax tree without docstrings: comments and layout change nothing.
    """
    return digest({name: _tree_hash(_parse(name)) for name in sorted(_closure(module, aside))})


@cache
def _closure(module: str, aside: frozenset[str] = frozenset()) -> frozenset[str]:
    own = frozenset({"draftmark", module.partition(".")[0]})
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in reached | aside and (name == module or not _is_neutral(name)):
            reached.add(name)
            waiting.extend(_own_imports(name, own))
    return frozenset(reached)


def _is_neutral(module: str) -> bool:
    """True for modules of the ground floor and of packages that cannot change a result."""
    package = module.rpartition(".")[0]
    return package == "draftmark" or package in _NEUTRAL


@cache
def _parse(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"there is no module {module}"
    assert spec.origin is not None, f"{module} has no source"
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _own_imports(module: str, own: frozenset[str]) -> Iterator[str]:
    for statement in _running(_parse(module)):
        if isinstance(statement, ast.ImportFrom):
            names = [name.name for name in statement.names]
            yield from _own_modules(_absolute(module, statement), names, own)
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                yield from _own_modules(alias.name, [], own)


def _absolute(module: str, statement: ast.ImportFrom) -> str:
    """Return the full name of what a statement of `module` imports from."""
    name = statement.module or ""
    if not statement.level:
        return name
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"there is no module {module}"
    return importlib.util.resolve_name("." * statement.level + name, spec.parent)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a syntax tree, without what is there for type checkers alone."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _running(child)


def _own_modules(module: str, names: list[str], own: frozenset[str]) -> Iterator[str]:
    """Yield `module`, or what `from module import names` takes out of it if it is a package."""
    if module.partition(".")[0] not in own:
        return
    submodules = [f"{module}.{name}" for name in names if _is_module(f"{module}.{name}")]
    yield from submodules or [module]


def _is_module(name: str) -> bool:
    """Say whether there is such a module, importing none but the packages that it is in."""
    package = importlib.util.find_spec(name.rpartition(".")[0])
    if package is None or package.submodule_search_locations is None:
        return False
    return importlib.util.find_spec(name) is not None


def _function_hash(function: Callable[..., Any]) -> str:
    return _code_hash(function.__code__)


@cache
def _code_hash(code: CodeType) -> str:
    """Return the hash of a function's source: many nodes have builds of the same code."""
    return _tree_hash(ast.parse(textwrap.dedent(inspect.getsource(code))))


def _tree_hash(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_docstring(line)] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
