"""A figure before drawing: its data, its caption, and the function that draws it."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from draftmark.reports._figures.style import Paper, paper_figure, paper_files
from draftmark.reports._shared.content import csv_file
from draftmark.results import Contender, Number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Value = str | int | float | None
NUMBER = ("value", "low", "high", "n")
_COLUMNS: dict[type, tuple[str, ...]] = {Contender: ("task", "pair", "method"), Number: NUMBER}
_PATH, _DECIMALS = re.compile(r' (d|x|y)="[^"]*"'), re.compile(r"(\.\d\d)\d+")


@dataclass(frozen=True)
class Drawing:
    """A figure of a run; the CSV file has all data, the picture may omit some.

    A contender or number fills several columns of the CSV file; `header` has its class there.
    """

    name: str  # file name without ending
    caption: str
    inches: tuple[float, float]
    header: Sequence[str | type]
    rows: Sequence[Sequence[Value | Contender | Number]]
    fill: Callable[["Figure"], None]
    left_out: str = ""  # sentence on the data that the picture omits

    @property
    def whole_caption(self) -> str:
        """The caption, then what the picture omits."""
        return " ".join(filter(None, (self.caption, self.left_out)))

    def figure(self, paper: Paper) -> "Figure":
        """Return the picture as a figure of matplotlib."""
        return paper_figure(self.inches, self.fill, paper)

    def small_svg(self, paper: Paper) -> str:
        """Return the picture as SVG whose coordinates have two decimals, of points of 1/72 inch."""
        svg = paper_files(self.inches, self.fill, paper, ["svg"])["svg"].decode()
        return _PATH.sub(lambda path: _DECIMALS.sub(r"\1", path[0]), svg)

    def files(self, paper: Paper) -> dict[str, str | bytes]:
        """Return the picture in every format and its data as CSV."""
        pictures = paper_files(self.inches, self.fill, paper)
        files = {f"{self.name}.{ending}": picture for ending, picture in pictures.items()}
        return {**files, f"{self.name}.csv": csv_file(_flat(self.header), map(_flat, self.rows))}


def _flat(items: Sequence[Any]) -> Iterator[Any]:
    """Yield the flat entries of a header or row of the CSV file."""
    for item in items:
        if isinstance(item, type):
            yield from _COLUMNS[item]
        elif type(item) in _COLUMNS:
            yield from (getattr(item, column) for column in _COLUMNS[type(item)])
        else:
            yield item


@dataclass(frozen=True)
class NotDrawn:
    """A figure for which a run has no data, with the reason."""

    name: str
    why: str
