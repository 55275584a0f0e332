"""How pages are filled in: text that comes of data is made harmless on its way out, always."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

from draftmark.reports._shared.sections import Alert, Name, Shown, Table
from draftmark.reports._site.pages import slug
from draftmark.text import plain

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = "site"  # beside this file: templates, assets, and libraries that others keep
_COPIED = ("assets", "vendor")


def page(template: str, depth: int, **told: Any) -> str:
    """Return a page that lies `depth` folders below the front page."""
    return _environment().get_template(template).render(top="../" * depth, **told)


def assets() -> Mapping[str, bytes]:
    """Return every file that pages load, by its place in the site."""
    folder = resources.files("draftmark.reports") / _HERE
    return {
        file: content for name in _COPIED for file, content in _below(folder / name, name).items()
    }


def _below(item: Traversable, name: str) -> dict[str, bytes]:
    if item.is_file():
        return {name: item.read_bytes()}
    found: dict[str, bytes] = {}
    for child in sorted(item.iterdir(), key=lambda child: child.name):
        found |= _below(child, f"{name}/{child.name}")
    return found


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("draftmark.reports", f"{_HERE}/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    environment.filters["slug"] = slug
    environment.tests["shown"] = lambda entry: isinstance(entry, Shown)
    environment.tests["name"] = lambda entry: isinstance(entry, Name)
    environment.tests["alert"] = lambda part: isinstance(part, Alert)
    environment.tests["grid"] = lambda part: isinstance(part, Table)
    return environment


class Ready(str):
    """Text that was made harmless before and may have several lines; it is escaped like any."""

    __slots__ = ()


def _harmless(value: Any) -> Any:
    return plain(value) if type(value) is str else value
