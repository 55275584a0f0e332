"""A figure before it is drawn: its data, its caption, and what puts it on paper."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from draftmark.reports._figures.style import printed
from draftmark.reports._shared.escape import csv_text
from draftmark.results import Contender, Number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Value = str | int | float | None
WHO = ("task", "pair", "method")
NUMBER = ("value", "low", "high", "n")


@dataclass(frozen=True)
class Drawing:
    """A figure of a run: the CSV file has all of its data, the picture may leave some out."""

    name: str  # of its files
    caption: str
    inches: tuple[float, float]
    header: Sequence[str]
    rows: Sequence[Sequence[Value]]
    fill: Callable[["Figure"], None]
    left_out: str = ""  # what of the data is not in the picture, in words

    def files(self) -> dict[str, str | bytes]:
        """Return the picture in every format, and the data beside it."""
        pictures = printed(self.inches, self.fill)
        return {
            **{f"{self.name}.{ending}": picture for ending, picture in pictures.items()},
            f"{self.name}.csv": self._csv(),
        }

    def _csv(self) -> str:
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.header)
        for row in self.rows:
            writer.writerow([csv_text(item) if isinstance(item, str) else item for item in row])
        return stream.getvalue()


@dataclass(frozen=True)
class NotDrawn:
    """A figure that a run has no data for, and what is missing."""

    name: str
    why: str


def who(contender: Contender) -> tuple[str, str, str]:
    """Return the cells of a line that say whose it is."""
    return contender.task, contender.pair, contender.method


def number(found: Number) -> tuple[float, float | None, float | None, int]:
    """Return the cells of a line that hold a number."""
    return found.value, found.low, found.high, found.n


def spread(found: Sequence[Number]) -> list[list[float]]:
    """Return how far intervals reach below and above their values; 0 where there is none."""
    below = [0.0 if each.low is None else max(0.0, each.value - each.low) for each in found]
    above = [0.0 if each.high is None else max(0.0, each.high - each.value) for each in found]
    return [below, above]


Numbers = Mapping[str, Number]
