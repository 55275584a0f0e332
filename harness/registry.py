"""A folder is a registry: `tasks/gsm8k.py` with a `TASK` in it is the task "gsm8k".

Packages outside the project join through the entry points `draftmark.tasks`,
`draftmark.baselines`, `draftmark.engines` and `draftmark.reports`. Nothing is imported
before it is asked for by name, and a listing imports nothing heavy.
"""

import importlib
import pkgutil
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from draftmark.errors import UserError, unknown
from draftmark.text import plain

Group = Literal["tasks", "baselines", "engines", "reports"]

_PACKAGES: Mapping[Group, str] = {
    "tasks": "draftmark.tasks",
    "baselines": "draftmark.baselines",
    "engines": "draftmark.engines",
    "reports": "draftmark.reports",
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

    Raises UserError with the nearest name if there is no such thing, and with the line that is at
    fault if the file that defines it does not load.
    """
    attribute = _ATTRIBUTES[group]
    if name in _modules(group):
        file = f"{_PACKAGES[group].replace('.', '/')}/{name}.py"
        module = _loaded(file, lambda: importlib.import_module(f"{_PACKAGES[group]}.{name}"))
        if not hasattr(module, attribute):
            raise UserError(
                f"{file} has no {attribute}; name its {_NOUNS[group]} {attribute}, or begin the "
                "file's name with _ if it is a helper."
            )
        return getattr(module, attribute)
    if name in _plugins(group):
        point = _plugins(group)[name]
        return _loaded(f"The plug-in {name!r} ({point.value})", point.load)
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


def _loaded(what: str, load: Callable[[], Any]) -> Any:
    """Return what `load` gives; whatever its code raises becomes one sentence with the place."""
    try:
        return load()
    except UserError:
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise UserError(f"{what} does not load: {plain(told, 300)}{_place(error)}.") from error


def _place(error: Exception) -> str:
    """Return where an error was raised, but for Python's own machinery of imports."""
    if isinstance(error, SyntaxError):
        return ""  # it says so itself
    frames = traceback.extract_tb(error.__traceback__)
    shown = [frame for frame in frames if not frame.filename.startswith("<frozen")]
    if shown[-1].filename in (__file__, metadata.__file__):  # nothing of the file has run
        return ""
    return f" (line {shown[-1].lineno} of {Path(shown[-1].filename).name})"
