"""A folder is a registry: `tasks/gsm8k.py` with a `TASK` in it is the task "gsm8k".

Packages outside the project join through the entry points `draftmark.tasks`,
`draftmark.baselines`, `draftmark.engines` and `draftmark.reports`. Nothing is imported
before it is asked for by name, and a listing imports nothing heavy.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from harness.errors import UserError, unknown

Group = Literal["tasks", "baselines", "engines", "reports"]

_PACKAGES: Mapping[Group, str] = {
    "tasks": "tasks",
    "baselines": "baselines",
    "engines": "harness.engines",
    "reports": "reports",
}
_ATTRIBUTES: Mapping[Group, str] = {
    "tasks": "TASK",
    "baselines": "METHOD",
    "engines": "ENGINE",
    "reports": "REPORT",
}
_NOUNS: Mapping[Group, str] = {
    "tasks": "task",
    "baselines": "method",
    "engines": "engine",
    "reports": "report",
}


def names(group: Group) -> list[str]:
    """Return the names in a registry, sorted."""
    return sorted(_modules(group) | _plugins(group).keys())


def find(group: Group, name: str) -> Any:
    """Return what a registry holds under `name`.

    Raises UserError with the nearest name if there is no such thing.
    """
    if name in _modules(group):
        module = importlib.import_module(f"{_PACKAGES[group]}.{name}")
        return getattr(module, _ATTRIBUTES[group])
    if name in _plugins(group):
        return _load(_plugins(group)[name])
    raise unknown(_NOUNS[group], name, names(group))


def module_name(group: Group, name: str) -> str:
    """Return the dotted name of the module that defines `name`."""
    if name in _modules(group):
        return f"{_PACKAGES[group]}.{name}"
    return _plugins(group)[name].module


def summary(group: Group, name: str) -> str:
    """Return the first line of the docstring of the file that defines `name`."""
    module = importlib.import_module(module_name(group, name))
    return (module.__doc__ or "").strip().partition("\n")[0]


@cache
def _modules(group: Group) -> frozenset[str]:
    package = importlib.import_module(_PACKAGES[group])
    found = (info.name for info in pkgutil.iter_modules(package.__path__) if not info.ispkg)
    return frozenset(name for name in found if not name.startswith("_"))


@cache
def _plugins(group: Group) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"draftmark.{group}")}


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"The plug-in {point.name!r} ({point.value}) fails: {error}.") from error
