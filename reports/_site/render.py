"""Rendering of the site's templates; printed text from data is always made harmless."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

from draftmark.analysis.titles import key_title, quantity_title
from draftmark.reports._shared.content import Alert, RowName, SortedText, TableNumber
from draftmark.reports._site.folding import PageTable
from draftmark.reports._site.pages import slug
from draftmark.text import printable_text

if TYPE_CHECKING:
    from jinja2 import Environment

_PACKAGE, _FOLDER = "draftmark.reports", "site"  # templates, assets, and vendored libraries
_COPIED = ("assets", "vendor")


def render_page(template: str, depth: int, **values: Any) -> str:
    """Return a page that is `depth` folders below the front page."""
    return _environment().get_template(template).render(top="../" * depth, **values)


def static_files() -> Mapping[str, bytes]:
    """Return the assets and vendored libraries by their paths in the site."""
    folder = resources.files(_PACKAGE) / _FOLDER
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
        loader=PackageLoader(_PACKAGE, f"{_FOLDER}/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # keys keep their order
    environment.filters |= {"slug": slug, "title_of": quantity_title, "key_title": key_title}
    environment.tests["table_number"] = lambda entry: isinstance(entry, TableNumber)
    environment.tests["row_name"] = lambda entry: isinstance(entry, RowName)
    environment.tests["sorted_text"] = lambda entry: isinstance(entry, SortedText)
    environment.tests["alert"] = lambda part: isinstance(part, Alert)
    environment.tests["page_table"] = lambda part: isinstance(part, PageTable)
    return environment


def _harmless(value: Any) -> Any:
    return printable_text(value) if type(value) is str else value
