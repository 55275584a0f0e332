"""Finds entries by file name: `tasks/gsm8k.py` defines the task "gsm8k" as `TASK`.

Packages outside the project register through the entry points `draftmark.tasks`,
`draftmark.baselines`, `draftmark.engines` and `draftmark.reports`. A module is imported when it is
looked up by name; listing names imports nothing heavy.
"""

import importlib
import importlib.util
import pkgutil
import re
import tomllib
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from draftmark.errors import UserError, unknown_name_error
from draftmark.text import printable_text

Group = Literal["tasks", "baselines", "engines", "reports"]
# Comments of an entry's file; `draftmark list` prints them beside its description.
_SHORT = re.compile(r"^# In short: (.+?)\.?$", re.MULTILINE)
_NOTE = re.compile(r"^# (Time|Trains|Needs): (.+?)\.?$", re.MULTILINE)

# Group -> the noun for its entries; in capitals, the attribute that a module must define.
_NOUNS: Mapping[Group, str] = {
    "tasks": "task",
    "baselines": "method",
    "engines": "engine",
    "reports": "report",
}


def registered_names(group: Group) -> list[str]:
    """Return the sorted names of a registry."""
    return sorted(_modules(group) | _plugins(group).keys())


@dataclass(frozen=True)
class Description:
    """What an entry is, in full and in short, and a note on its time, training or needs."""

    text: str
    short: str
    about: str = ""  # what the note is about: time, trains or needs
    note: str = ""

    def __str__(self) -> str:
        """Return the description with its note."""
        return f"{self.text}; {self.about}: {self.note}" if self.note else self.text


def described_names(group: Group) -> dict[str, Description]:
    """Return the sorted names of a registry, each with the first line of its file.

    In short it is without its source in parentheses, or what the file's comment "# In short: ..."
    says. The note is a comment such as "# Trains: a head.". A plug-in's description is the package
    that registers it. Nothing is imported.
    """
    found = {name: _describe_module(f"draftmark.{group}.{name}") for name in _modules(group)}
    for name, point in _plugins(group).items():
        found[name] = Description(*[f"of {_package(point)}"] * 2)
    return dict(sorted(found.items()))


def recipe_names() -> list[str]:
    """Return the sorted names of the recipes and suites that come with draftmark."""
    return sorted(path.stem for path in _recipes())


def described_recipes() -> dict[str, Description]:
    """Return the sorted names of the recipes and suites, each with its title and time.

    Comments give a title in short, and the time with what it takes: "# Time: 3 h, H100.".
    """
    texts = {path.stem: path.read_text("utf-8") for path in _recipes()}
    return {name: _describe_recipe(text) for name, text in sorted(texts.items())}


def _describe_recipe(text: str) -> Description:
    title = tomllib.loads(text)["title"]
    return _description(title, title, text)


def _description(full: str, short: str, source: str) -> Description:
    """Return a description with what the comments of a file say in short, and its note."""
    in_short, note = _SHORT.search(source), _NOTE.search(source)
    short = in_short[1] if in_short else short
    return Description(full, short, *((note[1].lower(), note[2]) if note else ()))


def _recipes() -> Iterable[Path]:
    methods = importlib.import_module("draftmark.baselines")
    return (Path(methods.__path__[0]) / "recipes").glob("*.toml")


def _describe_module(module: str) -> Description:
    """Return the first line of a module's docstring without its full stop, and its note."""
    spec = importlib.util.find_spec(module)
    text = Path(str(spec and spec.origin)).read_text(encoding="utf-8")
    line = text.partition("\n")[0].strip().strip('"').rstrip(".")
    return _description(line, re.sub(r" \([^()]*\)$", "", line), text)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def find_registered(group: Group, name: str) -> Any:
    """Return the registry entry `name`.

    Raises UserError for an unknown name, and for a file that does not load.
    """
    noun = _NOUNS[group]
    if name in _modules(group):
        file = f"draftmark/{group}/{name}.py"
        module = _load(file, lambda: importlib.import_module(f"draftmark.{group}.{name}"))
        if not hasattr(module, noun.upper()):
            raise UserError(
                f"{file} does not define {noun.upper()}; give its {noun} that name, or start the "
                "name of a helper file with _."
            )
        return getattr(module, noun.upper())
    if name in _plugins(group):
        point = _plugins(group)[name]
        return _load(f"The plug-in {name!r} ({point.value})", point.load)
    raise unknown_name_error(noun, name, registered_names(group))


def module_name(group: Group, name: str) -> str:
    """Return the dotted name of the module that defines `name`."""
    if name in _modules(group):
        return f"draftmark.{group}.{name}"
    return _plugins(group)[name].module


def plugin_packages(used: Mapping[Group, Iterable[str]]) -> list[str]:
    """Return the sorted names of the packages that registered any of the names that are used."""
    points = (
        _plugins(group)[name]
        for group, names in used.items()
        for name in names
        if name not in _modules(group)
    )
    return sorted({point.dist.name for point in points if point.dist})


@cache
def _modules(group: Group) -> frozenset[str]:
    package = importlib.import_module(f"draftmark.{group}")
    found = (info.name for info in pkgutil.iter_modules(package.__path__) if not info.ispkg)
    return frozenset(name for name in found if not name.startswith("_"))


@cache
def _plugins(group: Group) -> dict[str, EntryPoint]:
    return {point.name: point for point in _entry_points().select(group=f"draftmark.{group}")}


@cache
def _entry_points() -> Any:
    """Return the entry points of all installed packages: reading them takes a while."""
    return entry_points()


def _load(what: str, load: Callable[[], Any]) -> Any:
    """Return the result of `load`; raises UserError with the place of any other exception."""
    try:
        return load()
    except UserError:
        raise
    except Exception as error:
        reason = printable_text(f"{type(error).__name__}: {error}", 300)
        raise UserError(f"{what} does not load: {reason}{_place(error)}.") from error


def _place(error: Exception) -> str:
    """Return the line that raised an error; "" if that line is in Python's import machinery."""
    if isinstance(error, SyntaxError):
        return ""  # the message names the line
    frames = traceback.extract_tb(error.__traceback__)
    shown = [frame for frame in frames if not frame.filename.startswith("<frozen")]
    if shown[-1].filename in (__file__, metadata.__file__):  # no line of the file has run
        return ""
    return f" (line {shown[-1].lineno} of {Path(shown[-1].filename).name})"
